# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The results of an acceptance test as JSON: all outcomes and their context."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model_tools.files.outputs import new_file
from model_tools.prove.trial import WalkOutcome
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.report_subject import CONTRACT_KEY, contract_sha256
from policy_core.errors import PolicyError
from policy_store.report import plain

DIGITS = 4
_UNITS = {
    "survived_s": "s, of duration_s",
    "error": "|mean velocity after 2 s of a command - command|, mean of the commands: "
    "vx m/s, vy m/s, wz rad/s",
    "tilt_deg": "degrees, the largest",
    "torque_limit_share": "0 to 1, of samples (joint x physics step)",
    "action_change": "mean |change of the output per tick| after 2 s",
    "altered_share": "0 to 1, of ticks in which the guard changed a target",
    "passed": "true, false, or null where the case has no limits",
    "null": "not measured",
}


def write_figures(outcomes: Sequence[WalkOutcome], bundle: JointBundle, path: Path) -> None:
    """Write a bundle's outcomes, atomically replacing the file at `path`."""
    contract = bundle.contract
    head = {
        "policy": contract.name,
        "version": contract.version,
        "model_sha256": contract.model.artifacts["onnx"].sha256,
        CONTRACT_KEY: contract_sha256(bundle.content),
        "units": _UNITS,
    }
    rows = [plain(dataclasses.asdict(outcome), DIGITS) for outcome in outcomes]
    lines = ",\n".join(json.dumps(row, allow_nan=False) for row in rows)
    text = f'{json.dumps(head, indent=1)[:-2]},\n "outcomes": [\n{lines}\n]}}\n'
    with new_file(path, force=True) as growing:
        growing.write_text(text, "utf-8")


def read_figures(path: Path) -> list[WalkOutcome]:
    """Read a file written by `write_figures`."""
    try:
        return [_outcome(row) for row in json.loads(path.read_text("utf-8"))["outcomes"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PolicyError(
            f"{path}: expected acceptance figures, found none that can be read ({error!r}); write "
            "them with --record"
        ) from error


def _outcome(row: dict[str, Any]) -> WalkOutcome:
    def measured(value: Any) -> Any:
        if isinstance(value, list):
            return tuple(map(measured, value))
        return float("nan") if value is None else value

    # for these two, null means no limits and no estimate
    kept = {name: None for name in ("passed", "estimate") if row.get(name) is None}
    return WalkOutcome(**{name: measured(value) for name, value in row.items()} | kept)
