# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The chunk path as a whole, in simulated time."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from policy_core.control_state import ControlState
from policy_core.errors import BackendError, NoTargetError, PolicyError, RobotError
from policy_core.guard.bounds import Rule
from policy_core.interfaces import Mode
from policy_core.observation.images import read_frame
from testkit.kernel.arms import MS, PERIOD_NS, Arm, ramp
from testkit.kernel.chunk_contracts import STEPS
from testkit.kernel.messages import encoded_image, plain
from testkit.numbers import numbers_in
from testkit.wording import check_wording, refusal

pytestmark = pytest.mark.both_cores

LATE_S = 0.3
"""Inference of three periods."""


def arm_of(mode: str, changes: dict[str, object] | None = None, **settings: Any) -> Arm:
    """Return an arm in RUN whose chunk number r says 0.1 r + 0.01 k for step k."""
    arm = Arm(changes, mode=mode, **settings)
    arm.answer = ramp
    return arm.run()


def test_synchronous_holds_while_it_waits_and_skips_no_step() -> None:
    arm = arm_of("synchronous", simulated_latency_s=LATE_S)
    assert arm.follow(3)[:, 0].tolist() == [0.0] * 3
    assert arm.is_in(Mode.HOLD)
    np.testing.assert_allclose(
        arm.follow(8)[:, 0], [0, 0.01, 0.02, 0.03, 0.04, 0.04, 0.04, 0.04], atol=1e-7
    )
    assert arm.is_in(Mode.HOLD)
    check_wording(arm.reason)
    assert arm.count(Rule.NO_TARGET) == 2
    np.testing.assert_allclose(arm.follow(2)[:, 0], [0.1, 0.11], atol=1e-7)
    assert arm.is_in(Mode.RUN)


def test_asynchronous_drops_the_steps_that_passed_during_inference() -> None:
    arm = arm_of("asynchronous", simulated_latency_s=LATE_S, steps=STEPS, fade_s=0.0)
    assert arm.follow(3)[:, 0].tolist() == [0.0] * 3
    # Asked for with less than half left, at step 6; there three ticks later, at its step 3.
    expected = [0.01 * step for step in (*range(9), *range(13, 19), 23)]
    np.testing.assert_allclose(arm.follow(16)[:, 0], expected, atol=1e-7)
    assert arm.runtime.policy.latency.summary().p50_s == pytest.approx(LATE_S)


def test_asynchronous_fades_but_for_the_gripper() -> None:
    arm = Arm(mode="asynchronous", steps=STEPS, fade_s=0.3)
    arm.answer = lambda run: 0.8 * run
    found = arm.run().follow(10)
    np.testing.assert_allclose(found[:, 0], [0] * 6 + [0.2, 0.4, 0.6, 0.8], atol=1e-7)
    np.testing.assert_allclose(found[:, 2], [0] * 6 + [0.8] * 4, atol=1e-7)


@pytest.mark.parametrize(
    "stated", [{"ensemble_coeff": 0.1}, {"changes": {"chunk.ensemble_coeff": 0.1}}], ids=str
)
def test_the_ensemble_runs_each_tick_and_averages_the_predictions_of_a_tick(
    stated: dict[str, Any],
) -> None:
    arm = arm_of("ensemble", **stated)
    found = arm.follow(15)[:, 0]
    assert arm.transformer.runs == 15
    for tick in (0, 3, 14):
        runs = np.arange(max(0, tick - STEPS + 1), tick + 1)
        weights = np.exp(-0.1 * np.arange(len(runs)))
        said = 0.1 * runs + 0.01 * (tick - runs)
        assert found[tick] == pytest.approx(np.average(said, weights=weights), abs=1e-6)


@pytest.mark.parametrize(("latency_s", "ticks"), [(LATE_S, 4), (0.0, 1)])
def test_a_reset_discards_a_chunk_under_way_and_the_steps_that_are_left(
    latency_s: float, ticks: int
) -> None:
    arm = arm_of("asynchronous", simulated_latency_s=latency_s)
    arm.follow(2)
    arm.controller.damp()
    arm.tick()
    arm.controller.stand()
    arm.follow(3)
    arm.controller.run()
    # The first chunk would say 0.0, the second one says 0.1.
    assert arm.follow(ticks)[-1, 0] == pytest.approx(0.1)


