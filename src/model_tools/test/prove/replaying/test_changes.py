# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What was changed or left out, in the bundle or the recording, is found where it is."""

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
from model_tools.prove.replaying.replay_report import replay_report, verdict
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.bundle.store import ROOT_VARIABLE
from policy_core.guard.limits import StricterLimits
from policy_core.interfaces import Mode
from policy_store.install import install
from testkit.wording import check_wording

from ...tiny_bundle import make_bundle
from .small_flights import SmallFlight, added, elsewhere, remade, rewritten
from .small_policies import (
    alike,
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


def later(command: Any) -> Any:
    command.stamp.nanosec += 1
    return command


@pytest.mark.parametrize(
    ("topic", "change", "commands"),
    [
        ("joint_command", lambda _: None, (0, 81)),
        ("joint_command", later, (0, 81)),
        ("joint_states", lambda _: None, (81, 0)),
        ("policy_tick", lambda tick: None if tick.tick % 2 else tick, (3, 38)),
        ("policy_tick", lambda tick: None if 58 <= tick.tick < 78 else tick, (58, 3)),
    ],
    ids=["no commands", "other stamps", "no sensors", "every second tick", "10 of 30 ticks"],
)
def test_too_little_of_a_recording_is_not_proven(
    flown: Path, topic: str, change: Callable[[Any], Any], commands: tuple[int, int]
) -> None:
    found = replay(remade(flown, topic, change), None, "", {})
    assert not found
    assert not differing(found)
    assert replay_report(found).document["replayed"]["same"] is False
    assert counts_of(found)["command"] == commands
    check_wording(verdict(found))


@pytest.mark.parametrize("later_ns", [1, 30_000_000])
def test_a_command_belongs_to_the_tick_of_its_stamp_wherever_it_was_logged(
    flown: Path, later_ns: int
) -> None:
    found = alike(rewritten(flown, lambda _, m: m, later_ns={"joint_command": later_ns}))
    assert counts_of(found)["command"] == (81, 0)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("state_timeout_ns", "9000000000"),
        ("max_tilt_rad", "9.9"),
        ("max_tilt_rad", "nan"),
        ("max_tilt_rad", None),
    ],
)
def test_limits_that_the_contract_does_not_allow_are_reported(
    tmp_path: Path, key: str, value: str | None
) -> None:
    folder = seeing(tmp_path / "tiny").path
    reworded(folder, "on_fault: damp", "on_fault: damp, max_tilt_rad: 0.5")
    flight = SmallFlight(load_bundle(folder, kind=JointBundle))
    flight.stand_and_run(10)

    def loosen(info: Any) -> Any:
        (entry,) = (entry for entry in info.settings if entry.key == f"limits.{key}")
        if value is None:
            info.settings.remove(entry)
        else:
            entry.value = value
        return info

    found = replay(remade(flight.save(tmp_path / "flown"), "flight_info", loosen), None, "", {})
    assert not found
    check_wording(verdict(found))


def test_limits_that_an_operator_has_tightened_are_reported_and_fine(
    tmp_path: Path, tiny_policy: JointBundle
) -> None:
    flight = SmallFlight(tiny_policy, StricterLimits(effort_scale=0.5))
    flight.stand_and_run(10)
    found = alike(flight.save(tmp_path / "flown"))
    assert found.tightened
    check_wording(*found.tightened)
