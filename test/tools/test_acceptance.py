# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Acceptance judges what it claims to judge, and its tables say what was measured."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from model_tools.prove.inspect.registry import inspect_path
from model_tools.prove.replaying.replay import Judgement
from model_tools.prove.trial import WalkOutcome, try_case
from model_tools.simulation.robot import WalkCase, WalkLimits, push_from, steady
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import Backend
from policy_inference.backends.registry import open_backend
from testkit.edits import reword
from testkit.store import make_keys, tool
from tools.acceptance.accept import PAGE, RECORDING, REPORT, record, replay_recording, try_recorded
from tools.acceptance.cases import all_cases
from tools.acceptance.figures import read_figures

OURS = Path(__file__).resolve().parents[2] / "config" / "bundles" / "lite3_walk"
SHORT = WalkCase(name="short", group="steady", schedule=steady(0.4, 0.0, 0.0), duration_s=3.0)


@pytest.fixture(scope="module")
def walk_bundle() -> JointBundle:
    return load_bundle(OURS, kind=JointBundle)


@pytest.fixture(scope="module")
def backend(walk_bundle: JointBundle) -> Iterator[Backend]:
    opened, _ = open_backend(walk_bundle, ["onnx"])
    yield opened
    opened.close()


def test_a_walk_that_is_pushed_over_has_not_survived(
    walk_bundle: JointBundle, backend: Backend
) -> None:
    case = dataclasses.replace(SHORT, faults=(push_from("left", newton=2000.0),), duration_s=8.0)
    outcome, trace = try_case(walk_bundle, backend, case)
    assert not outcome.survived
    assert not outcome.passed
    assert 5.0 < outcome.survived_s < 8.0
    assert outcome.stopped_by.startswith("attitude")
    assert trace.time_s[-1] - trace.time_s[0] == pytest.approx(outcome.survived_s)


@pytest.mark.parametrize(
    "limits",
    [
        WalkLimits(error=1e-4),
        WalkLimits(altered_share=-1.0),
    ],
)
def test_every_limit_can_fail_a_walk(
    walk_bundle: JointBundle, backend: Backend, limits: WalkLimits
) -> None:
    case = dataclasses.replace(SHORT, limits=limits, duration_s=2.5)
    assert try_case(walk_bundle, backend, case)[0].passed is False


def outcomes() -> list[WalkOutcome]:
    found = [
        WalkOutcome(
            name=case.name,
            group=case.group,
            passed=True if case.limits else None,
            survived_s=case.duration_s,
            duration_s=case.duration_s,
            error=(0.01, 0.02, 0.03),
            tilt_deg=5.0,
            torque_limit_share=0.001,
            action_change=0.2,
            altered_share=0.0,
            stopped_by="",
        )
        for case in all_cases()
    ]
    found[4] = dataclasses.replace(
        found[4], passed=False, survived_s=5.4, stopped_by="attitude: tilt 1.01 rad"
    )
    return found


def test_a_report_becomes_part_of_the_bundle(tmp_path: Path) -> None:
    folder = shutil.copytree(OURS, tmp_path / "bundle")
    record(load_bundle(folder, kind=JointBundle), outcomes())
    walk_bundle = load_bundle(folder, kind=JointBundle)
    assert walk_bundle.contract.reports["onnx"].file == str(REPORT)
    assert read_figures(folder / REPORT) == outcomes()


@pytest.mark.parametrize(
    ("change", "is_about_it"),
    [
        (('version: "0.2.1"', 'version: "0.3.0"'), True),
        (("  stiffness: 30.0", "  stiffness: 24.0"), False),
        (("{term: joint_vel, scale: 0.05}", "{term: joint_vel, scale: 0.06}"), False),
    ],
)
def test_a_report_does_not_vouch_for_a_contract_that_was_changed_later(
    tmp_path: Path, change: tuple[str, str], is_about_it: bool
) -> None:
    folder = shutil.copytree(OURS, tmp_path / "bundle")
    record(load_bundle(folder, kind=JointBundle), outcomes())
    reword(folder / "policy.yaml", change)
    assert ("cases passed" in inspect_row(folder)) is is_about_it
    private, _ = make_keys(tmp_path)
    assert tool("sign", folder, "--key", private) == 0
    code = tool("release", "new", folder, "--output", tmp_path / "release.yaml")
    assert code == (0 if is_about_it else 4)


def test_a_report_without_hash_is_about_the_version_that_it_states(tmp_path: Path) -> None:
    assert "cases passed" in inspect_row(OURS)
    folder = shutil.copytree(OURS, tmp_path / "bundle")
    reword(folder / "policy.yaml", ('version: "0.2.1"', 'version: "0.3.0"'))
    assert inspect_row(folder) == f"{REPORT}: about version 0.2.1"


def inspect_row(folder: Path) -> str:
    """Return what `inspect` says about the acceptance report."""
    return str(dict(inspect_path(folder).rows)["report onnx"])


@pytest.mark.acceptance
def test_a_recorded_walk_is_judged_as_any_other_and_gives_the_same_commands_again(
    walk_bundle: JointBundle, backend: Backend, tmp_path: Path
) -> None:
    plain, _ = try_case(walk_bundle, backend, SHORT)
    assert try_recorded(walk_bundle, backend, SHORT, tmp_path / RECORDING) == plain
    assert try_recorded(walk_bundle, backend, SHORT, tmp_path / RECORDING) == plain
    assert [place.name for place in tmp_path.iterdir()] == [RECORDING]
    found = replay_recording(OURS, tmp_path)
    assert found
    assert found.judgement is Judgement.EXACT
    assert found.replayer.stages["command"].judged == len(found.flight.time_s)
    assert found.flight.trip is None
    for name, width in {
        "rpy_rad": 3,
        "ang_vel_body": 3,
        "lin_acc_body": 3,
        "joint_effort": 12,
        "forces": 4,
        "velocity": 3,
    }.items():
        values = getattr(found.flight, name)
        assert values.shape == (len(found.flight.time_s), width)
        assert np.isfinite(values).all()
    page = (tmp_path / PAGE).read_text("utf-8")
    assert "bit for" in page
    assert "Foot forces" in page
    assert "http" not in page
