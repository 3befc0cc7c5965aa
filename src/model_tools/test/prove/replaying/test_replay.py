# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A replay gives the recorded commands again, as far as their past is known."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from model_tools.prove.replaying.replay import Judgement, replay
from model_tools.prove.replaying.replay_report import verdict
from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.load import load_bundle
from policy_inference.core.limits import StricterLimits
from policy_inference.interfaces import Mode

from ...tiny_bundle import make_bundle
from .small_flights import SmallFlight, rewritten
from .small_policies import SEEING, differing, edit, judged, seeing


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
        "state": (every, 0),
        "inputs": (30, 0),
        "outputs": (30, 0),
        "target": (30, 0),
        "command": (every, 0),
        "guard": (every, 0),
    }


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
    expected = {
        "state": (10, 0),
        "inputs": (10, 0),
        "outputs": (10, 0),
        "target": (9, 1),
        "command": (9, 1),
        "guard": (10, 0),
    }
    if "history" in sees:
        expected["inputs"] = (9, 1) if recurrent else (8, 2)
    assert judged(found) == expected


def test_a_recording_goes_by_the_robot_s_names_whatever_the_contract_calls_them(
    tmp_path: Path,
) -> None:
    folder = make_bundle(tmp_path / "tiny")
    renamed = "names: [upper, lower], robot_names: {upper: hip, lower: knee}"
    edit(edit(folder, "names: [hip, knee]", renamed), "joints: [hip, knee]", "joints: [.*er]")
    flight = SmallFlight(load_bundle(folder, kind=JointBundle))
    flight.stand_and_run(30)
    flown = flight.save(tmp_path / "flown")
    found = replay(flown, None, "", {})
    assert found
    assert found.judgement is Judgement.EXACT
    plain = replay(flown, make_bundle(tmp_path / "plain"), "", {})
    assert not differing(plain)
    assert plain.replayer.joints == ("hip", "knee")


def test_standing_up_through_other_poses_is_computed_again(tmp_path: Path) -> None:
    """The pose lies beside the way from the measured pose to the stand pose."""
    folder = edit(
        make_bundle(tmp_path / "tiny"),
        "duration_s: 1}",
        "duration_s: 1, via: [{position: [0.0, 0.06], duration_s: 0.5}]}",
    )
    flight = SmallFlight(load_bundle(folder, kind=JointBundle))
    flight.stand_and_run(1)
    assert flight.ticks == 77  # 25 of them to that pose
    found = replay(flight.save(tmp_path / "flown"), None, "", {})
    assert found
    assert not differing(found)


def test_an_output_that_the_next_tick_observes_is_computed_again(tmp_path: Path) -> None:
    terms = "{terms: [{term: joint_pos}, {term: last_output, output: h_out}, {term: last_action}]}"
    flight = SmallFlight(seeing(tmp_path / "tiny", terms, recurrent=True))
    flight.stand_and_run(30)
    for first in (0, flight.ticks - 10):
        found = replay(flight.save(tmp_path / f"from {first}", first), None, "", {})
        assert found
        assert not differing(found)
    assert judged(found)["inputs"] == (10, 0)


def test_a_command_while_the_policy_takes_over_is_judged_wherever_the_recording_begins(
    tmp_path: Path, bundle: JointBundle
) -> None:
    flight = SmallFlight(bundle)
    flight.stand_and_run(20)
    begin = flight.ticks - 20
    cut = replay(flight.save(tmp_path / "cut", begin + 2), None, "", {})
    # blend_s is 0.2, and the policy began one tick before its first: six of nine are judged.
    assert judged(cut)["command"] == (17, 1)
    whole = replay(flight.save(tmp_path / "whole", begin - 1), None, "", {})
    assert judged(whole)["command"] == (21, 0)
    assert cut
    assert whole


def test_holding_and_late_answers_are_computed_again(tmp_path: Path, bundle: JointBundle) -> None:
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
    first = next(edge for edge in found.flight.edges if edge.trip)
    assert first.reason.startswith("joint_states: 60 ms old")


@pytest.mark.parametrize(
    ("how", "reason"),
    [({"nan": True}, "not_finite: joint_vel"), ({"tilt_rad": 0.7}, "attitude: tilt 0.70 rad")],
)
def test_a_fault_is_found_again(tmp_path: Path, how: dict[str, Any], reason: str) -> None:
    folder = make_bundle(tmp_path / "tiny")
    edit(folder, "on_fault: damp", "on_fault: damp, max_tilt_rad: 0.5")
    flight = SmallFlight(load_bundle(folder, kind=JointBundle))
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
            return dataclasses.replace(message, mode=4, reason="")
        return message

    hushed = replay(rewritten(path, tmp_path / "hushed", hush), None, "", {})
    assert not hushed
    assert hushed.replayer.stages["guard"].first is not None
    assert reason[:8] in hushed.replayer.stages["guard"].first.found


@pytest.mark.parametrize("on_fault", ["damp", "hold_measured", "torque_off"])
@pytest.mark.parametrize("kind", ["position", "velocity", "effort"])
def test_bounds_that_act_and_every_kind_of_command_are_computed_again(
    tmp_path: Path, kind: str, on_fault: str
) -> None:
    folder = make_bundle(tmp_path / "tiny")
    edit(folder, "kind: position", f"kind: {kind}, clip: [-0.35, 0.35]")
    edit(folder, "on_fault: damp", f"on_fault: {on_fault}")
    edit(
        folder,
        "safety:",
        "nominal: {source: a test, ticks: 1, target_step: 0.02, effort_demand: 5.0}\nsafety:",
    )
    flight = SmallFlight(load_bundle(folder, kind=JointBundle))
    flight.stand_and_run(8)
    whole = replay(flight.save(tmp_path / "whole"), None, "", {})
    assert whole.replayer.rules["target_step"] > 1
    flight.go_on(40)  # clipped for too long on the way
    assert flight.controller.mode is Mode.DAMP
    for found in (
        whole,
        replay(flight.save(tmp_path / "both"), None, "", {}),
        replay(flight.save(tmp_path / "middle", 57), None, "", {}),
    ):
        assert found, found.first
        assert not differing(found)
        assert found.replayer.stages["command"].judged > 0


