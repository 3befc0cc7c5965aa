# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A replay gives the recorded commands again, from each recorded state on."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model_tools.prove.replaying.replay import Judgement, replay
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.control.authority import AuthorityRequest, Rest
from policy_core.interfaces import Mode
from testkit.replays import SOME_OR_EACH, replayed_from_states

from ...tiny_bundle import make_bundle
from .small_flights import (
    SEEING,
    SmallFlight,
    alike,
    counts_of,
    differing,
    remade,
    reworded,
    seeing,
)


@pytest.mark.slow
@SOME_OR_EACH
@pytest.mark.parametrize("sees", SEEING)
@pytest.mark.parametrize("recurrent", [True, pytest.param(False, marks=pytest.mark.acceptance)])
def test_a_recording_is_computed_again_bit_for_bit_from_each_of_its_states(
    tmp_path: Path, sees: str, recurrent: bool, states: str
) -> None:
    tiny = seeing(tmp_path / "tiny", SEEING[sees], recurrent=recurrent)
    flight = SmallFlight(tiny, state_every=17)
    flight.tick(velocity=(0.5, 0.0, -3.0))
    flight.stand_and_run(30)
    every = flight.ticks

    whole = replayed_from_states(flight.save(tmp_path / "whole"), states)
    ran = dict.fromkeys(("inputs", "outputs", "target"), (30, 0))
    assert counts_of(whole) == {**dict.fromkeys(("state", "command", "guard"), (every, 0)), **ran}


def turn_the_dial(flight: SmallFlight) -> None:
    flight.controller.set_authority(AuthorityRequest(0.3))
    flight.stand_and_run(10)
    for request in (
        AuthorityRequest(0.1 + 0.6),
        AuthorityRequest(0.0, Rest.FREEZE, ("kn*",)),
        AuthorityRequest(0.2, Rest.DISABLE, ("hip",)),
        AuthorityRequest(1.0),
    ):
        flight.controller.set_authority(request)
        flight.go_on(7)


def fade_at_the_end_of_a_trial(flight: SmallFlight) -> None:
    flight.stand_and_run(8)
    flight.go_on(10, velocity=(0.5, 0.0, 0.2))
    flight.controller.fade_command()
    flight.go_on(20, velocity=(0.5, 0.0, 0.2))
    assert flight.controller.state["velocity_command"][0] < 0.5


def run_twice(flight: SmallFlight) -> None:
    flight.stand_and_run(19)
    flight.controller.damp()
    flight.stand_and_run(19)


OUTPUT = "{terms: [{term: joint_pos}, {term: last_output, output: h_out}, {term: last_action}]}"


@pytest.mark.slow
@SOME_OR_EACH
@pytest.mark.parametrize(
    ("fly", "sees"),
    [
        (turn_the_dial, SEEING["history"]),
        (fade_at_the_end_of_a_trial, SEEING["command"]),
        (run_twice, SEEING["history"]),
        (lambda flight: flight.stand_and_run(38), OUTPUT),
    ],
    ids=["dial", "fading command", "second run", "output that the next tick observes"],
)
def test_what_happens_in_a_run_is_computed_again(
    tmp_path: Path, fly: Callable[[SmallFlight], None], sees: str, states: str
) -> None:
    flight = SmallFlight(seeing(tmp_path / "tiny", sees, recurrent=True), state_every=7)
    fly(flight)
    found = replayed_from_states(flight.save(tmp_path / "flown"), states)
    assert counts_of(found)["inputs"] == (38, 0)


def test_a_recording_goes_by_the_robot_s_names_whatever_the_contract_calls_them(
    tmp_path: Path,
) -> None:
    folder = make_bundle(tmp_path / "tiny")
    renamed = "names: [upper, lower], robot_names: {upper: hip, lower: knee}"
    reworded(
        reworded(folder, "names: [hip, knee]", renamed), "joints: [hip, knee]", "joints: [.*er]"
    )
    flight = SmallFlight(load_bundle(folder, kind=JointBundle))
    flight.stand_and_run(30)
    flown = flight.save(tmp_path / "flown")
    assert alike(flown).judgement is Judgement.EXACT
    plain = replay(flown, make_bundle(tmp_path / "plain"), "", {})
    assert not differing(plain)
    assert plain.replayer.joints == ("hip", "knee")


