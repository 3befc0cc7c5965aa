# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The contract of an exported LeRobot policy, from its checkpoint and the robot's description."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import yaml

from model_tools.errors import ToolError
from model_tools.files.contract_text import plain
from model_tools.files.lerobot.dataset_info import INFO, recorded_pairing
from model_tools.files.lerobot.statistics import PolicyStatistics
from model_tools.make.act.checkpoint import LerobotCheckpoint
from model_tools.make.act.checkpoint_config import ACTION, STATE
from model_tools.make.act.graphs import ACTIONS, OUTSIDE, STATES, How
from model_tools.make.act.robots import ActRobot, joint_units
from policy_core.bundle.chunk_contract import (
    Camera,
    Chunk,
    ChunkAction,
    ChunkContract,
    EnvironmentState,
    JointVector,
    Pairing,
)
from policy_core.bundle.contract import (
    Artifact,
    Damp,
    File,
    Graph,
    Joints,
    Provenance,
    Safety,
    StandingUp,
    Tensor,
)
from policy_core.bundle.schema import PerJointYaml
from policy_core.interfaces import F64
from policy_core.members.chunk.normalise import Units

TOOL = "model_tools"
_DAMP_AFTER_S, _STAND_S, _CAMERA_FROZEN_S = 1.0, 3.0, 0.5
_FIGURES = (
    "position_min",
    "position_max",
    "velocity_limit",
    "effort_limit",
    "stiffness",
    "damping",
)
_HEAD = (
    "# yaml-language-server: $schema=../policy.schema.json\n"
    "# Exported by model_tools from a LeRobot checkpoint; joints, limits, gains and units are "
    "those of\n# --robot ({robot}) and --units, which no checkpoint contains: check them.\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActRequest:
    """Options for an export.

    Attributes:
        checkpoint: The parsed checkpoint.
        output: Bundle folder to write.
        robot: Name or file of the robot, or of one of its two arms.
        units: One of `choices.UNITS`.
        rate_hz: Chunk steps per second.
        name: Name of the policy.
        version: Version of the policy.
        prefix: Prefix of the joint names.
        steps: Number of steps executed per chunk; the checkpoint's number if None.
        resize: Stretch images of a different size, on the robot and from the dataset.
        graphs: `two`: separate graphs for encoders and policy; `one`: a single graph.
        opset: ONNX opset version, 11 to 20.
        simplify: Simplify the graphs with onnxsim.
        golden: Golden rows with the training code's outputs, which are compared with the graphs'
            outputs and kept.
        dataset: Dataset or recording for the golden rows if `golden` is None; without either,
            golden rows are drawn at random. The steps and torques in a dataset become the
            contract's `nominal`. The rule by which the dataset's frames were paired, if stated,
            becomes the contract's `pairing`.
        licence: SPDX identifier of the weights' license.
        max_relative_target: Maximum distance of a target from the measured position, rad.
        force: Replace an existing bundle.
    """

    checkpoint: LerobotCheckpoint
    output: Path
    robot: str
    units: str
    rate_hz: float
    name: str
    version: str = "0.1.0"
    prefix: str = ""
    steps: int | None = None
    resize: bool = False
    graphs: How = "two"
    opset: int = 19
    simplify: bool = False
    golden: Path | None = None
    dataset: Path | None = None
    licence: str = "NOASSERTION"
    max_relative_target: PerJointYaml | None = None
    force: bool = False


def make_contract(
    request: ActRequest, robot: ActRobot, graphs: Mapping[str, Graph]
) -> ChunkContract:
    """Return the contract of an exported policy, without golden rows; `load_bundle` checks it.

    `robot` is the requested robot; it has as many joints as the policy.
    """
    checkpoint = request.checkpoint
    config, statistics = checkpoint.config, checkpoint.statistics
    architecture = checkpoint.architecture
    scalings, joints, units = statistics.scalings, robot.names, joint_units(robot, request.units)
    pose = _pose(statistics, robot, Units(units, joints))
    state, outside = config.state, config.environment
    return ChunkContract(
        schema_version=1,
        kind="chunk",
        name=request.name,
        version=request.version,
        description=architecture.description(config),
        prompt=config.prompt,
        rate_hz=request.rate_hz,
        units=units,
        joints=Joints(
            names=joints,
            default_position=_by_name(robot, pose),
            **{key: _figure(robot, key) for key in _FIGURES},
        ),
        stand=StandingUp(
            position=_by_name(robot, pose),
            stiffness=_figure(robot, "stiffness"),
            damping=_figure(robot, "damping"),
            duration_s=_STAND_S,
        ),
        damp=Damp(damping=_figure(robot, "damping")),
        cameras={
            camera.name: Camera(
                feature=camera.observed,
                height=camera.height,
                width=camera.width,
                normalisation=scalings[camera.feature.name],
                resize=request.resize,
                camera_frozen_s=_CAMERA_FROZEN_S,
                encoder=architecture.encoder(config, camera, request.graphs),
                tensor=architecture.tensor(camera, request.graphs),
            )
            for camera in config.cameras
        },
        state=None
        if state is None
        else JointVector(
            feature=statistics.observed.get(STATE, STATE),
            tensor=STATES,
            joints=joints,
            normalisation=scalings[STATE],
        ),
        environment_state=None
        if outside is None
        else EnvironmentState(
            feature=statistics.observed.get(outside.name, outside.name),
            tensor=OUTSIDE,
            topic=OUTSIDE,
            size=outside.shape[0],
            normalisation=scalings[outside.name],
        ),
        pairing=_pairing(request.dataset),
        action=ChunkAction(
            feature=ACTION,
            tensor=ACTIONS,
            joints=joints,
            grippers=robot.grippers,
            normalisation=scalings[ACTION],
            max_relative_target=cast(Any, request.max_relative_target),
        ),
        chunk=Chunk(
            size=config.chunk_size,
            steps=request.steps or config.n_action_steps,
            ensemble_coeff=config.ensemble_coeff,
        ),
        denoising=config.denoising,
        graphs=dict(graphs),
        provenance=Provenance(
            source=f"LeRobot checkpoint {checkpoint.folder.resolve().name}",
            exporter=TOOL,
            licence=request.licence,
            date=datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
            checkpoint_sha256=checkpoint.weights_sha256,
        ),
        # A limp arm drops what it holds, so a fault holds it in place.
        safety=Safety(on_fault="hold_measured", damp_after_s=_DAMP_AFTER_S),
    )


def graph_entry(model: onnx.ModelProto, file: File) -> Graph:
    """Return the contract entry of a graph whose file runs in ONNX Runtime."""
    return Graph(
        inputs={value.name: _tensor(value) for value in model.graph.input},
        outputs={value.name: _tensor(value) for value in model.graph.output},
        artifacts={
            "onnx": Artifact(file=file.file, sha256=file.sha256, precision="fp32", tool=TOOL)
        },
    )


def contract_text(contract: ChunkContract, robot: str) -> str:
    """Return the text of a `policy.yaml`, without unset keys."""
    values = plain(contract, without=(None, {}, (), ""))
    parts = [
        yaml.safe_dump(
            {key: value}, sort_keys=False, default_flow_style=None, width=84, allow_unicode=True
        )
        if isinstance(value, (dict, list))
        else yaml.safe_dump({key: value}, default_flow_style=False, allow_unicode=True, width=84)
        for key, value in values.items()
    ]
    return _HEAD.format(robot=robot) + "".join(parts)


def _pairing(dataset: Path | None) -> Pairing:
    """Return the rule by which the training data was paired; LeRobot takes the newest values."""
    if dataset is None or not (dataset / INFO).is_file():
        return Pairing()
    return recorded_pairing(dataset) or Pairing(rule="newest")


def _pose(statistics: PolicyStatistics, robot: ActRobot, units: Units) -> F64:
    """Return the training data's mean pose within the limits, rad; if unknown, the mid-range pose.

    Raises:
        ToolError: The mean exceeds a limit by more than the distance between the limits, so the
            units must differ.
    """
    low = np.array([joint.position_min for joint in robot.joints.values()])
    high = np.array([joint.position_max for joint in robot.joints.values()])
    mean = statistics.means.get(STATE, statistics.means.get(ACTION))
    pose = (low + high) / 2 if mean is None else units.to_rad(mean)
    beyond = np.maximum(low - pose, pose - high) > high - low
    if beyond.any():
        joint = int(beyond.argmax())
        raise ToolError(
            "--units: expected units in which the training data's mean pose is near the joints' "
            f"limits, found {list(robot.joints)[joint]} at {pose[joint]:.3g} rad (limits "
            f"{low[joint]:.3g} to {high[joint]:.3g})"
        )
    # Round toward the middle, to stay within the limits.
    lowest, highest = np.ceil(low * 1e4) / 1e4, np.floor(high * 1e4) / 1e4
    return np.asarray(np.clip(np.round(pose, 4), lowest, highest), np.float64)


def _figure(robot: ActRobot, key: str) -> Any:
    """Return a figure for all joints: one number if all are equal, otherwise by joint name."""
    values = {name: getattr(joint, key) for name, joint in robot.joints.items()}
    return next(iter(values.values())) if len(set(values.values())) == 1 else values


def _by_name(robot: ActRobot, values: F64) -> Any:
    return {name: float(value) for name, value in zip(robot.joints, values, strict=True)}


def _tensor(value: onnx.ValueInfoProto) -> Tensor:
    return Tensor(shape=tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim))
