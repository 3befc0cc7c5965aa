# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Invariants hold in flights with every fault; a recording that was changed violates its own."""

import dataclasses
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools.cli import main
from model_tools.files.contract_text import set_section
from model_tools.prove.replaying.invariants import INVARIANTS, FlightWatch, check_flight
from model_tools.prove.replaying.recording import FlightRecording
from model_tools.prove.replaying.which_bundle import recorded_contract, recorded_limits
from policy_core.bundle.bundle import CONTRACT_FILE, JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import Mode

from ...tiny_bundle import make_bundle
from .small_flights import SmallFlight, remade


@pytest.fixture(scope="module")
def flown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A flight that stands, runs, holds, damps by a fault, is reset and runs again."""
    place = tmp_path_factory.mktemp("flight")
    folder = make_bundle(place / "tiny")
    nominal = {"source": "made up", "ticks": 1, "effort_demand": 1e3, "target_step": 1.0}
    file = folder / CONTRACT_FILE
    file.write_text(set_section(file.read_text(), "nominal", nominal))
    flight = SmallFlight(load_bundle(folder, kind=JointBundle))
    flight.tick(velocity=(0.5, 0.0, -3.0))
    flight.stand_and_run(30)
    flight.go_on(5, silent=True)
    flight.go_on(3)
    flight.tick(late=True)
    flight.go_on(5)
    flight.tick(tilt_rad=0.7)
    flight.go_on(3)
    flight.controller.reset()
    flight.stand_and_run(20)
    flight.tick(pressed=True)
    flight.go_on(3)
    return flight.save(place / "faulty")


@pytest.fixture
def faulty(flown: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(flown, tmp_path / "faulty"))


def test_all_hold_in_a_flight_with_faults(faulty: Path) -> None:
    found = check_flight(faulty)
    assert not found.counts
    # Of a robot that damps: no joint has bounded steps.
    assert INVARIANTS.keys() - found.checked.keys() == {"gap_is_a_fault", "step_in_bounds"}


def test_a_recording_may_begin_at_any_tick_or_miss_any(faulty: Path) -> None:
    recording = FlightRecording(faulty)
    info = recording.info
    given = (recorded_contract(recording), recorded_limits(recording), info.joints, info.fields)
    ticks = list(recording.ticks())
    assert Mode.HOLD in {tick.mode for tick in ticks}
    for number in range(0, len(ticks), 7):
        watch = FlightWatch(*given)
        assert not [found for tick in ticks[number:] for found in watch.see(tick)]
        watch = FlightWatch(*given)
        rest = ticks[:number] + ticks[number + 1 :]
        assert not [found for tick in rest for found in watch.see(tick)]


def test_a_time_may_be_repeated_and_a_blended_limit_rounded(faulty: Path) -> None:
    recording = FlightRecording(faulty)
    info = recording.info
    watch = FlightWatch(
        recorded_contract(recording), recorded_limits(recording), info.joints, info.fields
    )
    ticks = list(recording.ticks())[:RUNNING]
    assert ticks[-1].command is not None
    rounded = ticks[-1].command.copy()
    rounded[5] *= 1.0 + 1e-15
    again = dataclasses.replace(ticks[-1], number=RUNNING, requests=(), command=rounded)
    assert not [found for tick in [*ticks, again] for found in watch.see(tick)]


def _with(**changes: Any) -> Callable[[Any], Any]:
    return lambda message: dataclasses.replace(message, **changes)


def _value(row: str, value: float) -> Callable[[Any], Any]:
    def change(message: Any) -> Any:
        getattr(message, row)[0] = value
        return message

    return change


STANDING, RUNNING = 10, 60
"""Ticks of `faulty`."""


@pytest.mark.parametrize(
    ("topic", "number", "change", "name"),
    [
        ("policy_tick", RUNNING, _with(blend=2.0), "blend_grows"),
        ("policy_tick", RUNNING, _value("ages_s", 9.0), "stale_state_is_not_followed"),
        ("policy_tick", RUNNING, _value("target", 50.0), "target_in_limits"),
        ("policy_tick", RUNNING, _value("target", 50.0), "target_step_in_bounds"),
        ("policy_tick", RUNNING, _with(time_ns=0), "time_goes_on"),
        ("policy_tick", RUNNING, _with(time_ns=0), "gap_is_a_fault"),
        ("joint_command", RUNNING, _value("position", math.nan), "command_is_finite"),
        ("joint_command", RUNNING, _value("position", 50.0), "position_in_limits"),
        ("joint_command", RUNNING, _value("damping", -1.0), "gains_not_negative"),
        ("joint_command", RUNNING, _value("effort_limit", 1e3), "effort_in_limits"),
        ("joint_command", 0, _value("stiffness", 5.0), "fault_command"),
    ],
)
def test_a_change_violates_its_invariant(
    faulty: Path, topic: str, number: int, change: Callable[[Any], Any], name: str
) -> None:
    found = check_flight(remade(faulty, topic, change, number))
    assert name in found.counts


@pytest.mark.parametrize(
    ("tick", "name"),
    [
        ({"mode": 2, "reason": "made up"}, "modes_in_order"),
        ({"mode": 0, "reason": "attitude: made up"}, "latched_until_reset"),
        ({"mode": 0, "reason": "made up"}, "no_motion_unasked"),
        ({"mode": 2, "reason": ""}, "changes_have_reasons"),
        ({"requests": ["run"], "request_times_ns": np.array([0])}, "run_only_from_ready"),
    ],
)
def test_a_tick_of_another_mode_violates_its_invariant(
    faulty: Path, tick: dict[str, Any], name: str
) -> None:
    changed = remade(faulty, "policy_tick", _with(**tick), STANDING)
    mode = {"mode": tick["mode"]} if "mode" in tick else {}
    assert name in check_flight(remade(changed, "joint_command", _with(**mode), STANDING)).counts


def test_the_command_says_which_and_where(faulty: Path) -> None:
    changed = remade(faulty, "joint_command", _value("damping", -1.0), RUNNING)
    assert main(["check", str(faulty)]) == 0
    assert main(["check", str(faulty), str(changed)]) == 1


def test_a_recording_that_cannot_be_read_does_not_hide_the_others(
    faulty: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    damaged = tmp_path / "damaged.mcap"
    damaged.write_bytes(b"no recording")
    changed = remade(faulty, "joint_command", _value("damping", -1.0), RUNNING)
    assert main(["check", str(damaged), str(changed)]) == 1
    assert main(["check", str(damaged), str(faulty)]) == 4
    assert str(faulty) in capsys.readouterr().out
    assert str(damaged) in caplog.text