@SOME_OR_EACH
def test_holding_and_late_answers_are_computed_again(
    tmp_path: Path, tiny_policy: JointBundle, states: str
) -> None:
    flight = SmallFlight(tiny_policy, state_every=11)
    flight.stand_and_run(20)
    flight.go_on(5, silent=True)  # from the third on, the state is too old
    flight.go_on(5)
    flight.tick(late=True)
    flight.go_on(5)
    flown = flight.save(tmp_path / "flown")
    found = replayed_from_states(flown, states)
    assert dict(found.replayer.dropped) == {"inference_late": 1}
    modes = [edge.mode.name for edge in found.flight.edges]
    assert modes == ["DAMP", "STAND", "READY", "RUN", "HOLD", "RUN", "HOLD", "RUN"]
    assert found.flight.trip is not None
    assert found.flight.trip.reason.endswith("ms late")
    first = next(edge for edge in found.flight.edges if edge.trip)
    assert first.reason.startswith("joint_states:")


@SOME_OR_EACH
def test_a_hold_that_becomes_a_fault_is_computed_again(
    tmp_path: Path, tiny_policy: JointBundle, states: str
) -> None:
    flight = SmallFlight(tiny_policy, state_every=11)
    flight.read_after_ns = 5_000
    flight.stand_and_run(20)
    flight.go_on(20, silent=True)  # HOLD may last exactly five ticks
    found = replayed_from_states(flight.save(tmp_path / "flown"), states)
    assert found.flight.trip is not None
    assert found.flight.trip.reason.startswith("held_too_long: joint_states")


@SOME_OR_EACH
def test_late_answers_whose_deadlines_were_near_are_computed_again(
    tmp_path: Path, tiny_policy: JointBundle, states: str
) -> None:
    """A tick that begins late has a deadline before the next period has passed."""
    flight = SmallFlight(tiny_policy, state_every=11)
    flight.stand_and_run(20)
    flight.begins_late_ns = 100_000
    flight.tick(late=True)
    flight.begins_late_ns = 300_000
    flight.go_on(4, late=True)
    flight.go_on(5)
    found = replayed_from_states(flight.save(tmp_path / "flown"), states)
    assert [edge.mode.name for edge in found.flight.edges][-2:] == ["HOLD", "RUN"]


@SOME_OR_EACH
def test_messages_that_cannot_be_read_are_replayed_as_the_robot_met_them(
    tmp_path: Path, tiny_policy: JointBundle, states: str
) -> None:
    flight = SmallFlight(tiny_policy, state_every=11)
    flight.stand_and_run(20)
    flight.go_on(4, torn=True)  # from the third on, the state is too old
    flight.go_on(5)
    found = replayed_from_states(flight.save(tmp_path / "flown"), states)
    assert dict(found.replayer.unreadable) == {"joint_states": 4}
    assert [edge.mode.name for edge in found.flight.edges][-2:] == ["HOLD", "RUN"]


@SOME_OR_EACH
@pytest.mark.parametrize(
    ("how", "reason"),
    [({"nan": True}, "not_finite: joint_vel"), ({"tilt_rad": 0.7}, "attitude: tilt")],
)
def test_a_fault_is_found_again(
    tmp_path: Path, how: dict[str, Any], reason: str, states: str
) -> None:
    folder = make_bundle(tmp_path / "tiny")
    reworded(folder, "on_fault: damp", "on_fault: damp, max_tilt_rad: 0.5")
    flight = SmallFlight(load_bundle(folder, kind=JointBundle), state_every=7)
    flight.stand_and_run(10)
    flight.go_on(5, **how)
    path = flight.save(tmp_path / "flown")
    found = replayed_from_states(path, states)
    assert found.flight.trip is not None
    assert found.flight.trip.reason.startswith(reason)
    assert found.flight.trip.tick == flight.ticks - 5

    def hush(tick: Any) -> Any:
        return dataclasses.replace(tick, mode=4, reason="")

    hushed = replay(remade(path, "policy_tick", hush, flight.ticks - 5), None, "", {})
    assert not hushed
    assert hushed.replayer.stages["guard"].first is not None
    assert reason[:8] in hushed.replayer.stages["guard"].first.found


@SOME_OR_EACH
@pytest.mark.parametrize(
    ("kind", "on_fault"),
    [("position", "damp"), ("velocity", "hold_measured"), ("effort", "torque_off")],
)
def test_bounds_that_act_and_every_kind_of_command_are_computed_again(
    tmp_path: Path, kind: str, on_fault: str, states: str
) -> None:
    folder = make_bundle(tmp_path / "tiny")
    reworded(folder, "kind: position", f"kind: {kind}, clip: [-0.35, 0.35]")
    reworded(folder, "on_fault: damp", f"on_fault: {on_fault}")
    reworded(
        folder,
        "safety:",
        "nominal: {source: a test, ticks: 1, target_step: 0.02, effort_demand: 5.0}\nsafety:",
    )
    flight = SmallFlight(load_bundle(folder, kind=JointBundle), state_every=19)
    flight.stand_and_run(8)
    whole = alike(flight.save(tmp_path / "whole"))
    assert whole.replayer.rules["target_step"] > 1
    flight.go_on(40)  # clipped for too long on the way
    assert flight.controller.mode is Mode.DAMP
    flown = flight.save(tmp_path / "flown")
    replayed_from_states(flown, states)


