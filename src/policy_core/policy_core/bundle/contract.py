# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The contract of a joint policy, `policy.yaml`, as dataclasses. This module opens no files.

Units are rad, s, N·m; per-joint values are in the order of `joints.names` unless they are maps
keyed by name. Each field's description appears in the JSON Schema and in error messages.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from policy_core.bundle.body import AnyContract, ComparisonLimits, Nominal, perceived_label
from policy_core.bundle.camera_image import AnyImage, ColourImage, DepthImage
from policy_core.bundle.height_scan import HeightScan
from policy_core.bundle.schema import PerJoint, entry
from policy_core.interfaces import Kind, TensorSpec

MOST_JOINTS, LONGEST_NAME = 128, 64
DEFAULT = "default_position"
"""Word that an `offset` may contain instead of numbers: each joint's default position."""
MOST_VALUES = 100_000
"""Maximum number of values in a model input, including history; a 320 x 240 depth image has 76,800.
Assembling an input of this size holds the GIL for several milliseconds.
"""
SHA256 = "^[0-9a-f]{64}$"
NAME = r"^[a-z][a-z0-9_]*$"
VERSION = r"^[0-9]+\.[0-9]+\.[0-9]+([-+][0-9A-Za-z.+-]+)?$"
RELATIVE_TOPIC = "^[A-Za-z][A-Za-z0-9_]*(/[A-Za-z][A-Za-z0-9_]*)*$"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file in the bundle, and its expected hash."""

    file: str = entry("path inside the bundle folder")
    sha256: str = entry("SHA-256 of the file, 64 hex digits", pattern=SHA256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Joints:
    """Joints of the policy, in the policy's order."""

    names: tuple[str, ...] = entry(
        "joint names in policy order",
        minItems=1,
        maxItems=MOST_JOINTS,
        pattern=r"^\S+$",
        maxLength=LONGEST_NAME,
    )
    default_position: PerJoint = entry("default position, rad")
    position_min: PerJoint = entry("lower position limit, rad")
    position_max: PerJoint = entry("upper position limit, rad")
    velocity_limit: PerJoint = entry("maximum speed, rad/s", exclusiveMinimum=0)
    effort_limit: PerJoint = entry("maximum torque, N·m", exclusiveMinimum=0)
    stiffness: PerJoint = entry("position gain while the policy runs, N·m/rad", minimum=0)
    damping: PerJoint = entry("velocity gain while the policy runs, N·m·s/rad", minimum=0)
    robot_names: dict[str, str] = entry(
        "the robot's joint names, keyed by contract name or pattern, where they differ; {name} "
        "stands for the contract name",
        default={},
    )

    def on_robot(self, names: Sequence[str] | None = None) -> tuple[str, ...]:
        """Return the robot's names for all joints in policy order, or for those in `names`.

        The robot's messages, drives and models use these names; contracts and reports use the
        contract's names.
        """
        return tuple(self.robot_names[name] for name in (self.names if names is None else names))


