# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The ACT policy node beside an arm with two cameras, in lockstep over topics."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from policy_msgs.msg import JointCommand
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import Image

from policy_inference.backends.onnx import OnnxBackend
from policy_inference.interfaces import Mode
from policy_inference.nodes.act_policy_node import ActPolicyNode
from testkit.ros_time import ns
from testkit.wording import check_wording

from .arm import FRONT, Arm, seen_positions
from .colour_bundle import JOINTS, RAMP, RATE_HZ, SIZE, SIZES, STEPS, write_colours
from .harness import NAN, SPOILT, Logged, StageOf, status_of_input

pytestmark = pytest.mark.ros

ArmStage = StageOf[Arm, ActPolicyNode]
Start = Callable[..., Arm]


def is_held(command: JointCommand, position: float = 0.0) -> bool:
    """Whether a command holds the measured pose."""
    return command.mode == JointCommand.MODE_HOLD_MEASURED and list(command.position) == [
        position
    ] * len(JOINTS)


def write_patient(folder: Path) -> Path:
    """Write a bundle for real time: on a machine with other work, everything may be late."""
    return write_colours(
        folder,
        {
            **{f"cameras.{name}.timeout_s": 30.0 for name in SIZES},
            "safety.state_timeout_s": 30.0,
            "safety.damp_after_s": 30.0,
            "pairing.tolerance_s": 5.0,
        },
    )


def runs_in_real_time(arm: Arm) -> None:
    arm.until(lambda: arm.ask("stand").success, "STAND")
    arm.until(lambda: arm.commands and arm.commands[-1].mode == Mode.READY, "READY")
    arm.request("run")


class TestImages:
    def test_joints_show_what_each_camera_sees(self, start_arm: Start) -> None:
        arm = start_arm().runs()

        assert arm.commands[-1].position == pytest.approx(seen_positions(), abs=1e-3)

    @pytest.mark.parametrize(
        ("encoding", "off"),
        [("rgb8", 0.001), ("bgr8", 0.001), ("yuv422_yuy2", 0.02), ("nv12", 0.02)],
    )
    def test_red_is_red(self, start_arm: Start, encoding: str, off: float) -> None:
        arm = start_arm()
        arm.colours["front"], arm.encodings["front"] = (255, 0, 0), encoding

        assert arm.runs().commands[-1].position[:3] == pytest.approx([1.0, 0.0, 0.0], abs=off)

    @pytest.mark.parametrize(("encoding", "off"), [("jpeg", 0.02), ("png", 0.001)])
    def test_compressed_red_is_red(self, start_arm: Start, encoding: str, off: float) -> None:
        arm = start_arm(image_transport="compressed")
        arm.encodings = dict.fromkeys(arm.encodings, encoding)
        arm.colours["front"] = (255, 0, 0)

        assert arm.runs().commands[-1].position[:3] == pytest.approx([1.0, 0.0, 0.0], abs=off)

    def test_grey_is_all_colours(self, start_arm: Start) -> None:
        arm = start_arm()
        arm.colours["front"], arm.encodings["front"] = (128, 128, 128), "mono8"

        assert arm.runs().commands[-1].position[:3] == pytest.approx([128 / 255] * 3, abs=1e-3)

    def test_image_of_another_size_is_stretched_where_the_contract_says_so(
        self, start_arm: Start, tmp_path: Path
    ) -> None:
        resizing = write_colours(tmp_path / "resizing", {"cameras.front.resize": True})
        arm = start_arm(resizing)
        arm.sizes["front"] = (480, 640)

        assert arm.runs().commands[-1].position == pytest.approx(seen_positions(), abs=1e-3)


