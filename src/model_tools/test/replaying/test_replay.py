# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A replay gives the recorded commands again, and finds what does not."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools.replaying.replay import Judgement, Replayed, replay
from policy_inference.bundle.load import Bundle, load_bundle
from policy_inference.core.limits import Tightening

from ..tiny_bundle import make_bundle, sha256
from .small_flights import SmallFlight, rewritten

PLAIN = "{terms: [{term: joint_pos}, {term: joint_vel}, {term: last_action}]}"
RANGE = "velocity_command: {min: [-1, -1, -1], max: [1, 1, 1]}"
HISTORY = ("{{terms: [{{term: joint_pos}}], history: "
           "{{length: 3, layout: {layout}, order: {order}, init: {init}}}}}")
SEEING = {
    "plain": PLAIN,
    "history": HISTORY.format(layout="per_frame", order="newest_first", init="zero"),
    "repeated history": HISTORY.format(layout="per_term", order="oldest_first", init="repeat"),
    "command": "{terms: [{term: base_ang_vel}, {term: velocity_command, scale: 2.0}]}",
    "phase": "{terms: [{term: joint_pos}, {term: phase, period_s: 0.7}, {term: last_action}]}",
}


def seeing(folder: Path, observation: str = PLAIN, **options: Any) -> Bundle:
    """Make a policy that observes this."""
    make_bundle(folder, **options)
    edit(folder, PLAIN, observation)
    if "velocity_command" in observation:
        edit(folder, "safety: {", f"{RANGE}\nsafety: {{")
    return load_bundle(folder)


def edit(folder: Path, before: str, after: str) -> Path:
    """Change the contract."""
    file = folder / "policy.yaml"
    text = file.read_text("utf-8")
    assert before in text
    file.write_text(text.replace(before, after), "utf-8")
    return folder


def differing(found: Replayed) -> dict[str, int]:
    return {name: stage.differing for name, stage in found.replayer.stages.items()
            if stage.differing}  # fmt: skip


def judged(found: Replayed) -> dict[str, tuple[int, int]]:
    return {name: (stage.judged, stage.not_judged)
            for name, stage in found.replayer.stages.items()}  # fmt: skip


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return seeing(tmp_path / "tiny")


@pytest.fixture
def flown(tmp_path: Path, bundle: Bundle) -> Path:
    """Return a recording of a policy that stands up and runs for 30 ticks, 83 in all."""
    flight = SmallFlight(bundle)
    flight.stand_and_run(30)
    return flight.save(tmp_path / "flown")


@pytest.mark.parametrize("sees", SEEING)
@pytest.mark.parametrize("recurrent", [False, True])
def test_a_recording_from_the_beginning_is_computed_again_bit_for_bit(
    tmp_path: Path, sees: str, recurrent: bool
) -> None:
    flight = SmallFlight(seeing(tmp_path / "tiny", SEEING[sees], recurrent=recurrent))
    flight.tick(velocity=(0.5, 0.0, -3.0))
    flight.stand_and_run(30)
    found = replay(flight.save(tmp_path / "flown"), None, "", {})
    assert found
    assert found.judgement is Judgement.EXACT
    assert not differing(found)
    every = flight.ticks
    assert judged(found) == {
        "state": (every, 0), "inputs": (30, 0), "outputs": (30, 0), "target": (30, 0),
        "command": (every, 0), "guard": (every - 3, 3)}  # fmt: skip


@pytest.mark.parametrize("sees", SEEING)
@pytest.mark.parametrize("recurrent", [False, True])
def test_a_recording_from_the_middle_is_judged_as_far_as_its_past_is_known(
    tmp_path: Path, sees: str, recurrent: bool
) -> None:
    flight = SmallFlight(seeing(tmp_path / "tiny", SEEING[sees], recurrent=recurrent))
    flight.tick(velocity=(0.5, 0.0, -3.0))
    flight.stand_and_run(30)
    found = replay(flight.save(tmp_path / "flown", flight.ticks - 10), None, "", {})
    assert found
    assert not differing(found)
    expected = {"state": (10, 0), "inputs": (10, 0), "outputs": (10, 0), "target": (9, 1),
                "command": (9, 1), "guard": (9, 1)}  # fmt: skip
    if "history" in sees:
        expected["inputs"] = (9, 1) if recurrent else (8, 2)
    assert judged(found) == expected


def test_a_command_while_the_policy_takes_over_is_judged_where_standing_is_in_the_recording(
    tmp_path: Path, bundle: Bundle
) -> None:
    flight = SmallFlight(bundle)
    flight.stand_and_run(20)
    begin = flight.ticks - 20
    cut = replay(flight.save(tmp_path / "cut", begin + 2), None, "", {})
    # blend_s is 0.2, and the policy began one tick before its first: seven of nine are left.
    assert judged(cut)["command"] == (11, 7)
    whole = replay(flight.save(tmp_path / "whole", begin - 1), None, "", {})
    assert judged(whole)["command"] == (21, 0)
    assert cut
    assert whole


def test_holding_and_late_answers_are_computed_again(tmp_path: Path, bundle: Bundle) -> None:
    flight = SmallFlight(bundle)
    flight.stand_and_run(20)
    flight.go_on(5, silent=True)  # from the third on, the state is too old
    flight.go_on(5)
    flight.tick(late=True)
    flight.go_on(5)
    found = replay(flight.save(tmp_path / "flown"), None, "", {})
    assert found
    assert not differing(found)
    assert dict(found.replayer.dropped) == {"inference_late": 1}
    modes = [edge.mode.name for edge in found.flight.edges]
    assert modes == ["DAMP", "STAND", "READY", "RUN", "HOLD", "RUN", "HOLD", "RUN"]
    assert found.flight.trip is not None
    assert found.flight.trip.reason == "0.0 ms late"
    assert [edge.reason for edge in found.flight.edges if edge.trip][0].startswith(
        "joint_states: 60 ms old")


