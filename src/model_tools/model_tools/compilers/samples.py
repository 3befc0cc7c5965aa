# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Calibration rows: read, chosen, with recurrent states, refused where they teach too little."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from model_tools.calibration.provenance import kept_verdict
from model_tools.errors import ToolError
from model_tools.row_files import read_rows
from policy_inference.backends.registry import open_backend
from policy_inference.bundle.load import Bundle
from policy_inference.bundle.verified import sha256_of
from policy_inference.comparison.rows import Rows, evenly, play
from policy_inference.interfaces import Tensor

_log = logging.getLogger("model_tools")
FEWEST = 32
"""With fewer the largest errors of a walking policy grow severalfold."""


def calibration_samples(
    bundle: Bundle, file: Path, count: int, topics: Mapping[str, str] | None = None
) -> dict[str, Tensor]:
    """Return rows of every model input.

    Args:
        bundle: Bundle of the reference model, which computes recurrent states.
        file: Rows as `model_tools.row_files.read_rows` takes them.
        count: Rows to take, evenly spaced; at most half of the file's, so that some are held back.
        topics: Topics of a recording by input, where they have other names.

    Raises:
        ToolError: The file does not fit, or it has or gives fewer than `FEWEST` different rows.
        PolicyError: The reference model does not run.
    """
    if count < FEWEST:
        raise ToolError(f"expected at least {FEWEST} rows to calibrate with, found {count}")
    _repeat_verdict(file, bundle)
    rows = read_rows(file, bundle, topics)
    chosen = evenly(len(rows), min(count, len(rows) // 2))
    samples = {name: array[chosen] for name, array in _with_states(bundle, rows).items()}
    different = _different(samples)
    if different < FEWEST:
        raise ToolError(f"{file}: expected at least {FEWEST} different rows to calibrate with in "
                        f"every second of its {len(rows)}, found {different}; record the policy at "
                        "work, in every gait")
    return samples


def _repeat_verdict(file: Path, bundle: Bundle) -> None:
    """Say again what the file says of its rows, where `calibrate` made it."""
    kept = kept_verdict(file)
    if kept is None:
        return
    if kept.bundle != bundle.contract.name:
        _log.warning("%s: rows for %s, not for %s", file, kept.bundle, bundle.contract.name)
    for gap in (*kept.problems, *kept.warnings):
        _log.warning("%s: %s", file, gap)


def hash_of(samples: Path) -> str:
    """Return the SHA-256 of a file; of a folder, that of the list of its files' hashes."""
    if samples.is_file():
        return sha256_of(samples)
    lines = [f"{sha256_of(file)}  {file.relative_to(samples)}\n"
             for file in sorted(samples.rglob("*")) if file.is_file()]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _with_states(bundle: Bundle, rows: Rows) -> Mapping[str, Tensor]:
    """Add the recurrent states that are not recorded, which only the whole sequence tells."""
    state = bundle.contract.state
    if all(pair.input in rows.inputs for pair in state):
        return rows.inputs
    backend, _ = open_backend(bundle, ["onnx"])
    try:
        played = play(backend, rows, state)
    finally:
        backend.close()
    return {name: played[name] for name in bundle.contract.model.inputs}


def _different(samples: Mapping[str, Tensor]) -> int:
    flat = [array.reshape(len(array), -1).astype(np.float64) for array in samples.values()]
    return len(np.unique(np.concatenate(flat, axis=1), axis=0))
