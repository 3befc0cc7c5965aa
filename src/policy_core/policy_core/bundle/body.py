# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a contract says, of whatever kind of policy it is: of the robot, then of the policy.

A kind of policy is a dataclass that inherits `AnyContract`, and a line in `bundle/kinds.py`.
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
        Provenance,
        ReferenceMotion,
        Safety,
        StandingUp,
        Term,
        VelocityCommand,
    )
    from policy_core.bundle.height_scan import HeightScan

PERCEIVED_LABEL = "contract:"
"""What the label of a contract begins with, in `header.frame_id` of a policy_msgs/Perceived."""


def perceived_label(*stated: object) -> str:
    """Return the label of what a contract states of a topic: equal where they state the same."""
    text = json.dumps([_plain(each) for each in stated], sort_keys=True)
    return PERCEIVED_LABEL + hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(stated: object) -> object:
    """Return a section as JSON has it, without what it leaves out."""
    if is_dataclass(stated):
        values = {each.name: getattr(stated, each.name) for each in fields(stated)}
        return _plain({name: value for name, value in values.items() if value is not None})
    if isinstance(stated, Mapping):
        return {str(name): _plain(value) for name, value in stated.items()}
    return [_plain(each) for each in stated] if isinstance(stated, tuple | list) else stated


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Healthy values of a model input, one number per element."""

    mean: tuple[float, ...] = entry("mean")
    std: tuple[float, ...] = entry("standard deviation", minimum=0)
    min: tuple[float, ...] = entry("lowest value")
    max: tuple[float, ...] = entry("highest value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Nominal:
    """What a healthy rollout does; the guard expects no more than this times a margin."""

    source: str = entry("rollout that was measured")
    ticks: int = entry("number of policy ticks measured", minimum=1)
    target_step: PerJoint = entry(
        "largest change of the target in a tick, in its unit", exclusiveMinimum=0
    )
    effort_demand: PerJoint = entry(
        "largest torque that target and gains asked for, N·m", exclusiveMinimum=0
    )
    observation: dict[str, Statistics] = entry("statistics by model input", default={})


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedLoopLimits:
    """What a compiled model must still do in closed loop."""

    velocity_error: float | None = entry(
        "largest extra error per axis, m/s, rad/s", default=None, minimum=0
    )
    max_tilt_rad: float | None = entry("largest tilt, rad", default=None, minimum=0)
    torque_limit_share: float | None = entry(
        "share of samples at the limit", default=None, minimum=0, maximum=1
    )
    standing_action_change: float | None = entry("mean change per tick", default=None, minimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonLimits:
    """What comparing an artifact with the golden vectors must not exceed."""

    mae: float | None = entry("mean absolute error", default=None, exclusiveMinimum=0)
    rmse: float | None = entry("root mean square error", default=None, exclusiveMinimum=0)
    max_abs: float | None = entry("largest absolute error", default=None, exclusiveMinimum=0)
    cosine_min: float | None = entry(
        "smallest cosine of outputs", default=None, minimum=-1, maximum=1
    )
    closed_loop: ClosedLoopLimits | None = entry("limits in closed loop", default=None)


class Body(Protocol):
    """The robot's side of a contract, for modes and guard: it is the same whatever a policy sees.

    All of it is abstract: a contract that leaves out a part of it cannot be made.
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
        """Joints in the order of all arrays."""

    @property
    @abstractmethod
    def stand(self) -> StandingUp:
        """The pose in which the policy may start, and the way there."""

    @property
    @abstractmethod
    def damp(self) -> Damp:
        """How the joints are damped."""

    @property
    @abstractmethod
    def nominal(self) -> Nominal | None:
        """What a healthy run does."""

    @property
    @abstractmethod
    def safety(self) -> Safety:
        """Limits of the guard."""

    @property
    @abstractmethod
    def step_bounded(self) -> npt.NDArray[np.bool_]:
        """Joints whose position may step only as far as `velocity_limit` allows [joints].

        In RUN no other rule bounds the step of a target where `nominal` does not. `hold_measured`
        bounds all joints.
        """


