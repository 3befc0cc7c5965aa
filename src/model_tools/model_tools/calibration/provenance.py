# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a calibration file says of itself: where its rows are from, and the verdict on them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from policy_inference.interfaces import Tensor

PROVENANCE = "calibration"
"""Name of the array of text in an `.npz`; of the file, with .json, in a folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The verdict on a file's rows, where these are from, and for which bundle they were made."""

    source: str
    bundle: str
    problems: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def words(self) -> str:
        """The verdict in a line."""
        return in_words(self.problems, self.warnings)


def in_words(problems: Sequence[str], warnings: Sequence[str]) -> str:
    """Return a verdict in a line."""
    if problems:
        return "will not do"
    return "will do, with gaps" if warnings else "will do"


def kept_verdict(file: Path) -> Kept | None:
    """Return what an `.npz` of `calibrate` keeps; None for any other file or folder."""
    if not zipfile.is_zipfile(file):
        return None
    with np.load(file) as arrays:
        return kept_in(arrays[PROVENANCE]) if PROVENANCE in arrays.files else None


def kept_in(array: Tensor) -> Kept | None:
    """Return what stands in the array of that name; None if it is somebody else's."""
    try:
        document = json.loads(str(array))
        verdict = document["verdict"]
        return Kept(source=str(document["source"]), bundle=str(document["bundle"]),
                    problems=tuple(map(str, verdict["problems"])),
                    warnings=tuple(map(str, verdict["warnings"])))
    except (KeyError, TypeError, ValueError):
        return None
