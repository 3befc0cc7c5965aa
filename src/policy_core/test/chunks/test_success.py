# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The signal of success: a classifier at the rate of chunks, or joints at that of ticks."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from policy_core.control.tick import EndStep
from policy_core.errors import BackendError, BundleError
from policy_core.interfaces import Mode
from policy_core.members.chunk.success import SuccessWatch
from testkit.kernel.arms import MS, Arm, ramp
from testkit.kernel.chunk_contracts import HEIGHT, WIDTH, chunk_contract_of
from testkit.kernel.messages import plain
from testkit.wording import check_wording, refusal

DONE_GRAPH = {
    "inputs": {"phone": {"shape": [1, 3, HEIGHT, WIDTH]}, "state": {"shape": [1, 3]}},
    "outputs": {"probability": {"shape": [1, 1]}},
    "artifacts": {"onnx": {"file": "done.onnx", "sha256": "0" * 64, "precision": "fp32"}},
}
SIGNAL = {"graph": "done", "threshold": 0.7, "for_s": 0.5, "then": "end"}
CLASSIFIED = {"graphs.done": DONE_GRAPH, "success": SIGNAL}
AT_LIFT = {"joints": {"lift": [0.5, 1.0]}, "for_s": 0.3, "then": "flag"}


class WatchedArm(Arm):
    """An arm whose signal of success is watched after each tick, as by a node."""

    def __init__(self, changes: Mapping[str, object], **settings: Any) -> None:
        super().__init__(changes, mode="synchronous", **settings)
        self.answer = ramp
        self.watch = SuccessWatch(self.contract)
        self.verdicts = list[Any]()

    def say(self, probability: Callable[[int], float]) -> None:
        """Have the classifier answer with what this makes of the number of its run, from 0."""
        graph = self.graphs["graphs.done"]

        def during_run() -> None:
            graph.outputs["probability"][...] = probability(graph.runs - 1)

        graph.during_run = during_run

    def look(self, ticks: int) -> list[bool]:
        """Tick and watch; return whether the task was done after each tick."""
        found = []
        for _ in range(ticks):
            self.tick()
            tick, reading = self.controller.latest_tick, self.runtime.policy.success
            self.verdicts.append(self.watch.observe(tick, reading))
            found.append(self.watch.done)
        return found


@pytest.mark.both_cores
def test_a_classifier_is_asked_with_each_chunk_and_sees_what_the_policy_sees() -> None:
    arm = WatchedArm(CLASSIFIED)
    arm.joint_pos, arm.image = (0.0, 0.25, 0.0), plain(255, 0, 51, HEIGHT, WIDTH)
    arm.say(lambda run: 0.9)
    arm.run()
    done = arm.look(12)
    classifier = arm.graphs["graphs.done"]
    assert classifier.runs == arm.transformer.runs == 3
    # The readings of ticks 0 and 5 are 0.5 s apart.
    assert done == [False] * 5 + [True] * 7
    colour, state = (classifier.inputs[name].astype(np.float64) for name in ("phone", "state"))
    np.testing.assert_allclose(colour[0, :, 0, 0], [1.0, 0.0, 0.2], atol=1e-6)
    np.testing.assert_allclose(state[0], [0.0, 0.25, 0.0])
    assert arm.watch.probability == pytest.approx(0.9)


@pytest.mark.both_cores
def test_the_verdict_ends_the_run_as_an_operator_would() -> None:
    arm = WatchedArm(CLASSIFIED)
    arm.say(lambda run: 0.9)
    arm.run()
    arm.look(6)
    verdict = arm.verdicts[-1]
    assert verdict.step is EndStep.DAMP
    arm.controller.end_run(verdict, arm.controller.stand)
    arm.tick()
    assert arm.is_in(Mode.DAMP)
    assert not arm.controller.snapshot().latched
    check_wording(arm.reason)


@pytest.mark.both_cores
def test_a_reading_below_the_threshold_or_none_breaks_what_holds() -> None:
    arm = WatchedArm(CLASSIFIED)
    arm.say(lambda run: 0.69 if run == 1 else 0.9)
    arm.run()
    assert arm.look(20).index(True) == 15  # those of ticks 10 and 15

    arm = WatchedArm(CLASSIFIED)

    def fails(run: int) -> float:
        if run == 1:
            raise BackendError("the device is gone")
        return 0.9

    arm.say(fails)
    arm.run()
    assert arm.look(20).index(True) == 15
    assert arm.is_in(Mode.RUN)  # the chunk counts nevertheless


def test_a_late_reading_is_none() -> None:
    watch = SuccessWatch(chunk_contract_of(CLASSIFIED))
    for time_ns in (0, 500 * MS, 2_100 * MS):  # the last gap is longer than a chunk and a half
        watch.see(time_ns, holds=time_ns != 500 * MS)
    watch.see(2_500 * MS, holds=True)
    assert not watch.done
    watch.see(2_600 * MS, holds=True)
    assert watch.done


@pytest.mark.both_cores
def test_the_signal_stays_until_the_next_run_begins() -> None:
    arm = WatchedArm(CLASSIFIED)
    arm.say(lambda run: 0.9 if run < 4 else 0.0)
    arm.run()
    assert arm.look(20)[-1]
    arm.controller.damp()
    arm.run()
    assert arm.look(20) == [False] * 20


@pytest.mark.both_cores
def test_joints_in_their_ranges_are_counted_by_ticks_and_only_flag() -> None:
    arm = WatchedArm({"success": AT_LIFT})
    arm.run()
    assert arm.look(3) == [False] * 3
    arm.joint_pos = (0.0, 0.6, 0.0)
    assert arm.look(3) == [False] * 3
    arm.joint_pos = (0.0, 1.1, 0.0)
    assert arm.look(1) == [False]
    arm.joint_pos = (0.0, 0.6, 0.0)
    assert arm.look(4) == [False, False, False, True]
    assert set(arm.verdicts) == {None}


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({"success": {"for_s": 0.0}}, ["success"]),
        ({"success": AT_LIFT | {"threshold": 0.5}}, ["success.threshold"]),
        ({"success": AT_LIFT | {"joints": {"knee": [0.0, 1.0]}}}, ["success.joints"]),
        ({"success": AT_LIFT | {"joints": {"lift": [1.0, 0.0]}}}, ["success.joints.lift"]),
        ({"success": SIGNAL}, ["success.graph"]),
        (
            CLASSIFIED | {"graphs.done": DONE_GRAPH | {"inputs": {"front": {"shape": [1, 3]}}}},
            ["graphs.done.inputs.front"],
        ),
        (
            CLASSIFIED
            | {"graphs.done": DONE_GRAPH | {"outputs": {"probability": {"shape": [1, 2]}}}},
            ["graphs.done.outputs"],
        ),
    ],
)
def test_a_signal_that_does_not_fit_is_refused(changes: dict[str, object], keys: list[str]) -> None:
    with refusal(BundleError) as refused:
        chunk_contract_of(changes)
    assert [problem.key for problem in refused.value.problems] == keys
