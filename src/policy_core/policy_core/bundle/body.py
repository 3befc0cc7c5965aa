# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the contracts of all policy kinds share: the robot's side, then the policy's.

Each kind of policy is a dataclass that inherits `AnyContract` and has a row in `bundle/kinds.py`.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import Field, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from policy_core.bundle.schema import PerJoint, entry
from policy_core.interfaces import Kind

if TYPE_CHECKING:
    from policy_core.bundle.chunk_contract import Camera
    from policy_core.bundle.contract import (
        Damp,
        Estimation,
        File,
        Graph,
        Joints,
        Normalisation,
        Observation,
        Provenance,
        ReferenceMotion,
        Safety,
        StandingUp,
        Term,
        VelocityCommand,
    )
    from policy_core.bundle.height_scan import HeightScan

PERCEIVED_LABEL = "contract:"
"""Prefix of the contract label in the `header.frame_id` of policy_msgs/Perceived."""


SENSITIVITY = "sensitivity_"
"""Prefix of sensitivity report keys in `AnyContract.reports`."""


def perceived_label(*stated: object) -> str:
    """Return a label for a contract's requirements on a topic; equal requirements share a label."""
    text = json.dumps([_plain(each) for each in stated], sort_keys=True)
    return PERCEIVED_LABEL + hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(stated: object) -> object:
    """Convert a contract section to plain JSON values, omitting absent fields."""
    if is_dataclass(stated):
        values = {each.name: getattr(stated, each.name) for each in fields(stated)}
        return _plain({name: value for name, value in values.items() if value is not None})
    if isinstance(stated, Mapping):
        return {str(name): _plain(value) for name, value in stated.items()}
    return [_plain(each) for each in stated] if isinstance(stated, tuple | list) else stated


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Statistics of a model input in a healthy rollout, with one value per input element."""

    mean: tuple[float, ...] = entry("mean of each element")
    std: tuple[float, ...] = entry("standard deviation of each element", minimum=0)
    min: tuple[float, ...] = entry("lowest value of each element")
    max: tuple[float, ...] = entry("highest value of each element")


@dataclass(frozen=True, slots=True, kw_only=True)
class Nominal:
    """Behavior of a healthy rollout; the guard allows up to these values times a margin."""

    source: str = entry("name of the measured rollout")
    ticks: int = entry("number of policy ticks measured", minimum=1)
    target_step: PerJoint = entry(
        "largest change of a target in one tick, in the target's unit", exclusiveMinimum=0
    )
    effort_demand: PerJoint = entry(
        "largest torque that the target and gains demanded, N·m", exclusiveMinimum=0
    )
    observation: dict[str, Statistics] = entry("statistics by model input", default={})


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedLoopLimits:
    """Limits that a compiled model must meet in closed-loop simulation."""

    velocity_error: float | None = entry(
        "maximum increase of the velocity error over the reference's, per axis, m/s and rad/s",
        default=None,
        minimum=0,
    )
    max_tilt_rad: float | None = entry("maximum tilt, rad", default=None, minimum=0)
    torque_limit_share: float | None = entry(
        "maximum share of samples at the torque limit", default=None, minimum=0, maximum=1
    )
    standing_action_change: float | None = entry(
        "maximum mean change of the action per tick while standing", default=None, minimum=0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonLimits:
    """Limits on the difference between an artifact and the golden vectors."""

    mae: float | None = entry("maximum mean absolute error", default=None, exclusiveMinimum=0)
    rmse: float | None = entry("maximum root mean square error", default=None, exclusiveMinimum=0)
    max_abs: float | None = entry("maximum absolute error", default=None, exclusiveMinimum=0)
    cosine_min: float | None = entry(
        "minimum cosine similarity of the outputs", default=None, minimum=-1, maximum=1
    )
    closed_loop: ClosedLoopLimits | None = entry("limits in closed-loop simulation", default=None)


class Body(Protocol):
    """The robot's side of a contract, used by the modes and the guard; independent of observations.

    All members are abstract: an incomplete contract cannot be instantiated.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def rate_hz(self) -> float:
        """Policy ticks per second."""

    @property
    @abstractmethod
    def period_ns(self) -> int:
        """Time between two ticks, ns."""

    @property
    @abstractmethod
    def joints(self) -> Joints:
        """Joints, in the order that all arrays use."""

    @property
    @abstractmethod
    def stand(self) -> StandingUp:
        """Pose in which the policy may start, and the motion that leads to it."""

    @property
    @abstractmethod
    def damp(self) -> Damp:
        """Gain for damping the joints when there is no safe target."""

    @property
    @abstractmethod
    def nominal(self) -> Nominal | None:
        """Measured behavior of a healthy rollout; None if it was not measured."""

    @property
    @abstractmethod
    def safety(self) -> Safety:
        """The guard's limits."""

    @property
    @abstractmethod
    def step_bounded(self) -> npt.NDArray[np.bool_]:
        """Mask [joints] of the joints whose position step is limited by `velocity_limit`.

        In RUN, these joints have no other step limit unless `nominal` sets one. With
        `hold_measured`, the step of every joint is limited.
        """


