# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Files that torch wrote, read as data; a program only where its user trusts it."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model_tools.checkpoints.archive import is_program, members
from model_tools.errors import ToolError

ZIP_MAGIC, PICKLE_MAGIC = b"PK\x03\x04", b"\x80"
# rl_games writes its best reward as a numpy scalar, by the name of the numpy that it ran with.
_SCALAR = np.float64(0).__reduce__()[0]
NUMPY_SCALARS = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(code)) for code in "?bhilBHILefd"),
]


def load(path: Path, *, trust_code: bool) -> Any:
    """Read a checkpoint onto the CPU.

    Args:
        path: What `torch.save` or `torch.jit.save` wrote.
        trust_code: Whether a TorchScript program may be loaded.

    Returns:
        A mapping, as it was saved; or a `torch.jit.ScriptModule`.

    Raises:
        ToolError: It is no checkpoint, is cut short, or needs more than reading data.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(len(ZIP_MAGIC))
    try:
        if is_program(members(path)):
            return _load_program(path, trust_code)
        return _load_data(path, head)
    except (ToolError, OSError):
        raise
    except Exception as error:  # what torch raises for broken files depends on where they break
        raise ToolError(f"{path}: expected a whole checkpoint, found one that torch cannot read: "
                        f"{_first_line(error)}; copy it again") from error


def _load_program(path: Path, trust_code: bool) -> Any:
    if not trust_code:
        raise ToolError(f"{path}: expected weights, found a TorchScript program, which runs when "
                        "it is loaded; --trust-code if you know where it comes from")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.load(str(path), map_location="cpu").eval()


def _load_data(path: Path, head: bytes) -> Any:
    if not head.startswith((ZIP_MAGIC, PICKLE_MAGIC)):
        raise ToolError(f"{path}: expected a checkpoint of torch.save, found another kind of file")
    try:
        with torch.serialization.safe_globals(NUMPY_SCALARS), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about the pickle's protocol
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ToolError(_refusal(path, head)) from error


def _refusal(path: Path, head: bytes) -> str:
    if head != ZIP_MAGIC:
        return (f"{path}: expected a checkpoint of torch.save, found a pickle that needs more "
                "than weights; save the state_dict of the policy with torch.save")
    with torch.serialization.safe_globals(NUMPY_SCALARS):
        needed = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    return (f"{path}: expected weights and numbers, found objects of {', '.join(needed)}, and to "
            "read those is to run code; save the state_dict of the policy instead of the object")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
