# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A node runs a version on trial, stops it at a gate, and goes back to the version before."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from geometry_msgs.msg import Twist, Vector3
from nav_msgs.msg import Odometry

from policy_core.bundle.load import load_bundle
from policy_core.bundle.store import CURRENT, TRIALS_FILE
from policy_core.interfaces import Mode
from policy_store.trial_file import settings_of_trial
from policy_store.trial_record import (
    TrialEvent,
    TrialState,
    VersionTrial,
    newest_trial,
    put_on_record,
)
from testkit.wording import check_wording

from .bundles import STAND, write_record
from .harness import Activate, Robot, Stage, counters, is_damp
from .kinds import NEWER, OLDER

pytestmark = pytest.mark.ros
TILTED = (0.0, 0.29552, 0.0, 0.95534)
"""By 0.6 rad: within the contract's limit of 1.0 rad, beyond the gate's of 0.5 rad."""
TRIAL = "run_time_s: 100"

Begin = Callable[..., None]


@pytest.fixture
def put_on_trial(two_versions: Path) -> Begin:
    """Put the newer version on trial, as `policy_store activate --trial` does."""

    def begin_one(text: str = TRIAL) -> None:
        bundle = load_bundle(two_versions / NEWER)
        settings = settings_of_trial(text.encode(), Path("trial.yaml"), bundle.contract)
        (two_versions / TRIALS_FILE).touch()
        hashes = {"bundle_sha256": bundle.sha256, "trial_sha256": "0" * 64}
        put_on_record(two_versions, settings, version=NEWER, version_before=OLDER, **hashes)

    return begin_one


@pytest.fixture
def run_trial(activate: Activate, put_on_trial: Begin) -> Activate:
    def begin_one(text: str = TRIAL) -> Any:
        put_on_trial(text)
        return activate(bundle="two_joints", use_sim_time=True)

    return begin_one


@pytest.fixture
def on_trial(run_trial: Activate, partner: Robot) -> Robot:
    run_trial()
    partner.is_met()
    return partner


def trial_on_record(store: Path) -> VersionTrial:
    found = newest_trial(store)
    assert found is not None
    return found


def events_on_record(store: Path) -> list[str]:
    return [json.loads(line)["event"] for line in (store / TRIALS_FILE).read_text().splitlines()]


def awaits_state(robot: Robot, store: Path, state: TrialState) -> VersionTrial:
    robot.until(lambda: trial_on_record(store).state is state, f"{state} in the record")
    return trial_on_record(store)


def falls_back(robot: Robot) -> None:
    robot.until(lambda: robot.newest().bundle_version == OLDER, "the version before")


def breaks_its_gate(robot: Robot) -> None:
    robot.runs()
    robot.quat_xyzw = TILTED
    robot.until(lambda: is_damp(robot.tick()), "the fault command")
    robot.quat_xyzw = (0.0, 0.0, 0.0, 1.0)


def reported_trial(robot: Robot) -> Any:
    (trial,) = robot.newest().trial
    return trial


def test_name_stands_for_the_version_on_trial(on_trial: Robot, two_versions: Path) -> None:
    status = on_trial.newest()
    assert status.bundle_version == NEWER
    (trial,) = status.trial
    assert (trial.version, trial.version_before, trial.state) == (NEWER, OLDER, "open")
    assert (trial.run_time_s, trial.run_time_limit_s) == (0.0, 100.0)
    assert on_trial.told()["trial.state"] == "open"
    assert on_trial.told()["trial.tilt_rad"].split()[-1] == "0.5"


def test_run_that_is_refused_leaves_no_open_run(on_trial: Robot, two_versions: Path) -> None:
    on_trial.tick()
    assert not on_trial.ask("run").success
    assert events_on_record(two_versions) == ["begun"]
    on_trial.request("stand")
    on_trial.until(lambda: on_trial.tick().mode == Mode.READY, "READY")
    on_trial.position = [value + 0.9 for value in STAND]
    on_trial.tick()
    assert not on_trial.ask("run").success
    on_trial.until(lambda: trial_on_record(two_versions).runner is None, "no open run")
    assert trial_on_record(two_versions).state is TrialState.OPEN


@pytest.mark.slow
def test_gate_that_breaks_ends_in_the_safe_state_and_the_version_before_runs_after_a_reset(
    on_trial: Robot, two_versions: Path
) -> None:
    breaks_its_gate(on_trial)
    trial = awaits_state(on_trial, two_versions, TrialState.FAILED)
    assert (trial.gate, trial.limit, trial.version_before) == ("tilt_rad", 0.5, OLDER)
    assert trial.value == pytest.approx(0.6, abs=0.001)
    falls_back(on_trial)
    status = on_trial.newest()
    assert status.latched
    check_wording(status.reason)
    assert counters(status)["trial"] == 1
    assert reported_trial(on_trial).state == "failed"
    check_wording(on_trial.diagnosed(lambda found: True).message)
    on_trial.request("reset")
    on_trial.runs()
    assert (on_trial.newest().bundle_version, on_trial.newest().mode) == (OLDER, Mode.RUN)
    assert events_on_record(two_versions) == ["begun", "run_began", "gate_failed", "rolled_back"]
    assert (two_versions / CURRENT).readlink() == Path(OLDER)


