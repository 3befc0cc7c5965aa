# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A node runs a version on trial, stops it at a gate, and goes back to the version before."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import rclpy
from policy_msgs.msg import JointCommand, PolicyStatus
from rclpy.lifecycle import TransitionCallbackReturn

from policy_inference.bundle.load import load_bundle
from policy_inference.bundle.store import CURRENT, ROOT_VARIABLE
from policy_inference.core.trial.journal import RECORD, TrialEvent, append_event
from policy_inference.core.trial.record import TrialState, VersionTrial, newest_trial
from policy_inference.core.trial.settings import settings_of_trial
from policy_inference.interfaces import Mode
from policy_inference.nodes.act_policy_node import ActPolicyNode
from policy_inference.nodes.joint_policy_node import JointPolicyNode

from .arm import Arm
from .bundles import STAND, write_record, write_version
from .colour_bundle import write_colours
from .harness import Robot, Stage, StageOf, is_damp
from .test_load import loaded, refusal
from .test_status import counters, diagnosed, newest

pytestmark = pytest.mark.ros
BEFORE, TRIED = "1.2.4", "1.3.0"
TILTED = (0.0, 0.29552, 0.0, 0.95534)
"""By 0.6 rad: within the contract's limit of 1.0 rad, beyond the gate's of 0.5 rad."""
TRIAL = "run_time_s: 100"