class TestBadInput:
    @pytest.fixture
    def running_arm(self, start_arm: Start) -> Arm:
        """An arm whose policy runs."""
        return start_arm().runs()

    def holds(self, arm: Arm) -> None:
        """Wait for HOLD with the reason in the status, and the last target."""
        before = list(arm.commands[-1].position)
        arm.until(lambda: arm.tick().mode == Mode.HOLD, "HOLD")
        status = arm.reported(lambda status: status.mode == Mode.HOLD, "HOLD in the status")
        check_wording(status.reason)
        assert arm.commands[-1].position == pytest.approx(before, abs=STEPS * RAMP)

    def recovers(self, arm: Arm) -> None:
        arm.until(lambda: arm.tick().mode == Mode.RUN, "RUN again")

    def test_camera_that_dies_holds_and_one_that_returns_goes_on(self, running_arm: Arm) -> None:
        running_arm.silent.add("wrist")
        self.holds(running_arm)
        running_arm.silent.clear()
        self.recovers(running_arm)

    def test_camera_that_stays_away_latches_the_measured_pose(self, running_arm: Arm) -> None:
        running_arm.silent.add("wrist")
        running_arm.until(lambda: is_held(running_arm.tick()), "the measured pose")
        status = running_arm.reported(lambda status: status.latched, "a latched fault")

        assert status.reason.startswith("held_too_long: wrist/image_raw")

    @pytest.mark.parametrize("encoding", ["bayer_rggb8", "rgba8", "16UC1"])
    def test_wrong_encoding_holds_and_is_named(self, running_arm: Arm, encoding: str) -> None:
        running_arm.encodings["front"] = encoding
        self.holds(running_arm)
        running_arm.encodings["front"] = "bgr8"
        self.recovers(running_arm)

    @pytest.mark.parametrize("spoilt", ["truncated", "marked big-endian"])
    def test_image_that_cannot_be_read_holds_and_is_named(
        self, running_arm: Arm, spoilt: str
    ) -> None:
        # Half a header: of a message that lacks pixels, the size is reported.
        running_arm.spoilt["front"] = lambda data: SPOILT[spoilt](data[:40])
        self.holds(running_arm)
        running_arm.spoilt.clear()
        self.recovers(running_arm)

    def test_change_of_resolution_holds_and_names_both_sizes(self, running_arm: Arm) -> None:
        running_arm.sizes["front"] = (480, 640)
        self.holds(running_arm)
        running_arm.sizes["front"] = (16, 24)
        self.recovers(running_arm)

    @pytest.mark.parametrize("encoding", ["rgb8", "jpeg"])
    def test_camera_that_repeats_an_image_while_the_arm_moves_is_warned_of_once(
        self, start_arm: Start, encoding: str
    ) -> None:
        transport = "compressed" if encoding == "jpeg" else "raw"
        arm = start_arm(image_transport=transport)
        arm.encodings = dict.fromkeys(arm.encodings, encoding)
        arm.runs()
        for step in range(40):
            arm.position = (0.01 * step,) * len(JOINTS)
            arm.colours["front"] = (200, 100, 3 * step)  # the wrist's stays as it is
            arm.tick()
        said = arm.hears("camera wrist", level="WARN")
        status = arm.reported(lambda s: not status_of_input(s, "wrist/image_raw").ok, "the camera")
        assert status_of_input(status, "front/image_raw").ok
        assert status.mode == Mode.RUN
        arm.colours["wrist"] = (0, 150, 0)
        arm.tick()
        back = arm.hears("camera wrist", level="INFO")
        check_wording(said, back)
        assert [each.text for each in arm.logged()].count(said) == 1

    @pytest.mark.parametrize("cut_bytes", [1, 2, 100, 300])
    def test_truncated_jpeg_holds(self, start_arm: Start, cut_bytes: int) -> None:
        arm = start_arm(image_transport="compressed")
        arm.encodings = dict.fromkeys(arm.encodings, "jpeg")
        arm.runs()

        arm.cut_bytes = cut_bytes
        self.holds(arm)
        arm.cut_bytes = 0
        self.recovers(arm)

    def test_nan_in_the_state_is_a_fault(self, running_arm: Arm) -> None:
        running_arm.position = (0.0, NAN, 0.0, 0.0)
        running_arm.until(lambda: is_held(running_arm.tick()), "the measured pose")
        status = running_arm.reported(lambda status: status.latched, "a latched fault")

        assert status.reason.startswith("not_finite: joint_pos")

    def test_nan_in_the_middle_of_a_chunk_is_a_fault_before_any_step_of_it(
        self, start_arm: Start
    ) -> None:
        arm = start_arm(mode="synchronous").runs()
        arm.colours["front"] = (0, 0, 0)
        arm.until(lambda: is_held(arm.tick()), "the measured pose")
        status = arm.reported(lambda status: status.latched, "a latched fault")

        assert status.reason.startswith("not_finite: output")
        ran = [command for command in arm.commands if command.mode == Mode.RUN]
        assert min(command.position[0] for command in ran) >= FRONT[0] / 255 - 1e-6
        assert all(math.isfinite(value) for chunk in arm.chunks for value in chunk.data)

    def test_camera_that_never_sent_refuses_standing_up(self, start_arm: Start) -> None:
        arm = start_arm()
        arm.silent.add("front")
        arm.is_met()
        arm.tick()

        arm.refusal("stand")


