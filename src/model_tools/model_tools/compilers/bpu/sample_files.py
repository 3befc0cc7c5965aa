# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Calibration samples as the vendor's compilers read them: a folder per input, a file per row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from policy_inference.interfaces import F32


def sample_folders(inputs: Sequence[str]) -> list[str]:
    """Return a folder for each input; names may have characters that folders may not."""
    return [f"{place}_{re.sub(r'[^A-Za-z0-9_-]', '_', name)}" for place, name in enumerate(inputs)]


def write_samples(folder: Path, parts: Iterable[F32], suffix: str) -> None:
    """Write a folder of samples.

    Args:
        folder: Is made.
        parts: Rows of the input [rows, *shape that the compiler gets], one part after another.
        suffix: `.npy` of one row with batch axis each, or `.bin` of raw float32.
    """
    folder.mkdir(parents=True)
    rows = (row for part in parts for row in part)
    for number, row in enumerate(rows):
        file = folder / f"{number:06d}{suffix}"
        if suffix == ".npy":
            np.save(file, row[np.newaxis], allow_pickle=False)
        else:
            file.write_bytes(row.tobytes())
