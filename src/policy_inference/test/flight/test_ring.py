# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The ring: what it keeps of a tick, how far back, and that a copy is never of two ticks."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import pytest

from policy_core.errors import BackendError
from policy_core.interfaces import Mode
from policy_core.members.chunk.observation_sync import Snapshot
from policy_inference.flight import ring as ring_module
from policy_inference.flight.ring import MAX_WIRE_BYTES, FlightTick, Ring
from testkit.kernel.arms import MS, Arm, ramp
from testkit.kernel.arms import PERIOD_NS as ARM_PERIOD_NS
from testkit.kernel.chunk_contracts import STEPS
from testkit.kernel.contracts import DEFAULT, NOMINAL
from testkit.kernel.robots import BOTH, PERIOD_NS, fail

from .flying import RING_SIZE, STAMP_OFFSET_NS, TOPICS, Flyer

RECURRENT = {
    "model.inputs": {"memory": {"shape": [1, 2]}},
    "model.outputs": {"next_memory": {"shape": [1, 2]}},
    "state": [{"input": "memory", "output": "next_memory"}],
}


@pytest.fixture
def flyer() -> Flyer:
    """A robot in RUN, blended in."""
    flyer = Flyer()
    flyer.answer(0.2, 0.2, 0.2)
    flyer.run(20)
    return flyer


def assert_of_one_tick(tick: FlightTick) -> None:
    """Check that all parts are of the tick that the times tell; see `marked`."""
    moment = tick.moment
    number = float(moment.now_ns)
    assert tick.state[0] == number
    assert tick.inputs["obs"].ravel()[-1] == np.float32(moment.tick % 97)
    assert tick.outputs["actions"].ravel()[0] == np.float32(moment.tick % 97)
    assert moment.wire == tuple(f"{topic.name} {moment.now_ns}".encode() for topic in TOPICS)


def test_ring_keeps_the_newest_ticks(flyer: Flyer) -> None:
    for _ in range(2 * RING_SIZE + 3):
        flyer.tick()
    end = flyer.ring.end
    ticks, lost = flyer.ring.copies(0, end)
    assert [tick.moment.number for tick in ticks] == [*range(end - RING_SIZE, end)]
    assert lost == end - RING_SIZE
    assert [tick.moment.now_ns for tick in ticks] == [
        flyer.now_ns - i * PERIOD_NS for i in reversed(range(RING_SIZE))
    ]


def test_tick_has_times_messages_and_ages(flyer: Flyer) -> None:
    flyer.tick(silent=["imu/data"])
    moment = flyer.newest().moment
    assert (moment.now_ns, moment.stamp_ns) == (flyer.now_ns, flyer.now_ns + STAMP_OFFSET_NS)
    assert moment.wire == flyer.wire()
    assert dict(zip(flyer.controller.inputs, moment.ages_ns, strict=True)) == {
        "joint_states": 0,
        "imu/data": PERIOD_NS,
        "cmd_vel": None,
    }
    assert dict(zip(flyer.controller.inputs, moment.measured_ns, strict=True)) == {
        "joint_states": flyer.now_ns,
        "imu/data": flyer.now_ns - PERIOD_NS,
        "cmd_vel": None,
    }


def test_messages_that_are_too_large_are_left_out_and_counted() -> None:
    class Talker(Flyer):
        given: tuple[bytes | None, ...] = ()

        def wire(self) -> tuple[bytes | None, ...]:
            return self.given

    talker = Talker()
    full, more = bytes(MAX_WIRE_BYTES), bytes(MAX_WIRE_BYTES + 1)
    for given, kept, left_out in (
        ((full, None), (full, None), 0),
        ((more, b"small"), (None, b"small"), 1),
        ((full, b"small", None), (full, None, None), 2),
        ((b"small", full, more), (b"small", None, None), 4),
    ):
        talker.given = given
        talker.tick()
        assert talker.newest().moment.wire == kept
        assert talker.ring.messages_left_out == left_out