@pytest.mark.parametrize(
    ("how", "reason"),
    [({"nan": True}, "not_finite: joint_vel"), ({"tilt_rad": 0.7}, "attitude: tilt 0.70 rad")],
)
def test_a_fault_is_found_again(tmp_path: Path, how: dict[str, Any], reason: str) -> None:
    folder = make_bundle(tmp_path / "tiny")
    edit(folder, "on_fault: damp", "on_fault: damp, max_tilt_rad: 0.5")
    flight = SmallFlight(load_bundle(folder))
    flight.stand_and_run(10)
    flight.go_on(5, **how)
    path = flight.save(tmp_path / "flown")
    found = replay(path, None, "", {})
    assert found
    assert not differing(found)
    assert found.flight.trip is not None
    assert found.flight.trip.reason.startswith(reason)
    assert found.flight.trip.tick == flight.ticks - 5

    def hush(topic: str, message: Any) -> Any:
        if topic == "policy_tick" and message.tick == flight.ticks - 5:
            return dataclasses.replace(message, mode=3, reason="")
        return message

    hushed = replay(rewritten(path, tmp_path / "hushed", hush), None, "", {})
    assert not hushed
    assert hushed.replayer.stages["guard"].first is not None
    assert reason[:8] in hushed.replayer.stages["guard"].first.found


def test_an_emergency_stop_is_nothing_that_the_state_says(tmp_path: Path, bundle: Bundle) -> None:
    flight = SmallFlight(bundle)
    flight.stand_and_run(10)
    flight.controller.estop("pressed")
    flight.go_on(3)
    found = replay(flight.save(tmp_path / "flown"), None, "", {})
    assert found
    assert found.flight.trip is not None
    assert found.flight.trip.reason == "estop: pressed"


def test_a_second_run_begins_clean(tmp_path: Path) -> None:
    flight = SmallFlight(seeing(tmp_path / "tiny", SEEING["history"], recurrent=True))
    flight.stand_and_run(10)
    flight.controller.damp()
    flight.stand_and_run(10)
    found = replay(flight.save(tmp_path / "flown"), None, "", {})
    assert found
    assert not differing(found)
    assert judged(found)["inputs"] == (20, 0)


def test_limits_that_were_in_force_guard_the_replay(tmp_path: Path, bundle: Bundle) -> None:
    flight = SmallFlight(bundle, Tightening(effort_scale=0.5))
    flight.stand_and_run(10)
    found = replay(flight.save(tmp_path / "flown"), None, "", {})
    assert found
    assert not differing(found)


@pytest.mark.parametrize("recurrent", [False, True])
def test_missing_ticks_are_counted_and_what_needs_them_is_not_judged(
    tmp_path: Path, recurrent: bool
) -> None:
    flight = SmallFlight(seeing(tmp_path / "tiny", SEEING["history"], recurrent=recurrent))
    flight.stand_and_run(30)
    last = flight.ticks - 10

    def lose(topic: str, message: Any) -> Any:
        lost = topic == "policy_tick" and last <= message.tick < last + 3
        return None if lost else message

    path = rewritten(flight.save(tmp_path / "flown"), tmp_path / "lost", lose)
    found = replay(path, None, "", {})
    assert found
    assert not differing(found)
    assert found.replayer.lost == 3
    assert judged(found)["target"] == (26, 1)
    assert judged(found)["inputs"] == ((26, 1) if recurrent else (25, 2))


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
    tmp_path: Path, bundle: Bundle, flown: Path, what: str
) -> None:
    before, after, stage = CHANGES[what]
    other = edit(shutil.copytree(bundle.path, tmp_path / "other"), before, after)
    found = replay(flown, other, "", {})
    assert found
    assert found.judgement is Judgement.WHAT_IF
    assert found.first is not None
    assert found.first.stage == stage
    assert found.replayer.stages["command"].differing > 0


def test_other_weights_are_the_same_function_with_other_results(
    tmp_path: Path, flown: Path
) -> None:
    other = make_bundle(tmp_path / "other", edit=heavier)
    found = replay(flown, other, "", {})
    assert not found
    assert found.judgement is Judgement.LIMITS
    assert found.because == "the model is another file of the same function"
    assert found.first is not None
    assert found.first.stage == "outputs"
    assert {str(check.where).split(":")[0] for check in found.checks if not check} == {
        "outputs", "target"}


def test_another_machine_is_judged_by_limits(tmp_path: Path, flown: Path) -> None:
    def elsewhere(topic: str, message: Any) -> Any:
        if topic == "flight_info":
            return dataclasses.replace(message, host="robot")
        if topic == "policy_tick":  # as if rounded in another way
            for tensor in message.outputs:
                values = tensor.data.view(np.float32)
                values += np.float32(1e-7)
        return message

    found = replay(rewritten(flown, tmp_path / "there", elsewhere), None, "", {})
    assert found
    assert found.judgement is Judgement.LIMITS
    assert "and was robot" in found.because
    assert differing(found).keys() == {"outputs"}


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
    [(spoil_state, "state", "joint_pos[hip]"), (spoil_inputs, "inputs", "obs: joint_vel[knee]"),
     (spoil_outputs, "outputs", "actions: knee"), (spoil_target, "target", "knee")],
)  # fmt: skip
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
    assert str(found.first) == ("tick 80 (1.600 s), command: stiffness[hip]: expected 0.5, as "
                                "recorded, found 1, 0.5 apart")


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
