# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Contract of a chunk policy, such as ACT: cameras and joints in, chunks of targets out.

A chunk policy uses the joint units of its training data, which `units` defines. Everything else in
a contract is in rad, s and N·m. This module opens no files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from policy_core.bundle.body import AnyContract, ComparisonLimits, Nominal
from policy_core.bundle.contract import (
    NAME,
    RELATIVE_TOPIC,
    VERSION,
    Damp,
    File,
    Graph,
    Joints,
    OwnJoints,
    Provenance,
    Safety,
    StandingUp,
)
from policy_core.bundle.schema import PerJoint, entry
from policy_core.interfaces import Kind

GOLDEN_STATE, GOLDEN_ENVIRONMENT, GOLDEN_CHUNK = "state", "environment_state", "chunk"
GOLDEN_NOISE, GOLDEN_SUCCESS = "noise", "success"
GOLDEN_CAMERA = "cameras."
"""Prefix of the image arrays in the golden file. The first axis is rows: images are uint8 [rows,
height, width, 3] in RGB under `cameras.NAME`; vectors and the chunk [rows, steps, actions] are in
the policy's units. Several observations form a second axis, newest last. `noise` is the input noise
of denoised chunks [rows, draws, steps, actions]; `success` [rows] is the probability from the
success classifier, if there is one.
"""