class TestModes:
    def test_synchronous_executes_the_steps_of_each_chunk_in_turn(self, start_arm: Start) -> None:
        arm = start_arm(mode="synchronous").runs()
        first = seen_positions()[0]

        told = [arm.commands[-1].position[0], *arm.moves(2 * STEPS - 1)]

        assert told == pytest.approx([first + RAMP * k for k in range(STEPS)] * 2, abs=1e-6)

    def test_synchronous_holds_while_a_chunk_is_computed(self, start_arm: Start) -> None:
        arm = start_arm(mode="synchronous", simulated_latency_s=0.1).runs()

        modes = [arm.tick().mode for _ in range(STEPS + 1)]

        assert modes == [Mode.RUN] * (STEPS - 1) + [Mode.HOLD] * 2
        check_wording(arm.reported(lambda status: status.mode == Mode.HOLD, "HOLD").reason)

    def test_hold_is_logged_as_an_error_but_for_the_one_until_the_first_chunk(
        self, start_arm: Start
    ) -> None:
        arm = start_arm(mode="synchronous", simulated_latency_s=0.1).runs()
        arm.until(lambda: arm.tick().mode == Mode.HOLD, "HOLD")

        check_wording(arm.hears("HOLD: ", level="INFO"), arm.hears("HOLD: ", level="ERROR"))

    def test_asynchronous_never_waits_for_a_chunk(self, start_arm: Start) -> None:
        arm = start_arm(simulated_latency_s=0.1, n_action_steps=8).runs()

        assert {arm.tick().mode for _ in range(4 * SIZE)} == {Mode.RUN}
        assert len(arm.chunks) >= 5

    def test_asynchronous_leaves_out_the_steps_that_have_passed(self, start_arm: Start) -> None:
        arm = start_arm(
            simulated_latency_s=0.1, fade_s=0.0, n_action_steps=8, refill_threshold=1.0
        ).runs()
        first = seen_positions()[0]

        told = arm.moves(3 * SIZE)

        # Two periods after the observation step 2 is due, and with it the next chunk is asked for.
        assert min(told[-SIZE:]) == pytest.approx(first + 2 * RAMP, abs=1e-6)

    def test_ensemble_is_the_mean_of_all_predictions(self, start_arm: Start) -> None:
        arm = start_arm(mode="ensemble").runs()
        first, told = seen_positions()[0], arm.moves(2 * SIZE)
        weights = np.exp(-0.01 * np.arange(SIZE))
        steps = np.arange(SIZE)[::-1]  # the oldest prediction, whose last step it is, first

        assert told[-1] == pytest.approx(first + RAMP * (weights @ steps) / weights.sum(), abs=1e-6)

    @pytest.mark.parametrize(
        "parameters",
        [
            pytest.param({"mode": "ensemble", "simulated_latency_s": 0.06}, id="slow ensemble"),
            pytest.param({"simulated_latency_s": 0.6}, id="longer than HOLD may last"),
            pytest.param({"n_action_steps": SIZE + 1}, id="more steps than a chunk has"),
        ],
    )
    def test_settings_that_cannot_be_executed_are_refused(
        self, arm_stage: ArmStage, tmp_path: Path, parameters: dict[str, object]
    ) -> None:
        bundle = str(write_colours(tmp_path / "colours"))
        arm_stage.refuses(bundle=bundle, use_sim_time=True, **parameters)

    def test_run_ends_after_the_time_asked_for(self, start_arm: Start) -> None:
        arm = start_arm(run_for_s=1.0).runs()

        ticks = 1 + next(i for i in range(100) if arm.tick().mode != Mode.RUN)

        assert ticks == RATE_HZ + 1  # the tick at which the time is over still runs
        assert is_held(arm.commands[-1])
        status = arm.reported(lambda status: status.mode == Mode.DAMP, "DAMP")
        assert not status.latched
        assert "run_for_s" in status.reason