def test_nan_in_the_middle_of_a_chunk_latches_before_any_of_it_is_executed() -> None:
    arm = arm_of("asynchronous", steps=STEPS)
    broken = ramp(5)
    broken[0, 7, 1] = np.nan
    arm.answer = lambda run: ramp(run) if run == 0 else broken
    arm.follow(5)
    arm.joint_pos = (0.3, 0.2, 0.4)
    good = arm.follow(1)
    assert arm.is_in(Mode.RUN)
    assert arm.tick().tolist() == [0.3, 0.2, 0.4]
    check_wording(arm.reason)
    assert good[-1, 0] == pytest.approx(0.05)


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_target_that_is_not_finite_latches() -> None:
    arm = Arm(
        {"action.normalisation": {"mode": "mean_std", "mean": [0.0] * 3, "std": [1e270] * 3}},
        mode="ensemble",
        ensemble_coeff=0.0,
    )
    # Each chunk is finite, and the sum of two is not.
    arm.answer = lambda run: 1.7e38
    arm.run().tick()
    assert arm.is_in(Mode.RUN)
    arm.joint_pos = (0.3, 0.2, 0.1)
    assert arm.tick().tolist() == [0.3, 0.2, 0.1]
    check_wording(arm.reason)


def test_a_runtime_that_fails_holds_once_the_steps_are_used_up_and_recovers() -> None:
    arm = arm_of("asynchronous", steps=STEPS)

    def fail(run: int) -> float:
        raise BackendError("scripted: the device is gone")

    arm.answer = fail
    arm.transformer.runs = 0
    arm.tick()
    assert arm.is_in(Mode.HOLD)
    check_wording(arm.reason)
    assert arm.count(Rule.INFERENCE_ERROR) == 1
    arm.answer = ramp
    arm.tick()
    assert arm.is_in(Mode.RUN)
    arm.answer = fail
    for _ in range(9):
        arm.tick()
        assert arm.is_in(Mode.RUN)
    check_wording(arm.runtime.policy.problem)
    arm.tick()
    assert arm.is_in(Mode.HOLD)


@pytest.mark.parametrize("kind", [BackendError, RobotError, NoTargetError])
def test_a_controller_that_goes_on_from_a_state_has_the_same_failure(
    kind: type[PolicyError],
) -> None:
    def fail(run: int) -> float:
        raise kind("scripted")

    arm, other = (Arm(mode="synchronous", simulated_latency_s=LATE_S) for _ in range(2))
    arm.answer = other.answer = fail
    arm.run().follow(5)  # one inference has failed, and the next one is under way
    state = arm.controller.control_state()
    other.now_ns = arm.now_ns
    other.controller.go_on_from(ControlState.decoded(*state.encoded()))
    assert other.controller.control_state().encoded()[0] == state.encoded()[0]
    for each in (arm, other):
        each.tick()
    assert arm.is_in(Mode.HOLD)
    assert other.controller.snapshot() == arm.controller.snapshot()


def test_inference_that_takes_longer_than_the_steps_says_so_and_goes_on() -> None:
    arm = arm_of("asynchronous", simulated_latency_s=0.4, steps=3, fade_s=0.0)
    # The second chunk is asked for at the last step of the first.
    arm.follow(4 + 3 + 1)
    assert arm.is_in(Mode.HOLD)
    check_wording(arm.reason)
    found = arm.follow(4)[:, 0]
    np.testing.assert_allclose(found, [0.02, 0.02, 0.1 + 0.01, 0.1 + 0.02], atol=1e-7)