@SOME_OR_EACH
@pytest.mark.parametrize("when", ["between ticks", "stops", "pressed"])
def test_an_emergency_stop_is_computed_again(
    tmp_path: Path, tiny_policy: JointBundle, when: str, states: str
) -> None:
    flight = SmallFlight(tiny_policy, state_every=7)
    flight.stand_and_run(10)
    if when == "between ticks":
        flight.controller.estop("pressed")
        flight.tick()
    else:
        how: dict[str, Any] = {when: True}
        flight.tick(**how)
    flight.go_on(3)
    found = replayed_from_states(flight.save(tmp_path / "flown"), states)
    assert found.flight.trip is not None
    assert found.flight.trip.reason.startswith("estop: pressed")
    assert counts_of(found)["target"] == (10 if when == "between ticks" else 11, 0)
    assert counts_of(found)["guard"] == (flight.ticks, 0)


@pytest.mark.parametrize("on_fault", ["damp", "hold_measured"])
def test_an_emergency_stop_before_the_command_is_sent_is_followed_by_damp(
    tmp_path: Path, on_fault: str
) -> None:
    folder = reworded(seeing(tmp_path / "tiny").path, "on_fault: damp", f"on_fault: {on_fault}")
    flight = SmallFlight(load_bundle(folder, kind=JointBundle))
    flight.stand_and_run(10)
    silent = int(on_fault == "hold_measured")  # the tick before `stand`
    flight.tick(pressed=True)
    at = flight.ticks
    flight.go_on(3)
    path = flight.save(tmp_path / "flown")
    found = replay(path, None, "", {})
    assert found
    assert counts_of(found)["command"] == (flight.ticks - silent, silent)

    cut = remade(path, "policy_tick", lambda tick: None if tick.tick >= at else tick)
    assert replay(cut, None, "", {})


@SOME_OR_EACH
def test_a_motion_that_begins_at_what_was_held_is_computed_again(
    tmp_path: Path, states: str
) -> None:
    folder = reworded(seeing(tmp_path / "tiny").path, "on_fault: damp", "on_fault: hold_measured")
    flight = SmallFlight(load_bundle(folder, kind=JointBundle), state_every=7)
    flight.tick()
    flight.controller.damp()
    flight.go_on(5)  # the joints swing, and are held where they were at first
    flight.stand_and_run(5)
    found = replayed_from_states(flight.save(tmp_path / "flown"), states)
    assert counts_of(found)["command"] == (flight.ticks - 1, 1)


@pytest.mark.slow
@SOME_OR_EACH
def test_a_policy_that_was_loaded_goes_on_where_the_one_before_had_come_to(
    tmp_path: Path, states: str
) -> None:
    before = SmallFlight(seeing(tmp_path / "before", SEEING["history"]), state_every=7)
    before.stand_and_run(10)
    before.controller.stand()
    before.go_on(30)
    after = before.loaded(seeing(tmp_path / "after", recurrent=True))
    mode = after.controller.mode
    after.go_on(30)
    after.controller.run()
    after.go_on(20)
    replayed_from_states(before.save(tmp_path / "flown_before"), states)
    found = replayed_from_states(after.save(tmp_path / "flown_after"), states)
    assert found.flight.edges[0].mode is mode
    assert counts_of(found)["target"] == (20, 0)


@pytest.mark.parametrize("recurrent", [False, True])
def test_missing_ticks_are_counted_and_what_needs_them_is_not_judged(
    tmp_path: Path, recurrent: bool
) -> None:
    tiny = seeing(tmp_path / "tiny", SEEING["history"], recurrent=recurrent)
    flight = SmallFlight(tiny, state_every=5)
    flight.stand_and_run(30)
    last = flight.ticks - 10

    path = remade(
        flight.save(tmp_path / "flown"),
        "policy_tick",
        lambda tick: None if last <= tick.tick < last + 3 else tick,
    )
    found = alike(path)
    assert found.replayer.coverage.lost == 3
    # Nothing but the state is judged up to the next state of the controller.
    assert counts_of(found)["target"] == counts_of(found)["inputs"] == (24, 3)
