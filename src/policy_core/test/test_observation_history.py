# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The history against a slow reference that keeps every frame ever written."""

import itertools
import tracemalloc
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy_core.bundle.contract import JointContract
from policy_core.interfaces import F64
from policy_core.observation.rows import ObservationBuilder
from policy_core.observation.state import RobotState
from testkit.kernel.contracts import observed

Frame = Mapping[str, list[float]]
TERMS: tuple[dict[str, Any], ...] = (
    {"term": "joint_vel", "scale": 0.5},
    {"term": "velocity_command", "clip": [-50.0, 50.0]},
    {"term": "joint_pos", "joints": ["ankle"]},
)
LAYOUTS = ("per_frame", "per_term")
ORDERS = ("oldest_first", "newest_first")
INITS = ("repeat", "zero")


def frame_number(number: int) -> Frame:
    """Return sensor values by field that tell frame, field and place apart."""
    return {
        "joint_vel": [number + 0.1, number + 0.2, number + 0.3],
        "velocity_command": [-number - 0.4, -number - 0.5, -number - 0.6],
        "joint_pos": [number * 100 + 0.7, number * 100 + 0.8, number * 100 + 0.9],
    }


def term_values(term: Mapping[str, Any], frame: Frame) -> list[float]:
    """Compute one term of one frame by hand."""
    if term["term"] == "joint_vel":
        return [0.5 * value for value in frame["joint_vel"]]
    if term["term"] == "velocity_command":
        return [min(max(value, -50.0), 50.0) for value in frame["velocity_command"]]
    return [frame["joint_pos"][2]]


def reference_history(
    frames: Sequence[Frame],
    terms: Sequence[Mapping[str, Any]],
    length: int,
    layout: str,
    order: str,
    init: str,
) -> list[float]:
    """Put the vector together from all frames so far, the newest last."""

    def past(term: Mapping[str, Any], age: int) -> list[float]:
        if age < len(frames):
            return term_values(term, frames[-1 - age])
        first = term_values(term, frames[0])
        return first if init == "repeat" else [0.0] * len(first)

    def ages(count: int) -> list[int]:
        newest_first = list(range(count))
        return newest_first if order == "newest_first" else newest_first[::-1]

    if layout == "per_frame":
        groups = [past(term, age) for age in ages(length) for term in terms]
    else:
        groups = [
            past(term, age) for term in terms for age in ages(term.get("history_length", length))
        ]
    return list(itertools.chain.from_iterable(groups))


class Snapshot:
    def __init__(self, contract: JointContract) -> None:
        self._state = RobotState(contract)
        self._out = np.empty(contract.model.inputs["obs"].shape)
        self.builder = ObservationBuilder(
            contract.observations["obs"], contract, self._state, self._out
        )

    def write(self, frame: Frame) -> F64:
        """Return the vector for a frame that is dropped unless the builder advances."""
        for field, values in frame.items():
            if (view := self._state.get(field)) is not None:
                view[:] = values
        self.builder.write()
        return self._out.reshape(-1).copy()

    def take(self, frame: Frame) -> F64:
        """Return the vector for a frame that counts."""
        vector = self.write(frame)
        self.builder.advance()
        return vector


# Without deadline: a busy machine says nothing about the history.
@settings(deadline=None, derandomize=True)
@given(
    length=st.integers(1, 5),
    lengths=st.lists(st.none() | st.integers(1, 6), min_size=3, max_size=3),
    layout=st.sampled_from(LAYOUTS),
    order=st.sampled_from(ORDERS),
    init=st.sampled_from(INITS),
    taken=st.lists(st.sampled_from([True, True, False]), min_size=1, max_size=24),
)
def test_history_is_that_of_the_frames_whose_results_were_taken(
    length: int, lengths: list[int | None], layout: str, order: str, init: str, taken: list[bool]
) -> None:
    terms = [dict(term) for term in TERMS]
    if layout == "per_term":
        for term, own in zip(terms, lengths, strict=True):
            if own is not None:
                term["history_length"] = own
    history = {"length": length, "layout": layout, "order": order, "init": init}
    sensed = Snapshot(observed(terms, history=history))
    kept = list[Frame]()
    for number, counts in enumerate(taken, start=1):
        frames = [*kept, frame_number(number)]
        expected = reference_history(frames, terms, length, layout, order, init)
        np.testing.assert_allclose(sensed.write(frames[-1]), expected, atol=1e-12)
        if counts:
            sensed.builder.advance()
            kept = frames


def test_a_long_history_takes_memory_in_proportion() -> None:
    contract = observed(TERMS, history={"length": 2000})
    tracemalloc.start()
    try:
        sensed = Snapshot(contract)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    values = sensed.take(frame_number(1)).size
    assert most < 200 * values


def test_two_frames_per_term_newest_first_written_out() -> None:
    history = {"length": 2, "layout": "per_term", "order": "newest_first", "init": "zero"}
    sensed = Snapshot(
        observed([{"term": "joint_vel"}, {"term": "joint_pos", "joints": ["hip"]}], history=history)
    )
    vector = sensed.take({"joint_vel": [1.0, 2.0, 3.0], "joint_pos": [4.0, 0.0, 0.0]})
    assert vector.tolist() == [1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 4.0, 0.0]


@pytest.mark.parametrize("init", INITS)
def test_reset_forgets_all_frames(init: str) -> None:
    history = {"length": 3, "init": init}
    sensed, fresh = (Snapshot(observed(TERMS, history=history)) for _ in range(2))
    for number in range(1, 6):
        sensed.take(frame_number(number))
    sensed.builder.reset()
    np.testing.assert_array_equal(sensed.take(frame_number(9)), fresh.take(frame_number(9)))


def test_clip_of_the_whole_vector_does_not_change_the_kept_frames() -> None:
    sensed = Snapshot(observed([{"term": "joint_vel"}], clip=2.0, history={"length": 2}))
    sensed.take({"joint_vel": [5.0, -5.0, 1.0]})
    vector = sensed.take({"joint_vel": [0.0, 0.5, -9.0]})
    assert vector.tolist() == [2.0, -2.0, 1.0, 0.0, 0.5, -2.0]
