# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a calibration file says of itself: where its rows are from, and the verdict on them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

PROVENANCE = "calibration"
"""Name of the array of text in an `.npz`; of the file, with .json, in a folder."""


def kept_verdict(file: Path) -> dict[str, list[str]]:
    """Return the problems and warnings that an `.npz` of `calibrate` keeps, else nothing."""
    if not zipfile.is_zipfile(file):
        return {}
    with np.load(file) as arrays:
        return verdict_in(arrays[PROVENANCE]) if PROVENANCE in arrays.files else {}


def verdict_in(kept: np.ndarray[Any, Any]) -> dict[str, list[str]]:
    """Return the problems and warnings in the array of that name; nothing if it holds none."""
    try:
        verdict = json.loads(str(kept))["verdict"]
        return {name: list(map(str, verdict[name])) for name in ("problems", "warnings")}
    except (KeyError, TypeError, ValueError):
        return {}  # an array of somebody else
