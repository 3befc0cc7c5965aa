# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Rows: a policy's inputs and outputs in one step, and the interfaces of row sources."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from policy_core.bundle.chunk_contract import Camera
from policy_core.interfaces import F64, Tensor
from policy_core.members.chunk.graphs import ChunkObservation
from policy_core.members.chunk.normalise import resized
from policy_core.observation.images import Image


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Row:
    """Inputs and outputs of a policy in one tick.

    Attributes:
        number: Number of the tick in the source.
        time_s: Time since the source's first tick.
        begins: True if the policy was reset here, at a new episode or at the end of a gap.
        tensors: Model inputs and outputs by name, without the batch axis; possibly views that are
            valid only until the next row.
        sensed: Measured values known to the source, by field of
            `policy_core.observation.state.RobotState`: joint_pos, joint_vel [joints], and
            velocity_command [3] if the contract has it.
    """

    number: int
    time_s: float
    begins: bool
    tensors: Mapping[str, Tensor]
    sensed: Mapping[str, F64]


class RowSource(Protocol):
    """Interface of a source of rows, which can be read only once.

    Attributes:
        name: Name of a file, recording or environment, or "live topics".
        count: Maximum number of ticks, if known in advance.
    """

    name: str
    count: int | None

    def rows(self, wanted: Sequence[int] | None) -> Iterator[Row]:
        """Yield rows in time order.

        Args:
            wanted: Sorted tick numbers to yield, only if `count` is known; None for all.
        """


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordedObservation:
    """Inputs of a chunk policy at one step, before normalization.

    Attributes:
        number: Number of the step in the source.
        images: Images by contract camera, uint8 [height, width, 3] in RGB, in the recorded size.
        state: State [state joints] in the policy's units; None if the policy takes no state.
        environment_state: Environment state [size]; None if the policy takes none.
        earlier: Observations of earlier steps, oldest first, if the policy takes several. The first
            observation replaces missing ones, as on a robot.
    """

    number: int
    images: Mapping[str, Image]
    state: F64 | None
    environment_state: F64 | None
    earlier: tuple[RecordedObservation, ...] = ()

    def as_observed(self) -> ChunkObservation:
        """Return the observation in the form that the graphs of a chunk policy accept."""
        return ChunkObservation(
            images=self.images,
            state=self.state,
            environment=self.environment_state,
            earlier=[one.as_observed() for one in self.earlier],
        )


class ObservationSource(Protocol):
    """Interface of a source of observations.

    Attributes:
        name: Name of the source's folder or file.
        count: Number of steps.
    """

    name: str
    count: int

    def observations(self, wanted: Sequence[int]) -> Iterator[RecordedObservation]:
        """Yield observations in number order.

        Args:
            wanted: Increasing numbers below `count`.
        """


def successive(
    wanted: Sequence[int],
    first: Callable[[int], int],
    steps: int,
    read: Callable[[list[int]], Iterable[RecordedObservation]],
) -> Iterator[RecordedObservation]:
    """Yield observations together with those from the preceding steps.

    Args:
        wanted: Increasing step numbers.
        first: Function that returns the first step of the gapless sequence ending at a given step.
        steps: Number of successive observations that the policy takes.
        read: Function that yields single observations by increasing number; each is read once.
    """
    numbers = [
        [max(number - back, first(number)) for back in reversed(range(steps))] for number in wanted
    ]
    needed = sorted({number for each in numbers for number in each})
    found = zip(needed, read(needed), strict=True)
    known = deque[tuple[int, RecordedObservation]](maxlen=steps)
    for each in numbers:
        while not known or known[-1][0] < each[-1]:
            known.append(next(found))
        seen = dict(known)
        *earlier, newest = (seen[number] for number in each)
        yield replace(newest, earlier=tuple(earlier))


def fitted(camera: Camera, image: Image) -> Image:
    """Return an image, stretched if its size differs from the camera's in the contract."""
    fits = image.shape[:2] == (camera.height, camera.width)
    return image if fits else resized(image, (camera.width, camera.height))
