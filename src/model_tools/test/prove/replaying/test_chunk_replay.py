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

from model_tools.errors import ToolError
from model_tools.prove.replaying.replay import Judgement, ReplayedFlight, replay
from model_tools.prove.replaying.replay_page import write_html
from model_tools.prove.replaying.replay_report import document, lines, verdict
from policy_inference.bundle.bundle import ChunkBundle
from policy_inference.interfaces import Mode
from testkit.wording import refusal

from .small_arms import ArmFlight, arm_bundle
from .small_flights import rewritten
from .small_policies import differing, judged

SETTINGS: dict[str, dict[str, Any]] = {
    "asynchronous": {},
    "realigned": {"realign": True},
    "fewer steps": {"steps": 5, "refill_threshold": 0.9},
    "slow": {"simulated_latency_s": 0.2},
    "ensemble": {"mode": "ensemble", "simulated_latency_s": 0.0},
    "synchronous": {"mode": "synchronous"},
}


@pytest.fixture
def bundle(tmp_path: Path) -> ChunkBundle:
    return arm_bundle(tmp_path / "arm")


@pytest.fixture
def flown(tmp_path: Path, bundle: ChunkBundle) -> Path:
    """Return a recording of an arm that stands up and runs for 60 ticks."""
    return ArmFlight(bundle).runs(60).save(tmp_path / "flown")


def explained(found: ReplayedFlight) -> str:
    """Return what differs and what was not proven."""
    return f"{found.first} {found.unproven} {differing(found)} {judged(found)}"


@pytest.mark.parametrize("how", SETTINGS)
def test_a_recording_from_the_beginning_is_computed_again_bit_for_bit(
    tmp_path: Path, bundle: ChunkBundle, how: str
) -> None:
    flight = ArmFlight(bundle, **SETTINGS[how]).runs(80)
    found = replay(flight.save(tmp_path / "flown"), None, "", {})
    assert found, explained(found)
    assert found.judgement is Judgement.EXACT
    assert not differing(found)
    counts, ticks = judged(found), found.flight.mode
    assert counts["target"] == (int((ticks == Mode.RUN).sum()), 0)
    assert counts["guard"] == (flight.ticks, 0)
    commanded = sum(tick.command is not None for tick in found.recording.ticks())
    assert counts["command"] == (commanded, flight.ticks - commanded)
    assert counts["inputs"][0] > 0
    assert "outputs" not in counts


def corrected(bundle: ChunkBundle) -> tuple[ArmFlight, int]:
    """Return a flight in which a person takes over twice, and the tick of the first takeover."""
    flight = ArmFlight(bundle, handover_s=0.3, leader_tolerance_rad=0.15).runs(20)
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


def test_takeovers_are_computed_again_bit_for_bit(tmp_path: Path, bundle: ChunkBundle) -> None:
    flight, _ = corrected(bundle)
    assert not flight.controller.snapshot().latched
    found = replay(flight.save(tmp_path / "flown"), None, "", {})
    assert found, explained(found)
    assert found.judgement is Judgement.EXACT
    assert not differing(found)
    counts, ticks = judged(found), found.flight.mode
    assert counts["target"] == (int((ticks == Mode.RUN).sum()), 0)
    assert (ticks == Mode.HOLD).sum() > 3, "the leader never dropped out"


def test_another_pose_of_the_leader_is_found(tmp_path: Path, bundle: ChunkBundle) -> None:
    flight, _ = corrected(bundle)
    recording = flight.save(tmp_path / "flown")

    def move(topic: str, message: Any) -> Any:
        if topic.endswith("leader/joint_states"):
            message.position[0] += 0.01
        return message

    found = replay(rewritten(recording, tmp_path / "moved", move), None, "", {})
    assert not found
    assert "state" in differing(found)


def test_a_recording_that_begins_while_a_person_drives_is_judged_after_the_way_back(
    tmp_path: Path, bundle: ChunkBundle
) -> None:
    flight, first = corrected(bundle)
    found = replay(flight.save(tmp_path / "flown", first + 22), None, "", {})
    assert not differing(found), explained(found)
    assert found.replayer.stages["target"].judged > 3


@pytest.mark.parametrize(
    "how", [name for name in SETTINGS if name not in ("realigned", "fewer steps")]
)
@pytest.mark.parametrize("left", [35, 50, 61])
def test_a_recording_from_the_middle_of_a_run_is_judged_once_its_chunks_are_known(
    tmp_path: Path, bundle: ChunkBundle, how: str, left: int
) -> None:
    flight = ArmFlight(bundle, **SETTINGS[how]).runs(90)
    found = replay(flight.save(tmp_path / "flown", flight.ticks - left), None, "", {})
    assert not differing(found), explained(found)
    assert found, explained(found)
    assert found.replayer.stages["target"].judged > 3