@pytest.mark.slow
def test_time_that_is_used_up_ends_the_run_and_leaves_the_robot_standing(
    run_trial: Activate, partner: Robot, two_versions: Path
) -> None:
    run_trial("run_time_s: 1.0")
    partner.runs()
    partner.commands.clear()
    partner.until(lambda: partner.tick().mode == Mode.READY, "READY")
    modes = [command.mode for command in partner.commands]
    assert list(dict.fromkeys(modes)) == [Mode.RUN, Mode.STAND, Mode.READY]
    trial = awaits_state(partner, two_versions, TrialState.PASSED)
    # 0.5 s for the velocity command to fade and 1 s at rest come on top.
    assert 2.4 < trial.run_time_s < 2.7
    partner.refusal("run")
    assert partner.ask("stand").success
    trial_on_record(two_versions).append(TrialEvent.KEPT)
    partner.until(lambda: reported_trial(partner).state == "kept", "the robot at rest reports it")
    partner.until(lambda: partner.tick().mode == Mode.READY, "READY")
    partner.request("run")
    assert events_on_record(two_versions) == ["begun", "run_began", "run_ended", "passed", "kept"]


def test_run_that_was_cut_has_failed_when_the_node_configures(
    activate: Activate, partner: Robot, two_versions: Path, put_on_trial: Begin
) -> None:
    put_on_trial(TRIAL)
    trial_on_record(two_versions).append(TrialEvent.RUN_BEGAN, runner="another-boot 1 1")
    activate(bundle="two_joints", use_sim_time=True)
    partner.is_met()
    status = partner.newest()
    assert status.bundle_version == OLDER
    (trial,) = status.trial
    assert trial.state == "failed"
    check_wording(trial.reason)
    assert events_on_record(two_versions) == ["begun", "run_began", "cut"]
    partner.load_refusal(f"two_joints@{NEWER}")


def test_limits_and_range_of_the_trial_hold(run_trial: Activate, partner: Robot) -> None:
    node = run_trial(
        "run_time_s: 100\nlimits: {max_tilt_rad: 0.4}\n"
        "command_range: {min: [0, 0, 0], max: [0.3, 0, 0]}\ngates: {tilt_rad: null}"
    )
    partner.is_met()
    assert node.policy.limits.max_tilt_rad == 0.4
    node.controller.command.set((1.0, 1.0, -1.0), partner.now_ns)
    node.controller.command.update(partner.now_ns)
    assert node.controller.state["velocity_command"].tolist() == [0.3, 0.0, 0.0]
    partner.loads(f"two_joints@{OLDER}")
    assert node.policy.limits.max_tilt_rad == 1.0


def test_version_whose_content_is_not_that_of_the_trial_is_refused(
    node_stage: Stage, two_versions: Path, put_on_trial: Begin
) -> None:
    put_on_trial(TRIAL)
    contract = two_versions / NEWER / "policy.yaml"
    contract.write_text(contract.read_text() + "\n# changed\n")
    write_record(two_versions / NEWER)
    node_stage.refuses(bundle="two_joints", use_sim_time=True)


@pytest.mark.slow
def test_without_room_for_the_reason_the_version_before_runs_and_the_trial_is_not_taken_again(
    on_trial: Robot, two_versions: Path
) -> None:
    on_trial.runs()
    (two_versions / TRIALS_FILE).rename(two_versions / "away")
    (two_versions / TRIALS_FILE).symlink_to("away")
    on_trial.quat_xyzw = TILTED
    on_trial.until(lambda: is_damp(on_trial.tick()), "the fault command")
    on_trial.quat_xyzw = (0.0, 0.0, 0.0, 1.0)
    falls_back(on_trial)
    assert reported_trial(on_trial).state == "failed"
    on_trial.load_refusal("two_joints")


@pytest.mark.slow
def test_robot_that_does_not_walk_when_commanded_fails_the_trial(
    run_trial: Activate, partner: Robot, two_versions: Path
) -> None:
    """Only `odom` shows it; the policy itself does not observe that topic."""
    run_trial("run_time_s: 100\ngates: {motion_error_share: {limit: 0.5, after_s: 0.1}}")
    odometry = partner.node.create_publisher(Odometry, "odom", 1)
    partner.runs()

    def is_stopped() -> bool:
        partner.cmd_vel.publish(Twist(linear=Vector3(x=1.0)))
        odometry.publish(Odometry())
        return is_damp(partner.tick())

    partner.until(is_stopped, "the fault command")
    trial = awaits_state(partner, two_versions, TrialState.FAILED)
    assert (trial.gate, trial.limit) == ("motion_error_share", 0.5)
    check_wording(trial.reason.partition("(")[2])
