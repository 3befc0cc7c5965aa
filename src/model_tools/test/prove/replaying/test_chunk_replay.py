# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A replay of a chunk policy gives the recorded commands again, and finds what was changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools.prove.replaying.recording import FlightRecording
from model_tools.prove.replaying.replay import Judgement, replay
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.interfaces import Mode
from testkit.replays import SOME_OR_EACH, replayed_from_states
from testkit.wording import check_wording

from .small_arms import SETTINGS, ArmFlight, arm_bundle
from .small_flights import added, elsewhere, remade, rewritten
from .small_policies import alike, counts_of, differing, first_difference


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


@SOME_OR_EACH
@pytest.mark.parametrize("how", SETTINGS)
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


@SOME_OR_EACH
def test_an_emergency_stop_and_what_is_asked_for_after_it_are_computed_again(
    tmp_path: Path, tiny_arm: ChunkBundle, states: str
) -> None:
    flight = ArmFlight(tiny_arm, state_every=11).runs(20)
    flight.controller.estop("pressed")
    flight.go_on(5)
    flight.ask("damp")
    flight.go_on(5)
    flight.ask("damp")
    flight.go_on(3)
    flight.ask("reset")
    flight.runs(20)
    flight.tick(pressed=True)
    flight.go_on(5)
    replayed_from_states(flight.save(tmp_path / "flown"), states)


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
        ("joint_command", 70, added("position", 0, 1e-12), "command", "position[gripper]"),
        ("policy_tick", 70, added("target", 0, 1e-12), "target", "gripper"),
    ],
    ids=["chunk", "observation", "state of an inference", "sensor", "command", "target"],
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


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_chunk_that_arrives_in_another_tick_is_found(
    tmp_path: Path, tiny_arm: ChunkBundle, shift: int
) -> None:
    flight = ArmFlight(tiny_arm).runs(60)
    path = flight.save(tmp_path / "flown")
    ticks = [*FlightRecording(path).ticks()]
    moved = [tick.number for tick in ticks if tick.results and tick.number > 60][2]
    stamps = {tick.number: tick.stamp_ns for tick in ticks}

    def move(topic: str, message: Any) -> Any:
        if topic == "chunk_inference" and message.tick == moved:
            return dataclasses.replace(message, tick=moved + shift)
        return message

    def logged_ns(topic: str, message: Any, log_ns: int) -> int:
        return stamps[message.tick] if topic == "chunk_inference" else log_ns

    tick, *_ = first_difference(rewritten(path, move, logged_ns=logged_ns))
    assert tick in (moved, moved + shift)


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
