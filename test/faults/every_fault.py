# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Everything goes wrong for an emulated robot that moves; each fault ends as it should.

About 15 minutes of real time for each robot, on a machine with nothing else to do, so that pytest
runs this file only by its name. `tools/fault_page.py` has the commands, and makes docs/faults.md
from the results.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tools.robot_faults import arm, g1, go2, lite3
from tools.robot_faults.cases import BadStart, Case
from tools.robot_faults.stack import Stack
from tools.robot_faults.trial import Ending, KeptRobot, try_bad_start, try_case

pytestmark = [pytest.mark.acceptance, pytest.mark.real_time, pytest.mark.ros]

ROBOTS: dict[str, tuple[Any, type[Stack]]] = {
    "lite3": (lite3, lite3.Lite3Stack),
    "go2": (go2, go2.Go2Stack),
    "arm": (arm, arm.ArmStack),
}
if g1.BUNDLE in os.environ:
    ROBOTS["g1"] = g1, g1.G1Stack
with suppress(ModuleNotFoundError):  # its workspace is not sourced
    from tools.robot_faults import my_robot

    ROBOTS["my_robot"] = my_robot, my_robot.MyRobotStack
Record = Callable[[str, object], None]


def of_robots(part: str) -> list[object]:
    """Return parameters: a robot, its processes, and each fault of a part of its module."""
    return [
        pytest.param(robot, stack, fault, id=f"{robot}: {fault.what}")
        for robot, (module, stack) in ROBOTS.items()
        for fault in getattr(module, part)()
    ]


@pytest.fixture(scope="session", autouse=True)
def commit(record_testsuite_property: Record) -> None:
    """The commit, for the page: results of different ones are not put together."""
    described = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    found = subprocess.run(
        described, cwd=Path(__file__).parent, check=True, capture_output=True, text=True
    )
    record_testsuite_property("commit", found.stdout.strip())


@pytest.fixture(scope="module")
def kept() -> Iterator[KeptRobot]:
    """The robot of the case before, if it still moves."""
    robot = KeptRobot()
    yield robot
    robot.take(Stack)


# A machine that does something else for a moment is no fault of the robot's.
in_three_tries = pytest.mark.flaky(reruns=2, only_rerun=["OperatorError", "SimError"])


@in_three_tries
@pytest.mark.parametrize(("robot", "stack", "case"), of_robots("cases"))
def test_a_robot_that_moves_is_damped_or_goes_on(
    robot: str,
    stack: type[Stack],
    case: Case,
    tmp_path: Path,
    kept: KeptRobot,
    record_property: Record,
) -> None:
    record_all(record_property, robot=robot, group=case.group, what=case.what)
    require_wanted(try_case(stack, case, tmp_path, kept), record_property)


@in_three_tries
@pytest.mark.parametrize(("robot", "stack", "start"), of_robots("bad_starts"))
def test_control_is_refused(
    robot: str,
    stack: type[Stack],
    start: BadStart,
    tmp_path: Path,
    kept: KeptRobot,
    record_property: Record,
) -> None:
    record_all(record_property, robot=robot, group="start", what=start.what)
    kept.take(Stack)  # ends it
    require_wanted(try_bad_start(stack, start, tmp_path), record_property)


def require_wanted(ending: Ending, record_property: Record) -> None:
    record_all(record_property, **asdict(ending))
    assert ending.as_wanted, ending.ended


def record_all(record_property: Record, **values: object) -> None:
    for name, value in values.items():
        record_property(name, value)
