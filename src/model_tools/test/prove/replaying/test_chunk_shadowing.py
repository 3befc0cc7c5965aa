# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a node counted of the shadow of a chunk policy is computed again from the recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools.errors import ToolError
from model_tools.prove.replaying.recording import FlightRecording
from model_tools.prove.replaying.shadowing import recorded_divergence, shadow_flight
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.errors import BackendError
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64, Mode, ShadowMode
from policy_core.members.chunk.graphs import Inference
from policy_core.members.chunk.observation_sync import Snapshot
from policy_inference.backends.registry import open_models
from policy_inference.flight.ring import ShadowAnswer, ShadowOutcome
from policy_inference.shadow.chunk_shadow import ChunkShadow, ChunkTick, ShadowObservation
from policy_inference.shadow.divergence import Divergence
from policy_inference.shadow.shadowed_member import ShadowQuestion
from testkit.wording import refusal

from .small_arms import SETTINGS, ArmFlight, arm_bundle


class ShadowedArmFlight:
    """A flight with a shadow, asked as a node asks it.

    Attributes:
        divergence: What the node counted.
        what: For a tick: `late` or `lost`; empty else.
        fails: Whether the shadow's next inferences do.
    """

    def __init__(
        self,
        tiny_policy: ChunkBundle,
        shadow: ChunkBundle,
        mode: ShadowMode,
        run: Callable[[Snapshot], F64] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        facts = {"shadow.bundle_sha256": shadow.sha256, "shadow.bundle_name": "small_arm"}
        self.flight = ArmFlight(tiny_policy, facts=facts, **(settings or {}))
        self.flight.observe = self._observe
        state, contract = self.flight.controller.state, shadow.contract
        self._shadow = ChunkShadow(
            contract,
            run or self._run,
            limits_in_force(contract, StricterLimits()),
            tiny_policy.contract,
            {name: state[name].size for name in state.slices},
            self.flight.settings,
            mode,
        )
        self.divergence = Divergence.of(tiny_policy.contract)
        self.what, self.fails = "", False
        self._random = np.random.default_rng(11)
        self._waiting = list[ShadowObservation]()
        self._begins, self._lost = False, 0

    def _run(self, sensed: Snapshot) -> F64:
        if self.fails:
            raise BackendError("the other device was removed")
        chunk: F64 = self._random.normal(0.2, 0.3, (8, 3))
        return chunk

    def _observe(self, number: int) -> tuple[ShadowAnswer, ...]:
        runtime, controller = self.flight.runtime, self.flight.controller
        mode = controller.latest_tick.mode
        self._waiting += map(ShadowObservation.of, runtime.chunks)
        runtime.chunks.clear()
        if mode not in (Mode.RUN, Mode.HOLD):
            self._waiting.clear()
        if mode is not Mode.RUN:
            return ()
        run, policy = controller.latest_tick, runtime.policy
        asked = ChunkTick(policy.tick, policy.target, tuple(self._waiting))
        self._waiting.clear()
        if run.begins:
            self._begins, self._lost = True, 0
        if self.what == "lost":
            self._lost += 1
            answer = ShadowAnswer(number, ShadowOutcome.LOST)
        else:
            answer = self._shadow.answer(
                number,
                ShadowQuestion(controller.state.flat, run.target, self._begins, self._lost, asked),
                late=self.what == "late",
            )
            self._begins, self._lost = False, 0
        self.divergence.add(answer)
        return (answer,)

    def flown(self) -> ShadowedArmFlight:
        """Run, with ticks in which the shadow is late, is lost, and fails; and a second time."""
        flight = self.flight.runs(60)
        for self.what in ("late", "", "lost", ""):
            flight.go_on(12)
        self.fails = True
        flight.go_on(12)
        self.fails = False
        flight.go_on(30)
        flight.ask("damp")
        flight.go_on(5)
        flight.runs(40)
        return self


def assert_same(one: Divergence, other: Divergence) -> None:
    assert one.counts == other.counts
    assert one.rules == other.rules
    assert one.beyond_limits == other.beyond_limits
    for name in ("mean", "rms", "max"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.fixture
def other_arm(tmp_path: Path) -> ChunkBundle:
    return arm_bundle(tmp_path / "other", version="2.0.0")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ShadowMode)
@pytest.mark.parametrize("how", SETTINGS)
def test_figures_of_the_flight_are_computed_again_bit_for_bit(
    tmp_path: Path, tiny_arm: ChunkBundle, other_arm: ChunkBundle, how: str, mode: ShadowMode
) -> None:
    flown = ShadowedArmFlight(tiny_arm, other_arm, mode, settings=SETTINGS[how]).flown()
    recording = FlightRecording(flown.flight.save(tmp_path / "flown"))

    found = shadow_flight(recording, other_arm, [], {}, mode)

    assert_same(found.divergence, flown.divergence)
    assert found.recorded is not None
    assert_same(found.recorded, flown.divergence)
    counts = found.divergence.counts
    for outcome in (ShadowOutcome.COMPARED, ShadowOutcome.SKIPPED, ShadowOutcome.LOST):
        assert counts[outcome] > 0
    assert counts[ShadowOutcome.FAILED] > 0
    assert found.divergence.max.max() > 0.1
    recorded = recorded_divergence(recording)
    assert recorded is not None
    assert_same(recorded, flown.divergence)


def test_shadow_that_needs_images_is_refused_unless_it_ran_in_the_flight(
    tmp_path: Path, tiny_arm: ChunkBundle, other_arm: ChunkBundle
) -> None:
    third = arm_bundle(tmp_path / "third", version="3.0.0")
    alone = FlightRecording(ArmFlight(tiny_arm).runs(20).save(tmp_path / "alone"))
    flown = ShadowedArmFlight(tiny_arm, other_arm, ShadowMode.FOLLOWED)
    shadowed = FlightRecording(flown.flight.runs(20).save(tmp_path / "shadowed"))

    for recording in (alone, shadowed):
        with refusal(ToolError):
            shadow_flight(recording, third, [], {}, ShadowMode.FOLLOWED)


def test_model_of_a_shadow_without_cameras_is_run(tmp_path: Path) -> None:
    blind: dict[str, Any] = {"sizes": {}, "encoders": False, "environment": 3}
    tiny_policy = arm_bundle(tmp_path / "arm", **blind)
    other = arm_bundle(tmp_path / "other", version="2.0.0", **blind)
    with open_models(other.models, ["onnx"]) as models:
        run = Inference(other.contract, models).run
        flown = ShadowedArmFlight(tiny_policy, other, ShadowMode.FOLLOWED, run)
        flight = flown.flight.runs(60)
    recording = FlightRecording(flight.save(tmp_path / "flown"))

    found = shadow_flight(recording, other, ["onnx"], {}, ShadowMode.FOLLOWED)

    assert_same(found.divergence, flown.divergence)
    assert found.divergence.compared > 30