def test_an_inference_that_hangs_is_named_by_the_time_that_it_has_taken_so_far(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arm = arm_of("asynchronous", simulated_latency_s=0.1, steps=3, fade_s=0.0)
    arm.follow(1 + 3)
    monkeypatch.setattr(arm.tap, "take", lambda now_ns: None)
    while not arm.is_in(Mode.DAMP):
        arm.tick()
    assert arm.count(Rule.HELD_TOO_LONG) == 1
    (taken_ms,) = numbers_in(arm.reason)
    assert taken_ms * MS > arm.limits.damp_after_ns > 100 * MS


def test_a_chunk_whose_steps_have_passed_when_it_comes_is_named_as_late() -> None:
    arm = arm_of("asynchronous", simulated_latency_s=0.1, steps=3, refill_threshold=1.0, fade_s=0.0)
    arm.follow(1 + 2)  # the first chunk; the second one is requested
    arm.now_ns += 5 * PERIOD_NS
    arm.tick()
    assert arm.is_in(Mode.HOLD)
    check_wording(arm.reason)
    assert numbers_in(arm.reason) == [100, 6]
    arm.follow(2)
    assert arm.is_in(Mode.RUN)


def test_a_chunk_whose_last_step_is_due_when_it_comes_is_not_late() -> None:
    arm = arm_of("asynchronous", simulated_latency_s=0.2, steps=3, refill_threshold=1.0, fade_s=0.0)
    arm.follow(2 + 4)
    (_, chunk), policy = arm.runtime.chunks, arm.runtime.policy
    assert chunk.tick - chunk.first_tick == 2
    assert (policy.left, policy.problem) == (1, "")


def test_chunks_are_numbered_and_have_the_time_and_tick_of_their_observation() -> None:
    arm = arm_of("asynchronous", simulated_latency_s=LATE_S, steps=STEPS)
    first_ns = arm.now_ns + PERIOD_NS
    arm.follow(20)
    chunks = list(arm.runtime.chunks)
    assert [each.sequence for each in chunks] == [0, 1, 2]
    # The arm is held until the first chunk comes, and the tick of that is its first.
    assert [each.tick - each.first_tick for each in chunks] == [0, 3, 3]
    assert [each.sensed.time_ns for each in chunks] == [each.time_ns for each in chunks]
    assert chunks[0].time_ns == first_ns


def test_a_camera_that_dies_holds_with_its_name_and_one_that_returns_goes_on() -> None:
    arm = arm_of("asynchronous", {"cameras.phone.timeout_s": 0.25}, steps=STEPS)
    arm.follow(3)
    arm.follow(3, silent=("phone",))
    assert arm.is_in(Mode.HOLD)
    check_wording(arm.reason)
    assert arm.count(Rule.STALE_STATE) == 1
    arm.follow(2)
    assert arm.is_in(Mode.RUN)


def test_a_camera_without_a_frame_refuses_to_stand() -> None:
    arm = Arm(mode="asynchronous")
    arm.now_ns += PERIOD_NS
    arm.sense(silent=("laptop",))
    with refusal(PolicyError):
        arm.controller.stand()


def test_frames_that_do_not_belong_together_hold_with_the_cameras_name() -> None:
    arm = arm_of("asynchronous")
    buffer = arm.runtime.frames["phone"]
    buffer.clear()
    arm.now_ns += PERIOD_NS
    arm.sense(silent=("phone",))
    buffer.add(read_frame(encoded_image(arm.image), buffer.camera), arm.now_ns - 5 * PERIOD_NS)
    arm.controller.tick(arm.now_ns, arm.now_ns + PERIOD_NS)
    assert arm.is_in(Mode.HOLD)
    check_wording(arm.reason)


def test_an_image_that_does_not_decode_holds_with_the_cameras_name() -> None:
    arm = arm_of("synchronous")
    buffer = arm.runtime.frames["phone"]
    data = bytearray(encoded_image(plain(9, 9, 9, 6, 8)).data)
    at = data.index(b"\xff\xc4")
    data[at + 4 : at + 21] = b"\xff" * 17
    broken = read_frame(SimpleNamespace(format="jpeg", data=bytes(data)), buffer.camera)
    arm.now_ns += PERIOD_NS
    arm.sense(silent=("phone",))
    buffer.add(broken, arm.now_ns)
    arm.controller.inputs["phone/image_raw"].accept(arm.now_ns)
    arm.controller.tick(arm.now_ns, arm.now_ns + PERIOD_NS)
    assert arm.is_in(Mode.HOLD)
    check_wording(arm.reason)
    arm.tick()
    assert arm.is_in(Mode.RUN)


def test_targets_stay_within_reach_of_the_measured_position_without_a_fault() -> None:
    arm = Arm(
        {"action.max_relative_target": {"pan": 0.2, "lift": 5.0, "gripper": 0.1}},
        mode="synchronous",
    )
    arm.answer = lambda run: 0.5
    found = arm.run().follow(30)
    np.testing.assert_allclose(found, np.tile([0.2, 0.5, 0.1], (30, 1)), atol=1e-7)
    assert arm.count(Rule.RELATIVE_TARGET) == 30
    assert arm.is_in(Mode.RUN)
    arm.joint_pos = (0.45, 0.0, 0.6)
    np.testing.assert_allclose(arm.tick(), [0.5, 0.5, 0.5], atol=1e-7)
    assert arm.count(Rule.RELATIVE_TARGET) == 30


def test_a_first_chunk_far_away_is_approached_as_fast_as_the_joints_can_go() -> None:
    arm = Arm(
        {"joints.velocity_limit": [5.0, 2.0, 1.0], "stand.position": 0.1},
        mode="synchronous",
        steps=STEPS,
    )
    arm.joint_pos = (0.0, 0.1, 0.2)
    arm.answer = lambda run: [1.2, -1e30, 1e30]
    found = arm.run().follow(4)
    np.testing.assert_allclose(found[:, 0], [0.6, 1.1, 1.2, 1.2], atol=1e-7)
    np.testing.assert_allclose(found[:, 1], [-0.1, -0.3, -0.5, -0.7], atol=1e-7)
    np.testing.assert_allclose(found[:, 2], [0.2, 0.3, 0.4, 0.5], atol=1e-7)
    assert arm.count(Rule.TARGET_SPEED) == 4
    assert arm.is_in(Mode.RUN)


def test_a_target_near_a_measured_position_that_jumps_does_not_jump_with_it() -> None:
    arm = Arm(
        {"joints.velocity_limit": 1.0, "action.max_relative_target": 0.2},
        mode="synchronous",
        steps=STEPS,
    )
    arm.run().follow(2)
    arm.joint_pos = (1.0, 0.0, 0.0)
    assert arm.tick()[0] == pytest.approx(0.1)
    assert arm.count(Rule.RELATIVE_TARGET) == arm.count(Rule.TARGET_SPEED) == 1


def test_a_gap_between_ticks_is_caught_up_with_and_is_no_jump() -> None:
    arm = arm_of("asynchronous", {"joints.velocity_limit": 0.2}, steps=STEPS, refill_threshold=0.0)
    arm.follow(2)
    arm.now_ns += 7 * PERIOD_NS
    np.testing.assert_allclose(arm.follow(2)[:, 0], [0.03, 0.05], atol=1e-7)


@pytest.mark.parametrize("mode", ["synchronous", "asynchronous", "ensemble"])
def test_no_step_passes_while_the_arm_is_held(mode: str) -> None:
    arm = Arm(
        {"cameras.phone.timeout_s": 0.15},
        mode=mode,
        ensemble_coeff=0.01,
        steps=STEPS,
        refill_threshold=0.0,
        fade_s=0.0,
    )
    arm.answer = lambda run: ramp(0)
    if mode == "ensemble":
        # So that all chunks say the same of a tick.
        arm.answer = lambda run: ramp(0) + 0.01 * run
    found = arm.run().follow(4)[:, 0]
    np.testing.assert_allclose(found, [0.0, 0.01, 0.02, 0.03], atol=1e-7)
    held = arm.follow(6, silent=("phone",))[:, 0]
    assert arm.is_in(Mode.HOLD)
    assert held[-2] == held[-1]
    after = arm.follow(3)[:, 0]
    assert arm.is_in(Mode.RUN)
    # An ensemble has one more or less chunk of a tick, by a thousandth.
    np.testing.assert_allclose(after, held[-1] + [0.01, 0.02, 0.03], atol=2e-3)


def test_a_chunk_asked_for_before_a_hold_goes_on_where_the_arm_is() -> None:
    arm = Arm(
        {"cameras.phone.timeout_s": 0.15},
        mode="asynchronous",
        steps=STEPS,
        fade_s=0.0,
        simulated_latency_s=0.6,
    )
    arm.answer = lambda run: ramp(run)
    arm.run().follow(6)
    # Executed: steps 0 to 7; the second chunk is asked for at step 6.
    assert arm.follow(7)[-1, 0] == pytest.approx(0.06)
    assert arm.follow(1, silent=("phone",))[0, 0] == pytest.approx(0.07)
    arm.follow(6, silent=("phone",))
    assert arm.is_in(Mode.HOLD)
    np.testing.assert_allclose(arm.follow(2)[:, 0], [0.1 + 0.02, 0.1 + 0.03], atol=1e-7)


def test_the_state_is_that_of_the_images_time() -> None:
    arm = arm_of("synchronous", steps=1)
    seen = []

    def note(run: int) -> float:
        seen.append(arm.transformer.inputs["states"].ravel().tolist())
        return 0.0

    arm.answer = note
    for value in (0.25, 0.5, 0.75):
        arm.joint_pos = (value, 0.0, -value)
        # At the last tick the newest image of one camera is of the tick before.
        arm.tick(silent=("laptop",) if value == 0.75 else ())
    assert seen == [[0.25, 0.0, -0.25], [0.5, 0.0, -0.5], [0.5, 0.0, -0.5]]


def test_state_and_chunk_are_in_the_policys_units() -> None:
    arm = Arm(
        {
            "units.pan": {"unit": "degrees", "sign": -1},
            "units.gripper": {"unit": "range_0_100", "low_rad": -0.5, "high_rad": 1.5},
            "joints.velocity_limit": 20.0,
        },
        mode="synchronous",
    )
    seen = []

    def answer(run: int) -> list[float]:
        seen.append(arm.transformer.inputs["states"].ravel().tolist())
        return [-90.0, 0.25, 75.0]

    arm.answer = answer
    arm.joint_pos = (0.1, 0.2, 0.0)
    np.testing.assert_allclose(arm.run().tick(), [np.pi / 2, 0.25, 1.0], atol=1e-6)
    np.testing.assert_allclose(seen[0], [-np.rad2deg(0.1), 0.2, 25.0], rtol=1e-6)


def test_ticks_with_jitter_skip_and_repeat_no_step() -> None:
    arm = arm_of("asynchronous", steps=STEPS, refill_threshold=0.0, fade_s=0.0)
    found = []
    for late_ms in (20, 0, -20, 50, 3, 40, 0, 44):
        arm.now_ns += late_ms * MS
        found.append(arm.tick()[0])
        arm.now_ns -= late_ms * MS
    np.testing.assert_allclose(found, 0.01 * np.arange(8), atol=1e-7)
