# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What goes into a slot comes out at the other end whole, or the tick says that it is not there."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.guard.bounds import Rule
from policy_core.guard.limits import StricterLimits
from policy_core.interfaces import ShadowMode
from policy_core.members.chunk.observation_sync import Snapshot
from policy_core.observation.images import Frame
from policy_core.observation.state import RobotState
from policy_inference.flight.ring import ShadowAnswer, ShadowOutcome
from policy_inference.kinds.opening import OpenRequest
from policy_inference.shadow.shadow_process import ShadowProcess
from policy_inference.shadow.shadowed_member import (
    OBSERVATIONS,
    ChunkTick,
    ShadowObservation,
    ShadowQuestion,
)
from policy_inference.shadow.slots import (
    IMAGE_BYTES,
    SLOTS,
    ObservationSlots,
    TickSlots,
    shadow_inference,
)
from policy_inference.testing.process import children
from testkit.kernel.chunk_contracts import chunk_contract_of
from testkit.wording import check_wording

from ..nodes.bundles import write_version


@pytest.fixture
def slots() -> Iterator[TickSlots]:
    """Slots for a state of five values and two joints."""
    made = TickSlots(5, 2)
    yield made
    made.close()


def test_answer_is_read_at_the_other_end_as_it_was_written(slots: TickSlots) -> None:
    other = TickSlots(5, 2, slots.fds)
    answer = ShadowAnswer(
        7,
        ShadowOutcome.COMPARED,
        1_500_000,
        tuple(rule.value for rule in Rule),
        True,
        np.array([0.1, -0.2]),
        np.array([0.3, 1e-300]),
    )
    other.write(SLOTS - 1, answer)
    found = slots.read(SLOTS - 1)
    assert found[:5] == answer[:5]
    np.testing.assert_array_equal(found.target, answer.target)
    np.testing.assert_array_equal(found.active_target, answer.active_target)
    other.write(0, ShadowAnswer(8, ShadowOutcome.NOT_FINITE, rules=("not_finite",)))
    assert slots.read(0) == ShadowAnswer(8, ShadowOutcome.NOT_FINITE, rules=("not_finite",))


def test_counters_say_how_many_slots_there_are_and_wait_only_when_asked(slots: TickSlots) -> None:
    other = TickSlots(5, 2, slots.fds)
    assert (other.given(wait=False), slots.answered(), slots.answered(0.01)) == (0, 0, 0)
    slots.give()
    slots.give()
    other.answer()
    assert other.given(wait=True) == 2
    assert other.given(wait=False) == 0
    assert slots.answered(1.0) == 1


SIZES = {"joint_pos": 3, "external:goal": 2}


@pytest.fixture
def both_ends() -> Iterator[tuple[ObservationSlots, ObservationSlots]]:
    node = ObservationSlots(chunk_contract_of(), SIZES)
    shadow = ObservationSlots(chunk_contract_of(), SIZES, os.dup(node.fd))
    yield node, shadow
    node.close()
    shadow.close()


def small_frame(data: bytes, encoding: str = "rgb8") -> Frame:
    return Frame(encoding=encoding, height=2, width=3, step=9, data=memoryview(data))


def numbered_observation(number: int, size: int = 18) -> ShadowObservation:
    fields = {"joint_pos": np.full(3, 0.1 * number), "external:goal": np.full(2, 7.0 + number)}
    frames = {
        "laptop": small_frame(bytes([number]) * size),
        "phone": small_frame(b"\xff\xd8abc", "jpeg"),
    }
    return ShadowObservation(
        10 * number, 10 * number + 3, Snapshot(time_ns=number, frames=frames, fields=fields)
    )


def tick(number: int, *seen: ShadowObservation) -> ChunkTick:
    return ChunkTick(number, np.array([0.1, 0.2, 0.3]) * number, seen)


