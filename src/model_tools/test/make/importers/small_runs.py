# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Small files of training runs, as YAML gives them, and tiny ONNX models beside them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import yaml
from onnx import helper

from policy_inference.testing import models
from policy_inference.testing.models import Axes

DEPLOY: dict[str, Any] = yaml.safe_load("""
joint_ids_map: [1, 0]
step_dt: 0.02
stiffness: [20.0, 40.0]
damping: [0.5, 1.5]
default_joint_pos: [0.1, -0.8]
commands:
  base_velocity:
    ranges: {lin_vel_x: [-1.0, 2.0], lin_vel_y: [-0.5, 0.5], ang_vel_z: [-1.5, 1.5]}
actions:
  JointPositionAction:
    {clip: null, joint_names: [.*], scale: [0.25, 0.5], offset: [0.1, -0.8], joint_ids: null}
observations:
  base_ang_vel: {params: {}, clip: [-10, 10], scale: [0.2, 0.2, 0.2], history_length: 1}
  velocity_commands: {params: {}, clip: null, scale: [1.0, 1.0, 1.0], history_length: 1}
  joint_pos_rel: {params: {}, clip: null, scale: [1.0, 2.0], history_length: 1}
  last_action: {params: {}, clip: null, scale: [1.0, 1.0], history_length: 1}
""")
DEPLOY_WIDTH = 10

DESCRIPTOR: dict[str, Any] = yaml.safe_load("""
actions:
- full_path: isaaclab.envs.mdp.actions.joint_actions.JointPositionAction
  joint_names: [knee, hip]
  scale: 0.5
  offset: [-0.8, 0.1]
  clip: null
  shape: [2]
articulations:
  robot:
    {joint_names: [hip, knee], default_joint_pos: [0.1, -0.8],
     default_joint_pos_limits: [[-1.0, 1.0], [-2.0, 0.0]],
     default_joint_vel_limits: [20.0, 20.0], default_joint_effort_limits: [30.0, 40.0],
     default_joint_stiffness: [20.0, 30.0], default_joint_damping: [0.0, 0.0]}
observations:
  policy:
  - name: base_ang_vel
    full_path: isaaclab.envs.mdp.observations.base_ang_vel
    shape: [3]
    overloads: {scale: 0.25, clip: null, history_length: 0}
  - name: joint_pos
    full_path: isaaclab.envs.mdp.observations.joint_pos_rel
    shape: [2]
    joint_names: [knee, hip]
    joint_pos_offsets: [-0.8, 0.1]
    overloads: {scale: null, clip: [-5.0, 5.0], history_length: 3}
scene: {decimation: 4, dt: 0.02, physics_dt: 0.005}
""")
DESCRIPTOR_WIDTH = 9

ENV = """
sim: {dt: 0.005}
decimation: 4
scene:
  robot:
    init_state:
      joint_pos: {.*hip: 0.1, knee: -0.8}
      joint_vel: {.*: 0.0}
    actuators:
      legs: &legs
        joint_names_expr: [.*]
        effort_limit: null
        effort_limit_sim: {hip: 30, knee: 40}
        velocity_limit_sim: 20.0
        stiffness: 25.0
        damping: null
observations:
  policy:
    concatenate_terms: true
    history_length: null
    gyro:
      func: omni.isaac.lab.envs.mdp.observations:base_ang_vel
      params: {}
      clip: !!python/tuple [-3.0, 3.0]
      scale: 0.25
      history_length: 0
    command:
      func: omni.isaac.lab.envs.mdp.observations:generated_commands
      params: {command_name: base_velocity}
    joint_pos:
      func: omni.isaac.lab.envs.mdp.observations:joint_pos_rel
      params:
        asset_cfg:
          name: robot
          joint_names: .*
          joint_ids: !!python/object/apply:builtins.slice [null, null, null]
          preserve_order: false
    actions: {func: "omni.isaac.lab.envs.mdp.observations:last_action", params: {}}
    unused: null
actions:
  joint_pos:
    class_type: omni.isaac.lab.envs.mdp.actions.joint_actions:JointPositionAction
    joint_names: [knee, hip]
    scale: {.*hip: 0.5, knee: 0.25}
    offset: 0.0
    preserve_order: true
    use_default_offset: true
commands:
  base_velocity:
    class_type: omni.isaac.lab.envs.mdp.commands.velocity_command:UniformVelocityCommand
    ranges:
      lin_vel_x: !!python/tuple [-1.0, 1.0]
      lin_vel_y: !!python/tuple [-0.5, 0.5]
      ang_vel_z: !!python/tuple [-1.5, 1.5]
spare: *legs
"""
ENV_WIDTH = 10

LEAPP: dict[str, Any] = yaml.safe_load("""
models:
  policy:
    inputs:
    - {name: rotation, kind: state/body/rotation, shape: [1, 4],
       element_names: [[], [x, "y", z, w]]}
    - {name: q, kind: state/joint/position, shape: [1, 2], element_names: [[knee, hip]]}
    - {name: previous, shape: [1, 2]}
    outputs:
    - {name: targets, kind: target/joint/position, shape: [1, 2], element_names: [[hip, knee]]}
    parameters: {model_path: policy.onnx}
pipeline:
  configs: {frequency: 100}
  outputs: {policy: [targets]}
  feedback_connections: {policy/targets: [policy/previous]}
""")


def urdf(*chains: Sequence[str], fixed: Sequence[str] = (), limit: float = 3.0) -> str:
    """Return a URDF of chains of joints that hang on the base, one chain after another."""
    lines = ["<robot name='r'>"]
    for names in chains:
        parent = "base"
        for name in names:
            kind = "fixed" if name in fixed else "revolute"
            lines.append(
                f"<joint name='{name}' type='{kind}'><parent link='{parent}'/>"
                f"<child link='{name}_link'/><limit lower='-{limit}' upper='{limit}' "
                "velocity='20' effort='30'/></joint>"
            )
            parent = f"{name}_link"
    return "\n".join([*lines, "</robot>"])


def save_policy(
    file: Path,
    width: int,
    joints: int,
    *,
    batch: int | str = 1,
    metadata: Mapping[str, str] | None = None,
    extra_inputs: Mapping[str, Axes] | None = None,
    extra_outputs: Mapping[str, Sequence[int]] | None = None,
    weight: float = 0.5,
) -> Path:
    """Save ``actions = obs @ w``; further inputs are unused, further outputs are zeros."""
    constants = {"w": np.full((width, joints), weight, np.float32)}
    nodes = [helper.make_node("MatMul", ["obs", "w"], ["actions"])]
    for name, shape in (extra_outputs or {}).items():
        constants[f"{name}_zeros"] = np.zeros(shape, np.float32)
        nodes.append(helper.make_node("Identity", [f"{name}_zeros"], [name]))
    return save(
        file,
        nodes,
        {"obs": (batch, width), **(extra_inputs or {})},
        {"actions": (batch, joints), **(extra_outputs or {})},
        constants,
        metadata,
    )


def save(
    file: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Axes],
    outputs: Mapping[str, Axes],
    constants: Mapping[str, npt.ArrayLike] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Save a graph of float32 tensors, with metadata."""
    model = onnx.load(models.save(file, nodes, inputs, outputs, constants))
    helper.set_model_props(model, dict(metadata or {}))
    onnx.save(model, str(file))
    return file
