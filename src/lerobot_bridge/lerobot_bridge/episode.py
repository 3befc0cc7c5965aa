# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""An episode of a recording: its place in the recording, its frames and its sidecar file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Literal, NamedTuple

from policy_core.bundle.schema import Found, Reader, entry, load_yaml
from policy_core.errors import BundleError
from policy_core.interfaces import F64, U8
from policy_core.safe_files import whole_file

SIDECAR = "episode.json"
"""File stored next to a recorded episode's messages; contains the episode's task and outcome."""


class Mark(IntEnum):
    """Kinds of episode marks, numbered as in policy_msgs/EpisodeMark."""

    START = 0
    STOP = 1
    DISCARD = 2
    SUCCESS = 3
    FAILURE = 4
    INTERVENTION_BEGINS = 5
    INTERVENTION_ENDS = 6


class Span(NamedTuple):
    """A time span, ns; its end is excluded."""

    begin_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """An episode: its place in a recording, and its properties.

    Attributes:
        bag: Path of the recording: a folder, or the recording's only file.
        span: Log times of the episode; None for the whole recording.
        task: The robot's task.
        tags: Search terms.
        success: True if the task succeeded; None if not judged.
        interventions: Time spans in which a person, not the policy, drove; None if no policy ran or
            interventions were not recorded.
        number: Number of the episode within its recording, from 0.
        problem: Why the episode cannot be read; empty if it can.
        problems: The recorder's reasons to keep the episode out of datasets.
    """

    bag: Path
    span: Span | None = None
    task: str
    tags: tuple[str, ...] = ()
    success: bool | None = None
    interventions: tuple[Span, ...] | None = None
    number: int = 0
    problem: str = ""
    problems: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.bag.name}[{self.number}]" if self.span else self.bag.name


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFrame:
    """A frame of a dataset: values and images from one moment.

    Attributes:
        time_ns: Time of the frame, on the clock of the recording's stamps.
        vectors: Values by feature, in LeRobot's units.
        images: Images by camera, uint8 [height, width, 3] in RGB; valid until the next frame.
        intervention: True if a person drove instead of the policy.
    """

    time_ns: int
    vectors: Mapping[str, F64]
    images: Mapping[str, U8]
    intervention: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A part of a recording that is not an episode: its name and the reason."""

    name: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundEpisodes:
    """Episodes found in recordings, in time order, and the parts that were skipped."""

    episodes: list[Episode] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRan:
    """The policy that controlled the robot."""

    node: str = entry("full name of the policy node")
    bundle_name: str = entry("name in the contract")
    bundle_version: str = entry("version in the contract")


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeSidecar:
    """Content of the file stored with a recorded episode's messages."""

    schema_version: Literal[1] = entry("1", default=1)
    number: int = entry("number of the episode within its session, from 0", minimum=0)
    task: str = entry("task of the robot")
    tags: tuple[str, ...] = entry("words to search for", default=())
    success: bool | None = entry("true if the task succeeded; null: not judged", default=None)
    interventions: tuple[tuple[int, ...], ...] | None = entry(
        "[begin, end) of each period in which a person drove instead of the policy, log time in "
        "ns; null: not watched",
        default=None,
    )
    rate_hz: int = entry("frames per second of the mapping", minimum=1)
    policy: PolicyRan | None = entry("policy that drove; null: a person", default=None)
    ended: str = entry("why the episode ended", default="")
    lost: int = entry(
        "number of messages lost because they arrived faster than the disk could write",
        default=0,
        minimum=0,
    )
    not_received: dict[str, int] = entry(
        "number of messages that were sent but did not arrive, by topic", default={}
    )
    problems: tuple[str, ...] = entry("reasons to keep the episode out of datasets", default=())


def read_sidecar(folder: Path) -> EpisodeSidecar:
    path = folder / SIDECAR
    reader = Reader(str(path))
    found = reader.section(EpisodeSidecar, load_yaml(path))
    for i, span in enumerate(found.interventions or () if found is not None else ()):
        if len(span) != 2 or span[0] > span[1]:
            reader.problem(f"interventions[{i}]", "[begin, end]", Found.of(list(span)))
    if reader.problems:
        raise BundleError(*reader.problems)
    sidecar: EpisodeSidecar = found
    return sidecar


def write_sidecar(folder: Path, sidecar: EpisodeSidecar) -> None:
    """Write the sidecar file atomically, replacing any earlier one."""
    text = json.dumps(asdict(sidecar), indent=1, ensure_ascii=False)
    with whole_file(folder / SIDECAR, mode=0o644) as file:
        file.write(f"{text}\n".encode())
