# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Description of a recording's ticks, stored at its start (policy_msgs/FlightInfo)."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from policy_core.bundle.bundle import Bundle
from policy_core.control.controller import Controller
from policy_core.guard.limits import Limits
from policy_core.interfaces import Backend
from policy_inference.machine.machine import Machine, installed_version
from policy_inference.machine.system import board, release

if TYPE_CHECKING:  # a policy without chunks has no such settings
    from policy_core.members.chunk.settings import ChunkSettings


class Topic(NamedTuple):
    """A topic whose messages are recorded unchanged: its relative name and its ROS type."""

    name: str
    type: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Flight:
    """The running policy, and the meaning of the arrays in its ticks.

    Attributes:
        bundle: The running bundle.
        contract_text: Content of the bundle's policy.yaml.
        backend, runs_on: The back end's registered name, and its details as determined on opening.
        settings: Limits, parameters and versions, as text by name.
        topics: Incoming topics, in the order of `Moment.wire`.
        inputs: Inputs of the policy, in the order of `Moment.ages_ns`.
        state_sizes: State fields in the order of `FlightTick.state`.
        namespace: Namespace of the topics in the recording.
        valid_for_s: Validity of a command after receipt, s.
    """

    bundle: Bundle
    contract_text: str
    backend: str
    runs_on: str
    settings: Mapping[str, str]
    topics: tuple[Topic, ...]
    inputs: tuple[str, ...]
    state_sizes: Mapping[str, int]
    namespace: str
    valid_for_s: float


def make_flight(
    bundle: Bundle,
    backend: Backend,
    controller: Controller,
    topics: Sequence[Topic],
    *,
    settings: Mapping[str, str],
    namespace: str = "/",
    valid_for_s: float = 0.1,
) -> Flight:
    """Return the description of a controller's ticks.

    Args:
        bundle: The running bundle.
        backend: The bundle's back end.
        controller: The policy's controller.
        topics: Incoming topics.
        settings: Limits, parameters and versions, as text by name.
        namespace: Namespace of the topics in the recording.
        valid_for_s: Validity of a command after receipt, s.
    """
    return Flight(
        bundle=bundle,
        # The bytes as read, including line ends: the text has the hash of the running policy.
        contract_text=bundle.content.decode("utf-8"),
        backend=backend.name,
        runs_on=", ".join(backend.details.values()),
        settings=settings,
        topics=tuple(topics),
        inputs=tuple(controller.inputs),
        state_sizes={
            name: part.stop - part.start for name, part in controller.state.slices.items()
        },
        namespace=namespace,
        valid_for_s=valid_for_s,
    )


def flight_settings(
    limits: Limits,
    backend: Backend,
    chunks: ChunkSettings | None = None,
) -> dict[str, str]:
    """Return the limits in force, versions and machine, as text by name; names include the unit.

    Args:
        limits: Limits in force.
        backend: The policy's back end.
        chunks: Settings for chunk execution, for a chunk policy.
    """
    versions = {
        name: installed_version(name.replace("_", "-"), name)
        for name in ("policy_inference", "numpy", "rosbags")
    }
    system = {
        "system.python": platform.python_version(),
        "system.release": release(),
        "system.kernel": platform.release(),
        "system.architecture": platform.machine(),
        "system.board": board(Machine()),
    }
    found = {
        **{f"limits.{name}": value for name, value in dataclasses.asdict(limits).items()},
        **(chunk_settings(chunks) if chunks else {}),
        **{f"version.{name}": version for name, version in versions.items()},
        **{f"backend.{name}": value for name, value in backend.details.items()},
        **system,
    }
    return {name: str(value) for name, value in found.items() if value is not None}


def chunk_settings(settings: ChunkSettings) -> dict[str, str]:
    return {
        f"chunks.{name}": str(value)
        for name, value in dataclasses.asdict(settings).items()
        if value is not None
    }
