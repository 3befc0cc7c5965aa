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
from tools.fault_page import make_matrix, make_page, read_results
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
# A G1 has the faults of a Go2, and `mode_machine`; to turn or to hold a robot is no fault.
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


@pytest.mark.parametrize("faulty_robot", ["lite3", "go2", "arm"], indirect=True)
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
    for case in module.cases():
        placed = "goes on" in make_matrix([result(case.what, "goes on")])
        assert placed or case.group != "processes", case.what


def result(what: str, ended: str = "", *, group: str = "robot", **more: object) -> dict[str, str]:
    """Return a record of a Go2's case."""
    values = {"damped_ms": None, "within_ms": 5000, "as_wanted": True, **more}
    outcome = {"ended": ended, **values} if ended else {}
    texts = {name: str(value) for name, value in outcome.items()}
    return {"robot": "go2", "group": group, "what": what, "commit": "abc", **texts}


def cells(page: str, component: str) -> list[str]:
    """Return the cells of a component's row."""
    (line,) = [line for line in page.splitlines() if line.startswith(f"| {component} |")]
    return line[2:-2].split(" | ")[1:]


def test_page_has_the_limit_and_the_time_and_dashes_what_has_no_meaning() -> None:
    said = "driver FOLLOWING: its frames are rejected as `old`; policy DAMP: held_too_long: imu"
    rows = [
        result("`drop:imu`", said, damped_ms=98.6, within_ms=250),
        result(
            "`freeze:imu`", "policy DAMP: driver: DAMPING, late", damped_ms=300.2, as_wanted=False
        ),
        result("`slow:imu=0.03`", "goes on; policy RUN: the policy runs"),
        result("`late:imu=0.03`"),
        result("`drop:imu+0.03`", "policy RUN: the policy runs", as_wanted=False),
    ]
    assert cells(make_page(rows), "IMU") == [
        *("`held_too_long` (`old`) 99/250 ms", "**driver 300/5000 ms**"),
        *("–", "–", "goes on", "no result", "**never damped**"),
    ]


def test_page_names_robots_that_were_not_measured() -> None:
    page = make_page([result("`drop:imu`", "goes on")])
    assert "Not measured: Lite3, G1, SO-101 arm, my_robot" in page
    assert "## Lite3" not in page


def test_the_last_result_of_a_case_counts_and_all_commits_are_named(
    tmp_path: Path,
) -> None:
    def write(name: str, commit: str, *rows: dict[str, str]) -> Path:
        def listed(properties: dict[str, str]) -> str:
            ones = [f'<property name="{k}" value="{v}"/>' for k, v in properties.items()]
            return f"<properties>{''.join(ones)}</properties>"

        tests = [f"<testcase>{listed(row)}</testcase>" for row in rows]
        suite = f"<testsuite>{listed({'commit': commit})}{''.join(tests)}</testsuite>"
        file = tmp_path / name
        file.write_text(f"<testsuites>{suite}</testsuites>", "utf-8")
        return file

    drop, again = (result("`drop:imu`", ended) for ended in ("goes on", "policy DAMP: estop"))
    files = [write("1.xml", "abc", drop, result("`slow:imu`")), write("2.xml", "abc", again)]
    assert read_results(files) == [again, result("`slow:imu`")]
    page = make_page(read_results([*files, write("3.xml", "def", result("`drop:imu+0.03`"))]))
    assert "Measured at commits `abc`, `def`." in page


def test_emulator_that_ends_is_named_and_not_as_it_should(tmp_path: Path) -> None:
    class EndedRobot:
        """A robot that is damped, and whose emulator then ends with a status."""

        phase, events = "LISTENING", [SimpleNamespace(event="damped", unix_ns=2_000_000_000)]
        driver, policy = SimpleNamespace(status=0), SimpleNamespace(status=0)
        operator = SimpleNamespace(wait=lambda time_s: None, mode="DAMP")

        def __init__(self, status: int | None) -> None:
            self.emulator = SimpleNamespace(status=status)

        walk = expect_deaths = lambda self: None

        def details(self) -> dict[str, str]:
            return {}

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
