# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A replay of a chunk policy gives the recorded commands again, and finds what was changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools.errors import ToolError
from model_tools.prove.replaying.invariants import check_flight
from model_tools.prove.replaying.recording import FlightRecording
from model_tools.prove.replaying.replay import Judgement, replay
from model_tools.prove.replaying.shadowing import recorded_divergence, shadow_flight
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.errors import BackendError
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64, Mode, ShadowMode
from policy_core.members.chunk.graphs import Inference
from policy_core.members.chunk.observation_sync import Snapshot
from policy_inference.backends.registry import open_models
from policy_inference.flight.ring import ShadowAnswer, ShadowOutcome
from policy_inference.shadow.chunk_shadow import ChunkShadow
from policy_inference.shadow.divergence import Divergence
from policy_inference.shadow.shadowed_member import ChunkTick, ShadowObservation, ShadowQuestion
from testkit.replays import SOME_OR_EACH, replayed_from_states
from testkit.wording import check_wording, refusal

from .small_arms import SETTINGS, ArmFlight, arm_bundle
from .small_flights import added, alike, counts_of, differing, elsewhere, first_difference, remade


def test_a_camera_freezes_in_the_replay_when_it_did_on_the_robot(tmp_path: Path) -> None:
    limits = {f"cameras.{name}.camera_frozen_s": 0.5 for name in ("laptop", "phone")}
    flight = ArmFlight(arm_bundle(tmp_path / "arm", **limits)).runs(30)
    flight.frozen = bytes(3 * 4096)
    while flight.controller.mode is Mode.RUN:
        flight.tick()
    assert "camera " in flight.controller.latest_tick.reason
    flight.go_on(5)
    flight.frozen = None
    flight.go_on(30)
    assert flight.controller.latest_tick.mode is Mode.RUN
    assert alike(flight.save(tmp_path / "flown")).judgement is Judgement.EXACT


def corrected(tiny_arm: ChunkBundle, state_every: int = 1) -> tuple[ArmFlight, int]:
    """Return a flight in which a person takes over twice, and the tick of the first takeover."""
    flight = ArmFlight(
        tiny_arm, state_every=state_every, handover_s=0.3, leader_tolerance_rad=0.15
    ).runs(20)
    first = flight.ticks
    for far, dropped in ((0.5, 0), (0.0, 8)):
        flight.leader = flight.position + far
        flight.tick()
        flight.ask("take_over")
        flight.go_on(5)
        flight.leader = flight.position + 0.05
        flight.go_on(15)
        flight.leader = flight.position + 0.4
        flight.go_on(10)
        if dropped:
            flight.leader = None
            flight.go_on(dropped)
            flight.leader = flight.position.copy()
            flight.go_on(10)
        flight.ask("hand_back")
        flight.go_on(25)
    return flight, first


@pytest.mark.slow
@SOME_OR_EACH
def test_takeovers_are_computed_again_bit_for_bit(
    tmp_path: Path, tiny_arm: ChunkBundle, states: str
) -> None:
    flight, _ = corrected(tiny_arm, state_every=11)
    assert not flight.controller.snapshot().latched
    found = replayed_from_states(flight.save(tmp_path / "flown"), states)
    counts, ticks = counts_of(found), found.flight.mode
    assert counts["target"] == (int((ticks == Mode.RUN).sum()), 0)
    assert (ticks == Mode.HOLD).sum() > 3, "the leader never dropped out"


@pytest.mark.slow
@SOME_OR_EACH
@pytest.mark.parametrize(
    "how",
    [
        "asynchronous",
        "ensemble",
        "synchronous",
        *(pytest.param(how, marks=pytest.mark.acceptance) for how in [*SETTINGS][1:4]),
    ],
)
def test_a_recording_is_computed_again_from_each_of_its_states(
    tmp_path: Path, tiny_arm: ChunkBundle, how: str, states: str
) -> None:
    flight = ArmFlight(tiny_arm, state_every=23, **SETTINGS[how]).runs(90)
    found = replayed_from_states(flight.save(tmp_path / "flown"), states)
    assert found.judgement is Judgement.EXACT
    counts, ticks = counts_of(found), found.flight.mode
    assert counts["target"] == (int((ticks == Mode.RUN).sum()), 0)
    assert counts["guard"] == (flight.ticks, 0)
    commanded = sum(tick.command is not None for tick in found.recording.ticks())
    assert counts["command"] == (commanded, flight.ticks - commanded)
    assert counts["inputs"][0] > 0
    assert "outputs" not in counts


