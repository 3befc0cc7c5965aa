# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Normalization of images and vectors, and a policy's joint units."""

import dataclasses
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from policy_core.bundle.chunk_contract import Camera, ChunkContract, JointUnit, Scaling
from policy_core.interfaces import F32, F64, Tensor
from policy_core.observation.distribution import MARGIN, InputStatistics, normalised_input
from policy_core.observation.images import Image


class VectorNormaliser:
    """Normalizes vectors for the network, and denormalizes the network's outputs."""

    def __init__(self, scaling: Scaling, size: int) -> None:
        """Compute scale and offset [size]; `scaling` has statistics for each value."""
        self._scale, self._offset = _forward(scaling, size)
        self._back_scale, self._back_offset = _back(scaling, size)

    def apply(self, values: F64) -> F64:
        """Return values [..., size], normalized for the network."""
        return values * self._scale + self._offset

    def undo(self, values: F64) -> F64:
        """Return denormalized network outputs [..., size]."""
        return values * self._back_scale + self._back_offset


class ImageNormaliser:
    """Writes one camera's images into a graph's input."""

    def __init__(self, camera: Camera, out: Tensor) -> None:
        """Prepare the table that maps pixel values to network inputs.

        Args:
            camera: Size and statistics.
            out: The back end's buffer [1, 3, height, width], float32 or float16; uint8 for images
                that are not normalized.
        """
        self._size = camera.width, camera.height
        self._tables = image_tables(camera.normalisation)
        self._out = out[0]
        self._is_raw = out.dtype == np.uint8
        shape = (camera.height, camera.width)
        self._channels = [np.zeros(shape, np.uint8) for _ in range(3)]
        # OpenCV writes into a given array only if its type and layout match those of the result.
        self._direct = out.dtype == np.float32 and out.flags.c_contiguous
        self._planes: F32 = np.zeros((3, *shape), np.float32) if not self._direct else out[0]

    def apply(self, image: Image) -> None:
        """Convert an image [height, width, 3] to the network's input; resize it if necessary.

        The input is written to the back end's buffer.
        """
        if image.shape[:2] != self._size[::-1]:
            image = resized(image, self._size)
        if self._is_raw:
            np.copyto(self._out, image.transpose(2, 0, 1))
            return
        cv2.split(image, self._channels)
        for channel, table, plane in zip(self._channels, self._tables, self._planes, strict=True):
            cv2.LUT(channel, table, plane)
        if not self._direct:
            self._out[:] = self._planes


def image_tables(scaling: Scaling) -> F32:
    """Return the network input for each pixel value [3 channels, 256]."""
    scale, offset = _forward(scaling, 3)
    values = np.arange(256) / 255.0
    return (values * scale[:, np.newaxis] + offset[:, np.newaxis]).astype(np.float32)


def resized(image: Image, size: tuple[int, int]) -> Image:
    """Return an image resized to this (width, height); to shrink it, pixel areas are averaged."""
    height, width = image.shape[:2]
    smaller = size[0] <= width and size[1] <= height
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)


def _forward(scaling: Scaling, size: int) -> tuple[F64, F64]:
    """Return the scale and offset [size] for normalizing, by the contract's formula."""
    if scaling.mode == "mean_std":
        scale = 1.0 / (np.array(scaling.std) + scaling.eps)
        return scale, -np.array(scaling.mean) * scale
    if scaling.mode == "min_max":
        scale = 2.0 / _range(scaling)
        return scale, -np.array(scaling.min) * scale - 1.0
    return np.ones(size), np.zeros(size)


def _back(scaling: Scaling, size: int) -> tuple[F64, F64]:
    """Return the scale and offset [size] for denormalizing; mean_std has no eps here."""
    if scaling.mode == "mean_std":
        return np.array(scaling.std), np.array(scaling.mean)
    if scaling.mode == "min_max":
        half = _range(scaling) / 2.0
        return half, np.array(scaling.min) + half
    return np.ones(size), np.zeros(size)


def _range(scaling: Scaling) -> F64:
    found = np.array(scaling.max) - np.array(scaling.min)
    return np.where(found == 0.0, scaling.eps, found)


class Units:
    """Converts joint positions between rad and the policy's units, by an affine map per joint."""

    def __init__(self, units: Mapping[str, JointUnit], joints: Sequence[str]) -> None:
        """Compute the map for each of `joints`, in their order."""
        factors = [_factors(units[joint]) for joint in joints]
        self._scale: F64 = np.array([scale for scale, _ in factors])
        self._zero_rad: F64 = np.array([zero_rad for _, zero_rad in factors])

    def of_rad(self, position_rad: F64) -> F64:
        """Convert positions [..., joints] from rad to the policy's units."""
        return (position_rad - self._zero_rad) * self._scale

    def to_rad(self, values: F64) -> F64:
        """Convert positions [..., joints] from the policy's units to rad."""
        return values / self._scale + self._zero_rad


def _factors(unit: JointUnit) -> tuple[float, float]:
    """Return the policy's units per rad, and the position (in rad) that has the value 0."""
    if unit.unit == "radians":
        return float(unit.sign), unit.zero_rad
    if unit.unit == "degrees":
        return unit.sign * 180.0 / np.pi, unit.zero_rad
    low, high = unit.low_rad, unit.high_rad
    assert low is not None  # ensured by validation
    assert high is not None
    if unit.unit == "range_0_100":
        return 100.0 / (high - low), low
    return 200.0 / (high - low), (low + high) / 2.0


def watched_state(
    contract: ChunkContract, inputs: Mapping[str, Tensor]
) -> list[tuple[Tensor, InputStatistics]]:
    """Return each input vector of a chunk policy, with its training statistics.

    These statistics normalize the vector; images, and vectors without normalization, are left out.
    """
    vectors = list[tuple[str, Scaling, list[str]]]()
    if state := contract.state:
        names = [f"{state.feature}[{name}]" for name in state.joints]
        vectors.append((state.tensor, state.normalisation, names))
    if outside := contract.environment_state:
        names = [f"{outside.feature}[{place}]" for place in range(outside.size)]
        vectors.append((outside.tensor, outside.normalisation, names))
    return [
        # The newest of several observations, which is the last.
        (inputs[tensor].reshape(1, -1)[:, -len(names) :], healthy)
        for tensor, scaling, names in vectors
        if (healthy := _vector_statistics(names, scaling)) is not None
    ]


def _vector_statistics(names: list[str], scaling: Scaling) -> InputStatistics | None:
    """Return the training statistics of a normalized vector; None if unknown."""
    if scaling.mode == "identity":
        return None
    found = dataclasses.replace(normalised_input(len(names)), terms=np.array(names))
    if scaling.mode == "min_max":
        largest = np.full(len(names), 1.0 + 2.0 * MARGIN)
        return dataclasses.replace(found, low=-largest, high=largest)
    return found
