# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What was changed or left out, in the bundle or the recording, is found where it is."""

import dataclasses
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from model_tools import cli
from model_tools.prove.replaying.recording import FlightRecording
from model_tools.prove.replaying.replay import Judgement, replay
from model_tools.prove.replaying.replay_report import replay_report, verdict
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.bundle.store import ROOT_VARIABLE
from policy_core.errors import PolicyError
from policy_core.guard.limits import StricterLimits
from policy_core.interfaces import Mode
from policy_store.install import install
from testkit.bags import write_bag
from testkit.wording import check_wording, refusal

from ...small_bag import every, joint_states
from ...tiny_bundle import make_bundle
from .small_flights import (
    SmallFlight,
    added,
    alike,
    counts_of,
    differing,
    elsewhere,
    first_difference,
    remade,
    reworded,
    rewritten,
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
    tmp_path: Path, tiny_policy: JointBundle, tiny_flight: Path, before: str, after: str, stage: str
) -> None:
    other = reworded(shutil.copytree(tiny_policy.path, tmp_path / "other"), before, after)
    found = replay(tiny_flight, other, "", {})
    assert found
    assert found.judgement is Judgement.WHAT_IF
    assert found.first is not None
    assert found.first.stage == stage
    assert found.replayer.stages["command"].differing > 0


def test_other_weights_are_a_what_if_and_those_of_a_compiled_model_are_judged(
    tmp_path: Path, tiny_flight: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_bundle(tmp_path / "other", edit=heavier)
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "models"))
    install(other, tmp_path / "models")
    for given in (other, Path("tiny@1.0.0")):
        found = replay(tiny_flight, given, "", {})
        assert found
        assert found.judgement is Judgement.WHAT_IF
        assert "outputs" in differing(found)

    state_origin(other, tiny_flight)
    compiled = replay(tiny_flight, other, "", {})
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
    tiny_flight: Path, spoil: Callable[[Any], dict[str, Any]]
) -> None:
    path = remade(
        tiny_flight, "joint_command", lambda each: dataclasses.replace(each, **spoil(each))
    )
    found = replay(elsewhere(path), None, "", {})
    assert not found
    assert found.judgement is Judgement.LIMITS
    assert differing(found).keys() == {"command"}


@pytest.fixture(scope="module")
def recurrent_flight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("flight")
    flight = SmallFlight(seeing(place / "tiny", recurrent=True))
    flight.stand_and_run(30)
    return flight.save(place / "flown")


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
    recurrent_flight: Path, topic: str, number: int, spoil: Callable[[Any], Any], found: object
) -> None:
    assert first_difference(remade(recurrent_flight, topic, spoil, number)) == found


def test_an_emergency_stop_in_the_commands_that_the_next_tick_knows_nothing_of_is_found(
    tiny_flight: Path,
) -> None:
    path = remade(tiny_flight, "joint_command", lambda each: dataclasses.replace(each, mode=0), 70)
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
    tiny_flight: Path, topic: str, change: Callable[[Any], Any], commands: tuple[int, int]
) -> None:
    found = replay(remade(tiny_flight, topic, change), None, "", {})
    assert not found
    assert not differing(found)
    assert replay_report(found).document["replayed"]["same"] is False
    assert counts_of(found)["command"] == commands
    check_wording(verdict(found))


@pytest.mark.parametrize("later_ns", [1, 30_000_000])
def test_a_command_belongs_to_the_tick_of_its_stamp_wherever_it_was_logged(
    tiny_flight: Path, later_ns: int
) -> None:
    found = alike(rewritten(tiny_flight, lambda _, m: m, later_ns={"joint_command": later_ns}))
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


def replay_refused(path: Path, given: Path | None = None) -> str:
    with refusal(PolicyError) as caught:
        replay(path, given, "", {})
    return str(caught.value)


def test_what_is_no_whole_recording_is_refused(tmp_path: Path, flown: Path) -> None:
    replay_refused(tmp_path / "none")
    replay_refused(write_bag(tmp_path / "bag", joint_states(every(20, 1000, 1100))))
    (file,) = flown.glob("*.mcap")
    assert replay(file, None, "", {})
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    replay_refused(flown)


def replaced(**fields: Any) -> Callable[[Any], Any]:
    return lambda message: dataclasses.replace(message, **fields)


def shorter(*fields: str, end: int = -1) -> Callable[[Any], Any]:
    return lambda message: dataclasses.replace(
        message, **{field: getattr(message, field)[:end] for field in fields}
    )


