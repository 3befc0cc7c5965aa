# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Calibration samples as the vendor's compilers read them: a folder per input, a file per row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path

import numpy as np

from policy_inference.interfaces import F32


def sample_folders(inputs: Sequence[str]) -> list[str]:
    """Return a folder for each input; names may have characters that folders may not."""
    return [f"{place}_{re.sub(r'[^A-Za-z0-9_-]', '_', name)}" for place, name in enumerate(inputs)]


def write_samples(
    folder: Path, parts: Iterable[F32], suffix: str, names: Iterable[str] | None = None
) -> None:
    """Write a folder of samples.

    Args:
        folder: Is made.
        parts: Rows of the input [rows, *shape that the compiler gets], one part after another.
        suffix: `.npy` of one row with batch axis each, or `.bin` of raw float32.
        names: Of the files, without suffix; numbers where there are none.
    """
    folder.mkdir(parents=True)
    rows = (row for part in parts for row in part)
    stems = iter(f"{number:06d}" for number in count()) if names is None else iter(names)
    for row in rows:
        file = folder / f"{next(stems)}{suffix}"
        if suffix == ".npy":
            np.save(file, row[np.newaxis], allow_pickle=False)
        else:
            file.write_bytes(row.tobytes())
