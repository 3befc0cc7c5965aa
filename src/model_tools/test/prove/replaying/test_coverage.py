# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A recording of which little is left proves nothing, and says what is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model_tools.prove.replaying.replay import ReplayedFlight, replay
from model_tools.prove.replaying.replay_report import document, lines, verdict
from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.load import load_bundle
from policy_inference.core.limits import StricterLimits

from .small_flights import SmallFlight, rewritten
from .small_policies import SEEING, differing, edit, judged, seeing


def replayed(flown: Path, change: Callable[[str, Any], Any], **more: Any) -> ReplayedFlight:
    """Replay a changed recording."""
    return replay(rewritten(flown, flown.parent / "changed", change, **more), None, "", {})


def test_without_commands_nothing_is_proven(flown: Path) -> None:
    found = replayed(flown, lambda topic, m: None if topic == "joint_command" else m)
    assert not found
    assert not differing(found)
    assert verdict(found).startswith("not proven: none of 81 ticks has a command of its stamp; ")
    assert document(found)["replayed"]["same"] is False


@pytest.mark.parametrize("later_ns", [1, 30_000_000])
def test_a_command_belongs_to_the_tick_of_its_stamp_wherever_it_was_logged(
    flown: Path, later_ns: int
) -> None:
    found = replayed(flown, lambda _, m: m, later_ns={"joint_command": later_ns})
    assert found
    assert judged(found)["command"] == (81, 0)


def test_commands_with_other_stamps_are_of_no_tick(flown: Path) -> None:
    def shift(topic: str, message: Any) -> Any:
        if topic == "joint_command":
            message.stamp.nanosec += 1
        return message

    found = replayed(flown, shift)
    assert not found
    assert judged(found)["command"] == (0, 81)


def test_every_second_tick_is_too_little(flown: Path) -> None:
    def halve(topic: str, message: Any) -> Any:
        return None if topic == "policy_tick" and message.tick % 2 else message

    found = replayed(flown, halve)
    assert not found
    assert not differing(found)
    assert "target: none of 15 ticks in RUN could be judged" in verdict(found)
    assert "40 ticks are missing" in verdict(found)


def test_without_most_of_a_run_the_rest_is_too_little(flown: Path) -> None:
    def thin(topic: str, message: Any) -> Any:
        return None if topic == "policy_tick" and 58 <= message.tick < 78 else message

    found = replayed(flown, thin)
    assert not found
    assert "outputs: too little of it could be judged, 10 of 30 ticks in RUN" in verdict(found)


def test_without_any_tick_of_a_run_no_report_says_that_the_policy_did_not_run(
    tmp_path: Path, bundle: JointBundle
) -> None:
    flight = SmallFlight(bundle)
    flight.stand_and_run(10)
    flight.controller.damp()
    flight.go_on(30)
    found = replayed(
        flight.save(tmp_path / "flown"),
        lambda topic, m: None if topic == "policy_tick" and m.mode == 3 else m,
    )
    assert not found
    assert "not proven: the policy may have run in the 10 ticks that are missing" in verdict(found)


def test_without_messages_of_the_sensors_the_state_is_not_proven(flown: Path) -> None:
    found = replayed(flown, lambda topic, m: None if topic == "joint_states" else m)
    assert not found
    assert not differing(found)
    assert verdict(found).startswith("not proven: state: none of 30 ticks in RUN could be judged")
    assert "without messages for joint_pos, joint_vel" in verdict(found)


def test_a_velocity_command_of_long_ago_may_be_missing_and_is_reported(tmp_path: Path) -> None:
    flight = SmallFlight(seeing(tmp_path / "tiny", SEEING["command"]))
    flight.tick(velocity=(0.5, 0.0, -3.0))
    flight.stand_and_run(30)
    found = replay(flight.save(tmp_path / "flown", flight.ticks - 20), None, "", {})
    assert found
    assert verdict(found).endswith("without messages for velocity_command)")


def test_limits_that_are_looser_than_the_contracts_are_reported(flown: Path) -> None:
    def loosen(topic: str, message: Any) -> Any:
        for entry in message.settings if topic == "flight_info" else ():
            if entry.key == "limits.state_timeout_ns":
                entry.value = "9000000000"
        return message

    found = replayed(flown, loosen)
    assert not found
    assert verdict(found).startswith(
        "not as the contract allows: settings: limits.state_timeout_ns"
        ": expected above 0, at most 40000000, as the contract says, "
        "found 9000000000"
    )


@pytest.mark.parametrize("value", ["9.9", "-1.0", "nan", None])
def test_a_tilt_that_the_contract_does_not_allow_is_reported(
    tmp_path: Path, value: str | None
) -> None:
    flight = SmallFlight(
        load_bundle(
            edit(
                seeing(tmp_path / "tiny").path,
                "on_fault: damp",
                "on_fault: damp, max_tilt_rad: 0.5",
            ),
            kind=JointBundle,
        )
    )
    flight.stand_and_run(10)

    def loosen(topic: str, message: Any) -> Any:
        if topic == "flight_info":
            for entry in message.settings:
                if entry.key == "limits.max_tilt_rad":
                    entry.value = value or entry.value
            message.settings = [
                entry for entry in message.settings if value or entry.key != "limits.max_tilt_rad"
            ]
        return message

    found = replayed(flight.save(tmp_path / "flown"), loosen)
    assert not found
    assert f"at most 0.5, as the contract says, found {value or 'none'}" in verdict(found)


def test_limits_that_an_operator_has_tightened_are_reported_and_fine(
    tmp_path: Path, bundle: JointBundle
) -> None:
    flight = SmallFlight(bundle, StricterLimits(effort_scale=0.5))
    flight.stand_and_run(10)
    found = replay(flight.save(tmp_path / "flown"), None, "", {})
    assert found
    assert "tightened: limits.effort_scale 0.5 instead of 1.0" in lines(found)