def test_state_is_that_before_the_policy_acted(flyer: Flyer) -> None:
    flyer.tick()
    flyer.answer(0.3, 0.4, 0.5)
    flyer.tick()
    tick = flyer.newest()
    last_action = flyer.controller.state.slices["last_action"]
    np.testing.assert_allclose(tick.state[last_action], [0.2, 0.2, 0.2], rtol=1e-6)
    np.testing.assert_array_equal(tick.outputs["actions"], np.array([[0.3, 0.4, 0.5]], np.float32))
    np.testing.assert_array_equal(tick.inputs["obs"], flyer.backend.inputs["obs"])


def test_recurrent_inputs_are_those_that_the_model_was_given() -> None:
    flyer = Flyer(RECURRENT)
    flyer.backend.answers["next_memory"] = [5.0, 6.0]
    flyer.run(1)
    np.testing.assert_array_equal(flyer.newest().inputs["memory"], [[0.0, 0.0]])
    flyer.backend.answers["next_memory"] = [7.0, 8.0]
    flyer.tick()
    np.testing.assert_array_equal(flyer.newest().inputs["memory"], [[5.0, 6.0]])
    np.testing.assert_array_equal(flyer.newest().outputs["next_memory"], [[7.0, 8.0]])


def test_target_is_what_the_bounds_left_before_blending() -> None:
    flyer = Flyer({"nominal": NOMINAL, "safety.margin": 1.0})
    flyer.run(1)
    flyer.answer(2.0, 0.0, 0.0)
    flyer.tick()
    tick = flyer.newest()
    assert tick.target is not None
    # nominal.target_step, from the stand pose.
    np.testing.assert_allclose(tick.target[0], DEFAULT[0] + 0.2)
    assert 0.0 < tick.moment.blend < 1.0


def test_answer_that_came_late_has_no_target(flyer: Flyer) -> None:
    flyer.takes(2 * PERIOD_NS)
    flyer.tick()
    tick = flyer.newest()
    assert tick.moment.mode is Mode.HOLD
    assert tick.outputs
    assert tick.target is None
    assert tick.moment.blend == 0.0


def test_run_that_failed_has_what_the_model_was_given(flyer: Flyer) -> None:
    flyer.backend.during_run = fail
    flyer.tick()
    tick = flyer.newest()
    assert tick.inputs
    assert not tick.outputs
    assert tick.target is None


def test_tick_in_which_the_policy_does_not_run_has_only_the_state(flyer: Flyer) -> None:
    for _ in range(4):
        flyer.tick(silent=BOTH)
    tick = flyer.newest()
    assert tick.moment.mode is Mode.HOLD
    assert (tick.inputs, tick.outputs, tick.target, tick.moment.begins) == ({}, {}, None, False)
    np.testing.assert_array_equal(tick.state, flyer.controller.state.flat)


def test_mode_is_that_of_the_command_whatever_is_asked_for_before_the_tick_is_recorded(
    flyer: Flyer,
) -> None:
    before = flyer.newest().moment
    flyer.controller.tick(flyer.now_ns, flyer.now_ns + PERIOD_NS)
    flyer.controller.damp("asked for in between")
    flyer.record()
    moment = flyer.newest().moment
    assert (moment.mode, moment.reason) == (Mode.RUN, before.reason)


def test_ticks_of_before_a_restart_are_not_given(flyer: Flyer) -> None:
    before = flyer.ring.end
    flyer.ring.restart()
    assert flyer.ring.newest() is None
    flyer.tick()
    assert flyer.ring.begin == before
    newest = flyer.ring.newest()
    assert newest is not None
    assert (newest.number, newest.tick) == (before, 0)


