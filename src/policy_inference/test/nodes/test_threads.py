# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The threads of a node are those of the table in docs/architecture.md."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from .harness import Activate
from .kinds import CHUNK, JOINT, SET, Kind

_ALWAYS = ["between ticks", "telemetry"]
_PAGE = Path(__file__).resolve().parents[4] / "docs" / "architecture.md"
_TABLE = _PAGE.read_text("utf-8").partition("## Threads of a node")[2].partition("**Locks.**")[0]
DOCUMENTED = {row.split("`")[1] for row in _TABLE.splitlines() if row.startswith("| `")}
CASES: Mapping[str, tuple[Kind, Mapping[str, object], list[str]]] = {
    "joint policy": (JOINT, {"flight.duration_s": 0.0}, ["ticks"]),
    "in Python": (JOINT, {"flight.duration_s": 0.0, "realtime.loop": "python"}, ["control"]),
    "recorded": (JOINT, {"flight.duration_s": 1.0}, ["flight recorder", "ticks"]),
    "chunk policy": (CHUNK, {"flight.duration_s": 0.0}, ["control", "inference"]),
    "set": (SET, {"flight.duration_s": 0.0}, ["ticks"]),
}


@pytest.mark.parametrize(("kind", "parameters", "own"), CASES.values(), ids=CASES)
def test_node_has_the_threads_that_are_documented(
    activate: Activate, kind: Kind, tmp_path: Path, parameters: Mapping[str, object], own: list[str]
) -> None:
    before = {*threading.enumerate()}
    node = activate(**{"flight.folder": str(tmp_path / "flights"), **parameters})
    names = [thread.name for thread in threading.enumerate() if thread not in before]
    assert sorted(names) == sorted([*_ALWAYS, *own])
    assert {*names} <= DOCUMENTED
    node.trigger_deactivate()
    node.trigger_cleanup()
    left = [thread.name for thread in threading.enumerate() if thread not in before]
    assert left == []
