# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Rows come from ticks in RUN, as far as a recording states the robot's modes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.interfaces import Nodetype

from model_tools.errors import ToolError
from model_tools.files.bags.bag import Bag
from model_tools.files.row_files import read_rows
from policy_core.bundle.bundle import JointBundle
from policy_core.interfaces import Mode
from testkit.bags import MS, TYPES, Said, in_log, stamp, write_bag
from testkit.wording import check_wording, lines_with, refusal

from ...prove.replaying.small_flights import SmallFlight
from ...small_bag import every, joint_states

COMMAND, TICK, STATUS = "joint_command", "policy_tick", "joint_policy_node/status"
TYPES_OF = {COMMAND: "JointCommand", TICK: "PolicyTick", STATUS: "PolicyStatus"}
FLIGHT = ((1000, Mode.STAND), (1200, Mode.RUN), (1300, Mode.RUN), (1400, Mode.DAMP))
"""Times (ms) and modes."""
RUN_S = [1.2, 1.22, 1.24, 1.26, 1.28, 1.3, 1.32, 1.34, 1.36, 1.38]


def blank_message(type_name: str) -> Any:
    """Return a message whose values are all zero or empty."""
    _, fields = TYPES.fielddefs[type_name]
    return TYPES.types[type_name](**{name: blank_value(*field) for name, field in fields})


def blank_value(node: Nodetype, detail: Any) -> Any:
    if node == Nodetype.NAME:
        return blank_message(detail)
    if node == Nodetype.BASE:
        return "" if detail[0] == "string" else 0
    (element, kind), _ = detail
    return np.zeros(0, kind[0]) if element == Nodetype.BASE and kind[0] != "string" else []


def modes(topic: str, said: Sequence[tuple[int, Mode]], space: str = "/") -> list[Said]:
    kind, messages = f"policy_msgs/msg/{TYPES_OF[topic]}", list[Said]()
    for time_ms, mode in said:
        message = blank_message(kind)
        message.stamp, message.mode = stamp(time_ms * MS), mode.value
        messages.append((f"{space}{topic}", time_ms * MS, message))
    return messages


@pytest.mark.parametrize("topic", TYPES_OF)
def test_only_ticks_in_run_are_rows(tiny: JointBundle, tmp_path: Path, topic: str) -> None:
    said = [*joint_states(every(10, 1000, 1500)), *modes(topic, FLIGHT)]

    rows = read_rows(write_bag(tmp_path / "bag", in_log(said)), tiny)

    np.testing.assert_allclose(rows.sensed["joint_pos"][:, 0], RUN_S)


def test_a_mode_that_nobody_states_any_more_ends(tiny: JointBundle, tmp_path: Path) -> None:
    said = [(1000, Mode.RUN), (3000, Mode.DAMP), (3100, Mode.RUN)]
    joints = joint_states(every(10, 1000, 3200))

    rows = read_rows(write_bag(tmp_path / "bag", in_log([*joints, *modes(STATUS, said)])), tiny)

    assert rows.sensed["joint_pos"][-2:, 0].tolist() == pytest.approx([1.98, 3.1])


def test_the_modes_are_those_of_the_robot_whose_inputs_are_read(
    tiny: JointBundle, tmp_path: Path
) -> None:
    said = [
        *joint_states(every(10, 1000, 1500), topic="/a/joint_states"),
        *modes(COMMAND, FLIGHT, "/a/"),
        *modes(COMMAND, [(1000, Mode.DAMP)], "/b/"),
        *modes(TICK, [(1000, Mode.DAMP)], "/a/shadow/"),
    ]

    rows = read_rows(write_bag(tmp_path / "bag", in_log(said)), tiny)

    np.testing.assert_allclose(rows.sensed["joint_pos"][:, 0], RUN_S)


@pytest.mark.parametrize("nodes", [(), ("a/", "b/")], ids=["none", "two"])
def test_without_known_modes_all_ticks_are_rows_and_the_log_says_so(
    tiny: JointBundle, tmp_path: Path, caplog: pytest.LogCaptureFixture, nodes: Sequence[str]
) -> None:
    said = joint_states(every(10, 1000, 1500))
    for node in nodes:
        said += [(f"/{node}status", *rest) for _, *rest in modes(STATUS, FLIGHT)]

    rows = read_rows(write_bag(tmp_path / "bag", in_log(said)), tiny)

    assert len(rows) == 26
    check_wording(*lines_with(caplog.messages, "DAMP"))


def test_a_recording_without_run_is_refused(tiny: JointBundle, tmp_path: Path) -> None:
    said = [*joint_states(every(10, 1000, 1500)), *modes(STATUS, [(1000, Mode.STAND)])]
    with refusal(ToolError):
        read_rows(write_bag(tmp_path / "bag", in_log(said)), tiny)


def test_the_rows_of_a_flight_are_what_its_policy_observed(
    tiny: JointBundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The history and the last action begin with RUN, as on the robot."""
    flight = SmallFlight(tiny)
    flight.stand_and_run(40)
    flight.controller.damp()
    flight.go_on(30)
    recording = flight.save(tmp_path / "flight")
    ticks = [tick for _, tick in Bag(recording).messages("/policy_tick")]
    observed = [
        np.frombuffer(tick.inputs[0].data.tobytes(), tick.inputs[0].dtype)
        for tick in ticks
        if tick.mode == Mode.RUN
    ]

    rows = read_rows(recording, tiny)

    assert len(observed) == 40
    assert len(ticks) > 100
    np.testing.assert_array_equal(rows.inputs["obs"], observed)
    check_wording(*lines_with(caplog.messages, "RUN"))