class Marked(Flyer):
    """A robot each of whose ticks has its number in all arrays."""

    def __init__(self) -> None:
        term = {"joints": ["hip", "knee", "ankle"], "kind": "position", "scale": 1e-6}
        super().__init__({"action.terms": [{**term, "offset": "default_position"}]}, size=4)
        self.run(20)

    def mark(self) -> None:
        """Tick as a writer that is as fast as can be: no controller, only the arrays."""
        self.now_ns += PERIOD_NS
        mark = self.ring.end - self.ring.begin
        self.controller.latest_tick.now_ns = self.now_ns
        self.controller.state.flat[:] = self.now_ns
        self.backend.inputs["obs"][:] = mark % 97
        self.backend.answers["actions"] = mark % 97
        self.tap.run()
        self.record()


def interrupted(act: Callable[[], None], at_line: int, meanwhile: Callable[[], None]) -> bool:
    """Call `act`, and `meanwhile` before the so-and-so-many-th line of the ring's that it runs.

    Returns whether it came so far.
    """
    left, ours = at_line, ring_module.__file__

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename != ours:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                sys.settrace(None)
                meanwhile()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    return left <= 0


@pytest.mark.parametrize("ticks_meanwhile", [1, 2, 4, 5])
def test_whatever_is_written_while_ticks_are_copied_each_copy_is_of_one(
    ticks_meanwhile: int,
) -> None:
    robot = Marked()
    robot.ring.restart()
    for _ in range(robot.ring.size):
        robot.mark()
    line, came_so_far = 0, True
    while came_so_far:
        line, end, found = line + 1, robot.ring.end, list[FlightTick]()

        def copy(end: int = end, found: list[FlightTick] = found) -> None:
            ticks, lost = robot.ring.copies(end - robot.ring.size, end)
            found.extend(ticks)
            assert lost == robot.ring.size - len(ticks)

        def write() -> None:
            for _ in range(ticks_meanwhile):
                robot.mark()

        came_so_far = interrupted(copy, line, write)
        for tick in found:
            assert_of_one_tick(tick)
        assert len(found) == robot.ring.size or came_so_far
    assert line > 4 * robot.ring.size


LATENCY_S = 0.2


class RecordedArm(Arm):
    def __init__(self) -> None:
        super().__init__(simulated_latency_s=LATENCY_S)
        self.answer = ramp
        self.ring = Ring(self.controller.latest_tick, self.tap, 200)
        self.tap.show(self.ring)

    def recorded(self) -> FlightTick:
        self.now_ns += ARM_PERIOD_NS
        self.sense()
        sent = self.controller.tick(self.now_ns, self.now_ns + ARM_PERIOD_NS)
        seen = self.controller.latest_tick
        number = None if sent is None else self.ring.end
        seen.send(sent, number, stamp_ns=self.now_ns, duration_ns=MS)
        self.ring.record(seen, ())
        (tick,), _ = self.ring.copies(self.ring.end - 1, self.ring.end)
        return tick


@pytest.fixture
def flying_arm() -> RecordedArm:
    arm = RecordedArm()
    arm.run()
    return arm


def test_the_reason_of_a_failed_inference_is_kept(flying_arm: RecordedArm) -> None:
    def fail() -> None:
        raise BackendError("removed")

    flying_arm.transformer.during_run = fail
    result = next(
        tick.moment.results[0] for _ in range(10) if (tick := flying_arm.recorded()).moment.results
    )
    assert result.chunk is None
    assert result.error.split(": ") == ["BackendError", "removed"]


def test_what_is_kept_of_a_result_has_no_image(flying_arm: RecordedArm) -> None:
    """Twenty seconds of images would take a gigabyte."""
    for _ in range(30):
        flying_arm.recorded()
    ticks, _ = flying_arm.ring.copies(0, flying_arm.ring.end)
    results = [result for tick in ticks for result in tick.moment.results]
    assert len(results) > 3
    arrays = [part for result in results for part in result if isinstance(part, np.ndarray)]
    assert {array.size for array in arrays} == {3, STEPS * 3}
    assert not any(isinstance(part, Snapshot) for result in results for part in result)
