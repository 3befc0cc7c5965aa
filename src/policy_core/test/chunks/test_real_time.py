# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Real-time chunking on an arm: new chunks continue what was executed while they were computed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from policy_core.interfaces import F64
from policy_core.members.chunk.real_time import ExecutedDelay, PlannedSteps, prefix_weights
from testkit.kernel.arms import Arm
from testkit.kernel.chunk_contracts import STEPS
from testkit.kernel.noise import CONDITIONED, DDIM, FLOW, denoising_changes
from testkit.wording import check_wording

pytestmark = pytest.mark.both_cores


class FlowArm(Arm):
    """An arm whose flow policy aims at a constant pose, another one for each chunk."""

    def __init__(self, denoising: Mapping[str, Any] = FLOW, **settings: Any) -> None:
        super().__init__(
            denoising_changes(denoising),
            **{"mode": "rtc", "refill_threshold": 1.0, "steps": STEPS, **settings},
        )
        self.asked = list[PlannedSteps | None]()
        ask = self.tap.ask

        def note(request: Any) -> None:
            self.asked.append(request.planned)
            ask(request)

        self.tap.ask = note  # type: ignore[method-assign]  # the test looks on

    def run(self) -> FlowArm:
        super().run()
        return self

    def _predict(self) -> None:
        # The velocity of a straight way to the pose of this chunk: 0.3 or -0.3.
        run, step = divmod(self.transformer.runs - 1, 10)
        pose, time = 0.3 * (-1) ** run, 1.0 - step / 10
        noisy = self.transformer.inputs["noisy"]
        self.transformer.outputs["Actions"][...] = (noisy - pose) / time


@pytest.mark.parametrize("denoising", [FLOW, CONDITIONED])
def test_a_new_chunk_begins_with_the_steps_that_were_executed_meanwhile(
    denoising: Mapping[str, Any],
) -> None:
    arm = FlowArm(denoising, simulated_latency_s=0.3).run()
    followed = arm.follow(24)

    chunks = list(arm.runtime.chunks)
    assert len(chunks) >= 3
    for before, after in itertools.pairwise(chunks[1:]):
        passed = after.tick - after.first_tick
        assert passed == 3
        same = before.targets[after.first_tick - before.first_tick :][:passed]
        # Unguided chunks would differ by 0.6 here; the correction is bounded near the noise.
        np.testing.assert_allclose(after.targets[:passed], same, atol=0.06)
    jumps = np.abs(np.diff(followed[4:], axis=0)).max()
    plain = (
        FlowArm(denoising, simulated_latency_s=0.3, mode="asynchronous", fade_s=0.0)
        .run()
        .follow(24)
    )
    assert jumps < 0.6 * np.abs(np.diff(plain[4:], axis=0)).max()


def test_the_delay_is_what_was_executed_lately() -> None:
    arm = FlowArm(simulated_latency_s=0.3).run()
    arm.follow(20)

    assert arm.asked[0] is None  # nothing is planned before the first chunk
    planned = [each for each in arm.asked[1:] if each is not None]
    assert planned[-1].delay == 3
    assert len(planned[-1].targets) <= STEPS


def test_what_takes_longer_for_once_is_forgotten_after_ten_chunks() -> None:
    delay = ExecutedDelay(2)
    assert delay.steps == 2
    delay.add(9)
    assert delay.steps == 9
    for _ in range(10):
        delay.add(3)
    assert delay.steps == 3


def test_weights_fall_from_the_delay_to_the_horizon() -> None:
    np.testing.assert_allclose(prefix_weights("linear", 2, 5, 7), [1, 1, 0.75, 0.5, 0.25, 0, 0])
    np.testing.assert_allclose(prefix_weights("ones", 2, 5, 7), [1] * 5 + [0] * 2)
    np.testing.assert_allclose(prefix_weights("zeros", 2, 5, 7), [1] * 2 + [0] * 5)
    falling = prefix_weights("exp", 2, 5, 7)
    assert (np.diff(falling[1:6]) < 0).all()
    np.testing.assert_allclose(prefix_weights("linear", 9, 5, 7), [1] * 5 + [0] * 2)


class TestCondition:
    """A graph that runs once for a chunk, between what is observed and the denoising steps."""

    def arm(self) -> FlowArm:
        arm = FlowArm(CONDITIONED, simulated_latency_s=0.2)
        language = arm.graphs["graphs.language"]

        def see() -> None:
            seen = language.inputs["states"][0, 0], language.inputs["phone_features"].max()
            language.outputs["seen"][0] = seen

        language.during_run = see
        return arm

    def test_it_runs_once_for_all_steps_of_a_chunk(self) -> None:
        arm = self.arm().run()
        arm.follow(12)
        runs = arm.graphs["graphs.language"].runs
        assert runs >= 3
        assert arm.transformer.runs == 10 * runs

    def test_each_step_gets_what_it_made_of_the_observation(self) -> None:
        arm = self.arm().run()
        arm.joint_pos = (0.25,) * 3
        arm.follow(4)
        brightness = arm.vision.outputs["Vision_Features"].max()
        assert brightness > 0.0
        np.testing.assert_allclose(arm.transformer.inputs["seen"][0], [0.25, brightness])

    def test_columns_beyond_the_joints_are_no_actions(self) -> None:
        arm = self.arm().run()
        arm.follow(8)
        assert arm.transformer.inputs["noisy"].shape == (1, STEPS, 5)
        assert all(chunk.targets.shape == (STEPS, 3) for chunk in arm.runtime.chunks)


class TestHistory:
    """A policy of two observations gets those of the last two ticks."""

    def states(self, arm: Arm) -> F64:
        """Return the states [observations, joints] that the graph was given last."""
        return np.asarray(arm.transformer.inputs["states"][0], np.float64)

    def arm(self) -> Arm:
        """Return an arm that asks for a chunk in each tick, and moves by 0.01 rad in each."""
        arm = Arm(denoising_changes({**DDIM, "observations": 2}), refill_threshold=1.0, fade_s=0.0)
        arm.answer = lambda run: 0.0
        return arm

    def tick_at(self, arm: Arm, position: float) -> None:
        arm.joint_pos = (position,) * 3
        arm.tick()

    def test_the_first_observation_counts_twice(self) -> None:
        arm = self.arm().run()
        self.tick_at(arm, 0.01)
        np.testing.assert_allclose(self.states(arm), [[0.01] * 3] * 2)

    def test_then_the_tick_before_comes_first(self) -> None:
        arm = self.arm().run()
        for position in (0.01, 0.02, 0.03):
            self.tick_at(arm, position)
        np.testing.assert_allclose(self.states(arm), [[0.02] * 3, [0.03] * 3])

    def test_after_ticks_without_measurements_the_newest_counts_twice(self) -> None:
        arm = self.arm().run()
        for position in (0.01, 0.02):
            self.tick_at(arm, position)
        for _ in range(4):
            arm.tick(silent=("joint_states", "laptop", "phone"))
        self.tick_at(arm, 0.05)
        np.testing.assert_allclose(self.states(arm), [[0.05] * 3] * 2)

    def test_without_a_frame_the_camera_is_named(self) -> None:
        arm = self.arm().run()
        arm.follow(2)
        arm.runtime.frames["phone"].clear()
        arm.tick(silent=("phone",))
        check_wording(arm.runtime.policy.problem)
