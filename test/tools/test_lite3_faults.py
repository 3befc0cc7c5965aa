# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command that lets everything go wrong names what it tries, and its page what it saw."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from robot_sim.faults import TARGETS
from robot_sim.lite3_host import Lite3Fault
from tools.lite3_faults.__main__ import main
from tools.lite3_faults.cases import bad_starts, cases
from tools.lite3_faults.table import TITLES, page, verdict
from tools.lite3_faults.trial import Ending

pytestmark = pytest.mark.ros

PLANNED = [
    text
    for case in cases()
    if case.group in ("robot", "network")
    for text in re.findall(r"`([^`]+)`", case.what)
]
WELL = Ending(
    group="network", what="`loss:state=0.2`", ended="walks on", damped_ms=None, as_wanted=True
)
SLOW = Ending(
    group="processes",
    what="driver killed",
    ended="watchdog | late",
    damped_ms=1003.2,
    as_wanted=False,
)


def test_every_planned_fault_is_one_that_the_emulator_knows() -> None:
    assert len(Lite3Fault.parse_all(PLANNED)) == len(PLANNED)


def test_every_kind_of_fault_of_a_host_is_tried() -> None:
    tried = {text.split(":")[0] for text in PLANNED}
    tried |= {
        text.split(":")[0] for start in bad_starts() for text in start.emulator.get("faults", ())
    }
    assert tried >= Lite3Fault.targets.keys() - TARGETS.keys()


def test_names_are_unique_and_have_a_place_on_the_page() -> None:
    names = [case.what for case in cases()] + [start.what for start in bad_starts()]
    assert len(set(names)) == len(names)
    assert {case.group for case in cases()} | {"start"} == TITLES.keys()


def test_page_has_a_row_for_each_ending_and_shows_what_went_wrong() -> None:
    text = page([WELL, SLOW])
    assert "| `loss:state=0.2` | walks on | - |" in text
    assert r"| driver killed | **watchdog \| late** | 1003 |" in text
    assert verdict([WELL]) == "all 1 ended as they should"
    assert verdict([WELL, SLOW]) == "1 of 2 did not end as they should: driver killed"


def test_a_pattern_without_a_case_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["--output", str(tmp_path), "--only", "nonsense"]) == 2
    assert "found no such case" in caplog.text
    assert not list(tmp_path.iterdir())