LARGEST_ENSEMBLE_COEFF = 100
"""Maximum ensemble coefficient: at this value, one prediction far outweighs all others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JointUnit:
    """Conversion from a joint position q to the policy's unit.

    radians: sign (q - zero_rad); degrees: that value x 180 / pi; range_m100_100 and range_0_100:
    linear, so that low_rad maps to -100 or 0, and high_rad maps to 100.
    """

    unit: Literal["radians", "degrees", "range_m100_100", "range_0_100"] = entry(
        "unit of the policy's values"
    )
    sign: Literal[1, -1] = entry(
        "-1 if the policy's angle increases when the joint's position decreases", default=1
    )
    zero_rad: float = entry(
        "position at which the policy's radians or degrees are 0, rad", default=0.0
    )
    low_rad: float | None = entry(
        "position that maps to the lowest value of a range, rad", default=None
    )
    high_rad: float | None = entry("position that maps to 100 in a range, rad", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """Statistics that normalize the network's inputs and denormalize its outputs.

    mean_std: (x - mean) / (std + eps), inverse y std + mean; min_max: 2 (x - min) / (max - min) -
    1, where eps replaces a difference of 0; identity: unchanged. Each statistic has one number per
    value, or for an image one per channel (red, green, blue), with pixel values from 0 to 1.
    """

    mode: Literal["mean_std", "min_max", "identity"] = entry("normalization formula")
    mean: tuple[float, ...] | None = entry("mean of the training data", default=None)
    std: tuple[float, ...] | None = entry(
        "standard deviation of the training data", default=None, minimum=0
    )
    min: tuple[float, ...] | None = entry(
        "minimum, or a low quantile, of the training data", default=None
    )
    max: tuple[float, ...] | None = entry(
        "maximum, or a high quantile, of the training data", default=None
    )
    eps: float = entry(
        "mean_std: number added to std; min_max: divisor used if max equals min",
        default=1e-8,
        minimum=0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """A camera that the policy sees; the topic is NAME/image_raw, with NAME from the contract."""

    feature: str = entry("feature name in training: observation.images.NAME")
    height: int = entry("height of the policy's image, pixels", minimum=1, maximum=8192)
    width: int = entry("width of the policy's image, pixels", minimum=1, maximum=8192)
    resize: bool = entry(
        "whether frames of a different size are stretched to this size, instead of refused",
        default=False,
    )
    normalisation: Scaling = entry("statistics of the three color channels")
    encoder: str | None = entry(
        "graph that computes image features; absent if the policy's graph receives the image",
        default=None,
    )
    tensor: str = entry("input of the policy's graph that receives the image or its features")
    timeout_s: float = entry(
        "maximum age of a frame, s", default=0.5, exclusiveMinimum=0, maximum=60
    )
    camera_frozen_s: float | None = entry(
        "time for which the camera may repeat an image while the robot moves, s; after that, HOLD; "
        "if absent, only a warning",
        default=None,
        exclusiveMinimum=0,
        maximum=60,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class JointVector:
    """Joint positions that the policy observes."""

    feature: str = entry("feature name in training: observation.state or action")
    tensor: str = entry("input or output of the policy's graph")
    joints: tuple[str, ...] = entry("joints, in the order of the vector", minItems=1)
    normalisation: Scaling = entry("statistics, one number per joint, in the policy's units")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkAction(JointVector, OwnJoints):
    """Joint positions that the policy commands."""

    grippers: tuple[str, ...] = entry(
        "joints that follow a new chunk at once, without a fade", default=()
    )
    max_relative_target: PerJoint | None = entry(
        "maximum distance of a target from the measured position, rad; targets farther away are "
        "clipped",
        default=None,
        exclusiveMinimum=0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentState:
    """A vector from a source outside the robot."""

    feature: str = entry("feature name in training", default="observation.environment_state")
    tensor: str = entry("input of the policy's graph that receives the vector")
    topic: str = entry("relative topic (std_msgs/Float32MultiArray)", pattern=RELATIVE_TOPIC)
    size: int = entry("number of values", minimum=1, maximum=1_000_000)
    normalisation: Scaling = entry("statistics, one number per value")
    timeout_s: float = entry("maximum age of the vector, s", default=0.5, exclusiveMinimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """Rule that pairs images and measurements into one observation, in training and at run time.

    frame_time: all inputs are from the same time, the newest for which every camera has a frame:
    each camera's frame and the measurement nearest to that time are used. newest: the newest value
    of each input at the tick is used, as LeRobot records them, so measurements are newer than
    images by the camera delay.
    """

    rule: Literal["frame_time", "newest"] = entry(
        "rule that pairs images and measurements", default="frame_time"
    )
    tolerance_s: float = entry(
        "frame_time: maximum time between the frames in one observation, s",
        default=0.05,
        minimum=0,
        maximum=60,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Number of steps in the chunk that one inference returns, and number of steps executed."""

    size: int = entry(
        "number of steps that the policy predicts, one period each", minimum=1, maximum=10_000
    )
    steps: int = entry("number of steps executed before the next chunk", minimum=1)
    ensemble_coeff: float | None = entry(
        "coefficient of the temporal ensembling weights exp(-coeff i), with i = 0 for the oldest "
        "prediction",
        default=None,
        minimum=-LARGEST_ENSEMBLE_COEFF,
        maximum=LARGEST_ENSEMBLE_COEFF,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """Encoding of a denoising step's time t as a graph input: all sin(f t), then all cos(f t).

    The frequencies f are spaced geometrically; there are half as many as there are values.
    """

    tensor: str = entry("input of the policy's graph that receives the encoded time")
    size: int = entry(
        "number of values: sines, followed by as many cosines", minimum=4, maximum=8192
    )
    first_frequency: float = entry(
        "frequency of the first sine, rad per unit of t", exclusiveMinimum=0
    )
    last_frequency: float = entry(
        "frequency of the last sine, rad per unit of t", exclusiveMinimum=0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseSchedule:
    """Noise level at each training timestep of a diffusion policy."""

    timesteps: int = entry("number of training timesteps", minimum=1, maximum=100_000)
    betas: Literal["squaredcos_cap_v2", "scaled_linear", "linear"] = entry(
        "schedule of the noise variance added in each timestep, by its name in `diffusers`"
    )
    beta_start: float = entry(
        "linear, scaled_linear: variance added at timestep 0", default=1e-4, minimum=0
    )
    beta_end: float = entry(
        "linear, scaled_linear: variance added at the last timestep", default=0.02, minimum=0
    )
    prediction: Literal["epsilon", "sample"] = entry(
        "what the graph predicts: the noise (epsilon) or the actions (sample)"
    )
    clip: float | None = entry(
        "maximum absolute value of the normalized actions in each step",
        default=None,
        exclusiveMinimum=0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Denoising:
    """Denoising settings: the policy graph runs once per denoising step to produce a chunk.

    flow: the graph returns the velocity (noise - actions) at time t, which Euler's method
    integrates from t = 1 (noise) to 0. ddpm, ddim: the samplers with these names, over the
    training timesteps.
    """

    method: Literal["flow", "ddpm", "ddim"] = entry("use of the graph's output in a denoising step")
    steps: int = entry("number of denoising steps per chunk", minimum=1, maximum=10_000)
    tensor: str = entry("input of the policy's graph that receives the noisy actions")
    time: StepTime = entry("input of the policy's graph that receives the time of a step")
    observations: int = entry(
        "number of successive observations that the policy receives, one period apart, newest "
        "last; the first row of the noise belongs to the oldest one",
        default=1,
        minimum=1,
        maximum=100,
    )
    schedule: NoiseSchedule | None = entry(
        "ddpm, ddim: noise schedule used in training", default=None
    )
    condition: str | None = entry(
        "graph that runs once per chunk and, in place of the policy's graph, receives the "
        "cameras and vectors; the policy's graph receives its outputs as inputs of the same "
        "names",
        default=None,
    )
    columns: int | None = entry(
        "number of columns in the noisy actions, if larger than the number of action joints, "
        "whose columns come first",
        default=None,
        minimum=1,
        maximum=10_000,
    )

    @property
    def draws(self) -> int:
        """Number of noise samples per chunk; ddpm adds noise after every step except the last."""
        return self.steps if self.method == "ddpm" else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalError:
    """Error rates of a success signal, measured on recorded episodes that a person labeled."""

    source: str = entry("name of the recordings")
    successes: int = entry("number of successful episodes", minimum=1)
    failures: int = entry("number of failed episodes", minimum=1)
    false_positive_rate: float = entry(
        "share of the failed episodes in which the signal was sent", minimum=0, maximum=1
    )
    false_negative_rate: float = entry(
        "share of the successful episodes in which the signal was not sent", minimum=0, maximum=1
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SuccessSignal:
    """Signal that the task is done: sent once the success condition has held for `for_s`."""

    graph: str | None = entry(
        "graph that classifies success: its inputs are named after cameras, `state` or "
        "`environment_state`, and are normalized as for the policy; its only output is a "
        "probability",
        default=None,
    )
    threshold: float | None = entry(
        "graph: lowest probability that counts as success; set by `model_tools calibrate success`",
        default=None,
        exclusiveMinimum=0,
        maximum=1,
    )
    joints: dict[str, tuple[float, ...]] = entry(
        "instead of a graph: range of measured positions by joint, [lowest, highest] in rad",
        default={},
    )
    for_s: float = entry(
        "time for which the condition must hold without interruption, s", minimum=0, maximum=600
    )
    then: Literal["end", "flag"] = entry(
        "end: the run ends with the fault command (`safety.on_fault`); flag: the run continues, "
        "and the status reports success",
        default="flag",
    )
    error: SignalError | None = entry(
        "error rates measured by `model_tools calibrate success`; do not write them by hand",
        default=None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkContract(AnyContract):
    """Contract of a chunk policy: everything needed to run it, and its graphs per back end."""

    schema_version: Literal[1] = entry("version of the contract format")
    kind: Literal["chunk"] = entry("kind of policy")
    name: str = entry("name of the policy", pattern=NAME)
    version: str = entry("version of the policy, in quotes", pattern=VERSION)
    description: str = entry("description in one sentence", default="")
    prompt: str = entry(
        "task in words, if the graphs contain it; a different task needs a new export",
        default="",
    )
    rate_hz: float = entry("chunk steps per second", minimum=0.1, maximum=1000)
    joints: Joints = entry("joint names, limits and gains")
    units: dict[str, JointUnit] = entry("unit of the policy's values, by joint", minProperties=1)
    stand: StandingUp = entry(
        "stand pose, in which the policy may start, and the motion that leads to it"
    )
    damp: Damp = entry("gain for damping the joints")
    cameras: dict[str, Camera] = entry("cameras by name, in the order of training", default={})
    state: JointVector | None = entry("measured joint positions", default=None)
    environment_state: EnvironmentState | None = entry(
        "vector from a source outside the robot", default=None
    )
    pairing: Pairing = entry("rule that pairs images and measurements", default=Pairing())
    action: ChunkAction = entry("commanded joint positions")
    chunk: Chunk = entry("number of steps in a chunk, and how many are executed")
    denoising: Denoising | None = entry(
        "how a chunk is computed from noise; absent if one run of the graph returns the chunk",
        default=None,
    )
    success: SuccessSignal | None = entry("signal that the task is done", default=None)
    graphs: dict[str, Graph] = entry("graphs by name: tensors and files", minProperties=1)
    golden: File | None = entry(
        "npz with rows of observations and of the reference's chunks", default=None
    )
    nominal: Nominal | None = entry("behavior measured in a healthy rollout", default=None)
    limits: dict[str, ComparisonLimits] = entry("comparison limits by artifact", default={})
    reports: dict[str, File] = entry(
        "comparison report by artifact; sensitivity report by sensitivity_ARTIFACT", default={}
    )
    safety: Safety = entry("limits that the guard enforces")
    provenance: Provenance = entry("origin and license")

    @property
    def policy_graph(self) -> str:
        """Name of the graph that returns the actions: the only graph without another role."""
        others = {camera.encoder for camera in self.cameras.values()}
        others |= {self._condition, self.classifier}
        return next(name for name in self.graphs if name not in others)

    @property
    def observing_graph(self) -> str:
        """Name of the graph that takes vectors and cameras, or camera features."""
        return self._condition or self.policy_graph

    @property
    def classifier(self) -> str | None:
        """Name of the graph that detects success, or None."""
        return None if self.success is None else self.success.graph

    @property
    def _condition(self) -> str | None:
        return None if self.denoising is None else self.denoising.condition

    @property
    def observation_steps(self) -> int:
        """Number of successive observations in one input to the policy."""
        return 1 if self.denoising is None else self.denoising.observations

    @property
    def rows(self) -> int:
        """Number of action rows that the policy graph returns; the first ones lie in the past."""
        return self.chunk.size + self.observation_steps - 1

    @property
    def columns(self) -> int:
        """Number of action columns that the policy graph returns; the joints come first."""
        joints = len(self.action.joints)
        return joints if self.denoising is None else self.denoising.columns or joints

    @property
    def command_kinds(self) -> Mapping[str, Kind]:
        """The position interface for each joint in the action, by contract joint name."""
        return dict.fromkeys(self.action.joints, Kind.POSITION)

    @property
    def step_bounded(self) -> npt.NDArray[np.bool_]:
        """True for all joints, since a chunk may begin far from the current target."""
        return np.ones(len(self.joints.names), np.bool_)

    @property
    def models(self) -> Mapping[str, Graph]:
        """The graphs, by their key in the contract."""
        return {f"graphs.{name}": graph for name, graph in self.graphs.items()}

    @property
    def measures_velocities(self) -> bool:
        """False: the policy observes positions only."""
        return False

    @property
    def unfollowable(self) -> Sequence[str]:
        return ["chunks"]

    @property
    def counts_ticks(self) -> bool:
        """True if the policy uses several observations, which are one period apart."""
        return self.observation_steps > 1

    @property
    def external_sizes(self) -> Mapping[str, int]:
        """Size of the environment state, by topic; empty if the policy observes none."""
        outside = self.environment_state
        return {} if outside is None else {outside.topic: outside.size}