def test_a_recording_in_which_the_policy_did_not_run_says_so(
    tmp_path: Path, bundle: JointBundle
) -> None:
    flight = SmallFlight(bundle)
    flight.go_on(5)
    found = replay(flight.save(tmp_path / "flown"), None, "", {})
    assert found
    assert judged(found)["command"] == (5, 0)
    assert verdict(found) == (
        "the same commands again, bit for bit; the policy did not run (compared, of 5 ticks: "
        "command 5, guard 5; with 0 of them in RUN: state 5, inputs 0, outputs 0, target 0)"
    )


def test_a_recording_of_another_machine_in_which_the_policy_did_not_run_says_so(
    tmp_path: Path, bundle: JointBundle
) -> None:
    flight = SmallFlight(bundle)
    flight.go_on(5)

    def elsewhere(topic: str, message: Any) -> Any:
        return dataclasses.replace(message, host="robot") if topic == "flight_info" else message

    path = rewritten(flight.save(tmp_path / "flown"), tmp_path / "there", elsewhere)
    found = replay(path, None, "", {})
    assert found
    assert "within the limits of its precision; the policy did not run" in verdict(found)


def test_an_emergency_stop_is_nothing_that_the_state_says(
    tmp_path: Path, bundle: JointBundle
) -> None:
    flight = SmallFlight(bundle)
    flight.stand_and_run(10)
    flight.controller.estop("pressed")
    flight.go_on(3)
    found = replay(flight.save(tmp_path / "flown"), None, "", {})
    assert found
    assert found.flight.trip is not None
    assert found.flight.trip.reason == "estop: pressed"


@pytest.mark.parametrize("on_fault", ["damp", "hold_measured"])
def test_an_emergency_stop_before_the_command_is_sent_is_followed_by_damp(
    tmp_path: Path, on_fault: str
) -> None:
    folder = edit(seeing(tmp_path / "tiny").path, "on_fault: damp", f"on_fault: {on_fault}")
    flight = SmallFlight(load_bundle(folder, kind=JointBundle))
    flight.stand_and_run(10)
    silent = int(on_fault == "hold_measured")  # the tick before `stand`
    flight.tick(pressed=True)
    at = flight.ticks
    flight.go_on(3)
    path = flight.save(tmp_path / "flown")
    found = replay(path, None, "", {})
    assert found
    assert judged(found)["command"] == (flight.ticks - silent, silent)

    def cut(topic: str, message: Any) -> Any:
        return None if topic == "policy_tick" and message.tick >= at else message

    assert replay(rewritten(path, tmp_path / "cut", cut), None, "", {})


def test_an_emergency_stop_while_the_policy_runs_is_computed_again(
    tmp_path: Path, bundle: JointBundle
) -> None:
    flight = SmallFlight(bundle)
    flight.stand_and_run(10)
    flight.tick(stops=True)
    flight.go_on(3)
    found = replay(flight.save(tmp_path / "flown"), None, "", {})
    assert found, found.first
    assert not differing(found)
    assert judged(found)["target"] == (11, 0)
    assert judged(found)["guard"] == (flight.ticks, 0)


@pytest.mark.parametrize("first", ["standing up", "holding"])
def test_a_recording_that_begins_in_a_motion_is_judged_from_its_end_on(
    tmp_path: Path, bundle: JointBundle, first: str
) -> None:
    flight = SmallFlight(bundle)
    flight.stand_and_run(10)
    flight.go_on(4, silent=True)  # HOLD from the third on
    held = flight.ticks - 1
    flight.go_on(20)
    begin = {"standing up": 20, "holding": held}[first]
    found = replay(flight.save(tmp_path / "flown", begin), None, "", {})
    assert found, found.first
    assert not differing(found)
    skipped = {"standing up": 50 - begin, "holding": 2}[first]
    assert judged(found)["command"] == (flight.ticks - begin - skipped, skipped)


def test_a_motion_that_begins_at_what_was_held_is_computed_again(tmp_path: Path) -> None:
    folder = edit(seeing(tmp_path / "tiny").path, "on_fault: damp", "on_fault: hold_measured")
    flight = SmallFlight(load_bundle(folder, kind=JointBundle))
    flight.tick()
    flight.controller.damp()
    flight.go_on(5)  # the joints swing, and are held where they were at first
    flight.stand_and_run(5)
    found = replay(flight.save(tmp_path / "flown"), None, "", {})
    assert found, found.first
    assert judged(found)["command"] == (flight.ticks - 1, 1)


def test_a_second_run_begins_clean(tmp_path: Path) -> None:
    flight = SmallFlight(seeing(tmp_path / "tiny", SEEING["history"], recurrent=True))
    flight.stand_and_run(10)
    flight.controller.damp()
    flight.stand_and_run(10)
    found = replay(flight.save(tmp_path / "flown"), None, "", {})
    assert found
    assert not differing(found)
    assert judged(found)["inputs"] == (20, 0)


def test_limits_that_were_in_force_guard_the_replay(tmp_path: Path, bundle: JointBundle) -> None:
    flight = SmallFlight(bundle, StricterLimits(effort_scale=0.5))
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
    assert found.replayer.coverage.lost == 3
    assert judged(found)["target"] == (26, 1)
    assert judged(found)["inputs"] == ((26, 1) if recurrent else (25, 2))