class TestRealTime:
    def test_chunks_come_beside_the_ticks(self, start_arm: Start, tmp_path: Path) -> None:
        patient = write_patient(tmp_path / "patient")
        arm = start_arm(patient, use_sim_time=False, command_valid_for_s=1.0)
        arm.node.create_timer(1.0 / RATE_HZ, arm.send_now)
        runs_in_real_time(arm)
        arm.until(lambda: len(arm.chunks) > 3, "chunks")
        arm.until(lambda: arm.commands[-1].mode == Mode.RUN, "RUN")

        assert arm.commands[-1].position[:3] == pytest.approx(seen_positions()[:3], abs=SIZE * RAMP)
        assert all(
            ns(after.stamp) > ns(before.stamp)
            for before, after in zip(arm.chunks, arm.chunks[1:], strict=False)
        )
        arm.colours["front"] = (0, 0, 0)
        arm.until(lambda: is_held(arm.commands[-1]), "the measured pose")


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

    def test_diagnostics_tell_how_chunks_keep_up(self, start_arm: Start) -> None:
        arm = start_arm(mode="synchronous").runs()
        arm.moves(4 * STEPS)
        before = len(arm.diagnostics)
        arm.until(lambda: len(arm.diagnostics) > before + 1, "diagnostics")

        values = {pair.key: pair.value for pair in arm.diagnostics[-1].status[0].values}

        assert values["chunk.mode"] == "synchronous"
        assert int(values["chunk.count"]) == len(arm.chunks)
        assert float(values["chunk.rate_hz"]) == pytest.approx(RATE_HZ / STEPS, rel=0.3)
        assert 0 <= int(values["chunk.steps_left"]) <= STEPS
        assert float(values["camera.front.age_s"]) == pytest.approx(0.0, abs=1e-9)

    def test_joint_that_swings_about_a_target_that_stands_still_is_named(
        self, start_arm: Start
    ) -> None:
        arm = start_arm(mode="synchronous", n_action_steps=1).runs()
        for tick in range(4 * RATE_HZ):
            arm.position = (0.0, 0.0, 0.05 * (-1) ** (tick // 3), 0.0)
            arm.tick()

        # What is logged once may have been seen while the arm began to swing.
        arm.hears("blue swings", level="WARN")
        before = len(arm.diagnostics)
        arm.until(lambda: len(arm.diagnostics) > before + 1, "diagnostics")
        check_wording(arm.diagnostics[-1].status[0].message)

    def test_status_has_every_camera_among_its_inputs(self, start_arm: Start) -> None:
        arm = start_arm()
        arm.encodings["front"] = "rgba8"
        arm.is_met()
        status = arm.reported(
            lambda status: any("rgba8" in entry.text for entry in status.inputs), "the problem"
        )

        assert [entry.name for entry in status.inputs] == [
            "joint_states",
            "front/image_raw",
            "wrist/image_raw",
        ]
        assert {entry.name: entry.ok for entry in status.inputs}["wrist/image_raw"]

    def test_second_publisher_on_a_camera_refuses_motion(self, start_arm: Start) -> None:
        arm = start_arm()
        arm.is_met()
        arm.is_joined_by_publisher(arm.node, Image, "front/image_raw")

        arm.refusal("stand")


class TestOutputs:
    @pytest.mark.parametrize("output", ["position_array", "joint_trajectory", "joint_state"])
    def test_arm_that_holds_is_commanded_by_any_kind_of_message(
        self, arm_stage: ArmStage, tmp_path: Path, output: str
    ) -> None:
        node = arm_stage.node(bundle=str(write_colours(tmp_path / "colours")), output=output)

        assert node.trigger_configure() is TransitionCallbackReturn.SUCCESS

    def test_arm_that_must_damp_is_not(self, arm_stage: ArmStage, tmp_path: Path) -> None:
        damping = write_colours(tmp_path / "damping", {"safety.on_fault": "damp"})
        arm_stage.refuses(bundle=str(damping), output="joint_state")


class TestLeaving:
    def test_node_that_ends_holds_the_measured_pose(
        self, start_arm: Start, arm_stage: ArmStage
    ) -> None:
        arm = start_arm().runs()
        arm.position = (0.1,) * len(JOINTS)
        arm.tick()

        arm_stage.nodes[0].halt()

        arm.until(lambda: is_held(arm.commands[-1], 0.1), "the measured pose")

    def test_estop_holds_at_once(self, start_arm: Start) -> None:
        arm = start_arm().runs()

        assert arm.ask("estop").message == "DAMP"
        arm.until(lambda: is_held(arm.commands[-1]), "the measured pose")
        assert is_held(arm.tick())

    def test_run_after_a_stop_waits_for_a_chunk_of_its_own(self, start_arm: Start) -> None:
        arm = start_arm(simulated_latency_s=0.15, n_action_steps=8).runs()
        arm.request("damp")
        arm.colours["front"] = (50, 100, 200)
        arm.until(lambda: is_held(arm.tick()), "the measured pose")
        before = len(arm.commands)

        arm.runs()

        ran = [command for command in arm.commands[before:] if command.mode == Mode.RUN]
        assert all(command.position[0] < 0.4 for command in ran)

    def test_inference_that_wants_to_leave_is_a_fault_and_runs_again_after_a_reset(
        self, start_arm: Start, arm_stage: ArmStage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        patient = write_patient(tmp_path / "patient")
        arm = start_arm(patient, use_sim_time=False, command_valid_for_s=1.0)

        def leave(_: OnnxBackend) -> None:
            raise SystemExit("from deep inside")

        arm.node.create_timer(1.0 / RATE_HZ, arm.send_now)
        runs_in_real_time(arm)
        arm.until(lambda: arm.commands[-1].mode == Mode.RUN, "RUN")
        monkeypatch.setattr(OnnxBackend, "run", leave)
        arm.until(lambda: is_held(arm.commands[-1]), "the measured pose")
        status = arm.reported(lambda status: status.latched, "a latched fault")
        assert status.reason.split(": ")[:2] == ["internal", "SystemExit"]
        arm.hears("Traceback", "in leave")
        monkeypatch.undo()
        arm.request("reset")
        runs_in_real_time(arm)
        arm.until(lambda: arm.commands[-1].mode == Mode.RUN, "RUN again")
        assert not arm_stage.nodes[0].policy.problem

    def test_what_opening_takes_is_logged_before_a_graph_runs(
        self, start_arm: Start, arm_stage: ArmStage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        logged, run = list[list[Logged]](), OnnxBackend.run

        def look(backend: OnnxBackend) -> None:
            logged.append(arm_stage.robot.logged())
            run(backend)

        monkeypatch.setattr(OnnxBackend, "run", look)
        start_arm()

        check_wording(next(each.text for each in logged[0] if "trial" in each.text))

    def test_run_that_hangs_in_a_graph_is_left_behind(
        self, start_arm: Start, arm_stage: ArmStage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        patient = write_patient(tmp_path / "patient")
        arm = start_arm(patient, use_sim_time=False, command_valid_for_s=1.0)
        hangs, goes_on = threading.Event(), threading.Event()

        def hang(_: OnnxBackend) -> None:
            hangs.set()
            goes_on.wait()

        monkeypatch.setattr(OnnxBackend, "run", hang)
        arm.node.create_timer(1.0 / RATE_HZ, arm.send_now)
        runs_in_real_time(arm)
        arm.until(hangs.is_set, "a run that hangs")
        arm.until(lambda: arm.commands[-1].mode == Mode.HOLD, "HOLD: no tick waits for it")
        node = arm_stage.nodes[0]

        assert node.trigger_shutdown() is TransitionCallbackReturn.SUCCESS
        assert node.left_behind
        goes_on.set()
        arm.until(lambda: not node.left_behind, "the end of the run")

    def test_node_can_be_configured_again(self, start_arm: Start, arm_stage: ArmStage) -> None:
        arm, node = start_arm().runs(), arm_stage.nodes[0]

        for transition in ("deactivate", "cleanup", "configure", "activate"):
            assert getattr(node, f"trigger_{transition}")() is TransitionCallbackReturn.SUCCESS
        arm.runs()
