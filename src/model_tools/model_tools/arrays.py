# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Files of numpy arrays, read as data."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from model_tools.errors import ToolError
from policy_inference.interfaces import Tensor

ZIP_MAGIC, NPY_MAGIC = b"PK", b"\x93NUMPY"


def read_arrays(file: Path) -> dict[str, Tensor]:
    """Return the arrays of an `.npz` by name; the one of an `.npy` has the name ``""``.

    Raises:
        ToolError: It is another kind of file, is damaged, or holds objects.
        OSError: It cannot be read.
    """
    try:
        with file.open("rb") as stream:
            if not stream.read(len(NPY_MAGIC)).startswith((ZIP_MAGIC, NPY_MAGIC)):
                raise ValueError("another kind of file")
            stream.seek(0)
            found = np.load(stream)
            if isinstance(found, np.ndarray):
                return {"": found}
            return {name: found[name] for name in found.files}
    # zlib's errors and the last are of archives that were damaged.
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise ToolError(f"{file}: expected numpy arrays (.npz, .npy), found {error}") from error
