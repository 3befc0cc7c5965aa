# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A shadow beside a node's policy: compared and reported; whatever it does, no command changes."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from policy_msgs.msg import ShadowStatus
from rclpy.parameter import Parameter

from policy_inference.shadow.slots import SLOTS
from policy_inference.testing.process import children

from ..flight.flying import read_flight
from .bundles import CONTRACT, JOINTS, RATE_HZ
from .colour_bundle import SIZE
from .harness import Activate, Robot, StageOf, counters
from .kinds import CHUNK, JOINT, OFFSET_RAD, Kind
from .opening_backends import register_classes
from .shadow_backends import SLOW_S, Faulty
from .shadows import FAULTS, moves_sensors, run_of_commands, settled, shadow_of

pytestmark = pytest.mark.ros
TICKS = 30


@pytest.fixture(autouse=True)
def faulty_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register_classes(tmp_path / "site", monkeypatch, Faulty)


@pytest.fixture
def moved(tmp_path: Path, kind: Kind) -> Path:
    """A bundle of the same robot that commands otherwise."""
    return kind.write(tmp_path / "moved", "2.0.0", moved=True)


def messages_of_run(robot: Robot, flights: Path) -> dict[str, list[Any]]:
    """End the recording of the run; return its messages by the last part of their topics."""
    response = robot.record_run(False)
    assert response.success, response.message
    robot.until(lambda: robot.tick() and [*flights.glob("*-run")], "the recording")
    (folder,) = flights.glob("*-run")
    return {topic: [each[1] for each in found] for topic, found in read_flight(folder, "").items()}


def told_of_shadow(robot: Robot, found: ShadowStatus) -> Mapping[str, str]:
    compared = str(found.compared)
    robot.until(lambda: robot.told()["shadow.ticks_compared"] == compared, "the diagnostics")
    return robot.told()


class TestDistance:
    def test_twice_the_scale_is_a_distance_in_rad_and_in_steps(
        self, activate: Activate, partner: Robot, moved: Path
    ) -> None:
        activate(use_sim_time=True, shadow_bundle=str(moved))
        partner.runs()
        moves_sensors(partner, JOINT, TICKS)
        found = settled(partner)
        assert list(found.joints) == list(JOINTS)
        figures = zip(found.mean, found.rms, found.max, strict=True)
        assert all(0.0 < mean <= rms <= most for mean, rms, most in figures)
        np.testing.assert_allclose(found.max_steps, np.array(found.max) / 10.0)
        values = told_of_shadow(partner, found)
        assert values["shadow.rms_largest"] == f"{max(found.rms):.6f}"
        differences = values["shadow.contract_differences"].split("; ")
        assert [one.partition(":")[0] for one in differences] == ["action.scale"]
        assert float(values["shadow.gain_error_largest"]) > 0.0

    def test_without_a_shadow_the_status_has_none(self, lockstep: Robot) -> None:
        assert not lockstep.newest().shadow


@pytest.mark.parametrize(
    "kind", [JOINT, pytest.param(CHUNK, marks=pytest.mark.acceptance)], ids=str
)
def test_recording_has_what_the_shadow_made_of_each_tick(
    activate: Activate, partner: Robot, moved: Path, tmp_path: Path, kind: Kind
) -> None:
    flights = tmp_path / "flights"
    recorded = {"flight__folder": str(flights), "flight__min_free_mb": 0.0}
    activate(use_sim_time=True, shadow_bundle=str(moved), **recorded)
    partner.is_met()
    assert partner.record_run(True).success
    partner.runs()
    moves_sensors(partner, kind, TICKS)
    found = settled(partner)
    read = messages_of_run(partner, flights)
    shadows = read["shadow_tick"]
    compared = [m for m in shadows if m.outcome == m.COMPARED]
    assert len(compared) == found.compared
    settings = {entry.key: entry.value for entry in read["flight_info"][0].settings}
    assert settings["shadow.bundle_sha256"] == found.bundle_sha256
    assert settings["parameter.shadow_mode"] == "followed"
    if kind is CHUNK:
        assert_recorded_chunks(read)
        return
    ticks = {m.tick: m for m in read["policy_tick"]}
    ran = [number for number, tick in ticks.items() if tick.outputs and len(tick.target)]
    assert sorted(m.tick for m in shadows) == sorted(ran)
    for message in compared:
        (output,) = ticks[message.tick].outputs
        raw = np.frombuffer(output.data.tobytes(), np.float32).astype(np.float64)
        expected = 0.1 * raw + CONTRACT["stand"]["position"]
        np.testing.assert_array_equal(message.active_target, expected)
    distance = np.abs([m.target - m.active_target for m in compared])
    np.testing.assert_array_equal(distance.max(axis=0), found.max)


