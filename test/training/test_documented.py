# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What users copy: the import of a training, and the workflow for CI."""

from __future__ import annotations

import os
import subprocess
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import yaml

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle

ROOT = Path(__file__).resolve().parents[2]


def in_shell(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script in the checkout, as the shell does that runs the tests."""
    # ROS 2 from wheels prepares each Python once; this one's mark is not that of another Python.
    inherited = {k: v for k, v in os.environ.items() if k != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
    return subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script],
        cwd=ROOT,
        text=True,
        env=inherited | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )


def test_the_imported_contract_is_the_one_that_ships(tmp_path: Path) -> None:
    model = ROOT / "config" / "bundles" / "lite3_walk" / "policy.onnx"
    example = "examples/lite3_walk"
    done = in_shell(
        f"model_tools import {example}/io_descriptor.yaml --model {model} "
        f"--answers {example}/answers.yaml --output {tmp_path}/bundle"
    )
    assert done.returncode == 0, done.stdout
    ours = load_bundle(model.parent, kind=JointBundle).contract
    imported = load_bundle(tmp_path / "bundle", kind=JointBundle).contract
    assert imported.rate_hz == ours.rate_hz
    assert imported.joints.names == ours.joints.names
    assert imported.model.inputs == ours.model.inputs
    assert imported.model.outputs == ours.model.outputs
    for name, observation in ours.observations.items():
        np.testing.assert_equal(asdict(imported.observations[name]), asdict(observation))
    assert imported.velocity_command == ours.velocity_command
    for found, stated in zip(imported.stand.via, ours.stand.via, strict=True):
        np.testing.assert_equal(asdict(found), asdict(stated))


def workflow(output: Path, **variables: str) -> list[tuple[str, subprocess.CompletedProcess[str]]]:
    """Run the steps in order until one fails."""
    file = yaml.safe_load((ROOT / ".github" / "workflows" / "policy.yml").read_text("utf-8"))
    (job,) = file["jobs"].values()
    given = {**file["env"], "OUTPUT": str(output), **variables}
    done = list[tuple[str, subprocess.CompletedProcess[str]]]()
    for step in job["steps"]:
        if "run" in step and step["run"] != 'make -C "$SUITE" setup-torch':
            done.append((step["name"], in_shell(step["run"], **given)))
            if done[-1][1].returncode:
                break
    return done


def test_the_workflow_takes_our_policy_to_a_proven_bundle(tmp_path: Path) -> None:
    steps = workflow(tmp_path / "policy")
    assert [name for name, _ in steps] == ["Export", "Calibrate", "Compile", "Compare"]
    assert steps[-1][1].returncode == 0, steps[-1][1].stdout
    assert (tmp_path / "policy" / "report" / "comparison.html").is_file()


@pytest.mark.parametrize("name", ["RUN", "CHECKPOINT"])
def test_the_workflow_says_which_file_is_missing(tmp_path: Path, name: str) -> None:
    (_, done), *others = workflow(tmp_path / "policy", **{name: str(tmp_path / "nowhere")})
    assert not others
    assert done.returncode == 4
    assert f"{tmp_path / 'nowhere'}: expected" in done.stdout
