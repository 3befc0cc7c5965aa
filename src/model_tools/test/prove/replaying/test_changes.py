# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What was changed since, in the bundle or in the recording, is found where it is."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from model_tools.prove.replaying.recording import FlightRecording
from model_tools.prove.replaying.replay import Judgement, replay
from model_tools.prove.replaying.replay_report import verdict
from model_tools.ship.store.install import install
from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.store import ROOT_VARIABLE
from policy_inference.interfaces import Mode

from ...tiny_bundle import make_bundle, sha256
from .small_flights import SmallFlight, rewritten
from .small_policies import SEEING, differing, edit, judged, seeing


def heavier(weights: dict[str, Any]) -> None:
    weights["w1"] *= np.float32(1.1)


CHANGES: dict[str, tuple[str, str, str]] = {
    "scale": ("{term: joint_vel}", "{term: joint_vel, scale: 0.5}", "inputs"),
    "joint order": ("names: [hip, knee]", "names: [knee, hip]", "inputs"),
    "action scale": ("kind: position}", "kind: position, scale: 0.9}", "target"),
    "gain": ("stiffness: 1, damping: 1}\nstand", "stiffness: 2, damping: 1}\nstand", "command"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_bundle_of_another_function_is_a_what_if_that_names_the_stage(
    tmp_path: Path, bundle: JointBundle, flown: Path, what: str
) -> None:
    before, after, stage = CHANGES[what]
    other = edit(shutil.copytree(bundle.path, tmp_path / "other"), before, after)
    found = replay(flown, other, "", {})
    assert found
    assert found.judgement is Judgement.WHAT_IF
    assert found.first is not None
    assert found.first.stage == stage
    assert found.replayer.stages["command"].differing > 0


def test_a_bundle_that_sees_other_things_begins_cold_in_the_middle(tmp_path: Path) -> None:
    flight = SmallFlight(seeing(tmp_path / "tiny"))
    flight.stand_and_run(30)
    other = seeing(tmp_path / "other", SEEING["history"])
    found = replay(flight.save(tmp_path / "flown", flight.ticks - 10), other.path, "", {})
    assert found.judgement is Judgement.WHAT_IF
    assert "observations.obs.terms[1]" in found.because
    expected = {
        "state": (10, 0),
        "inputs": (8, 2),
        "outputs": (8, 2),
        "target": (8, 2),
        "command": (8, 2),
        "guard": (10, 0),
    }
    assert judged(found) == expected


def test_other_weights_of_the_same_contract_are_shown_and_not_judged(
    tmp_path: Path, flown: Path
) -> None:
    other = make_bundle(tmp_path / "other", edit=heavier)
    found = replay(flown, other, "", {})
    assert found
    assert found.judgement is Judgement.WHAT_IF
    assert found.because == "the same contract with other weights"
    assert "outputs" in differing(found)


def state_origin(folder: Path, flown: Path) -> None:
    """Have a bundle state that its model was compiled from the one that was recorded."""
    recorded = yaml.safe_load(FlightRecording(flown).info.contract)
    origin = recorded["model"]["artifacts"]["onnx"]["sha256"]
    file = folder / "policy.yaml"
    text = file.read_text("utf-8")
    assert "precision: fp32" in text
    file.write_text(
        text.replace("precision: fp32", f"precision: fp32, compiled_from: {origin}"), "utf-8"
    )


def test_a_model_that_was_compiled_from_the_recorded_one_is_judged(
    tmp_path: Path, flown: Path
) -> None:
    other = make_bundle(tmp_path / "other", edit=heavier)
    state_origin(other, flown)
    found = replay(flown, other, "", {})
    assert not found
    assert found.judgement is Judgement.LIMITS
    assert found.because == "the model is another file of the same function"
    assert found.first is not None
    assert found.first.stage == "outputs"
    assert {str(check.where).split(":")[0] for check in found.checks if not check} == {"outputs"}
    assert differing(found).keys() == {"outputs"}


def test_other_weights_are_found_by_the_name_of_an_installed_bundle(
    tmp_path: Path, flown: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "models"))
    install(make_bundle(tmp_path / "other", edit=heavier), tmp_path / "models")
    assert replay(flown, Path("tiny@1.0.0"), "", {}).judgement is Judgement.WHAT_IF


def elsewhere(topic: str, message: Any) -> Any:
    """Have it recorded on another machine."""
    return dataclasses.replace(message, host="robot") if topic == "flight_info" else message


@pytest.mark.parametrize("recurrent", [False, True])
def test_another_machine_is_judged_by_limits(tmp_path: Path, recurrent: bool) -> None:
    flight = SmallFlight(seeing(tmp_path / "tiny", recurrent=recurrent))
    flight.stand_and_run(30)

    def rounding(weights: dict[str, Any]) -> None:
        weights["w1"] *= np.float32(1.0 + 1e-6)

    other = seeing(tmp_path / "other", recurrent=recurrent, edit=rounding)
    there = rewritten(flight.save(tmp_path / "flown"), tmp_path / "there", elsewhere)
    state_origin(other.path, there)
    found = replay(there, other.path, "", {})
    assert found
    assert found.judgement is Judgement.LIMITS
    assert "and was robot" in found.because
    assert differing(found).keys() == {"outputs"}
    assert verdict(found) == (
        "the same commands again, within the limits of its precision (compared, of 81 ticks: "
        "command 81, guard 81; with 30 of them in RUN: state 81, inputs 30, outputs 30, target 30)"
    )


def gains(message: Any) -> None:
    message.stiffness = message.stiffness * 3 + 5


def reversed_positions(message: Any) -> None:
    message.position = message.position[::-1].copy()


def limits(message: Any) -> None:
    message.effort_limit = message.effort_limit * (1.0 + 1e-8)


def sinking(message: Any) -> None:
    message.position = message.position + 0.1 * (message.mode == Mode.DAMP)


def standing(message: Any) -> None:
    message.position = message.position + 0.1 * (message.mode == Mode.READY)


def standing_up(message: Any) -> None:
    message.position = message.position + 2.0 * (message.mode == Mode.STAND)


@pytest.mark.parametrize(
    "spoil", [gains, reversed_positions, limits, sinking, standing, standing_up]
)
@pytest.mark.parametrize("here", [True, False])
def test_commands_are_judged_on_every_machine(
    tmp_path: Path, flown: Path, spoil: Callable[[Any], None], here: bool
) -> None:
    def change(topic: str, message: Any) -> Any:
        if topic == "joint_command":
            spoil(message)
        return message if here else elsewhere(topic, message)

    found = replay(rewritten(flown, tmp_path / "spoiled", change), None, "", {})
    assert not found
    assert found.judgement is (Judgement.EXACT if here else Judgement.LIMITS)
    assert differing(found).keys() == {"command"}
    assert verdict(found).startswith("not the same commands: tick ")
    assert ", command: " in verdict(found)


def test_a_target_that_its_answer_does_not_give_is_found_on_another_machine(
    tmp_path: Path, flown: Path
) -> None:
    def change(topic: str, message: Any) -> Any:
        if topic == "policy_tick" and message.tick == 75:
            message.target[1] += 1e-6
        return elsewhere(topic, message)

    found = replay(rewritten(flown, tmp_path / "spoiled", change), None, "", {})
    assert not found
    assert found.first is not None
    assert (found.first.tick, found.first.stage, found.first.name) == (75, "target", "knee")


def spoil_state(message: Any) -> None:
    message.state[0] += 1e-12


def spoil_inputs(message: Any) -> None:
    values = message.inputs[0].data.view(np.float32)
    values[3] = np.nextafter(values[3], np.float32(9))


def spoil_outputs(message: Any) -> None:
    values = message.outputs[0].data.view(np.float32)
    values[1] = np.nextafter(values[1], np.float32(9))


def spoil_target(message: Any) -> None:
    message.target[1] += 1e-12


@pytest.mark.parametrize(
    ("spoil", "stage", "name"),
    [
        (spoil_state, "state", "joint_pos[hip]"),
        (spoil_inputs, "inputs", "obs: joint_vel[knee]"),
        (spoil_outputs, "outputs", "actions: knee"),
        (spoil_target, "target", "knee"),
    ],
)
def test_a_changed_value_is_found_where_it_is(
    tmp_path: Path, flown: Path, spoil: Callable[[Any], None], stage: str, name: str
) -> None:
    def change(topic: str, message: Any) -> Any:
        if topic == "policy_tick" and message.tick == 75:
            spoil(message)
        return message

    found = replay(rewritten(flown, tmp_path / "spoiled", change), None, "", {})
    assert not found
    assert found.first is not None
    assert (found.first.tick, found.first.stage, found.first.name) == (75, stage, name)


def test_a_changed_recurrent_state_is_found(tmp_path: Path) -> None:
    flight = SmallFlight(seeing(tmp_path / "tiny", recurrent=True))
    flight.stand_and_run(30)

    def change(topic: str, message: Any) -> Any:
        if topic == "policy_tick" and message.tick == 75:
            (state,) = (tensor for tensor in message.inputs if tensor.name == "h_in")
            state.data.view(np.float32)[1] += np.float32(0.25)
        return message

    path = rewritten(flight.save(tmp_path / "flown"), tmp_path / "spoiled", change)
    found = replay(path, None, "", {})
    assert not found
    assert found.first is not None
    assert (found.first.tick, found.first.stage, found.first.name) == (75, "inputs", "h_in[1]")


def test_a_changed_command_is_found(tmp_path: Path, flown: Path) -> None:
    def change(topic: str, message: Any) -> Any:
        if topic == "joint_command" and message.sequence == 80:
            message.stiffness[0] = 0.5
        return message

    found = replay(rewritten(flown, tmp_path / "spoiled", change), None, "", {})
    assert not found
    assert str(found.first) == (
        "tick 80 (1.600 s), command: stiffness[hip]: expected 0.5, as recorded, found 1, 0.5 apart"
    )


def test_another_time_of_a_request_and_another_way_up_are_found(
    tmp_path: Path, flown: Path
) -> None:
    def earlier(topic: str, message: Any) -> Any:
        if topic == "policy_tick" and "stand" in message.requests:
            message.request_times_ns[0] -= 1_000_000
        return message

    def aside(topic: str, message: Any) -> Any:
        if topic == "joint_command" and message.sequence == 20:
            message.position[1] += 1e-6
        return message

    found = replay(rewritten(flown, tmp_path / "earlier", earlier), None, "", {})
    assert not found
    assert found.first is not None
    assert (found.first.tick, found.first.stage) == (1, "command")
    found = replay(rewritten(flown, tmp_path / "aside", aside), None, "", {})
    assert not found
    assert found.first is not None
    assert (found.first.tick, found.first.name) == (20, "position[knee]")


def test_another_mode_is_found(tmp_path: Path, flown: Path) -> None:
    def longer(topic: str, message: Any) -> Any:
        if topic in ("policy_tick", "joint_command") and message.mode == Mode.READY:
            return dataclasses.replace(message, mode=int(Mode.STAND))
        return message

    found = replay(rewritten(flown, tmp_path / "longer", longer), None, "", {})
    assert not found
    assert found.first is not None
    assert (found.first.stage, found.first.expected) == ("guard", "STAND (standing)")
    assert found.first.found == "READY (standing)"


def test_an_emergency_stop_in_the_commands_that_the_next_tick_knows_nothing_of_is_found(
    tmp_path: Path, flown: Path
) -> None:
    def change(topic: str, message: Any) -> Any:
        if topic == "joint_command" and message.sequence == 70:
            message.mode = 0
        return message

    found = replay(rewritten(flown, tmp_path / "spoiled", change), None, "", {})
    assert not found
    assert differing(found) == {"command": 1, "guard": 1}
    guard = found.replayer.stages["guard"].first
    assert guard is not None
    assert (guard.tick, guard.found) == (71, "DAMP (estop: pressed before the command was sent)")


def test_a_changed_message_of_a_sensor_is_found(tmp_path: Path, flown: Path) -> None:
    count = 0

    def change(topic: str, message: Any) -> Any:
        nonlocal count
        if topic == "joint_states":
            count += 1
            if count == 60:
                message.position[:] = message.position[::-1]
        return message

    found = replay(rewritten(flown, tmp_path / "spoiled", change), None, "", {})
    assert not found
    assert found.first is not None
    assert (found.first.tick, found.first.stage) == (59, "state")
    assert sha256(found.bundle.path / "policy.yaml") == found.recording.info.bundle_sha256
