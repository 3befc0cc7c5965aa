# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The ACT policy node beside an arm with two cameras, in lockstep over topics."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rclpy
from policy_msgs.msg import JointCommand
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import Image

from policy_inference.backends.onnx import OnnxBackend
from policy_inference.interfaces import Mode
from policy_inference.nodes.act_policy_node import ActPolicyNode

from .arm import FRONT, Arm, seen
from .colour_bundle import JOINTS, RAMP, RATE_HZ, SIZE, SIZES, STEPS, write_colours
from .harness import NAN, SPOILT, StageOf, ns

pytestmark = pytest.mark.ros

ArmStage = StageOf[Arm, ActPolicyNode]
Start = Callable[..., Arm]


@pytest.fixture
def stage(new_log: Callable[[], str]) -> Iterator[ArmStage]:
    """Nodes and an arm; all ends with the test."""
    rclpy.init(args=[])
    stage = StageOf(Arm, ActPolicyNode, new_log)
    yield stage
    stage.close()
    rclpy.shutdown()


@pytest.fixture
def arm(stage: ArmStage) -> Arm:
    """The arm of the stage."""
    return stage.robot


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Folder of a bundle without fault."""
    return write_colours(tmp_path / "colours")


@pytest.fixture
def start(stage: ArmStage, bundle: Path) -> Start:
    """Configure and activate a node in lockstep, with parameters; return the arm."""

    def start_one(**parameters: object) -> Arm:
        node = stage.node(
            **{"bundle": str(bundle), "use_sim_time": True, "status_rate_hz": 50.0, **parameters}
        )
        assert node.trigger_configure() is TransitionCallbackReturn.SUCCESS
        assert node.trigger_activate() is TransitionCallbackReturn.SUCCESS
        return stage.robot

    return start_one


def is_held(command: JointCommand, position: float = 0.0) -> bool:
    """Whether a command holds the measured pose."""
    return command.mode == JointCommand.MODE_HOLD_MEASURED and list(command.position) == [
        position
    ] * len(JOINTS)


def line_of(arm: Arm, text: str) -> str:
    """Return the line of the log that has this text."""
    return next(line for line in arm.hears(text).splitlines() if text in line)


class TestImages:
    def test_joints_show_what_each_camera_sees(self, start: Start) -> None:
        arm = start().runs()

        assert arm.commands[-1].position == pytest.approx(seen(), abs=1e-3)

    @pytest.mark.parametrize(
        ("encoding", "off"),
        [("rgb8", 0.001), ("bgr8", 0.001), ("yuv422_yuy2", 0.02), ("nv12", 0.02)],
    )
    def test_red_is_red(self, start: Start, encoding: str, off: float) -> None:
        arm = start()
        arm.colours["front"], arm.encodings["front"] = (255, 0, 0), encoding

        assert arm.runs().commands[-1].position[:3] == pytest.approx([1.0, 0.0, 0.0], abs=off)

    @pytest.mark.parametrize(("encoding", "off"), [("jpeg", 0.02), ("png", 0.001)])
    def test_compressed_red_is_red(self, start: Start, encoding: str, off: float) -> None:
        arm = start(image_transport="compressed")
        arm.encodings = dict.fromkeys(arm.encodings, encoding)
        arm.colours["front"] = (255, 0, 0)

        assert arm.runs().commands[-1].position[:3] == pytest.approx([1.0, 0.0, 0.0], abs=off)

    def test_grey_is_all_colours(self, start: Start) -> None:
        arm = start()
        arm.colours["front"], arm.encodings["front"] = (128, 128, 128), "mono8"

        assert arm.runs().commands[-1].position[:3] == pytest.approx([128 / 255] * 3, abs=1e-3)

    def test_image_of_another_size_is_stretched_where_the_contract_says_so(
        self, start: Start, tmp_path: Path
    ) -> None:
        resizing = write_colours(tmp_path / "resizing", {"cameras.front.resize": True})
        arm = start(bundle=str(resizing))
        arm.sizes["front"] = (480, 640)

        assert arm.runs().commands[-1].position == pytest.approx(seen(), abs=1e-3)


class TestBadInput:
    @pytest.fixture
    def runner(self, start: Start) -> Arm:
        """An arm whose policy runs."""
        return start().runs()

    def holds(self, arm: Arm, reason: str) -> None:
        """Wait for HOLD with this reason in the status, and the last target."""
        before = list(arm.commands[-1].position)
        arm.until(lambda: arm.tick().mode == Mode.HOLD, "HOLD")
        status = arm.reported(lambda status: status.mode == Mode.HOLD, "HOLD in the status")
        assert re.search(reason, status.reason), status.reason
        assert arm.commands[-1].position == pytest.approx(before, abs=STEPS * RAMP)

    def recovers(self, arm: Arm) -> None:
        arm.until(lambda: arm.tick().mode == Mode.RUN, "RUN again")

    def test_camera_that_dies_holds_and_one_that_returns_goes_on(self, runner: Arm) -> None:
        runner.silent.add("wrist")
        self.holds(runner, r"^wrist/image_raw: \d+ ms old")
        runner.silent.clear()
        self.recovers(runner)

    def test_camera_that_stays_away_latches_the_measured_pose(self, runner: Arm) -> None:
        runner.silent.add("wrist")
        runner.until(lambda: is_held(runner.tick()), "the measured pose")
        status = runner.reported(lambda status: status.latched, "a latched fault")

        assert status.reason.startswith("held_too_long: wrist/image_raw")

    @pytest.mark.parametrize("encoding", ["bayer_rggb8", "rgba8", "16UC1"])
    def test_wrong_encoding_holds_and_is_named(self, runner: Arm, encoding: str) -> None:
        runner.encodings["front"] = encoding
        self.holds(runner, rf"^front/image_raw: .*rgb8, bgr8, mono8.*found '{encoding}'")
        runner.encodings["front"] = "bgr8"
        self.recovers(runner)

    @pytest.mark.parametrize("spoilt", ["truncated", "marked big-endian"])
    def test_image_that_cannot_be_read_holds_and_is_named(self, runner: Arm, spoilt: str) -> None:
        # Half a header: of a message that lacks pixels, the size is reported.
        runner.spoilt["front"] = lambda data: SPOILT[spoilt](data[:40])
        self.holds(runner, r"^front/image_raw: .*expected a sensor_msgs/msg/Image, found \d+ bytes")
        runner.spoilt.clear()
        self.recovers(runner)

    def test_change_of_resolution_holds_and_names_both_sizes(self, runner: Arm) -> None:
        runner.sizes["front"] = (480, 640)
        self.holds(runner, r"^front/image_raw: .*24 x 16 pixels, found 640 x 480")
        runner.sizes["front"] = (16, 24)
        self.recovers(runner)

    @pytest.mark.parametrize("encoding", ["rgb8", "jpeg"])
    def test_camera_that_repeats_an_image_while_the_arm_moves_is_warned_of_once(
        self, start: Start, encoding: str
    ) -> None:
        transport = "compressed" if encoding == "jpeg" else "raw"
        arm = start(image_transport=transport)
        arm.encodings = dict.fromkeys(arm.encodings, encoding)
        arm.runs()
        for step in range(40):
            arm.position = (0.01 * step,) * len(JOINTS)
            arm.colours["front"] = (200, 100, 3 * step)  # the wrist's stays as it is
            arm.tick()
        said = "expected images that change while the robot moves, found "
        status = arm.reported(lambda s: any(said in e.text for e in s.inputs), "the camera")
        assert [e.name for e in status.inputs if said in e.text] == ["wrist/image_raw"]
        assert status.mode == Mode.RUN
        assert "[WARN]" in line_of(arm, f"camera wrist: {said}")
        arm.colours["wrist"] = (0, 150, 0)
        arm.tick()
        arm.hears("camera wrist: its images change again")
        assert arm.log.count(said) == 1

    @pytest.mark.parametrize("cut_bytes", [1, 2, 100, 300])
    def test_truncated_jpeg_holds(self, start: Start, cut_bytes: int) -> None:
        arm = start(image_transport="compressed")
        arm.encodings = dict.fromkeys(arm.encodings, "jpeg")
        arm.runs()

        arm.cut_bytes = cut_bytes
        self.holds(arm, r"^front/image_raw: .*whole JPEG, found one that is truncated")
        arm.cut_bytes = 0
        self.recovers(arm)

    def test_nan_in_the_state_is_a_fault(self, runner: Arm) -> None:
        runner.position = (0.0, NAN, 0.0, 0.0)
        runner.until(lambda: is_held(runner.tick()), "the measured pose")
        status = runner.reported(lambda status: status.latched, "a latched fault")

        assert status.reason.startswith("not_finite: joint_pos")

    def test_nan_in_the_middle_of_a_chunk_is_a_fault_before_any_step_of_it(
        self, start: Start
    ) -> None:
        arm = start(mode="synchronous").runs()
        arm.colours["front"] = (0, 0, 0)
        arm.until(lambda: is_held(arm.tick()), "the measured pose")
        status = arm.reported(lambda status: status.latched, "a latched fault")

        assert status.reason.startswith("not_finite: output of the model")
        ran = [command for command in arm.commands if command.mode == Mode.RUN]
        assert min(command.position[0] for command in ran) >= FRONT[0] / 255 - 1e-6
        assert all(math.isfinite(value) for chunk in arm.chunks for value in chunk.data)

    def test_camera_that_never_sent_refuses_standing_up(self, start: Start) -> None:
        arm = start()
        arm.silent.add("front")
        arm.is_met()
        arm.tick()

        answer = arm.ask("stand")

        assert not answer.success
        assert "front/image_raw: no message" in answer.message


class TestModes:
    def test_synchronous_executes_the_steps_of_each_chunk_in_turn(self, start: Start) -> None:
        arm = start(mode="synchronous").runs()
        first = seen()[0]

        told = [arm.commands[-1].position[0], *arm.moves(2 * STEPS - 1)]

        assert told == pytest.approx([first + RAMP * k for k in range(STEPS)] * 2, abs=1e-6)

    def test_synchronous_holds_while_a_chunk_is_computed(self, start: Start) -> None:
        arm = start(mode="synchronous", simulated_latency_s=0.1).runs()

        modes = [arm.tick().mode for _ in range(STEPS + 1)]

        assert modes == [Mode.RUN] * (STEPS - 1) + [Mode.HOLD] * 2
        arm.reported(
            lambda status: (
                "no step is left, and the next chunk is not there yet: "
                "inference takes 100 ms" in status.reason
            ),
            "the reason",
        )

    def test_hold_is_logged_as_an_error_but_for_the_one_until_the_first_chunk(
        self, start: Start
    ) -> None:
        arm = start(mode="synchronous", simulated_latency_s=0.1).runs()
        arm.until(lambda: arm.tick().mode == Mode.HOLD, "HOLD")

        assert "[INFO]" in line_of(arm, "HOLD: waiting for the first chunk")
        assert "[ERROR]" in line_of(arm, "HOLD: no step is left")

    def test_asynchronous_never_waits_for_a_chunk(self, start: Start) -> None:
        arm = start(simulated_latency_s=0.1, n_action_steps=8).runs()

        assert {arm.tick().mode for _ in range(4 * SIZE)} == {Mode.RUN}
        assert len(arm.chunks) >= 5

    def test_asynchronous_leaves_out_the_steps_that_have_passed(self, start: Start) -> None:
        arm = start(
            simulated_latency_s=0.1, fade_s=0.0, n_action_steps=8, refill_threshold=1.0
        ).runs()
        first = seen()[0]

        told = arm.moves(3 * SIZE)

        # Two periods after the observation step 2 is due, and with it the next chunk is asked for.
        assert min(told[-SIZE:]) == pytest.approx(first + 2 * RAMP, abs=1e-6)

    def test_ensemble_is_the_mean_of_all_predictions(self, start: Start) -> None:
        arm = start(mode="ensemble").runs()
        first, told = seen()[0], arm.moves(2 * SIZE)
        weights = np.exp(-0.01 * np.arange(SIZE))
        steps = np.arange(SIZE)[::-1]  # the oldest prediction, whose last step it is, first

        assert told[-1] == pytest.approx(first + RAMP * (weights @ steps) / weights.sum(), abs=1e-6)

    def test_ensemble_is_refused_where_inference_is_slower_than_a_period(
        self, stage: ArmStage, arm: Arm, bundle: Path
    ) -> None:
        node = stage.node(
            bundle=str(bundle), use_sim_time=True, mode="ensemble", simulated_latency_s=0.06
        )

        assert node.trigger_configure() is TransitionCallbackReturn.FAILURE
        arm.hears("mode ensemble: expected inference within a period of 50.0 ms")

    def test_inference_that_takes_longer_than_hold_may_last_is_refused(
        self, stage: ArmStage, arm: Arm, bundle: Path
    ) -> None:
        node = stage.node(bundle=str(bundle), use_sim_time=True, simulated_latency_s=0.6)

        assert node.trigger_configure() is TransitionCallbackReturn.FAILURE
        arm.hears("safety.damp_after_s: expected longer than the 0.600 s that a chunk takes here")

    def test_more_steps_than_a_chunk_has_are_refused(
        self, stage: ArmStage, arm: Arm, bundle: Path
    ) -> None:
        node = stage.node(bundle=str(bundle), n_action_steps=SIZE + 1)

        assert node.trigger_configure() is TransitionCallbackReturn.FAILURE
        arm.hears(f"expected 1 to {SIZE}, the steps of a chunk of colours, found {SIZE + 1}")

    def test_run_ends_after_the_time_asked_for(self, start: Start) -> None:
        arm = start(run_for_s=1.0).runs()

        ticks = 1 + next(i for i in range(100) if arm.tick().mode != Mode.RUN)

        assert ticks == RATE_HZ + 1  # the tick at which the time is over still runs
        assert is_held(arm.commands[-1])
        status = arm.reported(lambda status: status.mode == Mode.DAMP, "DAMP")
        assert (status.reason, status.latched) == ("ran for 1 s, as asked (run_for_s)", False)


class TestRealTime:
    def test_chunks_come_beside_the_ticks(self, start: Start, tmp_path: Path) -> None:
        """On a machine with other work, everything may be late, and nothing is judged by time."""
        patient = write_colours(
            tmp_path / "patient",
            {
                **{f"cameras.{name}.timeout_s": 30.0 for name in SIZES},
                "safety.state_timeout_s": 30.0,
                "safety.damp_after_s": 30.0,
                "pairing.tolerance_s": 5.0,
            },
        )
        arm = start(bundle=str(patient), use_sim_time=False, command_valid_for_s=1.0)
        arm.node.create_timer(1.0 / RATE_HZ, arm.send_now)
        arm.until(lambda: arm.ask("stand").success, "STAND")
        arm.until(lambda: arm.commands and arm.commands[-1].mode == Mode.READY, "READY")
        arm.request("run")
        arm.until(lambda: len(arm.chunks) > 3, "chunks")
        arm.until(lambda: arm.commands[-1].mode == Mode.RUN, "RUN")

        assert arm.commands[-1].position[:3] == pytest.approx(seen()[:3], abs=SIZE * RAMP)
        assert all(
            ns(after.stamp) > ns(before.stamp)
            for before, after in zip(arm.chunks, arm.chunks[1:], strict=False)
        )
        arm.colours["front"] = (0, 0, 0)
        arm.until(lambda: is_held(arm.commands[-1]), "the measured pose")


class TestReports:
    def test_chunk_is_published_with_the_time_of_its_observation(self, start: Start) -> None:
        arm = start(mode="synchronous").runs()
        arm.until(lambda: arm.chunks, "a chunk")
        chunk = arm.chunks[0]

        assert (list(chunk.names), chunk.steps) == (list(JOINTS), SIZE)
        assert chunk.period_s == pytest.approx(1 / RATE_HZ)
        assert (ns(chunk.stamp), chunk.sequence) == (ns(arm.commands[-1].stamp), 0)
        rows = np.array(chunk.data).reshape(SIZE, len(JOINTS))
        assert rows[0] == pytest.approx(seen(), abs=1e-3)
        assert rows[-1] - rows[0] == pytest.approx((SIZE - 1) * RAMP, abs=1e-5)

    def test_diagnostics_tell_how_chunks_keep_up(self, start: Start) -> None:
        arm = start(mode="synchronous").runs()
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
        self, start: Start
    ) -> None:
        arm = start(mode="synchronous", n_action_steps=1).runs()
        for tick in range(4 * RATE_HZ):
            arm.position = (0.0, 0.0, 0.05 * (-1) ** (tick // 3), 0.0)
            arm.tick()

        # What is logged once may have been seen while the arm began to swing.
        arm.hears("blue swings about")
        before = len(arm.diagnostics)
        arm.until(lambda: len(arm.diagnostics) > before + 1, "diagnostics")
        told = arm.diagnostics[-1].status[0].message
        assert "blue swings about 0.00 rad by 0.050 rad at 3.3 Hz; its target stands still" in told
        assert "P 16, I 0, D 0" in told

    def test_status_has_every_camera_among_its_inputs(self, start: Start) -> None:
        arm = start()
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

    def test_second_publisher_on_a_camera_refuses_motion(self, start: Start) -> None:
        arm = start()
        arm.is_met()
        arm.is_joined_by_publisher(arm.node, Image, "front/image_raw")

        answer = arm.ask("stand")

        assert "front/image_raw: 2 publishers, expected 1" in answer.message


class TestOutputs:
    @pytest.mark.parametrize("output", ["position_array", "joint_trajectory", "joint_state"])
    def test_arm_that_holds_is_commanded_by_any_kind_of_message(
        self, stage: ArmStage, bundle: Path, output: str
    ) -> None:
        node = stage.node(bundle=str(bundle), output=output)

        assert node.trigger_configure() is TransitionCallbackReturn.SUCCESS

    def test_arm_that_must_damp_is_not(self, stage: ArmStage, arm: Arm, tmp_path: Path) -> None:
        damping = write_colours(tmp_path / "damping", {"safety.on_fault": "damp"})
        node = stage.node(bundle=str(damping), output="joint_state")

        assert node.trigger_configure() is TransitionCallbackReturn.FAILURE
        arm.hears("cannot express safety.on_fault: damp")


class TestLeaving:
    def test_node_that_ends_holds_the_measured_pose(self, start: Start, stage: ArmStage) -> None:
        arm = start().runs()
        arm.position = (0.1,) * len(JOINTS)
        arm.tick()

        stage.nodes[0].halt()

        arm.until(lambda: is_held(arm.commands[-1], 0.1), "the measured pose")

    def test_estop_holds_at_once(self, start: Start) -> None:
        arm = start().runs()

        assert arm.ask("estop").message == "DAMP"
        arm.until(lambda: is_held(arm.commands[-1]), "the measured pose")
        assert is_held(arm.tick())

    def test_run_after_a_stop_waits_for_a_chunk_of_its_own(self, start: Start) -> None:
        arm = start(simulated_latency_s=0.15, n_action_steps=8).runs()
        arm.request("damp")
        arm.colours["front"] = (50, 100, 200)
        arm.until(lambda: is_held(arm.tick()), "the measured pose")
        before = len(arm.commands)

        arm.runs()

        ran = [command for command in arm.commands[before:] if command.mode == Mode.RUN]
        assert all(command.position[0] < 0.4 for command in ran)

    def test_inference_that_wants_to_leave_is_a_fault_and_runs_again_after_a_reset(
        self, start: Start, stage: ArmStage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        patient = write_colours(
            tmp_path / "patient",
            {
                **{f"cameras.{name}.timeout_s": 30.0 for name in SIZES},
                "safety.state_timeout_s": 30.0,
                "safety.damp_after_s": 30.0,
            },
        )
        arm = start(bundle=str(patient), use_sim_time=False, command_valid_for_s=1.0)

        def leave(_: OnnxBackend) -> None:
            raise SystemExit("from deep inside")

        def run() -> None:
            arm.until(lambda: arm.ask("stand").success, "STAND")
            arm.until(lambda: arm.commands and arm.commands[-1].mode == Mode.READY, "READY")
            arm.request("run")

        arm.node.create_timer(1.0 / RATE_HZ, arm.send_now)
        run()
        arm.until(lambda: arm.commands[-1].mode == Mode.RUN, "RUN")
        monkeypatch.setattr(OnnxBackend, "run", leave)
        arm.until(lambda: is_held(arm.commands[-1]), "the measured pose")
        status = arm.reported(lambda status: status.latched, "a latched fault")
        assert status.reason.startswith("internal: SystemExit: from deep inside")
        arm.hears("Traceback")
        arm.hears("in leave")
        monkeypatch.undo()
        arm.request("reset")
        run()
        arm.until(lambda: arm.commands[-1].mode == Mode.RUN, "RUN again")
        assert not stage.nodes[0].policy.problem

    def test_what_opening_takes_is_logged_before_a_graph_runs(
        self, start: Start, arm: Arm, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        logged, run = list[str](), OnnxBackend.run

        def look(backend: OnnxBackend) -> None:
            logged.append(arm.log)
            run(backend)

        monkeypatch.setattr(OnnxBackend, "run", look)
        start()

        assert "trial runs for 5 s at most" in logged[0]

    def test_run_that_hangs_in_a_graph_is_left_behind(
        self, start: Start, stage: ArmStage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        patient = write_colours(
            tmp_path / "patient",
            {
                **{f"cameras.{name}.timeout_s": 30.0 for name in SIZES},
                "safety.state_timeout_s": 30.0,
                "safety.damp_after_s": 30.0,
            },
        )
        arm = start(bundle=str(patient), use_sim_time=False, command_valid_for_s=1.0)
        hangs, goes_on = threading.Event(), threading.Event()

        def hang(_: OnnxBackend) -> None:
            hangs.set()
            goes_on.wait()

        monkeypatch.setattr(OnnxBackend, "run", hang)
        arm.node.create_timer(1.0 / RATE_HZ, arm.send_now)
        arm.until(lambda: arm.ask("stand").success, "STAND")
        arm.until(lambda: arm.commands and arm.commands[-1].mode == Mode.READY, "READY")
        arm.request("run")
        arm.until(hangs.is_set, "a run that hangs")
        arm.until(lambda: arm.commands[-1].mode == Mode.HOLD, "HOLD: no tick waits for it")
        node = stage.nodes[0]

        assert node.trigger_shutdown() is TransitionCallbackReturn.SUCCESS
        assert node.left_behind
        goes_on.set()
        arm.until(lambda: not node.left_behind, "the end of the run")

    def test_node_can_be_configured_again(self, start: Start, stage: ArmStage) -> None:
        arm, node = start().runs(), stage.nodes[0]

        assert node.trigger_deactivate() is TransitionCallbackReturn.SUCCESS
        assert node.trigger_cleanup() is TransitionCallbackReturn.SUCCESS
        assert node.trigger_configure() is TransitionCallbackReturn.SUCCESS
        assert node.trigger_activate() is TransitionCallbackReturn.SUCCESS
        arm.runs()
