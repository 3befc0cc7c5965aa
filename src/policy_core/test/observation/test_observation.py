# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which messages make an observation, by their times alone."""

from __future__ import annotations

import numpy as np
import pytest

from policy_core.bundle.chunk_contract import Pairing
from policy_core.errors import NoTargetError
from policy_core.observation.pairing import (
    Arrival,
    ObservationAssembler,
    belong_together,
    newest_at_ticks,
    observations,
)
from testkit.wording import refusal


def assembler_of(pairing: Pairing, **times: tuple[int, ...]) -> ObservationAssembler:
    """Return one with two cameras, joints and a mode that holds; messages are their times."""
    made = ObservationAssembler(pairing, ("front", "wrist"), ("joints",), ("mode",))
    for name, each in times.items():
        for time_ns in each:
            made.inputs[name].add(time_ns, time_ns)
    return made


TIMES = {
    "front": (100, 130, 160),
    "wrist": (95, 125),
    "joints": (*range(100, 171, 10), 174),
    "mode": (3, 7),
}


def test_by_frame_time_everything_is_of_one_time() -> None:
    found = assembler_of(Pairing(tolerance_s=30e-9), **TIMES).observe(175)

    assert found.time_ns == 125
    assert found.messages == {"front": 130, "wrist": 125, "joints": 130, "mode": 7}


def test_by_newest_everything_is_the_newest() -> None:
    found = assembler_of(Pairing(rule="newest", tolerance_s=0.0), **TIMES).observe(175)

    assert found.time_ns == 175
    assert found.messages == {"front": 160, "wrist": 125, "joints": 174, "mode": 7}


def test_frames_further_apart_than_the_tolerance_are_refused() -> None:
    assembler_of(Pairing(tolerance_s=5e-9), **TIMES).observe(175)
    with refusal(NoTargetError):
        assembler_of(Pairing(tolerance_s=4e-9), **TIMES).observe(175)


def test_of_two_as_near_the_later_counts() -> None:
    found = assembler_of(Pairing(), front=(50,), wrist=(50,), joints=(40, 60), mode=(0,))

    assert found.observe(99).messages["joints"] == 60


@pytest.mark.parametrize("rule", ["frame_time", "newest"])
def test_an_input_without_a_message_is_named(rule: str) -> None:
    pairing = Pairing(rule=rule)  # type: ignore[arg-type]
    with refusal(NoTargetError):
        assembler_of(pairing, front=(1,), wrist=(1,)).observe(2)
    with refusal(NoTargetError):
        assembler_of(pairing, front=(1,)).observe(2)


def test_messages_after_a_tick_do_not_count_for_it() -> None:
    arrivals = [Arrival(time_ns, "joints", None) for time_ns in (10, 20, 30)]
    assembler = ObservationAssembler(Pairing(), (), ("joints",))

    found = list(observations(assembler, arrivals, [5, 20, 29, 31]))

    assert found[0] is None
    assert [each and each.messages["joints"].time_ns for each in found[1:]] == [20, 20, 30]


@pytest.mark.parametrize("rule", ["frame_time", "newest"])
@pytest.mark.parametrize("seed", range(10))
def test_ticks_at_which_frames_belong_together_are_those_with_an_observation(
    rule: str, seed: int
) -> None:
    random = np.random.default_rng(seed)
    pairing = Pairing(rule=rule, tolerance_s=20e-9)  # type: ignore[arg-type]
    times = {
        name: np.unique(random.integers(0, 2000, count))
        for name, count in (("front", 120), ("wrist", 60))
    }
    begin = max(int(each[0]) for each in times.values())
    ends = np.arange(begin + 7, 2000, 33)
    sampled = sorted(
        Arrival(time_ns, name, None)
        for name, each in times.items()
        for time_ns in each[newest_at_ticks(each, 33, int(ends[0]))].tolist()
    )

    found = observations(ObservationAssembler(pairing, tuple(times), ()), sampled, ends.tolist())

    together = belong_together(pairing, times, ends, 33)
    assert [each is not None for each in found] == together.tolist()
    assert (together.sum() < len(ends)) == (rule == "frame_time")
    assert together.any()


def test_a_robot_samples_the_newest_message_of_each_tick() -> None:
    times = np.array([1, 5, 9, 10, 11, 20, 21, 45])

    places = newest_at_ticks(times, 10)

    assert times[places].tolist() == [10, 20, 21, 45]
    assert times[newest_at_ticks(times, 10, 5)].tolist() == [5, 11, 21, 45]