def test_chunks_that_come_before_a_fade_ends_are_not_known_from_the_middle_of_a_run(
    tmp_path: Path, bundle: ChunkBundle
) -> None:
    flight = ArmFlight(bundle, **SETTINGS["fewer steps"]).runs(90)
    found = replay(flight.save(tmp_path / "flown", flight.ticks - 50), None, "", {})
    assert not found
    assert not differing(found), explained(found)
    assert any("target: none of" in each for each in found.unproven)


@pytest.mark.parametrize("mode", [Mode.DAMP, Mode.STAND, Mode.READY])
def test_a_recording_may_begin_in_any_mode(tmp_path: Path, bundle: ChunkBundle, mode: Mode) -> None:
    flight = ArmFlight(bundle)
    flight.go_on(30)
    flight.ask("damp")
    flight.go_on(5)
    first = {Mode.DAMP: flight.ticks - 3}
    flight.ask("stand")
    flight.go_on(5)
    first[Mode.STAND] = flight.ticks - 2
    while flight.controller.mode is not Mode.READY:
        flight.tick()
    flight.go_on(5)
    first[Mode.READY] = flight.ticks - 2
    flight.ask("run")
    flight.go_on(30)
    found = replay(flight.save(tmp_path / "flown", first[mode]), None, "", {})
    assert found, explained(found)
    assert not differing(found)
    assert judged(found)["target"][1] == 0


def test_holds_and_faults_are_computed_again(tmp_path: Path, bundle: ChunkBundle) -> None:
    flight = ArmFlight(bundle).runs(20)
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
    found = replay(flight.save(tmp_path / "flown"), None, "", {})
    assert found, explained(found)
    assert not differing(found)
    reasons = " ".join(edge.reason for edge in found.flight.edges)
    for text in ("joint_states: ", "pairing.tolerance_s", "ms late", "the device was removed"):
        assert text in reasons


def test_an_emergency_stop_and_what_is_asked_for_after_it_are_computed_again(
    tmp_path: Path, bundle: ChunkBundle
) -> None:
    flight = ArmFlight(bundle).runs(20)
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
    found = replay(flight.save(tmp_path / "flown"), None, "", {})
    assert found, explained(found)
    assert not differing(found)


def test_missing_ticks_are_counted_and_what_follows_is_judged(
    tmp_path: Path, bundle: ChunkBundle
) -> None:
    flight = ArmFlight(bundle).runs(90)
    lost = range(flight.ticks - 60, flight.ticks - 55)

    def lose(topic: str, message: Any) -> Any:
        return None if topic == "policy_tick" and message.tick in lost else message

    path = rewritten(flight.save(tmp_path / "flown"), tmp_path / "lost", lose)
    found = replay(path, None, "", {})
    assert found, explained(found)
    assert not differing(found)
    assert found.replayer.coverage.lost == 5


def chunk_value(topic: str, message: Any) -> Any:
    if topic == "chunk_inference" and message.tick > 60 and message.steps:
        message.data[1] = np.nextafter(message.data[1], 9.0)
        message.data[4::3] += 1e-9
    return message


def observation(topic: str, message: Any) -> Any:
    if topic == "chunk_inference" and message.tick > 60:
        message.observation_ns -= 1_000_000
    return message


def given_state(topic: str, message: Any) -> Any:
    if topic == "chunk_inference" and message.tick > 60:
        message.state[1] = np.nextafter(message.state[1], 9.0)
    return message


def sensor(topic: str, message: Any) -> Any:
    if topic == "joint_states" and message.position[0] > 0:
        message.position[0] = np.nextafter(message.position[0], 9.0)
    return message


def command(topic: str, message: Any) -> Any:
    if topic == "joint_command" and message.sequence == 70:
        message.position[0] = np.nextafter(message.position[0], 9.0)
    return message


def target(topic: str, message: Any) -> Any:
    if topic == "policy_tick" and message.tick == 70:
        message.target[0] = np.nextafter(message.target[0], 9.0)
    return message


def mode(topic: str, message: Any) -> Any:
    if topic in ("policy_tick", "joint_command") and message.mode == Mode.READY:
        return dataclasses.replace(message, mode=int(Mode.STAND))
    return message


