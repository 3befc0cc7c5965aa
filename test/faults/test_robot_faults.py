# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Faults of emulated robots have names that the emulators know, and the page shows each ending."""

from __future__ import annotations

import re
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from robot_sim.faults import TARGETS, Fault
from robot_sim.lite3_host import Lite3Fault
from robot_sim.unitree_state import UnitreeFault
from testkit.wording import check_wording
from tools.fault_page import PROCESSES, make_page, read_page
from tools.robot_faults import arm, g1, go2, lite3
from tools.robot_faults.cases import Case
from tools.robot_faults.relay import RelayFault
from tools.robot_faults.trial import Ending, try_case

pytestmark = pytest.mark.ros

ROBOTS: dict[str, tuple[Any, type[Fault]]] = {
    "lite3": (lite3, Lite3Fault),
    "go2": (go2, UnitreeFault),
    "g1": (g1, UnitreeFault),
    "arm": (arm, RelayFault),
}
# `mode_machine` is in the messages of a G1; to turn or to hold a robot is no fault.
UNTRIED = {"machine", "turned", "hung"}


@pytest.fixture(params=ROBOTS)
def faulty_robot(request: pytest.FixtureRequest) -> tuple[Any, type[Fault]]:
    """The module of a robot, and its faults."""
    return ROBOTS[request.param]


def planned(module: Any) -> list[str]:
    """Return the faults of the emulator that are tried on a robot that walks."""
    return [
        text
        for case in module.cases()
        if case.group in ("robot", "network")
        for text in re.findall(r"`([^`]+)`", case.what)
    ]


def test_every_planned_fault_is_one_that_the_emulator_knows(faulty_robot: tuple[Any, Any]) -> None:
    module, faults = faulty_robot
    assert len(faults.parse_all(planned(module))) == len(planned(module))


def test_every_kind_of_fault_of_a_host_is_tried(faulty_robot: tuple[Any, Any]) -> None:
    module, faults = faulty_robot
    tried = {text.split(":")[0] for text in planned(module)}
    tried |= {
        text.split(":")[0]
        for start in module.bad_starts()
        for text in start.emulator.get("faults", ())
    }
    assert tried >= faults.targets.keys() - TARGETS.keys() - UNTRIED


def test_names_are_unique_and_have_a_place_on_the_page(faulty_robot: tuple[Any, Any]) -> None:
    module, _ = faulty_robot
    names = [case.what for case in module.cases()] + [start.what for start in module.bad_starts()]
    assert len(set(names)) == len(names)
    assert {case.group for case in module.cases()} <= {"robot", "network", "processes", "people"}
    assert {case.what for case in module.cases() if case.group == "processes"} <= PROCESSES.keys()


def test_page_keeps_what_has_no_new_result_and_dashes_what_has_no_meaning() -> None:
    def row(what: str, ended: str, damped_ms: str) -> dict[str, str]:
        outcome = {"ended": ended, "damped_ms": damped_ms, "as_wanted": "True"}
        return {"group": "robot", "what": what, **outcome}

    first = make_page({"go2": [row("`drop:imu`", "policy DAMP: held_too_long: imu", "99.0")]})
    page = make_page({"go2": [row("`slow:imu=0.03`", "walks on", "None")]}, read_page(first))
    cells = read_page(page)["Go2"]["IMU"]
    assert cells["off"] == "`held_too_long` 99 ms"
    assert cells["slow"] == "goes on"
    assert cells["wrong"] == "–"
    assert not cells["stuck"]


def test_emulator_that_ends_is_named_and_not_as_it_should(tmp_path: Path) -> None:
    class EndedRobot:
        """A robot that is damped, and whose emulator then ends with a status."""

        phase, events = "LISTENING", [SimpleNamespace(event="damped", unix_ns=2_000_000_000)]
        driver, policy = SimpleNamespace(status=0), SimpleNamespace(status=0)
        operator = SimpleNamespace(wait=lambda time_s: None, mode="DAMP")

        def __init__(self, status: int | None) -> None:
            self.emulator = SimpleNamespace(status=status)

        walk = expect_deaths = lambda self: None

        def events_since(self, start_ns: int) -> list[SimpleNamespace]:
            return self.events

    def ended(status: int | None) -> Ending:
        case = Case(
            group="processes", what="driver: Ctrl-C", act=lambda faulty_robot: time.time_ns()
        )
        return try_case(lambda folder: nullcontext(EndedRobot(status)), case, tmp_path)  # type: ignore[arg-type, return-value]  # a double

    assert ended(None).as_wanted
    assert not ended(1).as_wanted
    check_wording(ended(1).ended)
