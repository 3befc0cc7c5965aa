# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The G1: its emulated computer on DDS, a policy that squats and sways, and its faults."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from onnx import helper

from policy_inference.testing.models import save
from robot_sim.figures import load_robot
from tools.robot_faults import go2
from tools.robot_faults.cases import BadStart, Case
from tools.robot_faults.go2 import Go2Stack

_LEG = ("hip", "knee", "ankle", "waist")
_CONTRACT = """
schema_version: 1
kind: joint
name: g1_squat
version: 1.0.0
rate_hz: 50
stand: {duration_s: 1.0}
damp: {damping: 3.0}
observations: {obs: {terms: [{term: phase, period_s: 2.0}, {term: base_ang_vel},
  {term: projected_gravity}, {term: joint_pos_rel}, {term: joint_vel}, {term: velocity_command}]}}
action: {output: actions, terms: [{kind: position, scale: 1.0, offset: default_position}]}
velocity_command: {min: [-1.0, -1.0, -1.0], max: [1.0, 1.0, 1.0]}
model: {inputs: {obs: {}}, outputs: {actions: {}},
  artifacts: {onnx: {file: policy.onnx, precision: fp32}}}
safety: {on_fault: damp, max_tilt_rad: 1.0}
provenance: {source: tools.robot_faults.g1, licence: Apache-2.0}
"""
_OF_A_GO2 = ("a G1 instead of a Go2", "only 6 of 12 motors report")
_SQUAT = {"hip_pitch": -0.05, "knee": 0.1, "ankle_pitch": -0.05}
_SWAY = {"hip_roll": 0.03, "ankle_roll": -0.03}
"""Amplitudes of the joints of both legs, rad."""
_BALANCE = {"ankle_pitch": {1: 0.1, 3: 0.5}, "ankle_roll": {0: 0.1, 4: -0.5}}
"""Weights of base_ang_vel and projected_gravity, which keep it upright."""


class G1Stack(Go2Stack):
    """All processes of a G1, which hangs on a hoist until it stands."""

    driver_command, robot = "g1_driver", "g1"

    def __init__(self, folder: Path, **given: Any) -> None:
        self.bundle = str(write_squat(folder / "squat"))
        super().__init__(folder, **given)

    def _emulate(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        faults = ["hung:host", *parameters.get("faults", ())]
        return {**super()._emulate({**parameters, "faults": faults}), "hung": True}

    def walk(self, vx_mps: float = 0.0, for_s: float = 1.0) -> None:
        """Take control, run the policy, and let the robot down onto its feet."""
        super().walk(vx_mps, for_s)
        self.set_faults()
        self.operator.wait(for_s)
        self.require_walking()


def cases() -> list[Case]:
    """Return the cases of a Go2 that a G1 can have; the physics decide how it ends."""
    return [
        replace(case, walks_on=None) if case.group == "robot" and not case.taken_over else case
        for case in go2.cases("left_hip_pitch_joint", "left_knee_joint", "right_knee_joint")
        if "contact" not in case.what
    ]


def bad_starts() -> list[BadStart]:
    """Return all cases in which control must be refused."""
    return [
        *(start for start in go2.bad_starts() if start.what not in _OF_A_GO2),
        BadStart(what="a Go2 instead of a G1", emulator={"robot": "go2"}, says="another kind of"),
        BadStart(
            what="a G1 with 23 joints", emulator={"faults": ["machine:state=4"]}, says="23 joints"
        ),
        BadStart(what="the robot does not hang", driver={"hung": False}, says="hang it up"),
    ]


def write_squat(folder: Path) -> Path:
    """Write the bundle of a policy that squats and sways, whatever it observes."""
    robot = load_robot("g1")
    names, standing = list(robot.joint_names), robot.standing_rad.tolist()
    stiffness = [300.0 if any(part in name for part in _LEG) else 60.0 for name in names]
    size = 2 + 6 + 2 * len(names) + 3
    weights, offset = np.zeros((size, len(names)), np.float32), np.zeros(len(names), np.float32)
    for side in ("left", "right"):
        for joint, share in _SQUAT.items():
            weights[1, (place := names.index(f"{side}_{joint}_joint"))] = -share
            offset[place] = share
        for joint, share in _SWAY.items():
            weights[0, names.index(f"{side}_{joint}_joint")] = share
        for joint, balance in _BALANCE.items():
            place = names.index(f"{side}_{joint}_joint")
            for source, share in balance.items():
                weights[2 + source, place] = share
    folder.mkdir()
    model = save(
        folder / "policy.onnx",
        [
            helper.make_node("MatMul", ["obs", "w"], ["product"]),
            helper.make_node("Add", ["product", "b"], ["actions"]),
        ],
        {"obs": (1, size)},
        {"actions": (1, len(names))},
        constants={"w": weights, "b": offset},
    )
    contract = yaml.safe_load(_CONTRACT)
    held = {"stiffness": stiffness, "damping": [0.03 * each for each in stiffness]}
    contract["stand"] |= {"position": standing, **held}
    contract["joints"] = {
        "names": names,
        "default_position": standing,
        "position_min": [joint.lower for joint in robot.joints],
        "position_max": [joint.upper for joint in robot.joints],
        "velocity_limit": [joint.speed_radps for joint in robot.joints],
        "effort_limit": [joint.effort_nm for joint in robot.joints],
        **held,
    }
    contract["action"]["terms"][0]["joints"] = names
    contract["model"]["inputs"]["obs"]["shape"] = [1, size]
    contract["model"]["outputs"]["actions"]["shape"] = [1, len(names)]
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    contract["model"]["artifacts"]["onnx"]["sha256"] = digest
    (folder / "policy.yaml").write_text(yaml.safe_dump(contract), "utf-8")
    return folder