@dataclass(frozen=True, slots=True, kw_only=True)
class Via:
    """A pose at which the stand-up motion stops briefly on its way."""

    position: PerJoint = entry("joint positions of the pose, rad")
    duration_s: float = entry(
        "time to reach this pose from the previous one, s", exclusiveMinimum=0, maximum=3600
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingUp:
    """Motion from an arbitrary pose to the pose in which the policy may start."""

    position: PerJoint = entry("stand pose, rad")
    stiffness: PerJoint = entry(
        "position gain while standing up, N·m/rad; 0 for wheels, which then have no stand position",
        minimum=0,
    )
    damping: PerJoint = entry("velocity gain while standing up, N·m·s/rad", minimum=0)
    duration_s: float = entry(
        "time to reach the stand pose from the last `via` pose or, if none is used, from the "
        "measured pose, s",
        exclusiveMinimum=0,
        maximum=3600,
    )
    via: tuple[Via, ...] = entry(
        "poses to pass through, in this order; a pose is skipped unless it is closer to the "
        "stand pose than the measured pose is (Euclidean distance over joints with stiffness)",
        default=(),
    )
    tolerance: PerJoint = entry(
        "maximum distance of a joint from the stand pose at which RUN may start, rad",
        default=0.35,
        exclusiveMinimum=0,
    )

    @property
    def longest_s(self) -> float:
        """Time to stand up if the motion passes through every `via` pose, in s."""
        return self.duration_s + sum(via.duration_s for via in self.via)


@dataclass(frozen=True, slots=True, kw_only=True)
class Damp:
    """Gain for damping the joints when there is no safe target."""

    damping: PerJoint = entry("velocity gain, N·m·s/rad", exclusiveMinimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseStand:
    """Behavior of a phase while the velocity command is small enough to stand still."""

    below: float = entry(
        "norm of the velocity command (vx, vy in m/s, yaw rate in rad/s) below which the robot "
        "stands",
        exclusiveMinimum=0,
    )
    phase: float | Literal["zero"] | None = entry(
        "phase of all feet while the robot stands, in periods; zero: sin and cos are 0; if "
        "absent, the phase follows the clock",
        default=None,
        minimum=0,
        maximum=1,
    )
    clock: Literal["runs", "stops", "restarts"] = entry(
        "whether the phase clock keeps running while the robot stands, stops, or restarts at 0 "
        "when the robot walks again",
        default="runs",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandedValue:
    """A value in an external vector that an operator commands, such as a height."""

    name: str = entry("name of the commanded value", pattern=NAME)
    unit: str = entry("unit, such as m; empty if the value has none", default="")
    min: float = entry("lowest value; commands are clipped to it")
    max: float = entry("highest value; commands are clipped to it")
    default: float = entry("value without a command")


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One term in an observation."""

    term: str = entry("name of the observation term, such as joint_pos_rel")
    scale: PerJoint = entry("factor for all values, or one per value", default=1.0)
    clip: tuple[float, ...] | None = entry(
        "[lowest, highest] value; values outside this range are clipped", default=None, length=2
    )
    joints: tuple[str, ...] | None = entry(
        "joints of a per-joint term: names in the order of the tensor, or patterns, which select "
        "joints in the order of joints.names; all if absent",
        default=None,
        minItems=1,
    )
    parts: tuple[str, ...] | None = entry(
        "values selected from a vector or phase, in this order: vx, vy, wz of a velocity "
        "command, sin, cos of a phase, x, y, z; all if absent",
        default=None,
        minItems=1,
    )
    source: Literal["estimator", "measured"] | None = entry(
        "source of base_lin_vel on the robot; estimator: from the legs and the IMU in "
        "`estimation`; measured: from the odometry; absent: not stated, and from the odometry",
        default=None,
    )
    topic: str | None = entry(
        "relative topic of an external vector, a height scan or an image; below perception/ for "
        "scans and images",
        default=None,
        pattern=RELATIVE_TOPIC,
    )
    size: int | None = entry(
        "number of values in an external vector", default=None, minimum=1, maximum=MOST_VALUES
    )
    timeout_s: float | None = entry(
        "maximum age of an external vector, s; safety.state_timeout_s if absent",
        default=None,
        exclusiveMinimum=0,
    )
    commanded: tuple[CommandedValue, ...] | None = entry(
        "values of an external vector that an operator commands, in order; after timeout_s (or "
        "safety.command_timeout_s) without a message, they fade to their defaults",
        default=None,
        minItems=1,
    )
    scan: HeightScan | None = entry(
        "height scan: its points, and the meaning of its values", default=None
    )
    scene: File | None = entry(
        "npz with a scan recorded in training over uneven ground, against which `scan` is checked",
        default=None,
    )
    depth: DepthImage | None = entry(
        "depth image: its size, its processing, and the meaning of its values", default=None
    )
    image: ColourImage | None = entry(
        "color or gray image: its size, its processing, and the meaning of its values",
        default=None,
    )
    encoder: "Graph | None" = entry(
        "model that encodes the stacked images as a vector; absent if the policy's input is "
        "their pixels",
        default=None,
    )
    output: str | None = entry(
        "model output that `last_output` repeats in the next tick", default=None
    )
    ahead: int | None = entry(
        "number of ticks that a reference motion term looks ahead; 0 if absent",
        default=None,
        minimum=0,
    )
    period_s: float | None = entry("period of a phase, s", default=None, exclusiveMinimum=0)
    offsets: tuple[float, ...] | None = entry(
        "phase offsets in periods, one per foot; a single 0 if absent",
        default=None,
        minItems=1,
    )
    standing: PhaseStand | None = entry(
        "behavior of a phase while the velocity command is small; if absent, the phase keeps "
        "running",
        default=None,
    )
    history_length: int | None = entry(
        "number of frames of this term, for the per_term layout; the observation's if absent",
        default=None,
        minimum=1,
    )

    @property
    def camera_image(self) -> AnyImage | None:
        """Section for the term's depth or color image, if any."""
        return self.depth or self.image


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Number and layout of the most recent frames in the input vector."""

    length: int = entry("number of frames, including the newest", default=1, minimum=1)
    layout: Literal["per_frame", "per_term"] = entry(
        "per_frame: one whole frame after another; per_term: all frames of a term together",
        default="per_frame",
    )
    order: Literal["oldest_first", "newest_first"] = entry(
        "order of the frames", default="oldest_first"
    )
    init: Literal["repeat", "zero"] = entry(
        "content of the frames before the first: repeat (the first frame) or zero", default="repeat"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalisation:
    """Normalization of the whole vector, (x - mean) / max(std, std_floor), and its npz file."""

    file: str = entry("npz inside the bundle folder, with the arrays mean and std")
    sha256: str = entry("SHA-256 of the file, 64 hex digits", pattern=SHA256)
    std_floor: float = entry("minimum divisor", default=1e-3, exclusiveMinimum=0)
    clip: float | None = entry(
        "maximum absolute value after normalization", default=None, exclusiveMinimum=0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Composition of one model input: terms, history, clipping, normalization."""

    terms: tuple[Term, ...] = entry("terms, in the order of the vector", minItems=1)
    order: Literal["clip_then_scale", "scale_then_clip"] = entry(
        "whether a term's values are first clipped or first scaled", default="clip_then_scale"
    )
    history: History = entry("frames in the vector", default=History())
    clip: float | None = entry(
        "maximum absolute value in the whole vector, before normalization",
        default=None,
        exclusiveMinimum=0,
    )
    normalisation: Normalisation | None = entry(
        "statistics for normalizing the scaled vector; absent if the model normalizes it",
        default=None,
    )


class OwnJoints:
    """A section whose values cover only the joints it lists, not all joints of the robot."""

    __slots__ = ()
    joints: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionTerm(OwnJoints):
    """Commands made from a slice of the model output: target = offset + scale x clip(output)."""

    joints: tuple[str, ...] = entry(
        "joints: names in the order of the output, or patterns, which select joints in the order "
        "of joints.names",
        minItems=1,
    )
    kind: Literal["position", "velocity", "effort"] = entry("quantity that is commanded")
    scale: PerJoint = entry("factor for all values, or one per joint", default=1.0)
    offset: PerJoint = entry(
        "target for an output of 0; default_position: each joint's default position",
        default=0.0,
        words=(DEFAULT,),
    )
    clip: tuple[float, ...] | None = entry(
        "[lowest, highest] raw output; values outside this range are clipped",
        default=None,
        length=2,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GainOutput:
    """A gain that the model outputs on each tick, and its bounds.

    The output and each bound have one value per joint, in the joint order of the action terms.
    """

    output: str = entry("model output with the gains")
    min: PerJoint = entry("lowest gain", minimum=0)
    max: PerJoint = entry("highest gain", minimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelGains:
    """Joint gains that the model outputs; they replace the gains in `joints`."""

    stiffness: GainOutput | None = entry(
        "position gains of joints that are commanded by position, N·m/rad", default=None
    )
    damping: GainOutput | None = entry(
        "velocity gains of joints that are not commanded by effort, N·m·s/rad", default=None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Model output, and the meaning of its values in order."""

    output: str = entry("model output with the action")
    terms: tuple[ActionTerm, ...] = entry("terms, in the order of the output", minItems=1)
    gains: ModelGains | None = entry("gains that the model outputs", default=None)

    @property
    def gain_outputs(self) -> Mapping[str, GainOutput]:
        """Gain outputs of the model, keyed by `stiffness` and `damping`."""
        if self.gains is None:
            return {}
        stated = {"stiffness": self.gains.stiffness, "damping": self.gains.damping}
        return {name: each for name, each in stated.items() if each is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class StatePair:
    """A recurrent state: the output from one tick is the input to the next."""

    input: str = entry("model input that receives the state")
    output: str = entry("model output with the next state, of the same shape")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainLink:
    """One link in a chain from the base: a fixed offset, followed by a joint rotation."""

    joint: str | None = entry(
        "joint that rotates the rest of the chain; absent if the link is fixed", default=None
    )
    position_m: tuple[float, ...] = entry("offset in the previous frame, [x, y, z] in m", length=3)
    quat_xyzw: tuple[float, ...] = entry(
        "orientation after the offset, relative to the previous frame, [x, y, z, w]",
        default=(0.0, 0.0, 0.0, 1.0),
        length=4,
    )
    axis: tuple[float, ...] = entry(
        "joint axis in the frame after the offset, [x, y, z]", default=(0.0, 0.0, 1.0), length=3
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """The body whose pose is compared with the reference motion."""

    body: str = entry("name of the body in the clip", pattern=r"^\S+$", maxLength=LONGEST_NAME)
    chain: tuple[ChainLink, ...] = entry(
        "links from the base, whose pose is measured, to the body; empty if the body is the base"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveMotion:
    """A reference motion whose frames arrive on topics; see docs/motion.md."""

    timeout_s: float = entry(
        "maximum age of the newest frame, s; if it is older, the policy goes to HOLD",
        exclusiveMinimum=0,
        maximum=5,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceMotion:
    """Reference motion that the policy tracks."""

    clip: File | None = entry(
        "npz with the names, the rate and the frames; docs/motion.md lists its arrays", default=None
    )
    at_end: Literal["hold", "loop"] | None = entry(
        "after the last frame of the clip: hold its pose at rest, or loop the clip from where it "
        "ended",
        default=None,
    )
    live: LiveMotion | None = entry("frames that arrive on topics, instead of a clip", default=None)
    anchor: Anchor | None = entry("body that the motion_anchor_... terms refer to", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactPoint:
    """A point on a foot that touches the ground."""

    position_m: tuple[float, ...] = entry(
        "position in the frame at the end of the chain, [x, y, z] in m; for a round foot, its "
        "center",
        length=3,
    )
    radius_m: float = entry(
        "radius of a round foot around this point, m; 0 for a corner", default=0.0, minimum=0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """A leg, described from the base to the points that touch the ground."""

    name: str = entry("name of the leg", pattern=r"^\S+$", maxLength=LONGEST_NAME)
    chain: tuple[ChainLink, ...] = entry("links from the base to the foot", minItems=1)
    points: tuple[ContactPoint, ...] = entry(
        "contact points of the foot: the center of a round foot, or the corners of a flat one",
        minItems=1,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimation:
    """Robot description for the base velocity estimator, and the estimator's error."""

    error_mps: float = entry(
        "velocity error that the policy must tolerate: RMS magnitude of the error vector, m/s",
        exclusiveMinimum=0,
    )
    legs: tuple[Leg, ...] = entry("legs that may support the robot", minItems=1)
    imu_m: tuple[float, ...] = entry(
        "position of the IMU in the base frame, [x, y, z] in m; its axes are parallel to the "
        "base's",
        default=(0.0, 0.0, 0.0),
        length=3,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class VelocityCommand:
    """Range of velocity commands used in training; commands are clipped to it."""

    min: tuple[float, ...] = entry("lowest [vx, vy, yaw rate], in m/s and rad/s", length=3)
    max: tuple[float, ...] = entry("highest [vx, vy, yaw rate], in m/s and rad/s", length=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """Shape and type of a model tensor."""

    shape: tuple[int, ...] = entry("size of each axis, including the batch", minItems=1, minimum=1)
    dtype: Literal["float32", "float16", "int64", "int32", "uint8"] = entry(
        "element type; uint8 for images without conversion", default="float32"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Rows with which a quantized model was calibrated; comparisons exclude them."""

    source: str = entry("name of the file or recording")
    sha256: str = entry(
        "SHA-256 of the file or, for a folder, of the list of its files' hashes", pattern=SHA256
    )
    rows: int = entry("number of rows used, evenly spaced from the first to the last", minimum=1)


Integers = Literal["unsigned", "signed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """The model file for one back end."""

    file: str = entry("path inside the bundle folder")
    sha256: str = entry("SHA-256 of the file, 64 hex digits", pattern=SHA256)
    precision: str = entry("numeric precision: fp32, fp16, int8, w8a8, ...")
    target: str | None = entry("chip or GPU for which the file was compiled", default=None)
    tool: str | None = entry("tool and version that made the file", default=None)
    made: str | None = entry("description of how the file was made", default=None)
    compiled_from: str | None = entry(
        "SHA-256 of the model from which the file was compiled", default=None, pattern=SHA256
    )
    integers: Integers | None = entry(
        "signedness of the integers in an int8 ONNX model: sums of unsigned integers are exact "
        "on every processor, sums of signed ones saturate on x86 without VNNI",
        default=None,
    )
    control_flow: str | None = entry(
        "control-flow operators (If, Loop, Scan) in an ONNX model, on which its duration depends, "
        "and the longest run of the golden rows",
        default=None,
    )
    calibration: Calibration | None = entry("rows with which the file was calibrated", default=None)
    url: str | None = entry("URL at which the file is published", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A model: its tensors, and one file per back end."""

    inputs: dict[str, Tensor] = entry("input tensors by name", minProperties=1)
    outputs: dict[str, Tensor] = entry("output tensors by name", minProperties=1)
    artifacts: dict[str, Artifact] = entry("model files by back end", minProperties=1)

    @property
    def input_specs(self) -> tuple[TensorSpec, ...]:
        return _specs(self.inputs)

    @property
    def output_specs(self) -> tuple[TensorSpec, ...]:
        return _specs(self.outputs)


def _specs(tensors: Mapping[str, Tensor]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name=name, shape=tensor.shape, dtype=tensor.dtype)
        for name, tensor in tensors.items()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Model(Graph):
    """The reference model of a joint policy: tensors, files per back end, golden rows."""

    golden: File | None = entry(
        "npz with rows of every input and output of the reference model", default=None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Safety:
    """Limits that the guard enforces; ROS parameters may tighten them."""

    on_fault: Literal["damp", "hold_measured", "torque_off"] = entry(
        "command that replaces the policy's targets after a fault; with hold_measured, no "
        "command is sent after activation until damp or stand is requested"
    )
    max_tilt_rad: float | None = entry(
        "maximum angle between the body's up axis and the world's, rad; absent for robots "
        "without an IMU",
        default=None,
        exclusiveMinimum=0,
        maximum=3.15,
    )
    state_timeout_s: float | None = entry(
        "maximum age of the robot state, s; two periods if absent",
        default=None,
        exclusiveMinimum=0,
    )
    damp_after_s: float = entry(
        "maximum duration of HOLD, s; a longer HOLD is a fault",
        default=0.1,
        minimum=0,
        maximum=3600,
    )
    command_timeout_s: float = entry(
        "age of the velocity command at which it begins to fade, s", default=0.5, exclusiveMinimum=0
    )
    command_ramp_s: float = entry(
        "time over which the velocity command fades to zero, s", default=0.5, minimum=0
    )
    margin: float = entry(
        "multiple of the `nominal` values that the guard allows", default=1.5, minimum=1
    )
    blend_s: float = entry(
        "time over which RUN blends from the stand targets to the policy's, s",
        default=0.2,
        minimum=0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Origin and license of the policy."""

    source: str = entry("training run, repository, or person")
    licence: str = entry("SPDX identifier of the weights' license")
    checkpoint_sha256: str | None = entry("SHA-256 of the checkpoint", default=None, pattern=SHA256)
    exporter: str | None = entry("tool and version that wrote the model", default=None)
    date: str | None = entry(
        "ISO 8601 date, in quotes", default=None, pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}(T.+)?$"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class JointContract(AnyContract):
    """Contract of a joint policy: everything needed to run it, and its model per back end."""

    schema_version: Literal[1] = entry("version of the contract format")
    kind: Literal["joint"] = entry("kind of policy")
    name: str = entry("name of the policy", pattern=NAME)
    version: str = entry("version of the policy, in quotes", pattern=VERSION)
    description: str = entry("description in one sentence", default="")
    rate_hz: float = entry("policy ticks per second", minimum=0.1, maximum=1000)
    joints: Joints = entry("joint names, limits and gains")
    stand: StandingUp = entry("pose, gains and duration of the stand-up motion")
    damp: Damp = entry("gain for damping the joints")
    observations: dict[str, Observation] = entry("one observation per model input", minProperties=1)
    action: Action = entry("meaning of the model's output")
    state: tuple[StatePair, ...] = entry(
        "recurrent states, each with its input and output", default=()
    )
    initial_state: File | None = entry(
        "npz with initial values by input name, for inputs listed in `state`; all others begin "
        "with zeros",
        default=None,
    )
    velocity_command: VelocityCommand | None = entry(
        "range of velocity commands in training", default=None
    )
    motion: ReferenceMotion | None = entry("motion that the policy tracks", default=None)
    estimation: Estimation | None = entry("legs and IMU for estimating base_lin_vel", default=None)
    model: Model = entry("model tensors and files")
    nominal: Nominal | None = entry("behavior measured in a healthy rollout", default=None)
    limits: dict[str, ComparisonLimits] = entry("comparison limits by artifact", default={})
    reports: dict[str, File] = entry(
        "comparison report by artifact; sensitivity report by sensitivity_ARTIFACT", default={}
    )
    safety: Safety = entry("limits that the guard enforces")
    provenance: Provenance = entry("origin and license")

    @property
    def terms(self) -> Iterator[Term]:
        """All terms in all observations."""
        return (term for observation in self.observations.values() for term in observation.terms)

    @property
    def unstated_sources(self) -> Sequence[str]:
        """Keys of the base_lin_vel terms that do not state their source."""
        return [
            f"observations.{name}.terms[{i}].source"
            for name, observation in self.observations.items()
            for i, term in enumerate(observation.terms)
            if term.term == "base_lin_vel" and term.source is None
        ]

    @property
    def command_kinds(self) -> Mapping[str, Kind]:
        """Command interface for each joint in the action terms."""
        return {joint: Kind(term.kind) for term in self.action.terms for joint in term.joints}

    @property
    def step_bounded(self) -> npt.NDArray[np.bool_]:
        """False for all joints: targets become torques, which `nominal` limits."""
        return np.zeros(len(self.joints.names), np.bool_)

    @property
    def command_scales(self) -> Mapping[str, float]:
        """Scale in the action terms for each joint, by joint name."""
        return {
            joint: float(scale)
            for term in self.action.terms
            for joint, scale in zip(
                term.joints, np.broadcast_to(term.scale, len(term.joints)), strict=True
            )
        }

    @property
    def sets_gains(self) -> bool:
        """True if the action has gains."""
        return bool(self.action.gain_outputs)

    @property
    def unfollowable(self) -> Sequence[str]:
        """Names of the internal states that only the policy's own model can update."""
        last_output = any(term.term == "last_output" for term in self.terms)
        stated = {"recurrent state": bool(self.state), "the term last_output": last_output}
        return [what for what, has in stated.items() if has]

    @property
    def counts_ticks(self) -> bool:
        """True, since the entries of the policy's history are one period apart."""
        return True

    @property
    def commanded(self) -> Mapping[str, Term]:
        return {term.topic: term for term in self.terms if term.topic and term.commanded}

    @property
    def external_sizes(self) -> Mapping[str, int]:
        """Number of values in each external vector that the terms observe, by topic."""
        return {term.topic: term.size for term in self.terms if term.topic and term.size}

    @property
    def scans(self) -> Mapping[str, HeightScan]:
        """Height scans that the terms observe, by topic."""
        return {
            term.topic: term.scan
            for term in self.terms
            if term.topic is not None and term.scan is not None
        }

    @property
    def images(self) -> Mapping[str, Term]:
        """Terms with a camera image, by topic."""
        return {
            term.topic: term
            for term in self.terms
            if term.topic is not None and term.camera_image is not None
        }

    @property
    def perceived(self) -> Mapping[str, str]:
        """Contract label by topic, for height scans and for camera images with their encoders."""
        labels = {topic: perceived_label(scan) for topic, scan in self.scans.items()}
        for topic, term in self.images.items():
            image = term.camera_image
            is_in_ticks = image is not None and image.stack.unit == "ticks"
            period_ns = self.period_ns if is_in_ticks else None
            labels[topic] = perceived_label(image, term.encoder, period_ns)
        return labels

    @property
    def encoders(self) -> Mapping[str, Graph]:
        """Encoders of the terms' camera images, by contract key."""
        return {
            f"observations.{name}.terms[{i}].encoder": term.encoder
            for name, observation in self.observations.items()
            for i, term in enumerate(observation.terms)
            if term.encoder is not None
        }

    @property
    def scenes(self) -> Mapping[str, tuple[Observation, Term]]:
        return {
            f"observations.{name}.terms[{i}]": (observation, term)
            for name, observation in self.observations.items()
            for i, term in enumerate(observation.terms)
            if term.scene is not None
        }

    @property
    def models(self) -> Mapping[str, Graph]:
        """The model, by its contract key."""
        return {"model": self.model}

    @property
    def golden(self) -> File | None:
        """File with the golden rows for the model; None if there is none."""
        return self.model.golden

    @property
    def files(self) -> Sequence[File | Normalisation]:
        """Files that the contract names, except models and reports."""
        stated = [
            self.golden,
            self.initial_state,
            *(observation.normalisation for observation in self.observations.values()),
            *(term.scene for _, term in self.scenes.values()),
            self.motion.clip if self.motion else None,
        ]
        return [entry for entry in stated if entry is not None]
