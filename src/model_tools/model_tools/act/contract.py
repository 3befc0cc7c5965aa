# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The contract of an ACT policy: what its checkpoint says, and what is said of its robot."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import yaml

from model_tools.act.config import ACTION, STATE, ActConfig, CameraInput
from model_tools.act.graphs import (
    ACTIONS,
    OUTSIDE,
    STATES,
    How,
    encoder_name,
    tensor_name,
)
from model_tools.act.robots import Robot, units_of
from model_tools.lerobot.statistics import Statistics
from policy_inference.bundle.chunk_contract import (
    Camera,
    Chunk,
    ChunkAction,
    ChunkContract,
    EnvironmentState,
    JointVector,
)
from policy_inference.bundle.contract import (
    Artifact,
    Damp,
    File,
    Graph,
    Joints,
    Provenance,
    Safety,
    Stand,
    Tensor,
)
from policy_inference.bundle.schema import PerJoint
from policy_inference.core.chunks.units import Units
from policy_inference.interfaces import F64

_DAMP_AFTER_S, _STAND_S = 1.0, 3.0
_HEAD = ("# yaml-language-server: $schema=../policy.schema.json\n"
         "# Exported by model_tools from a LeRobot checkpoint; joints, limits, gains and units are "
         "those of\n# --robot ({robot}) and --units, which no checkpoint knows: check them.\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a checkpoint does not say of its policy.

    Attributes:
        name: Of the policy.
        version: Of the policy.
        robot: With as many joints as the policy.
        units: One of `choices.UNITS`.
        rate_hz: Steps of a chunk per second.
        steps: How many of a chunk are executed; the checkpoint's number if None.
        resize: Whether pictures of another size are stretched.
        max_relative_target: Largest distance of a target from the measured position, rad.
    """

    name: str
    version: str
    robot: Robot
    units: str
    rate_hz: float
    steps: int | None = None
    resize: bool = False
    max_relative_target: PerJoint | None = None


def make_contract(
    config: ActConfig, statistics: Statistics, settings: Settings, how: How,
    graphs: Mapping[str, Graph], provenance: Provenance,
) -> ChunkContract:  # fmt: skip
    """Return the contract, without golden rows; its validity is for its reader to say."""
    robot, scalings = settings.robot, statistics.scalings
    joints, units = robot.names, units_of(robot, settings.units)
    pose = _pose(statistics, robot, Units(units, joints))
    state, outside = config.state, config.environment
    return ChunkContract(
        schema_version=1, kind="chunk", name=settings.name, version=settings.version,
        description="ACT policy of LeRobot.", rate_hz=settings.rate_hz, units=units,
        joints=_joints(robot, pose),
        stand=Stand(position=_by_name(robot, pose), stiffness=_of(robot, "stiffness"),
                    damping=_of(robot, "damping"), duration_s=_STAND_S),
        damp=Damp(damping=_of(robot, "damping")),
        cameras={camera.name: _camera(config, statistics, camera, how, resize=settings.resize)
                 for camera in config.cameras},
        state=None if state is None else JointVector(
            feature=statistics.observed.get(STATE, STATE), tensor=STATES, joints=joints,
            normalisation=scalings[STATE]),
        environment_state=None if outside is None else EnvironmentState(
            feature=statistics.observed.get(outside.name, outside.name), tensor=OUTSIDE,
            topic=OUTSIDE, size=outside.shape[0], normalisation=scalings[outside.name]),
        action=ChunkAction(feature=ACTION, tensor=ACTIONS, joints=joints, grippers=robot.grippers,
                           normalisation=scalings[ACTION],
                           max_relative_target=settings.max_relative_target),
        chunk=Chunk(size=config.chunk_size, steps=settings.steps or config.n_action_steps,
                    ensemble_coeff=config.ensemble_coeff),
        graphs=dict(graphs), provenance=provenance,
        # An arm that goes limp drops what it holds, so a fault keeps it where it is.
        safety=Safety(on_fault="hold_measured", damp_after_s=_DAMP_AFTER_S))


def graph_entry(model: onnx.ModelProto, file: File, tool: str) -> Graph:
    """Return what a contract says of a graph, whose file is for ONNX Runtime."""
    return Graph(
        inputs={value.name: _tensor(value) for value in model.graph.input},
        outputs={value.name: _tensor(value) for value in model.graph.output},
        artifacts={"onnx": Artifact(file=file.file, sha256=file.sha256, precision="fp32",
                                    tool=tool)})


def contract_text(contract: ChunkContract, robot: str) -> str:
    """Return the text of a `policy.yaml`, without what is not set."""
    values = _plain(contract)
    parts = [yaml.safe_dump({key: value}, sort_keys=False, default_flow_style=None, width=84,
                            allow_unicode=True) if isinstance(value, (dict, list)) else
             yaml.safe_dump({key: value}, default_flow_style=False, allow_unicode=True, width=84)
             for key, value in values.items()]
    return _HEAD.format(robot=robot) + "".join(parts)


def _camera(
    config: ActConfig, statistics: Statistics, camera: CameraInput, how: How, *, resize: bool
) -> Camera:
    return Camera(
        feature=camera.observed, height=camera.height, width=camera.width,
        normalisation=statistics.scalings[camera.feature.name],
        encoder=encoder_name(config, camera, how), tensor=tensor_name(camera, how), resize=resize)


def _pose(statistics: Statistics, robot: Robot, units: Units) -> F64:
    """Return the mean pose of the training data within the limits, rad; the middle if unknown."""
    low = np.array([joint.position_min for joint in robot.joints.values()])
    high = np.array([joint.position_max for joint in robot.joints.values()])
    mean = statistics.means.get(STATE, statistics.means.get(ACTION))
    pose = (low + high) / 2 if mean is None else units.to_rad(mean)
    # Rounded towards the middle, so that it stays within.
    lowest, highest = np.ceil(low * 1e4) / 1e4, np.floor(high * 1e4) / 1e4
    return np.asarray(np.clip(np.round(pose, 4), lowest, highest), np.float64)


def _joints(robot: Robot, pose: F64) -> Joints:
    keys = ("position_min", "position_max", "velocity_limit", "effort_limit", "stiffness",
            "damping")  # fmt: skip
    return Joints(names=robot.names, default_position=_by_name(robot, pose),
                  **{key: _of(robot, key) for key in keys})


def _of(robot: Robot, key: str) -> Any:
    """Return a figure of all joints: one number where it is the same, else by name."""
    values = {name: getattr(joint, key) for name, joint in robot.joints.items()}
    return next(iter(values.values())) if len(set(values.values())) == 1 else values


def _by_name(robot: Robot, values: F64) -> dict[str, float]:
    return {name: float(value) for name, value in zip(robot.joints, values, strict=True)}


def _tensor(value: onnx.ValueInfoProto) -> Tensor:
    return Tensor(shape=tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim))


def _plain(value: Any) -> Any:
    """Return the value in the types of YAML, without what is None or empty."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {entry.name: getattr(value, entry.name) for entry in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items() if entry not in (None, {}, ())}
    return [_plain(entry) for entry in value] if isinstance(value, (tuple, list)) else value
