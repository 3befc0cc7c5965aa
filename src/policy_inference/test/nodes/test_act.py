# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The ACT policy node beside an arm with two cameras, in lockstep over topics."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from policy_msgs.msg import ActionChunk, JointCommand, PolicyStatus
from rclpy.lifecycle import TransitionCallbackReturn

from policy_core.interfaces import Mode
from policy_inference.nodes.outputs import CHUNKS
from testkit.ros_time import ns
from testkit.wording import check_wording

from .arm import Arm, seen_positions
from .colour_bundle import JOINTS, RAMP, RATE_HZ, SIZE, SIZES, STEPS, write_colours
from .harness import Activate, runs_hang
from .kinds import CHUNK, Kind

pytestmark = pytest.mark.ros

Start = Callable[..., Arm]


@pytest.fixture
def kind() -> Kind:
    return CHUNK


@pytest.fixture
def start_arm(activate: Activate, partner: Arm) -> Start:
    """Configure and activate a node in lockstep, with parameters; return the arm."""

    def start_one(**parameters: object) -> Arm:
        activate(**{"use_sim_time": True, "status_rate_hz": 50.0, **parameters})
        return partner

    return start_one


def write_patient(folder: Path) -> str:
    """Write a bundle for real time: on a machine with other work, everything may be late."""
    changes = {
        **{f"cameras.{name}.timeout_s": 30.0 for name in SIZES},
        "safety.state_timeout_s": 30.0,
        "safety.damp_after_s": 30.0,
        "pairing.tolerance_s": 5.0,
    }
    return str(write_colours(folder, changes))


def runs_in_real_time(arm: Arm) -> None:
    arm.until(lambda: arm.ask("stand").success, "STAND")
    arm.until(lambda: arm.commands and arm.commands[-1].mode == Mode.READY, "READY")
    arm.request("run")


def test_joints_show_what_each_camera_sees(start_arm: Start) -> None:
    arm = start_arm(image_transport="compressed")
    arm.encodings = dict.fromkeys(arm.encodings, "jpeg")
    assert arm.runs().commands[-1].position == pytest.approx(seen_positions(), abs=0.02)


def test_chunks_alone_are_sent_by_one_node_to_one_that_executes_them(start_arm: Start) -> None:
    arm = start_arm(output=CHUNKS)  # which listens to chunks
    assert arm.node.count_publishers("joint_command") == 0
    assert CHUNKS not in arm.ask("stand").message
    arm.node.create_publisher(ActionChunk, CHUNKS, 10)
    arm.until(lambda: f"publishers on /{CHUNKS}" in arm.ask("stand").message, "a refusal")


BAD_IMAGES: Mapping[str, Callable[[Arm], object]] = {
    "silent": lambda arm: arm.silent.add("front"),
    "encoding": lambda arm: arm.encodings.update(front="rgba8"),
}


@pytest.mark.parametrize("case", BAD_IMAGES)
def test_image_that_cannot_be_used_holds_until_one_can(start_arm: Start, case: str) -> None:
    arm = start_arm().runs()
    before = list(arm.commands[-1].position)
    BAD_IMAGES[case](arm)
    arm.until(lambda: arm.tick().mode == Mode.HOLD, "HOLD")
    status = arm.reported(lambda status: status.mode == Mode.HOLD, "the reason")
    check_wording(status.reason)
    assert arm.commands[-1].position == pytest.approx(before, abs=STEPS * RAMP)
    arm.silent.clear()
    arm.encodings["front"] = "rgb8"
    arm.until(lambda: arm.tick().mode == Mode.RUN, "RUN again")