def request(topic: str, message: Any) -> Any:
    if topic == "policy_tick" and "stand" in message.requests:
        message.request_times_ns[0] -= 1000
    return message


SPOILT: dict[str, tuple[Callable[[str, Any], Any], set[str], str]] = {
    "chunk": (chunk_value, {"target"}, "target"),
    "observation": (observation, {"inputs"}, "age of the observation"),
    "state of an inference": (given_state, {"inputs"}, "joint_pos"),
    "sensor": (sensor, {"state"}, "joint_pos[elbow_flex]"),
    "command": (command, {"command"}, "position[gripper]"),
    "target": (target, {"target"}, "gripper"),
    "mode": (mode, {"guard"}, "mode"),
    "request": (request, {"command"}, "position"),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_changed_value_is_found_and_named(tmp_path: Path, flown: Path, what: str) -> None:
    spoil, stages, name = SPOILT[what]
    found = replay(rewritten(flown, tmp_path / "spoilt", spoil), None, "", {})
    assert not found
    assert stages <= differing(found).keys(), explained(found)
    assert found.first is not None
    assert name in f"{found.first.stage} {found.first.name}"
    assert verdict(found).startswith("not the same commands: tick ")


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_chunk_that_arrives_in_another_tick_is_found(
    tmp_path: Path, bundle: ChunkBundle, shift: int
) -> None:
    flight = ArmFlight(bundle).runs(60)
    path = flight.save(tmp_path / "flown")
    found = replay(path, None, "", {})
    arrived = [tick for tick in found.recording.ticks() if tick.results and tick.number > 60]
    moved = arrived[2].number
    stamps = {tick.number: tick.stamp_ns for tick in found.recording.ticks()}

    def move(topic: str, message: Any) -> Any:
        if topic == "chunk_inference" and message.tick == moved:
            return dataclasses.replace(message, tick=moved + shift)
        return message

    def logged_ns(topic: str, message: Any, log_ns: int) -> int:
        return stamps[message.tick] if topic == "chunk_inference" else log_ns

    found = replay(rewritten(path, tmp_path / "moved", move, logged_ns=logged_ns), None, "", {})
    assert not found
    assert found.first is not None
    assert found.first.tick in (moved, moved + shift)


def test_a_result_of_another_tick_than_its_time_says_is_refused(
    tmp_path: Path, flown: Path
) -> None:
    def move(topic: str, message: Any) -> Any:
        changed = topic == "chunk_inference" and message.tick > 60
        return dataclasses.replace(message, tick=message.tick + 1) if changed else message

    with refusal(ToolError):
        replay(rewritten(flown, tmp_path / "moved", move), None, "", {})


def test_a_back_end_is_refused_since_images_are_not_recorded(flown: Path) -> None:
    with refusal(ToolError):
        replay(flown, None, "onnx", {})


def test_another_contract_is_a_what_if(tmp_path: Path, flown: Path) -> None:
    other = arm_bundle(tmp_path / "other", **{"joints.stiffness": 20.0})
    found = replay(flown, other.path, "", {})
    assert found
    assert found.judgement is Judgement.WHAT_IF
    assert found.because == "of the contract, joints differ"
    assert "stiffness" in found.replayer.stages["command"].first.name  # type: ignore[union-attr]


def test_another_description_is_the_same_function(tmp_path: Path, flown: Path) -> None:
    other = arm_bundle(tmp_path / "other", description="other words")
    found = replay(flown, other.path, "", {})
    assert found
    assert found.judgement is Judgement.EXACT


def test_another_machine_is_reported(tmp_path: Path, flown: Path) -> None:
    def elsewhere(topic: str, message: Any) -> Any:
        return dataclasses.replace(message, host="robot") if topic == "flight_info" else message

    found = replay(rewritten(flown, tmp_path / "there", elsewhere), None, "", {})
    assert found
    assert found.judgement is Judgement.LIMITS


def test_the_report_shows_what_happened(tmp_path: Path, flown: Path) -> None:
    found = replay(flown, None, "", {})
    assert document(found)["replayed"]["same"] is True
    assert any("waiting for the first chunk" in line for line in lines(found))
    assert found.flight.trip is None
    write_html(found, tmp_path / "report.html")
    assert "bit for bit" in (tmp_path / "report.html").read_text("utf-8")


def test_a_joint_policy_s_bundle_is_refused(tmp_path: Path, flown: Path) -> None:
    from ...tiny_bundle import make_bundle

    with refusal(ToolError):
        replay(flown, make_bundle(tmp_path / "tiny"), "", {})
