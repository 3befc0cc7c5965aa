# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A contract without fault, and the means to put faults into it."""

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from policy_core.bundle.body import AnyContract
from policy_core.bundle.contract import JointContract
from policy_core.bundle.load import parse_contract
from policy_core.errors import BundleError, Problem
from testkit.edits import MISSING
from testkit.wording import check_wording

CONTRACT = """
schema_version: 1
kind: joint
name: two_joints
version: "1.0.0"
rate_hz: 50

joints:
  names: [left_knee, right_knee]
  default_position: 0.5
  position_min: [-1.0, -1.0]
  position_max: {.*_knee: 1.0}
  velocity_limit: {left_knee: 10, right_knee: 12}
  effort_limit: 20.0
  stiffness: 30.0
  damping: 1.0

stand: {position: 0.5, stiffness: 60.0, damping: 2.0, duration_s: 1.0,
        via: [{position: 0.2, duration_s: 0.5}]}
damp: {damping: 3.0}

observations:
  obs:
    terms:
      - {term: base_ang_vel, scale: 0.25, clip: [-5, 5]}
      - {term: joint_pos_rel, scale: [1.0, 2.0]}
      - {term: joint_vel, joints: [right_knee]}
      - {term: last_action}
      - {term: phase, period_s: 0.8}
      - {term: external, topic: scan/near, size: 2}
    normalisation: {file: obs_stats.npz, sha256: STATS}

action:
  output: actions
  terms:
    - {joints: [left_knee], kind: position, scale: 0.25, offset: default_position, clip: [-4, 4]}
    - {joints: [right_knee], kind: velocity}

velocity_command: {min: [-1.0, 0.0, -0.5], max: [1.0, 0.0, 0.5]}

model:
  inputs:
    obs: {shape: [1, 12]}
  outputs:
    actions: {shape: [1, 2]}
  artifacts:
    onnx: {file: policy.onnx, sha256: MODEL, precision: fp32, url: example.org/policy.onnx}
  golden: {file: golden.npz, sha256: GOLDEN}

nominal:
  source: ten seconds of walking
  ticks: 500
  target_step: 0.4
  effort_demand: [15.0, 16.0]
  observation: {}

safety: {on_fault: damp, max_tilt_rad: 1.0}
provenance: {source: a test, licence: Apache-2.0}
"""


def file_sha256(file: Path) -> str:
    """Return the hash by another way than the product's."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def refused_problems(load: Callable[[], object]) -> tuple[Problem, ...]:
    """Return everything that is wrong with a bundle, for which it is refused."""
    with pytest.raises(BundleError) as caught:
        load()
    return caught.value.problems


def check_refused(load: Callable[[], object], key: str) -> None:
    """Check that a bundle is refused for a problem at a key, in the known words."""
    problems = refused_problems(load)
    there = [problem for problem in problems if problem.key == key]
    assert there, [problem.key for problem in problems]
    check_wording(*there)


def any_contract(file: Path) -> AnyContract:
    """Read a contract that is valid, of any kind, without the files that it names."""
    return parse_contract(file.read_bytes(), file)


def joint_contract(file: Path) -> JointContract:
    """Read a joint policy's contract that is valid, without the files that it names."""
    return parse_contract(file.read_bytes(), file, kind=JointContract)


def problem_key(key: str) -> str:
    """Return a key as problems have it: ``terms.0.scale`` is ``terms[0].scale``."""
    return re.sub(r"\.(\d+)", r"[\1]", key)


def edits_name(edits: object) -> str | None:
    if not isinstance(edits, Mapping):
        return None
    each = (f"{key}={'nothing' if value is MISSING else value!r}" for key, value in edits.items())
    return ", ".join(each)[:90]
