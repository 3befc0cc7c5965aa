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
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.store import ROOT_VARIABLE
from policy_core.interfaces import Mode
from policy_store.install import install
from testkit.wording import check_wording

from ...tiny_bundle import make_bundle
from .small_flights import SmallFlight, added, elsewhere, remade, rewritten
from .small_policies import (
    SEEING,
    counts_of,
    differing,
    first_difference,
    reworded,
    seeing,
)


def heavier(weights: dict[str, Any]) -> None:
    weights["w1"] *= np.float32(1.1)


@pytest.mark.parametrize(
    ("before", "after", "stage"),
    [
        ("{term: joint_vel}", "{term: joint_vel, scale: 0.5}", "inputs"),
        ("names: [hip, knee]", "names: [knee, hip]", "inputs"),
        ("kind: position}", "kind: position, scale: 0.9}", "target"),
        ("stiffness: 1, damping: 1}\nstand", "stiffness: 2, damping: 1}\nstand", "command"),
    ],
    ids=["scale", "joint order", "action scale", "gain"],
)
def test_a_bundle_of_another_function_is_a_what_if_that_names_the_stage(
    tmp_path: Path, tiny_policy: JointBundle, flown: Path, before: str, after: str, stage: str
) -> None:
    other = reworded(shutil.copytree(tiny_policy.path, tmp_path / "other"), before, after)
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
    assert counts_of(found) == {
        "state": (10, 0),
        "inputs": (8, 2),
        "outputs": (8, 2),
        "target": (8, 2),
        "command": (8, 2),
        "guard": (10, 0),
    }


def test_other_weights_are_a_what_if_and_those_of_a_compiled_model_are_judged(
    tmp_path: Path, flown: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_bundle(tmp_path / "other", edit=heavier)
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "models"))
    install(other, tmp_path / "models")
    for given in (other, Path("tiny@1.0.0")):
        found = replay(flown, given, "", {})
        assert found
        assert found.judgement is Judgement.WHAT_IF
        assert "outputs" in differing(found)

    state_origin(other, flown)
    compiled = replay(flown, other, "", {})
    assert not compiled
    assert compiled.judgement is Judgement.LIMITS
    assert compiled.first is not None
    assert compiled.first.stage == "outputs"
    assert differing(compiled).keys() == {"outputs"}
    assert {str(check.where).split(":")[0] for check in compiled.checks if not check} == {"outputs"}
    check_wording(found.because, compiled.because)


def state_origin(folder: Path, flown: Path) -> None:
    """Have a bundle state that its model was compiled from the one that was recorded."""
    recorded = yaml.safe_load(FlightRecording(flown).info.contract)
    origin = recorded["model"]["artifacts"]["onnx"]["sha256"]
    reworded(folder, "precision: fp32", f"precision: fp32, compiled_from: {origin}")


@pytest.mark.parametrize("recurrent", [False, True])
def test_another_machine_is_judged_by_limits(tmp_path: Path, recurrent: bool) -> None:
    flight = SmallFlight(seeing(tmp_path / "tiny", recurrent=recurrent))
    flight.stand_and_run(30)

    def rounding(weights: dict[str, Any]) -> None:
        weights["w1"] *= np.float32(1.0 + 1e-6)

    other = seeing(tmp_path / "other", recurrent=recurrent, edit=rounding)
    there = elsewhere(flight.save(tmp_path / "flown"))
    state_origin(other.path, there)
    found = replay(there, other.path, "", {})
    assert found
    assert found.judgement is Judgement.LIMITS
    assert differing(found).keys() == {"outputs"}
    check_wording(verdict(found))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda command: {"stiffness": command.stiffness * 3 + 5},
        lambda command: {"effort_limit": command.effort_limit * (1.0 + 1e-8)},
        lambda command: {"position": command.position + 0.1 * (command.mode == Mode.READY)},
        lambda command: {"position": command.position + 2.0 * (command.mode == Mode.STAND)},
    ],
    ids=["gains", "limits", "standing", "standing up"],
)
def test_commands_are_judged_on_another_machine_too(
    flown: Path, spoil: Callable[[Any], dict[str, Any]]
) -> None:
    path = remade(flown, "joint_command", lambda each: dataclasses.replace(each, **spoil(each)))
    found = replay(elsewhere(path), None, "", {})
    assert not found
    assert found.judgement is Judgement.LIMITS
    assert differing(found).keys() == {"command"}


def next_float(tensors: str, index: int, tensor: int = 0) -> Callable[[Any], Any]:
    """Return what changes the last bit of a value of a tensor."""

    def change(message: Any) -> Any:
        values = getattr(message, tensors)[tensor].data.view(np.float32)
        values[index] = np.nextafter(values[index], np.float32(9))
        return message

    return change


def backwards(message: Any) -> Any:
    return dataclasses.replace(message, position=message.position[::-1].copy())


@pytest.mark.parametrize(
    ("topic", "number", "spoil", "found"),
    [
        ("policy_tick", 75, added("state", 0, 1e-12), (75, "state", "joint_pos[hip]")),
        ("policy_tick", 75, next_float("inputs", 3), (75, "inputs", "obs: joint_vel[knee]")),
        ("policy_tick", 75, next_float("inputs", 1, -1), (75, "inputs", "h_in[1]")),
        ("policy_tick", 75, next_float("outputs", 1), (75, "outputs", "actions: knee")),
        ("policy_tick", 75, added("target", 1, 1e-12), (75, "target", "knee")),
        (
            "policy_tick",
            1,
            added("request_times_ns", 0, -1_000_000),
            (1, "command", "position[hip]"),
        ),
        ("joint_command", 20, added("position", 1, 1e-6), (20, "command", "position[knee]")),
        ("joint_command", 80, added("stiffness", 0, -0.5), (80, "command", "stiffness[hip]")),
        ("joint_states", 59, backwards, (59, "state", "joint_pos[hip]")),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_changed_value_is_found_where_it_is(
    tmp_path: Path, topic: str, number: int, spoil: Callable[[Any], Any], found: object
) -> None:
    flight = SmallFlight(seeing(tmp_path / "tiny", recurrent=True))
    flight.stand_and_run(30)
    recording = flight.save(tmp_path / "flown")
    assert first_difference(remade(recording, topic, spoil, number)) == found


def test_another_mode_is_found(flown: Path) -> None:
    def longer(topic: str, message: Any) -> Any:
        if topic in ("policy_tick", "joint_command") and message.mode == Mode.READY:
            return dataclasses.replace(message, mode=int(Mode.STAND))
        return message

    found = replay(rewritten(flown, longer), None, "", {})
    assert not found
    assert found.first is not None
    assert found.first.stage == "guard"
    assert found.first.expected.startswith("STAND")
    assert found.first.found.startswith("READY")


def test_an_emergency_stop_in_the_commands_that_the_next_tick_knows_nothing_of_is_found(
    flown: Path,
) -> None:
    path = remade(flown, "joint_command", lambda each: dataclasses.replace(each, mode=0), 70)
    found = replay(path, None, "", {})
    assert not found
    assert differing(found) == {"command": 1, "guard": 1}
    guard = found.replayer.stages["guard"].first
    assert guard is not None
    assert guard.tick == 71
    check_wording(guard.found)
