# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Everything goes wrong for an emulated robot that walks; each ends as it should.

    python -m pytest -n 0 -m acceptance -k lite3 --junitxml out/lite3.xml test/faults/every_fault.py

Half an hour of real time for each robot, on a machine with nothing else to do, so that pytest runs
this file only by its name. `tools/fault_page.py` makes the pages in docs from the results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tools.robot_faults import arm, g1, go2, lite3
from tools.robot_faults.cases import BadStart, Case
from tools.robot_faults.stack import Stack
from tools.robot_faults.trial import KeptRobot, try_bad_start, try_case

pytestmark = [pytest.mark.acceptance, pytest.mark.real_time, pytest.mark.ros]

ROBOTS: dict[str, tuple[Any, type[Stack]]] = {
    "lite3": (lite3, lite3.Lite3Stack),
    "go2": (go2, go2.Go2Stack),
    "g1": (g1, g1.G1Stack),
    "arm": (arm, arm.ArmStack),
}
with suppress(ModuleNotFoundError):  # its workspace is not sourced
    from tools.robot_faults import my_robot

    ROBOTS["my_robot"] = my_robot, my_robot.MyRobotStack


def of_robots(part: str) -> list[object]:
    """Return parameters: processes of a robot, and each fault of a part of its module."""
    return [
        pytest.param(stack, fault, id=f"{robot}: {fault.what}")
        for robot, (module, stack) in ROBOTS.items()
        for fault in getattr(module, part)()
    ]


@pytest.fixture(scope="module")
def kept() -> Iterator[KeptRobot]:
    """The robot of the case before, if it still walks."""
    robot = KeptRobot()
    yield robot
    robot.take(Stack)


# A machine that does something else for a moment is no fault of the robot's.
in_three_tries = pytest.mark.flaky(reruns=2, only_rerun=["OperatorError", "SimError"])


@in_three_tries
@pytest.mark.parametrize(("stack", "case"), of_robots("cases"))
def test_a_robot_that_walks_is_damped_or_walks_on(
    stack: type[Stack],
    case: Case,
    tmp_path: Path,
    kept: KeptRobot,
    record_property: Callable[[str, object], None],
) -> None:
    record_property("group", case.group)
    record_property("what", case.what)
    ending = try_case(stack, case, tmp_path, kept)
    for name, value in asdict(ending).items():
        record_property(name, value)
    assert ending.as_wanted, ending.ended


@in_three_tries
@pytest.mark.parametrize(("stack", "start"), of_robots("bad_starts"))
def test_control_is_refused(
    stack: type[Stack],
    start: BadStart,
    tmp_path: Path,
    kept: KeptRobot,
    record_property: Callable[[str, object], None],
) -> None:
    record_property("group", "start")
    record_property("what", start.what)
    kept.take(Stack)  # ends it
    ending = try_bad_start(stack, start, tmp_path)
    for name, value in asdict(ending).items():
        record_property(name, value)
    assert ending.as_wanted, ending.ended