Begin = Callable[..., None]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of a bundle with two versions, the older of which is in use."""
    model = tmp_path / "models" / "two_joints"
    for version in (BEFORE, TRIED):
        write_version(model / version, version)
        write_record(model / version)
    (model / CURRENT).symlink_to(BEFORE)
    monkeypatch.setenv(ROOT_VARIABLE, str(model.parent))
    return model


def begin_trial(model: Path, text: str = TRIAL) -> None:
    """Put the newer version on trial, as `model_tools activate --trial` does."""
    bundle = load_bundle(model / TRIED)
    settings = settings_of_trial(text.encode(), Path("trial.yaml"), bundle.contract)
    (model / RECORD).touch()
    last = newest_trial(model)
    append_event(
        model / RECORD,
        last.number + 1 if last else 1,
        TrialEvent.BEGUN,
        version=TRIED,
        version_before=BEFORE,
        settings=dataclasses.asdict(settings),
        bundle_sha256=bundle.sha256,
        trial_sha256="0" * 64,
    )


@pytest.fixture
def begin(store: Path) -> Begin:
    """Put the newer version on trial."""
    return partial(begin_trial, store)


@pytest.fixture
def tried(active: Callable[..., JointPolicyNode], robot: Robot, begin: Begin) -> Robot:
    """A robot whose node has a version on trial."""
    begin(TRIAL)
    active(bundle="two_joints", use_sim_time=True)
    robot.is_met()
    return robot


def recorded(store: Path) -> VersionTrial:
    found = newest_trial(store)
    assert found is not None
    return found


def events(store: Path) -> list[str]:
    return [json.loads(line)["event"] for line in (store / RECORD).read_text().splitlines()]


def awaited(robot: Robot, store: Path, state: TrialState) -> VersionTrial:
    """Wait until the record says so."""
    robot.until(lambda: recorded(store).state is state, f"{state} in the record")
    return recorded(store)


def breaks_its_gate(robot: Robot) -> None:
    """Run, and tilt until the fault."""
    robot.runs()
    robot.quat_xyzw = TILTED
    robot.until(lambda: is_damp(robot.tick()), "the fault command")
    robot.quat_xyzw = (0.0, 0.0, 0.0, 1.0)


def version_of(robot: Robot) -> str:
    return str(newest(robot).bundle_version)


def trial_of(status: PolicyStatus) -> Any:
    (trial,) = status.trial
    return trial


def test_bundle_without_trials_reports_none(lockstep: Robot) -> None:
    assert list(newest(lockstep).trial) == []


def test_name_stands_for_the_version_on_trial(tried: Robot, store: Path) -> None:
    status = newest(tried)
    assert status.bundle_version == TRIED
    trial = trial_of(status)
    assert (trial.version, trial.version_before, trial.state) == (TRIED, BEFORE, "open")
    assert (trial.run_time_s, trial.run_time_limit_s) == (0.0, 100.0)
    found = diagnosed(tried, lambda status: True)
    values = {entry.key: entry.value for entry in found.values}
    assert values["trial.state"] == "open"
    assert values["trial.tilt_rad"].endswith(" of 0.5")


def test_run_is_on_record_from_its_beginning_to_its_end(tried: Robot, store: Path) -> None:
    tried.runs()
    assert recorded(store).runner is not None
    for _ in range(20):
        tried.tick()
    tried.request("damp")
    tried.tick()
    tried.until(lambda: recorded(store).runner is None, "the end in the record")
    assert events(store) == ["begun", "run_began", "run_ended"]
    assert recorded(store).run_time_s == pytest.approx(
        trial_of(newest(tried)).run_time_s, abs=0.001
    )
    assert recorded(store).run_time_s > 0.4


def test_first_gate_that_breaks_ends_in_the_safe_state(tried: Robot, store: Path) -> None:
    breaks_its_gate(tried)
    status = newest(tried)
    assert status.latched
    assert status.reason.startswith("trial: tilt_rad 0.6, limit 0.5")
    assert counters(status)["trial"] == 1
    trial = awaited(tried, store, TrialState.FAILED)
    assert (trial.gate, trial.limit, trial.version_before) == ("tilt_rad", 0.5, BEFORE)
    assert trial.value == pytest.approx(0.6, abs=0.001)


def test_version_before_runs_after_reset_stand_and_run(tried: Robot, store: Path) -> None:
    breaks_its_gate(tried)
    tried.until(lambda: newest(tried).bundle_version == BEFORE, "the version before")
    status = newest(tried)
    assert status.latched
    assert status.reason.startswith("trial: tilt_rad")
    assert trial_of(status).state == "failed"
    assert "failed its trial: tilt_rad" in diagnosed(tried, lambda found: True).message
    tried.request("reset")
    tried.runs()
    assert (version_of(tried), newest(tried).mode) == (BEFORE, Mode.RUN)
    assert events(store) == ["begun", "run_began", "gate_failed", "rolled_back"]
    assert (store / CURRENT).readlink() == Path(BEFORE)


def test_stand_is_refused_until_the_version_before_is_loaded(tried: Robot, store: Path) -> None:
    """Its files are gone for a while, so that it cannot be loaded at once."""
    (store / BEFORE).rename(store / "away")
    breaks_its_gate(tried)
    awaited(tried, store, TrialState.FAILED)
    tried.request("reset")
    answer = tried.ask("stand")
    assert not answer.success
    assert f"two_joints {TRIED} failed its trial (tilt_rad 0.6" in answer.message
    tried.until(lambda: "expected a link to one of the versions" in tried.ask("stand").message, "")
    (store / "away").rename(store / BEFORE)
    tried.ask("stand")
    tried.until(lambda: newest(tried).bundle_version == BEFORE, "the version before")
    tried.runs()


def test_fall_is_the_fault_of_the_guard_and_fails_the_trial(tried: Robot, store: Path) -> None:
    tried.runs()
    tried.quat_xyzw = (0.0, 0.56464, 0.0, 0.82534)  # by 1.2 rad, in one tick
    tried.until(lambda: is_damp(tried.tick()), "the fault command")
    status = newest(tried)
    assert status.reason.startswith("attitude: ")
    assert counters(status)["trial"] == 0
    trial = awaited(tried, store, TrialState.FAILED)
    assert trial.gate == "falls"
    assert "attitude: tilt 1.20 rad" in trial.reason


def test_time_that_is_used_up_ends_the_run_and_leaves_the_robot_standing(
    active: Callable[..., JointPolicyNode], robot: Robot, store: Path, begin: Begin
) -> None:
    begin("run_time_s: 1.0")
    active(bundle="two_joints", use_sim_time=True)
    robot.is_met()
    robot.runs()
    robot.commands.clear()
    robot.until(lambda: robot.tick().mode == Mode.READY, "READY")
    modes = [command.mode for command in robot.commands]
    assert list(dict.fromkeys(modes)) == [Mode.RUN, Mode.STAND, Mode.READY]
    trial = awaited(robot, store, TrialState.PASSED)
    # 0.5 s for the velocity command to fade and 1 s at rest come on top.
    assert 2.4 < trial.run_time_s < 2.7
    answer = robot.ask("run")
    assert not answer.success
    assert "model_tools trial keep two_joints" in answer.message
    assert robot.ask("stand").success
    append_event(store / RECORD, 1, TrialEvent.KEPT)
    robot.until(lambda: robot.tick().mode == Mode.READY, "READY")
    robot.request("run")
    assert events(store) == ["begun", "run_began", "run_ended", "passed", "kept"]


def test_trial_that_was_ended_meanwhile_is_replaced_before_the_next_motion(
    tried: Robot, store: Path
) -> None:
    tried.tick()
    append_event(store / RECORD, 1, TrialEvent.ENDED, reason="ended on request")
    answer = tried.ask("stand")
    assert not answer.success
    assert "is not on trial (ended on request)" in answer.message
    tried.until(lambda: newest(tried).bundle_version == BEFORE, "the version before")
    tried.runs()


def test_robot_that_runs_may_stand_although_its_trial_was_ended_meanwhile(
    tried: Robot, store: Path
) -> None:
    tried.runs()
    append_event(store / RECORD, 1, TrialEvent.ENDED, reason="rolled back on request")
    tried.request("stand")
    tried.until(lambda: tried.tick().mode == Mode.READY, "READY")
    answer = tried.ask("run")
    assert not answer.success
    assert "the version in use is loaded first" in answer.message
    tried.until(lambda: newest(tried).bundle_version == BEFORE, "the version before")


def test_run_that_was_cut_has_failed_when_the_node_configures(
    active: Callable[..., JointPolicyNode], robot: Robot, store: Path, begin: Begin
) -> None:
    begin(TRIAL)
    append_event(store / RECORD, 1, TrialEvent.RUN_BEGAN, runner="another-boot 1 1")
    active(bundle="two_joints", use_sim_time=True)
    robot.is_met()
    status = newest(robot)
    assert status.bundle_version == BEFORE
    assert trial_of(status).state == "failed"
    assert "the power was cut" in trial_of(status).reason
    assert events(store) == ["begun", "run_began", "cut"]
    assert f"found two_joints {TRIED}: the power was cut" in refusal(robot, f"two_joints@{TRIED}")


def test_run_that_is_refused_leaves_no_open_run(tried: Robot, store: Path) -> None:
    tried.tick()
    assert not tried.ask("run").success
    assert events(store) == ["begun"]
    tried.request("stand")
    tried.until(lambda: tried.tick().mode == Mode.READY, "READY")
    tried.position = [value + 0.9 for value in STAND]
    tried.tick()
    assert not tried.ask("run").success
    tried.until(lambda: recorded(store).runner is None, "no open run")
    assert recorded(store).state is TrialState.OPEN


def test_node_that_cannot_write_the_record_refuses_to_run(tried: Robot, store: Path) -> None:
    tried.tick()
    tried.request("stand")
    tried.until(lambda: tried.tick().mode == Mode.READY, "READY")
    content = (store / RECORD).read_bytes()
    (store / RECORD).rename(store / "away")
    (store / RECORD).symlink_to("away")
    answer = tried.ask("run")
    assert not answer.success
    assert "expected a record of the trial that can be written" in answer.message
    assert (store / "away").read_bytes() == content


def test_another_process_that_runs_the_trial_is_named(tried: Robot, store: Path) -> None:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    start = Path("/proc/1/stat").read_text().rpartition(")")[2].split()[19]
    append_event(store / RECORD, 1, TrialEvent.RUN_BEGAN, runner=f"{boot} 1 {start}")
    tried.tick()
    tried.request("stand")
    tried.until(lambda: tried.tick().mode == Mode.READY, "READY")
    assert "another process runs two_joints 1.3.0 (process 1)" in tried.ask("run").message


def test_limits_and_range_of_the_trial_hold(
    active: Callable[..., JointPolicyNode], robot: Robot, begin: Begin
) -> None:
    begin(
        "run_time_s: 100\nlimits: {max_tilt_rad: 0.4}\n"
        "command_range: {min: [0, 0, 0], max: [0.3, 0, 0]}\ngates: {tilt_rad: null}"
    )
    node = active(bundle="two_joints", use_sim_time=True)
    robot.is_met()
    assert node.policy.limits.max_tilt_rad == 0.4
    node.controller.command.set((1.0, 1.0, -1.0), robot.now_ns)
    node.controller.command.update(robot.now_ns)
    assert node.controller.state["velocity_command"].tolist() == [0.3, 0.0, 0.0]
    loaded(robot, f"two_joints@{BEFORE}")
    assert node.policy.limits.max_tilt_rad == 1.0


def test_version_is_put_on_trial_while_the_node_is_at_work(
    active: Callable[..., JointPolicyNode], robot: Robot, store: Path, begin: Begin
) -> None:
    active(bundle="two_joints", use_sim_time=True)
    robot.is_met()
    assert version_of(robot) == BEFORE
    begin(TRIAL)
    loaded(robot, "two_joints")
    assert version_of(robot) == TRIED
    breaks_its_gate(robot)
    robot.until(lambda: newest(robot).bundle_version == BEFORE, "the version before")


def test_load_of_the_same_trial_goes_on_with_it(tried: Robot, store: Path) -> None:
    tried.runs()
    tried.request("damp")
    tried.tick()
    tried.until(lambda: recorded(store).runner is None, "the end in the record")
    loaded(tried, "two_joints")
    assert trial_of(newest(tried)).state == "open"
    loaded(tried, "two_joints")
    tried.runs()
    assert trial_of(newest(tried)).run_time_s > recorded(store).run_time_s


def test_version_whose_content_is_not_that_of_the_trial_is_refused(
    stage: Stage, store: Path, begin: Begin
) -> None:
    begin(TRIAL)
    contract = store / TRIED / "policy.yaml"
    contract.write_text(contract.read_text() + "\n# changed\n")
    write_record(store / TRIED)
    node = stage.node(bundle="two_joints", use_sim_time=True)
    assert node.trigger_configure() is TransitionCallbackReturn.FAILURE
    assert "expected sha256" in stage.robot.hears("expected sha256")


def test_node_that_is_deactivated_ends_the_run_in_the_record(
    active: Callable[..., JointPolicyNode], robot: Robot, store: Path, begin: Begin
) -> None:
    begin(TRIAL)
    node = active(bundle="two_joints", use_sim_time=True)
    robot.runs()
    assert node.trigger_deactivate() is TransitionCallbackReturn.SUCCESS
    assert node.trigger_cleanup() is TransitionCallbackReturn.SUCCESS
    assert events(store) == ["begun", "run_began", "run_ended"]
    assert recorded(store).state is TrialState.OPEN


def test_without_room_for_the_reason_the_version_before_runs_and_the_trial_is_not_taken_again(
    tried: Robot, store: Path
) -> None:
    tried.runs()
    (store / RECORD).rename(store / "away")
    (store / RECORD).symlink_to("away")
    tried.quat_xyzw = TILTED
    tried.until(lambda: is_damp(tried.tick()), "the fault command")
    tried.quat_xyzw = (0.0, 0.0, 0.0, 1.0)
    tried.until(lambda: newest(tried).bundle_version == BEFORE, "the version before")
    assert trial_of(newest(tried)).state == "failed"
    assert "expected the end of the last run of two_joints 1.3.0" in refusal(tried, "two_joints")


@pytest.fixture
def arm(
    new_log: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Arm]:
    """An arm whose node has a version of a chunk policy on trial, for a second."""
    model = tmp_path / "models" / "colours"
    for version in (BEFORE, TRIED):
        write_colours(model / version, {"version": version}, offset_rad=0.0)
        write_record(model / version)
    (model / CURRENT).symlink_to(BEFORE)
    monkeypatch.setenv(ROOT_VARIABLE, str(model.parent))
    begin_trial(model, "run_time_s: 1")
    rclpy.init(args=[])
    stage = StageOf(Arm, ActPolicyNode, new_log)
    node = stage.node(bundle="colours", use_sim_time=True, status_rate_hz=50.0)
    assert node.trigger_configure() is TransitionCallbackReturn.SUCCESS
    assert node.trigger_activate() is TransitionCallbackReturn.SUCCESS
    yield stage.robot
    stage.close()
    rclpy.shutdown()


def test_chunk_policy_holds_the_arm_when_its_time_is_used_up(arm: Arm, tmp_path: Path) -> None:
    arm.runs()
    arm.until(lambda: arm.tick().mode == JointCommand.MODE_HOLD_MEASURED, "a pose that is held")
    trial = awaited(arm, tmp_path / "models" / "colours", TrialState.PASSED)
    assert 0.9 < trial.run_time_s < 1.2
    status = arm.reported(lambda status: status.trial[0].state == "passed", "a passed trial")
    assert (status.latched, status.reason) == (False, "the RUN time of the trial is used up")
