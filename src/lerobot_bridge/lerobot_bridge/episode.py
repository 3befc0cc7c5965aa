# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""An episode of a recording, and its frames: what readers give and writers of datasets take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from policy_inference.core.images import Picture
from policy_inference.interfaces import F64

SIDECAR = "episode.json"
"""File beside the messages of a recorded episode: what was to be done, and how it ended."""


class Mark(IntEnum):
    """What is said of an episode; the numbers are those of policy_msgs/EpisodeMark."""

    START = 0
    STOP = 1
    DISCARD = 2
    SUCCESS = 3
    FAILURE = 4
    INTERVENTION_BEGINS = 5
    INTERVENTION_ENDS = 6


class Span(NamedTuple):
    """From when to when, ns; the end is not part of it."""

    begin_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """Where an episode is, and what is known of it.

    Attributes:
        bag: The recording: its folder, or its only file.
        span: When it was, by the time of the log; None: all of the recording.
        task: What was to be done.
        tags: Words to find it by.
        success: Whether that was reached; None: nobody said.
        interventions: When a person drove in the policy's place; None: no policy ran, or nobody
            watched for it.
        number: Of the episode within its recording, from 0.
        problem: Why it cannot be read; empty where it can.
        problems: Why no dataset is to be made of it, as who recorded it says.
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
        """What it is called in reports."""
        return f"{self.bag.name}[{self.number}]" if self.span else self.bag.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What LeRobot knows of one moment.

    Attributes:
        time_ns: When it was, by the stamps of the recording.
        vectors: By feature, in LeRobot's units.
        pictures: By camera, uint8 [height, width, 3] in RGB; whoever keeps them copies them.
        intervention: Whether a person drove in the policy's place.
    """

    time_ns: int
    vectors: Mapping[str, F64]
    pictures: Mapping[str, Picture]
    intervention: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """What of a recording is no episode: where, and why."""

    name: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Episodes of recordings, in the order of time, and what was skipped."""

    episodes: list[Episode] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