@pytest.mark.slow
@SOME_OR_EACH
def test_holds_and_faults_are_computed_again(
    tmp_path: Path, tiny_arm: ChunkBundle, states: str
) -> None:
    flight = ArmFlight(tiny_arm, state_every=11).runs(20)
    for how in ({"silent": "joint_states"}, {"silent": "laptop"}, {"late": True}):
        flight.go_on(20, **how) if "late" not in how else flight.tick(**how)
        flight.go_on(20)
        if flight.controller.mode is Mode.DAMP:
            flight.ask("reset")
            flight.runs(10)
    flight.fails = True
    flight.go_on(20)
    flight.fails = False
    flight.go_on(50)
    found = replayed_from_states(flight.save(tmp_path / "flown"), states)
    reasons = " ".join(edge.reason for edge in found.flight.edges)
    for text in ("joint_states:", "pairing.tolerance_s", "ms late", "device"):
        assert text in reasons


def late_ones(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return what changes the inferences of a run that has been going on."""
    return lambda each: change(each) if each.tick > 60 and each.steps else each


def other_chunk(inference: Any) -> Any:
    inference.data[1] = np.nextafter(inference.data[1], 9.0)
    inference.data[4::3] += 1e-9
    return inference


def older(inference: Any) -> Any:
    inference.observation_ns -= 1_000_000
    return inference


@pytest.mark.parametrize(
    ("topic", "number", "spoil", "stage", "name"),
    [
        ("chunk_inference", None, late_ones(other_chunk), "target", ""),
        ("chunk_inference", None, late_ones(older), "inputs", "age of the observation"),
        ("chunk_inference", None, late_ones(added("state", 1, 1e-12)), "inputs", "joint_pos"),
        ("joint_states", 70, added("position", 0, 1e-12), "state", "joint_pos[elbow_flex]"),
    ],
    ids=["chunk", "observation", "state of an inference", "sensor"],
)
def test_a_changed_value_of_an_arm_is_found_and_named(
    arm_flown: Path,
    topic: str,
    number: int | None,
    spoil: Callable[[Any], Any],
    stage: str,
    name: str,
) -> None:
    _, *found = first_difference(remade(arm_flown, topic, spoil, number))
    assert found[0] == stage
    assert name in found[1]


def test_a_recording_has_what_the_classifier_of_success_said(
    tmp_path: Path, tiny_arm: ChunkBundle
) -> None:
    flight = ArmFlight(tiny_arm).runs(10)
    flight.success = 0.25
    flight.go_on(10)
    ticks = FlightRecording(flight.save(tmp_path / "flown")).ticks()
    said = [result.success for tick in ticks for result in tick.results]
    assert said[0] is None
    assert said[-1] == 0.25


@pytest.mark.slow
def test_another_contract_is_a_what_if_and_another_description_or_machine_is_judged(
    tmp_path: Path, arm_flown: Path
) -> None:
    other = arm_bundle(tmp_path / "other", **{"joints.stiffness": 20.0})
    found = replay(arm_flown, other.path, "", {})
    assert found
    assert found.judgement is Judgement.WHAT_IF
    assert differing(found).keys() == {"command"}
    check_wording(found.because)
    described = arm_bundle(tmp_path / "described", description="other words")
    assert alike(arm_flown, described.path).judgement is Judgement.EXACT
    assert alike(elsewhere(arm_flown)).judgement is Judgement.LIMITS


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
    assert not check_flight(recording.path).counts


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"tick": 0}, "shadow_answers_once"),
        ({"target": np.full(3, np.nan)}, "shadow_compares_numbers"),
    ],
)
def test_answer_of_a_shadow_that_cannot_be_violates_an_invariant(
    tmp_path: Path, tiny_arm: ChunkBundle, other_arm: ChunkBundle, change: Any, name: str
) -> None:
    flown = ShadowedArmFlight(tiny_arm, other_arm, ShadowMode.FOLLOWED).flight.runs(20)
    saved = flown.save(tmp_path / "flown")
    changed = remade(saved, "shadow_tick", lambda said: dataclasses.replace(said, **change), 12)
    assert [*check_flight(changed).counts] == [name]


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