class TestModes:
    def test_run_ends_after_the_time_asked_for(self, start_arm: Start) -> None:
        arm = start_arm(run_for_s=1.0).runs()
        ticks = 1 + next(i for i in range(100) if arm.tick().mode != Mode.RUN)
        assert ticks == RATE_HZ + 1  # the tick at which the time is over still runs
        assert arm.commands[-1].mode == JointCommand.MODE_HOLD_MEASURED
        assert list(arm.commands[-1].position) == [0.0] * len(JOINTS)
        status = arm.reported(lambda status: status.mode == Mode.DAMP, "DAMP")
        assert not status.latched
        assert "run_for_s" in status.reason

    def test_the_signal_of_success_ends_the_run_and_is_in_the_status(
        self, start_arm: Start, tmp_path: Path
    ) -> None:
        signal = {"joints": {JOINTS[0]: [0.2, 2.0]}, "for_s": 0.2, "then": "end"}
        bundle = write_colours(tmp_path / "done", {"success": signal})
        arm = start_arm(bundle=str(bundle)).runs()
        arm.reported(lambda status: status.success == PolicyStatus.SUCCESS_AWAITED, "the signal")
        for step in range(5):
            arm.position = (0.05 * step,) * len(JOINTS)
            assert arm.tick().mode == Mode.RUN
        arm.until(lambda: arm.tick().mode != Mode.RUN, "the end of the run")
        assert arm.commands[-1].mode == JointCommand.MODE_HOLD_MEASURED
        status = arm.reported(lambda status: status.mode == Mode.DAMP, "the end of the run")
        assert status.success == PolicyStatus.SUCCESS_REACHED
        assert not status.latched
        check_wording(status.reason)


class TestRealTime:
    def test_chunks_come_beside_the_ticks(self, start_arm: Start, tmp_path: Path) -> None:
        patient = write_patient(tmp_path / "patient")
        arm = start_arm(bundle=patient, use_sim_time=False, command_valid_for_s=1.0)
        arm.node.create_timer(1.0 / RATE_HZ, arm.send_now)
        runs_in_real_time(arm)
        arm.until(lambda: len(arm.chunks) > 3, "chunks")
        arm.until(lambda: arm.commands[-1].mode == Mode.RUN, "RUN")
        assert arm.commands[-1].position[:3] == pytest.approx(seen_positions()[:3], abs=SIZE * RAMP)
        assert all(
            ns(after.stamp) > ns(before.stamp)
            for before, after in zip(arm.chunks, arm.chunks[1:], strict=False)
        )


class TestReports:
    def test_chunk_is_published_with_the_time_of_its_observation(self, start_arm: Start) -> None:
        arm = start_arm(mode="synchronous").runs()
        arm.until(lambda: arm.chunks, "a chunk")
        chunk = arm.chunks[0]
        assert (list(chunk.names), chunk.steps) == (list(JOINTS), SIZE)
        assert chunk.period_s == pytest.approx(1 / RATE_HZ)
        assert (ns(chunk.stamp), chunk.sequence) == (ns(arm.commands[-1].stamp), 0)
        rows = np.array(chunk.data).reshape(SIZE, len(JOINTS))
        assert rows[0] == pytest.approx(seen_positions(), abs=1e-3)
        assert rows[-1] - rows[0] == pytest.approx((SIZE - 1) * RAMP, abs=1e-5)


class TestLeaving:
    @pytest.mark.acceptance
    def test_run_that_hangs_in_a_graph_is_left_behind(
        self, start_arm: Start, node_stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        patient = write_patient(tmp_path / "patient")
        arm = start_arm(bundle=patient, use_sim_time=False, command_valid_for_s=1.0)
        with runs_hang(monkeypatch) as hangs:
            arm.node.create_timer(1.0 / RATE_HZ, arm.send_now)
            runs_in_real_time(arm)
            arm.until(hangs.is_set, "a run that hangs")
            arm.until(lambda: arm.commands[-1].mode == Mode.HOLD, "HOLD: no tick waits for it")
            node = node_stage.nodes[0]
            assert node.trigger_shutdown() is TransitionCallbackReturn.SUCCESS
            assert node.left_behind
        arm.until(lambda: not node.left_behind, "the end of the run")