class AnyContract(Body):
    """The contract of one policy, of whatever kind; the hosts and tools ask for no more.

    What is abstract has no safe default, and each kind states it. Properties that are not are of
    what a policy may have, and say that it has none.
    """

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    @abstractmethod
    def kind(self) -> str:
        """Its key in `CONTRACT_KINDS`."""

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
        """One sentence."""

    @property
    @abstractmethod
    def limits(self) -> Mapping[str, ComparisonLimits]:
        """Limits of comparison by artifact."""

    @property
    @abstractmethod
    def reports(self) -> Mapping[str, File]:
        """Reports of comparison by artifact."""

    @property
    @abstractmethod
    def provenance(self) -> Provenance:
        """Origin and licence."""

    @property
    @abstractmethod
    def models(self) -> Mapping[str, Graph]:
        """Its models by their keys in the contract; none for a policy without a model."""

    @property
    @abstractmethod
    def command_kinds(self) -> Mapping[str, Kind]:
        """How each joint that it commands is commanded, by the policy's name of the joint."""

    @property
    @abstractmethod
    def unfollowable(self) -> Sequence[str]:
        """What it remembers that it cannot learn while others command, in words.

        A set refuses `starts: followed` for a policy that has any.
        """

    @property
    @abstractmethod
    def counts_ticks(self) -> bool:
        """Whether its period must be whole ticks of a set: what it remembers is one period apart.

        Else its steps belong to times, and fall between the ticks of a faster set.
        """

    @property
    def period_ns(self) -> int:
        """Time between two ticks, ns."""
        return round(1e9 / self.rate_hz)

    @property
    def commands(self) -> frozenset[str]:
        """What is commanded to joints: position, velocity, effort."""
        return frozenset(kind.value for kind in self.command_kinds.values())

    @property
    def files(self) -> Sequence[File | Normalisation]:
        """Files that the contract names, beside models and reports."""
        return () if self.golden is None else (self.golden,)

    @property
    def golden(self) -> File | None:
        """Golden rows of the models."""
        return None

    @property
    def graphs(self) -> Mapping[str, Graph]:
        """Models that have names of their own."""
        return {}

    @property
    def cameras(self) -> Mapping[str, Camera]:
        """Cameras that it sees, by name."""
        return {}

    @property
    def terms(self) -> Iterable[Term]:
        """Terms of its observations."""
        return ()

    @property
    def sets_gains(self) -> bool:
        """Whether its models put out gains of the joints."""
        return False

    @property
    def measures_velocities(self) -> bool:
        """Whether it needs the measured velocity of its joints."""
        return True

    @property
    def way_back_s(self) -> float:
        """Longest time that it takes to come to where the robot may stand up, s."""
        return 0.0

    @property
    def command_scales(self) -> Mapping[str, float]:
        """Factor from the value of its first output to the command of each joint, by its name.

        Empty where a command is no multiple of an output.
        """
        return {}

    @property
    def external_sizes(self) -> Mapping[str, int]:
        """Number of values of each external vector that it observes, by topic."""
        return {}

    @property
    def scans(self) -> Mapping[str, HeightScan]:
        """Height scan of each topic that brings one."""
        return {}

    @property
    def depths(self) -> Mapping[str, Term]:
        """Term of each topic that brings a depth image."""
        return {}

    @property
    def perceived(self) -> Mapping[str, str]:
        """Label of what is stated of each topic of what it perceives; see `perceived_label`."""
        return {}

    @property
    def encoders(self) -> Mapping[str, Graph]:
        """Models of its depth images, by their keys in the contract; another process runs them."""
        return {}

    @property
    def motion(self) -> ReferenceMotion | None:
        """Motion that it tracks."""
        return None

    @property
    def estimation(self) -> Estimation | None:
        """Legs and IMU, where the velocity of its base is estimated."""
        return None

    @property
    def velocity_command(self) -> VelocityCommand | None:
        """Range of the velocity command that it takes."""
        return None