def assert_recorded_chunks(read: Mapping[str, list[Any]]) -> None:
    """Require the shadow's chunk for each observation that it has answered."""
    inferences = read["shadow_inference"]
    active = {m.observation_ns: m for m in read["chunk_inference"]}
    assert inferences
    for message in inferences:
        assert message.steps == SIZE
        theirs = active[message.observation_ns].data
        np.testing.assert_allclose(message.data, theirs + OFFSET_RAD, atol=1e-5)
    assert {m.tick for m in inferences} <= {m.tick for m in read["shadow_tick"]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        *((JOINT, fault) for fault in ("SIGSTOP", "nan", "segfault", "garbage", "answers", "cuts")),
        *((CHUNK, fault) for fault in ("slow", "garbage")),
    ],
    ids=str,
)
def test_commands_are_bit_for_bit_those_without_a_shadow(
    node_stage: StageOf[Any, Any], bundle_in_use: Path, tmp_path: Path, kind: Kind, fault: str
) -> None:
    robot = node_stage.robot
    node = node_stage.active(bundle=str(bundle_in_use), use_sim_time=True, status_rate_hz=20.0)
    plain, status = run_of_commands(robot, kind, 3 * SLOTS)
    node.trigger_deactivate()
    node.trigger_cleanup()
    before = children()

    def act(tick: int) -> None:
        if tick == SLOTS // 2 and fault.startswith("SIG"):
            (process,) = children() - before
            os.kill(process, getattr(signal, fault))
        elif tick == SLOTS // 2:
            (tmp_path / "fault").write_text(fault)

    shadow = {"shadow_bundle": str(bundle_in_use), "shadow_backend": "faulty"}
    shadow["backend_options"] = f"faulty.fault={tmp_path / 'fault'}"
    for result in node.set_parameters([Parameter(k, value=v) for k, v in shadow.items()]):
        assert result.successful, result.reason
    node.trigger_configure()
    node.trigger_activate()
    found, beside = run_of_commands(robot, kind, 3 * SLOTS, act)
    assert found == plain
    assert not beside.latched
    assert counters(beside) == counters(status)
    if problem := FAULTS[fault]:
        # A machine that is busy may first be the cause that there is no answer.
        shadow_of(robot, lambda shadow: shadow.problem.startswith(problem), problem)
    if fault == "SIGSTOP":
        assert beside.shadow[0].lost > 0
    if fault == "nan":
        shadow_of(robot, lambda shadow: shadow.not_finite > 0, "answers")
    if fault == "slow":
        shadow_of(robot, lambda shadow: shadow.duration_max_s >= SLOW_S, "a slow answer")


def test_shadow_can_take_no_priority_and_goes_first_where_memory_runs_out(
    activate: Activate, bundle_in_use: Path
) -> None:
    before = children()
    activate(use_sim_time=True, shadow_bundle=str(bundle_in_use))
    (process,) = children() - before
    place = Path(f"/proc/{process}")
    limits = (place / "limits").read_text("ascii").splitlines()
    found = {line.split()[1]: line.split()[-2:] for line in limits if "priority" in line}
    assert found == {"nice": ["0", "0"], "realtime": ["0", "0"]}
    assert (place / "oom_score_adj").read_text("ascii") == "1000\n"


def test_node_is_not_configured_with_a_bundle_that_cannot_be_compared(
    node_stage: StageOf[Any, Any], bundle_in_use: Path, tmp_path: Path, kind: Kind
) -> None:
    other = kind.write(tmp_path / "other", "3.0.0", {"rate_hz": 2 * RATE_HZ})
    node_stage.refuses(bundle=str(bundle_in_use), shadow_bundle=str(other))


def test_shadow_must_compute_what_its_golden_rows_say(
    node_stage: StageOf[Any, Any], bundle_in_use: Path, tmp_path: Path, kind: Kind
) -> None:
    wrong = kind.write(tmp_path / "wrong", "3.0.0", wrong=True)
    node_stage.refuses(bundle=str(bundle_in_use), shadow_bundle=str(wrong))


@pytest.mark.acceptance
class TestLoad:
    def test_shadow_goes_on_beside_the_policy_that_was_loaded(
        self, activate: Activate, partner: Robot, moved: Path, kind: Kind
    ) -> None:
        activate(use_sim_time=True, shadow_bundle=str(moved))
        partner.runs()
        moves_sensors(partner, kind, 10)
        assert max(settled(partner).max) > 0.0
        partner.loads(moved)
        since = len(partner.commands)
        partner.statuses.clear()
        partner.runs()
        moves_sensors(partner, kind, 10)
        found = settled(partner, since)
        assert (found.bundle_version, found.problem) == ("2.0.0", "")
        assert found.compared
        assert max(found.max) == 0.0

    def test_shadow_that_cannot_go_on_ends_with_the_reason(
        self, activate: Activate, partner: Robot, bundle_in_use: Path, moved: Path
    ) -> None:
        activate(use_sim_time=True, shadow_bundle=str(moved))
        partner.is_met()
        (moved / "policy.onnx").unlink()
        partner.loads(bundle_in_use)
        partner.statuses.clear()
        partner.runs()
        status = partner.reported(lambda status: status.shadow[0].problem, "the reason")
        assert "policy.onnx" in status.shadow[0].problem
