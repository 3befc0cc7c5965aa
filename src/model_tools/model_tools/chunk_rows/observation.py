# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One observation of a chunk policy, and where observations come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from policy_inference.bundle.chunk_contract import Camera
from policy_inference.core.chunks.normalise import resized
from policy_inference.core.images import Picture
from policy_inference.interfaces import F64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Observation:
    """What the policy sees at one step, before anything is normalised.

    Attributes:
        number: Of the step in its source.
        pictures: By camera of the contract, uint8 [height, width, 3] in RGB, as it was recorded.
        state: [joints of the contract's state] in the policy's units; None where it takes none.
        environment_state: [size]; None where the policy takes none.
    """

    number: int
    pictures: Mapping[str, Picture]
    state: F64 | None
    environment_state: F64 | None


class ObservationSource(Protocol):
    """Gives observations.

    Attributes:
        name: Of its folder or file.
        count: Steps that there are.
    """

    name: str
    count: int

    def observations(self, wanted: Sequence[int]) -> Iterator[Observation]:
        """Yield observations in the order of their numbers.

        Args:
            wanted: Rising numbers below `count`.

        Raises:
            PolicyError: What it reads is broken or does not fit the contract.
            OSError: A file cannot be read.
        """


def fitted(camera: Camera, picture: Picture) -> Picture:
    """Return a picture in the size of a camera, stretched where it has another."""
    fits = picture.shape[:2] == (camera.height, camera.width)
    return picture if fits else resized(picture, (camera.width, camera.height))