class AnyContract(Body):
    """Contract of a single policy of any kind: everything that hosts and tools need.

    Abstract members have no safe default, so each kind defines them. The other properties describe
    optional features; by default, the policy lacks the feature.
    """

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    @abstractmethod
    def kind(self) -> str:
        """Key of this kind in `CONTRACT_KINDS`."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the policy."""

    @property
    @abstractmethod
    def version(self) -> str:
        """Version of the policy."""

    @property
    @abstractmethod
    def description(self) -> str:
        """One-sentence description."""

    @property
    @abstractmethod
    def limits(self) -> Mapping[str, ComparisonLimits]:
        """Comparison limits by artifact."""

    @property
    @abstractmethod
    def reports(self) -> Mapping[str, File]:
        """Comparison reports by artifact, and sensitivity reports by `SENSITIVITY` + artifact."""

    @property
    @abstractmethod
    def provenance(self) -> Provenance:
        """Origin and license."""

    @property
    @abstractmethod
    def models(self) -> Mapping[str, Graph]:
        """The policy's models by contract key; empty for a policy without a model."""

    @property
    @abstractmethod
    def command_kinds(self) -> Mapping[str, Kind]:
        """Command interface of each joint that the policy commands, by contract joint name."""

    @property
    @abstractmethod
    def unfollowable(self) -> Sequence[str]:
        """Names of the internal states that the policy cannot update unless it is in command.

        A set rejects `starts: followed` for a policy with such a state.
        """

    @property
    @abstractmethod
    def counts_ticks(self) -> bool:
        """True if the policy's memory requires a period that is a whole number of set ticks.

        If False, the policy's steps are points in time, which may fall between the ticks of a
        faster set.
        """

    @property
    def period_ns(self) -> int:
        """Time between two ticks, ns."""
        return round(1e9 / self.rate_hz)

    @property
    def commands(self) -> frozenset[str]:
        """Command interfaces in use: position, velocity, effort."""
        return frozenset(kind.value for kind in self.command_kinds.values())

    @property
    def files(self) -> Sequence[File | Normalisation]:
        """Files that the contract names, except models and reports."""
        return () if self.golden is None else (self.golden,)

    @property
    def golden(self) -> File | None:
        """File with the golden rows for the models; None if there is none."""
        return None

    @property
    def graphs(self) -> Mapping[str, Graph]:
        """Models that the contract lists by name under `graphs`."""
        return {}

    @property
    def cameras(self) -> Mapping[str, Camera]:
        """Cameras that the policy sees, by name."""
        return {}

    @property
    def terms(self) -> Iterable[Term]:
        """Terms in the policy's observations."""
        return ()

    @property
    def sets_gains(self) -> bool:
        """True if the models output joint gains."""
        return False

    @property
    def measures_velocities(self) -> bool:
        """True if the policy needs measured joint velocities."""
        return True

    @property
    def way_back_s(self) -> float:
        """Longest time to return to a pose from which the robot may stand up, in s."""
        return 0.0

    @property
    def command_scales(self) -> Mapping[str, float]:
        """By joint name, the factor from an error in the policy's first output to a command error.

        Empty if the commands are not scaled model outputs.
        """
        return {}

    @property
    def external_sizes(self) -> Mapping[str, int]:
        """Number of values in each external vector that the policy observes, by topic."""
        return {}

    @property
    def scans(self) -> Mapping[str, HeightScan]:
        """Height scans by topic."""
        return {}

    @property
    def scenes(self) -> Mapping[str, tuple[Observation, Term]]:
        """Terms with a scan recorded in training, each with its observation, by contract key."""
        return {}

    @property
    def commanded(self) -> Mapping[str, Term]:
        """Terms with commanded values, by topic."""
        return {}

    @property
    def images(self) -> Mapping[str, Term]:
        """Terms with a camera image, by topic."""
        return {}

    @property
    def perceived(self) -> Mapping[str, str]:
        """Contract label for each perception topic that the policy reads; see `perceived_label`."""
        return {}

    @property
    def encoders(self) -> Mapping[str, Graph]:
        """Models that encode the camera images, by contract key; they run in a separate process."""
        return {}

    @property
    def motion(self) -> ReferenceMotion | None:
        """Reference motion that the policy tracks; None if it tracks none."""
        return None

    @property
    def estimation(self) -> Estimation | None:
        """Legs and IMU for estimating the base velocity; None if the velocity is not estimated."""
        return None

    @property
    def velocity_command(self) -> VelocityCommand | None:
        """Range of velocity commands that the policy accepts; None if it accepts none."""
        return None
