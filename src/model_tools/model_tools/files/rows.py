# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a policy saw and gave at one step, and where such rows come from."""

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
    """What a policy got and gave in one tick.

    Attributes:
        number: Of the tick in its source.
        time_s: Since the source's first tick.
        begins: Whether the policy started clean here: a new episode, or the end of a gap.
        tensors: Inputs and outputs of the model by name, without batch axis; they may be views
            that hold until the next row.
        sensed: What was measured, as far as the source knows it, by field of
            `policy_core.observation.state.RobotState`: joint_pos, joint_vel [joints], and
            velocity_command [3] if the contract has it.
    """

    number: int
    time_s: float
    begins: bool
    tensors: Mapping[str, Tensor]
    sensed: Mapping[str, F64]


class RowSource(Protocol):
    """Gives rows, once.

    Attributes:
        name: Of a file, of a recording, of an environment, or "live topics".
        count: Ticks that there will be at most, where that is known beforehand.
    """

    name: str
    count: int | None

    def rows(self, wanted: Sequence[int] | None) -> Iterator[Row]:
        """Yield rows in the order of time.

        Args:
            wanted: Numbers of the ticks to yield, sorted, only where `count` is known; None for
                all of them.
        """


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordedObservation:
    """What the policy sees at one step, before anything is normalised.

    Attributes:
        number: Of the step in its source.
        images: By camera of the contract, uint8 [height, width, 3] in RGB, as it was recorded.
        state: [joints of the contract's state] in the policy's units; None where it takes none.
        environment_state: [size]; None where the policy takes none.
        earlier: Those of the steps before, the oldest first, where the policy gets several
            observations. Of steps that are not there the first one takes the place, as on a robot.
    """

    number: int
    images: Mapping[str, Image]
    state: F64 | None
    environment_state: F64 | None
    earlier: tuple[RecordedObservation, ...] = ()

    def as_observed(self) -> ChunkObservation:
        """Return it as the graphs of a chunk policy take it."""
        return ChunkObservation(
            images=self.images,
            state=self.state,
            environment=self.environment_state,
            earlier=[one.as_observed() for one in self.earlier],
        )


class ObservationSource(Protocol):
    """Gives observations.

    Attributes:
        name: Of its folder or file.
        count: Steps that there are.
    """

    name: str
    count: int

    def observations(self, wanted: Sequence[int]) -> Iterator[RecordedObservation]:
        """Yield observations in the order of their numbers.

        Args:
            wanted: Rising numbers below `count`.
        """


def successive(
    wanted: Sequence[int],
    first: Callable[[int], int],
    steps: int,
    read: Callable[[list[int]], Iterable[RecordedObservation]],
) -> Iterator[RecordedObservation]:
    """Yield observations with those of the steps before.

    Args:
        wanted: Rising numbers of steps.
        first: Returns, of a step, the first one from which on no step is missing up to it.
        steps: How many successive observations the policy gets.
        read: Yields single observations by their rising numbers; each is read once.
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
    """Return an image in the size of a camera, stretched where it has another."""
    fits = image.shape[:2] == (camera.height, camera.width)
    return image if fits else resized(image, (camera.width, camera.height))