def test_ticks_observations_and_chunks_come_over_as_they_are(
    both_ends: tuple[ObservationSlots, ObservationSlots],
) -> None:
    node, shadow = both_ends
    for number in range(3 * OBSERVATIONS):
        slot, seen = number % 5, [numbered_observation(number)] * (number % 3)
        node.give(slot, tick(number, *seen))
        found = shadow.given(slot)
        assert (found.number, found.missed, len(found.observations)) == (number, False, len(seen))
        np.testing.assert_array_equal(found.target, tick(number).target)
        for given, there in zip(seen, found.observations, strict=True):
            assert there[:2] == given[:2]
            assert there.sensed.time_ns == number
            for name, values in given.sensed.fields.items():
                np.testing.assert_array_equal(there.sensed.fields[name], values)
            for name, image in given.sensed.frames.items():
                other = there.sensed.frames[name]
                assert (other.encoding, other.height, other.width, other.step) == (
                    image.encoding,
                    image.height,
                    image.width,
                    image.step,
                )
                assert bytes(other.data) == bytes(image.data)
        answers = [
            shadow_inference(number, np.full((10, 3), 0.5 * number), ""),
            shadow_inference(number, None, "BackendError: gone"),
        ][: len(seen)]
        shadow.answer(answers)
        results = node.answered(slot)
        assert [each.error for each in results] == [each.error for each in answers]
        for result, answer in zip(results, answers, strict=True):
            assert result.observation_ns == number
            np.testing.assert_array_equal(result.chunk, answer.chunk)


def test_observations_that_have_no_room_are_missed_and_later_ones_are_not(
    both_ends: tuple[ObservationSlots, ObservationSlots],
) -> None:
    node, shadow = both_ends
    for number in range(OBSERVATIONS + 1):
        node.give(number, tick(number, numbered_observation(number)))
    given = [shadow.given(number) for number in range(OBSERVATIONS + 1)]
    assert [each.missed for each in given] == [False] * OBSERVATIONS + [True]
    for number in range(OBSERVATIONS + 1):
        node.answered(number)
    node.give(7, tick(7, numbered_observation(9)))
    assert shadow.given(7).observations[0].sensed.time_ns == 9


def test_images_that_are_too_large_are_missed(
    both_ends: tuple[ObservationSlots, ObservationSlots],
) -> None:
    node, shadow = both_ends
    node.give(0, tick(1, numbered_observation(1, IMAGE_BYTES)))
    assert shadow.given(0).missed


def test_what_the_shadow_writes_into_the_memory_costs_the_node_no_time(
    both_ends: tuple[ObservationSlots, ObservationSlots],
) -> None:
    """As how many observations a tick had: the node would look for as many answers."""
    node, _ = both_ends
    node.give(0, tick(1, numbered_observation(1)))
    os.pwrite(node.fd, b"\x7f" * (1 << 16), 0)
    assert len(node.answered(0)) <= 1


@pytest.fixture
def golden_bundle(tmp_path: Path) -> JointBundle:
    return load_bundle(write_version(tmp_path / "two_joints", "1.2.3"), kind=JointBundle)


@pytest.fixture
def hanging_shadow(golden_bundle: JointBundle) -> Iterator[ShadowProcess]:
    before, state = children(), RobotState(golden_bundle.contract)
    request = OpenRequest(
        bundle=str(golden_bundle.path),
        public_key="",
        backends=["onnx"],
        options={},
        stricter_limits=StricterLimits(),
        output="joint_command",
    )
    process = ShadowProcess(request, golden_bundle, state, ShadowMode.FOLLOWED)
    (pid,) = children() - before
    os.kill(pid, signal.SIGSTOP)
    process.start()
    yield process
    process.close()


def test_shadow_hangs_since_it_was_asked_and_not_since_the_robot_rests(
    hanging_shadow: ShadowProcess, golden_bundle: JointBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, begun_s, ahead_s = RobotState(golden_bundle.contract), time.monotonic(), 0.0
    monkeypatch.setattr(time, "monotonic", lambda: begun_s + ahead_s)
    ahead_s = 100.0  # in READY
    assert not hanging_shadow.problem()
    hanging_shadow.give(0, ShadowQuestion(state.flat, np.zeros(2), True))
    assert not hanging_shadow.problem()
    ahead_s += 3.0
    check_wording(hanging_shadow.problem())