def other_contract(info: Any) -> Any:
    digest = hashlib.sha256(b"kind: x").hexdigest()
    return dataclasses.replace(info, contract="kind: x", bundle_sha256=digest)


def flat_tensors(tick: Any) -> Any:
    for tensor in tick.inputs:
        tensor.shape = np.array([6], np.int64)
    return tick


def cut_tensors(tick: Any) -> Any:
    for tensor in tick.inputs:
        tensor.data = tensor.data[:-1]
    return tick


def a_word_as_limit(info: Any) -> Any:
    (entry,) = (entry for entry in info.settings if entry.key == "limits.margin")
    entry.value = "much"
    return info


def only_limit(name: str) -> Callable[[Any], Any]:
    return lambda info: dataclasses.replace(
        info, settings=[entry for entry in info.settings if entry.key == f"limits.{name}"]
    )


SPOILT_MESSAGES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "no ticks": ("policy_tick", lambda _: None),
    "no info": ("flight_info", lambda _: None),
    "other contract": ("flight_info", other_contract),
    "a word as limit": ("flight_info", a_word_as_limit),
    "only the limit of the tilt": ("flight_info", only_limit("max_tilt_rad")),
    "ticks go back": ("policy_tick", lambda tick: replaced(tick=100 - tick.tick)(tick)),
    "short state": ("policy_tick", shorter("state")),
    "request without its time": (
        "policy_tick",
        replaced(requests=["stand"], request_times_ns=np.zeros(0, np.int64)),
    ),
    "other shape": ("policy_tick", flat_tensors),
    "cut tensors": ("policy_tick", cut_tensors),
    "RUN without numbers": ("policy_tick", replaced(inputs=[], outputs=[], target=np.zeros(0))),
    "STAND called RUN": (
        "policy_tick",
        lambda tick: replaced(mode=3)(tick) if tick.mode in (1, 2) else tick,
    ),
    "RUN called READY": (
        "policy_tick",
        lambda tick: replaced(mode=2)(tick) if tick.mode == 3 else tick,
    ),
    "no answers": ("policy_tick", replaced(outputs=[])),
    "no inputs": ("policy_tick", replaced(inputs=[])),
    "short target": ("policy_tick", shorter("target")),
    "no ages": ("policy_tick", shorter("ages_s", end=0)),
}


@pytest.mark.parametrize("case", SPOILT_MESSAGES)
def test_messages_that_lack_or_contradict_something_are_refused(
    tiny_flight: Path, case: str
) -> None:
    topic, change = SPOILT_MESSAGES[case]
    replay_refused(remade(tiny_flight, topic, change))


def test_a_bundle_that_was_changed_since_is_not_taken_for_the_one_that_ran(
    tiny_policy: JointBundle, flown: Path
) -> None:
    file = tiny_policy.path / "policy.yaml"
    file.write_text(file.read_text("utf-8") + "\n# changed\n", "utf-8")
    text = replay_refused(flown)
    assert tiny_policy.sha256 in text
    assert load_bundle(tiny_policy.path, kind=JointBundle).sha256 in text
    assert alike(flown, tiny_policy.path).judgement is Judgement.EXACT


def test_a_bundle_that_is_gone_has_to_be_given_unless_it_is_installed(
    tmp_path: Path, tiny_policy: JointBundle, flown: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "models"))
    moved = Path(shutil.move(tiny_policy.path, tmp_path / "moved"))
    replay_refused(flown)
    assert replay(flown, moved, "", {})
    assert cli.main(["install", str(moved)]) == 0
    found = alike(flown)
    assert found.judgement is Judgement.EXACT
    assert found.bundle.path == tmp_path / "models" / "tiny" / "1.0.0"


def test_a_policy_of_other_joints_or_unrecorded_inputs_is_refused(
    tmp_path: Path, tiny_flight: Path
) -> None:
    replay_refused(tiny_flight, reworded(make_bundle(tmp_path / "other"), "knee", "ankle"))
    scanning = "{term: external, topic: scan, size: 2}"
    replay_refused(tiny_flight, make_bundle(tmp_path / "scanning", last=scanning))


def test_a_contract_that_was_changed_in_the_recording_is_refused(
    tiny_policy: JointBundle, tiny_flight: Path
) -> None:
    def slower(info: Any) -> Any:
        assert "rate_hz: 50" in info.contract
        return replaced(contract=info.contract.replace("rate_hz: 50", "rate_hz: 49"))(info)

    path = remade(tiny_flight, "flight_info", slower)
    assert tiny_policy.sha256 in replay_refused(path)
    assert tiny_policy.sha256 in replay_refused(path, tiny_policy.path)
