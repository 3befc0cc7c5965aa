# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A trial is a pure function of its task, and its key identifies the task."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from model_tools.errors import ToolError
from model_tools.files.contract_text import set_section
from model_tools.prove.evaluation.evaluate import evaluated_policies
from model_tools.prove.evaluation.trials import TrialTask, run_trial, trial_tasks, walk_case
from policy_core.bundle.load import load_bundle
from testkit.wording import refusal

from .evaluations import plan
from .test_plan import plan_of

BUNDLES = Path(__file__).resolve().parents[5] / "config" / "bundles"


def task_of(folder: Path, bundle: str | Path = "lite3_walk", **content: Any) -> TrialTask:
    planned = plan_of(folder, **{"duration_s": 4.0, **content})
    policies = evaluated_policies(planned, [load_bundle(BUNDLES / bundle)], {})
    return trial_tasks(planned, policies)[0]


def test_a_trial_gives_the_same_result_each_time(tmp_path: Path) -> None:
    task = task_of(
        tmp_path,
        factors={
            "friction": [0.6],
            "latency_ms": [8],
            "push_n": [40],
            "stiffness_scale": [0.95],
            "joint_friction_nm": [0.1],
            "faults": [["noise:imu.angular_velocity=0.05"]],
        },
    )
    found = run_trial(task)
    assert run_trial(task) == found
    assert found.held
    assert found.figures["survived_s"] == 4.0
    for name in ("error_vx", "tilt_deg", "torque_rms_nm", "power_w", "energy_j"):
        assert (found.figures[name] or 0.0) > 0.0, name


def test_a_robot_that_falls_has_not_succeeded(tmp_path: Path) -> None:
    found = run_trial(task_of(tmp_path, factors={"push_n": [2000]}))
    assert not found.held
    assert 2.0 < (found.figures["survived_s"] or 0.0) < 4.0
    assert found.stopped_by


@pytest.mark.parametrize(
    ("gripper", "held", "came"), [([1.0, 1.5], True, 0.0), ([-0.2, 1.8], False, 1.0)]
)
def test_the_signal_of_a_reach_is_counted_beside_the_simulators_verdict(
    tmp_path: Path, gripper: list[float], held: bool, came: float
) -> None:
    folder = tmp_path / "arm"
    shutil.copytree(BUNDLES / "so101_reach", folder)
    contract = folder / "policy.yaml"
    signal = {"joints": {"gripper": gripper}, "for_s": 0.5, "then": "end"}
    contract.write_text(set_section(contract.read_text("utf-8"), "success", signal), "utf-8")
    found = run_trial(task_of(tmp_path, folder, robot="so101", duration_s=6.0))
    assert found.held is held
    assert found.stopped_by == ""
    assert found.figures["signal"] == came
    assert found.figures["signal_false_negative" if held else "signal_false_positive"] == 1.0
    assert found.figures["signal_false_positive" if held else "signal_false_negative"] is None


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 7},
        {"duration_s": 5.0},
        {"suite": "another"},
        {"robot": "go2"},
        {"conditions": {"friction": 0.1}},
        {"estimator": True},
    ],
)
def test_the_key_is_that_of_all_a_trial_depends_on(tmp_path: Path, change: dict[str, Any]) -> None:
    task = task_of(tmp_path)
    assert dataclasses.replace(task, **change).key != task.key
    assert dataclasses.replace(task).key == task.key
    other = dataclasses.replace(task.policy, sha256="another")
    assert dataclasses.replace(task, policy=other).key != task.key
    moved = dataclasses.replace(task.policy, folder=tmp_path, label="another name")
    assert dataclasses.replace(task, policy=moved).key == task.key


def test_a_worker_refuses_another_bundle_and_another_suite(tmp_path: Path) -> None:
    task = task_of(tmp_path)
    changed = dataclasses.replace(task.policy, sha256="another")
    with refusal(ToolError):
        run_trial(dataclasses.replace(task, policy=changed))
    with refusal(ToolError):
        run_trial(dataclasses.replace(task, suite="another"))


def test_the_seed_draws_pushes_commands_and_ground_and_both_policies_get_the_same(
    tmp_path: Path,
) -> None:
    planned = plan_of(tmp_path, seeds=40, factors={"push_n": [50], "step_m": [0.02]})
    policies = [evaluated_policies(plan(), [load_bundle(BUNDLES / "lite3_walk")], {})[0]]
    cases = [walk_case(task) for task in trial_tasks(planned, policies)]
    assert {case.faults[0].target for case in cases} == {"front", "rear", "left", "right"}
    times_s = [case.faults[0].start_s for case in cases]
    assert 2.0 <= min(times_s) < max(times_s) < 19.0
    assert len({str(case.schedule) for case in cases}) == 40
    assert {case.ground.seed for case in cases} == set(range(1, 41))
    assert [walk_case(task) for task in trial_tasks(planned, policies)] == cases


def test_the_arm_reaches_and_is_late_where_its_policy_is(tmp_path: Path) -> None:
    quick = run_trial(task_of(tmp_path, "so101_reach", robot="so101", duration_s=6.0))
    assert quick.held, quick
    assert (quick.figures["closest_m"] or 1.0) < 0.02
    assert 0.5 < (quick.figures["took_s"] or 0.0) < 6.0
    late = task_of(
        tmp_path,
        "so101_reach",
        robot="so101",
        duration_s=6.0,
        factors={"inference_ms": [900], "latency_ms": [30]},
    )
    assert (run_trial(late).figures["took_s"] or 0.0) > (quick.figures["took_s"] or 0.0)
