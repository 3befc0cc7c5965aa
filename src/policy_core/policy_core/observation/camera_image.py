# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Camera images: conversion for the policy, and selection of the image stack by stamps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from policy_core.bundle.camera_image import CameraImage, ColourImage, DepthImage
from policy_core.errors import RobotError
from policy_core.interfaces import F64

F32 = npt.NDArray[np.float32]
_MM_PER_M = np.float32(1000.0)
_ROUNDED = 1e-9
_EARLY = 0.25
"""Share of the camera's period by which an image may arrive early and still be used."""
_STEEPEST = 20.0
"""Tangent of the maximum angle between a ray and the optical axis, 87 degrees."""


class _ImageProcessor:
    """Converts a camera's pixels to the values that the policy expects, step by step.

    All memory is preallocated.

    Attributes:
        image: The policy's image, in the contract's shape and scaling; float32.
        invalid: Number of unknown values in the last image.
    """

    image: F32
    invalid = 0

    def __init__(self, image: CameraImage, steps: Sequence[str], *channels: int) -> None:
        """Prepare the steps for an image section that has passed `check_image`."""
        self._contract = image
        height, width = image.camera_size
        self._part = slice(None), slice(None)
        if steps[:1] == ("crop",):  # cropped pixels take no time and do not count as unknown
            assert image.crop_px is not None
            top, bottom, left, right = image.crop_px
            self._part = slice(top, height - bottom), slice(left, width - right)
            height, width = height - top - bottom, width - left - right
            steps = steps[1:]
        self._pixels: F32 = np.zeros((*channels, height, width), np.float32)
        self._stages: list[Callable[[], object]] = []
        self._last = self._lay_out(steps)

    def _run(self) -> None:
        for stage in self._stages:
            stage()

    def _lay_out(self, steps: Sequence[str]) -> F32:
        """Set up the stages; return the image that the last stage writes.

        Adjacent linear steps are combined into one stage.
        """
        image = self._pixels
        weights: tuple[F64, F64] | None = None
        for step in [*steps, "end"]:
            if step in ("crop", "resize", "blur"):
                shape = image.shape[-2:] if weights is None else tuple(map(len, weights))
                rows, columns = self._weights(step, shape)
                weights = (
                    (rows, columns)
                    if weights is None
                    else (rows @ weights[0], columns @ weights[1])
                )
                continue
            if weights is not None:
                image = self._linear(image, *weights)
                weights = None
            self._plan(step, image)
        return image

    def _plan(self, step: str, image: F32) -> None:
        """Append the stage for a step that keeps the image size, or for the end of the steps."""
        raise NotImplementedError

    def _weights(self, step: str, shape: Sequence[int]) -> tuple[F64, F64]:
        """Return a linear step's weights along rows and along columns, each [after, before]."""
        image = self._contract
        if step == "crop":
            assert image.crop_px is not None
            top, bottom, left, right = image.crop_px
            return np.eye(shape[0])[top : shape[0] - bottom], np.eye(shape[1])[
                left : shape[1] - right
            ]
        if step == "blur":
            assert image.blur is not None
            kernel = image.blur.kernel_px, image.blur.sigma_px
            return blur_weights(shape[0], *kernel), blur_weights(shape[1], *kernel)
        assert image.resize is not None
        height, width = image.resize_to or image.size
        return (
            resize_weights(shape[0], height, image.resize),
            resize_weights(shape[1], width, image.resize),
        )

    def _linear(self, image: F32, rows: F64, columns: F64) -> F32:
        by_rows = np.ascontiguousarray(rows, np.float32)
        by_columns = np.ascontiguousarray(columns.T, np.float32)
        between: F32 = np.zeros((*image.shape[:-2], len(rows), image.shape[-1]), np.float32)
        out: F32 = np.zeros((*image.shape[:-2], len(rows), len(columns)), np.float32)

        def stage() -> None:
            np.matmul(by_rows, image, between)
            np.matmul(between, by_columns, out)

        self._stages.append(stage)
        return out


class DepthProcessor(_ImageProcessor):
    """Converts a camera's depth image to the values that the policy expects."""

    def __init__(self, depth: DepthImage) -> None:
        """Prepare the steps for a depth section that has passed `check_image`."""
        self._depth = depth
        super().__init__(depth, depth.steps)
        self.image = self._last
        self._known, self._far = np.zeros((2, *self._pixels.shape), np.bool_)

    def see(self, raw: npt.NDArray[np.uint16] | F32, factor: F32 | None = None) -> None:
        """Convert a camera's depth image, and write the result to `image`.

        Args:
            raw: Image in the camera's size [height, width]; uint16 in mm, where 0 is unknown, or
                float32 in m, where NaN and -infinity are unknown and +infinity is too far; in
                either byte order.
            factor: Factor for each pixel [height, width], needed if the camera and the policy use
                different kinds of distance: `ray_factors` or the inverse.

        Raises:
            RobotError: All depths are unknown, or more than the contract allows.
        """
        depth, metres = self._depth, self._pixels
        raw = raw[self._part]
        if raw.dtype.kind == "u":
            np.divide(raw, _MM_PER_M, out=metres, dtype=np.float32)
        else:
            np.copyto(metres, raw)
        if factor is not None:
            np.multiply(metres, factor[self._part], metres)
        if depth.invalid_below_m is None:
            np.greater(metres, np.float32(0.0), self._known)
        else:
            np.greater_equal(metres, np.float32(depth.invalid_below_m), self._known)
        self.invalid = metres.size - int(np.count_nonzero(self._known))
        if self.invalid > depth.max_invalid_ratio * metres.size + _ROUNDED:
            raise RobotError(
                f"expected at most {100 * depth.max_invalid_ratio:.3g}% of the pixels to have an "
                f"unknown depth, found {self.invalid} of {metres.size}"
            )
        if self.invalid == metres.size:
            raise RobotError(
                "expected a depth image, found only unknown depths; is the camera covered?"
            )
        if raw.dtype.kind != "u":
            np.equal(metres, np.inf, self._far)
            np.copyto(metres, np.float32(depth.too_far_m), where=self._far)
        if self.invalid:
            np.logical_not(self._known, self._known)
            np.copyto(metres, np.float32(depth.invalid_m), where=self._known)
        self._run()

    def _plan(self, step: str, image: F32) -> None:
        depth = self._depth
        if step == "clip":
            assert depth.clip_m is not None
            low, high = map(np.float32, depth.clip_m)
            self._stages.append(lambda: np.clip(image, low, high, image))
        elif step == "blank":
            self._blank(image)
        elif depth.values == "scaled":
            self._scale(image)

    def _blank(self, image: F32) -> None:
        assert self._depth.blank_px is not None
        assert self._depth.blank_m is not None
        top, bottom, left, right = self._depth.blank_px
        height, width = image.shape
        value = np.float32(self._depth.blank_m)
        parts = image[:top], image[height - bottom :], image[:, :left], image[:, width - right :]

        def stage() -> None:
            for part in parts:
                part[...] = value

        self._stages.append(stage)

    def _scale(self, image: F32) -> None:
        depth = self._depth
        assert depth.clip_m is not None
        assert depth.scaled_to is not None
        near, span = np.float32(depth.clip_m[0]), np.float32(depth.clip_m[1] - depth.clip_m[0])
        low, width = (
            np.float32(depth.scaled_to[0]),
            np.float32(depth.scaled_to[1] - depth.scaled_to[0]),
        )

        def stage() -> None:
            np.subtract(image, near, image)
            np.divide(image, span, image)
            if width != 1.0:
                np.multiply(image, width, image)
            if low:
                np.add(image, low, image)

        self._stages.append(stage)


class ColourProcessor(_ImageProcessor):
    """Converts a camera's color image to the values that the policy expects."""

    def __init__(self, colour: ColourImage) -> None:
        """Prepare the steps for a color section that has passed `check_image`."""
        self.colour = colour
        super().__init__(colour, colour.steps, colour.channel_count)
        self._values = np.zeros_like(self._last)
        self.image = self._values
        if colour.layout == "channels_last":
            self.image = self._values.transpose(1, 2, 0)
        self._order = [2, 1, 0] if colour.channels == "bgr" else [0, 1, 2]
        low, high = colour.scaled_to
        self._gain, self._low = np.float32((high - low) / 255.0), np.float32(low)
        self._mean, self._std = (
            None if numbers is None else np.asarray(numbers, np.float32)[:, None, None]
            for numbers in (colour.mean, colour.std)
        )
        self._means: F32 = np.zeros((len(self._values), 1, 1), np.float32)

    def see(self, raw: npt.NDArray[np.uint8]) -> None:
        """Convert an RGB image of the camera's size [height, width, 3]; write `image`."""
        raw = raw[self._part]
        if self.colour.channels == "grey":
            self._pixels[0] = cv2.cvtColor(raw, cv2.COLOR_RGB2GRAY)
        else:
            for plane, channel in zip(self._pixels, self._order, strict=True):
                plane[...] = raw[:, :, channel]
        self._run()
        values = self._values
        np.multiply(self._last, self._gain, values)
        np.add(values, self._low, values)
        if self.colour.centre == "image":
            np.subtract(values, values.mean((1, 2), keepdims=True, out=self._means), values)
        if self._mean is not None:
            np.subtract(values, self._mean, values)
        if self._std is not None:
            np.divide(values, self._std, values)

    def levels(self) -> npt.NDArray[np.uint8]:
        """Return the last image as it was before scaling [height, width, channels], 0 to 255."""
        rounded = np.clip(np.rint(self._last), 0.0, 255.0).astype(np.uint8)
        return np.ascontiguousarray(rounded.transpose(1, 2, 0))

    def _plan(self, step: str, image: F32) -> None:
        if step == "round":

            def stage() -> None:
                np.rint(image, image)
                np.clip(image, 0.0, 255.0, image)

            self._stages.append(stage)


class ImageHistory:
    """The latest images with their stamps, from which the policy's image stack is selected.

    Positions in the stack are times, so a lost or late image does not shift other images.

    Attributes:
        newest_ns: Stamp of the newest image; None if there is no image.
    """

    _RECENT, _SLOWEST = 4, 1.5
    """Number of images from which the camera's rate is computed, and the longest mean interval
    between images, in periods.
    """

    def __init__(self, image: CameraImage, period_ns: int) -> None:
        """Begin without an image.

        Args:
            image: The contract section.
            period_ns: Period of the policy.
        """
        stack = image.stack
        self._period_ns = round(1e9 / image.rate_hz)
        self._step_ns = self._period_ns if stack.unit == "frames" else period_ns
        self._offsets_ns = [offset * self._step_ns for offset in stack.offsets]
        self._latency_ns = round(image.latency_s * 1e9)
        self._longest_gap_ns = round(image.timeout_s * 1e9)
        self._fills_zero = stack.fill == "zero"
        span_ns = max(self._offsets_ns) + self._latency_ns
        # Images may be up to a quarter of a period early, and each needs its own slot.
        places = 3 + math.ceil(span_ns / (self._period_ns * (1.0 - _EARLY)))
        self._images: F32 = np.zeros((places, math.prod(image.shape)), np.float32)
        self._stamps_ns = np.zeros(places, np.int64)
        self._distance = np.zeros(places, np.int64)
        self.clear()

    def clear(self) -> None:
        """Discard all images, so that the next image begins a new stack."""
        self.newest_ns: int | None = None
        self._count = 0
        self._due_ns = 0

    def wants(self, stamp_ns: int) -> bool:
        """Return True if the image with this stamp is needed.

        A camera that is faster than the contract's sends more images than needed. An image whose
        stamp is far before or after the newest stamp begins a new stack.
        """
        newest_ns = self.newest_ns
        if newest_ns is not None and not (
            -self._longest_gap_ns <= stamp_ns - newest_ns <= self._longest_gap_ns
        ):
            self.clear()
            return True
        if newest_ns is None:
            return True
        return stamp_ns > newest_ns and stamp_ns >= self._due_ns - _EARLY * self._period_ns

    def add(self, image: F32, stamp_ns: int) -> None:
        """Store a copy of an image in the contract's shape; `wants` must have accepted it."""
        place = self._count % len(self._images)
        self._images[place] = image.reshape(-1)
        self._stamps_ns[place] = stamp_ns
        self._count += 1
        is_late = self.newest_ns is None or stamp_ns > self._due_ns + self._period_ns // 2
        self._due_ns = (stamp_ns if is_late else self._due_ns) + self._period_ns
        self.newest_ns = stamp_ns

    def ready_ns(self, now_ns: int) -> int | None:
        """Return the stamp of the newest image that is at least as old as in training, or None.

        Args:
            now_ns: Time on the clock used for stamps. An image with a later stamp counts as new; in
                a simulation, the clock may advance in steps.
        """
        stamps_ns = self._stamps_ns[: self._count]
        old = stamps_ns[stamps_ns <= max(now_ns, self.newest_ns or 0) - self._latency_ns]
        return int(old.max()) if old.size else None

    def write(self, newest_ns: int, out: npt.NDArray[np.floating]) -> None:
        """Write the images of the stack to `out`, in contract order.

        Args:
            newest_ns: Stamp of the image at offset 0.
            out: Array [offsets, values per image] to write to.

        Raises:
            RobotError: The camera is too slow for the image spacing in training.
        """
        stamps_ns = self._stamps_ns[: self._count]
        if len(self._offsets_ns) > 1 and self._count >= self._RECENT:
            recent_ns = np.sort(stamps_ns)[-self._RECENT :]
            apart_s = float(recent_ns[-1] - recent_ns[0]) * 1e-9 / (self._RECENT - 1)
            if apart_s > self._SLOWEST * self._period_ns * 1e-9:
                raise RobotError(
                    f"camera images: expected {1e9 / self._period_ns:g} per second (as in "
                    f"training), found {1.0 / apart_s:.2g}"
                )
        distance = self._distance[: len(stamps_ns)]
        oldest_ns = int(stamps_ns.min())
        for row, offset_ns in zip(out, self._offsets_ns, strict=True):
            wanted_ns = newest_ns - offset_ns
            if self._fills_zero and wanted_ns < oldest_ns - self._step_ns // 2:
                row[:] = 0.0
                continue
            np.subtract(stamps_ns, wanted_ns, distance)
            np.absolute(distance, distance)
            row[:] = self._images[int(distance.argmin())]


def ray_factors(k: Sequence[float], height: int, width: int) -> F32:
    """Return each pixel's ratio of distance along the ray to axial depth [height, width].

    Args:
        k: Intrinsic matrix row by row [9], as in sensor_msgs/CameraInfo.
        height: Image height, pixels.
        width: Image width, pixels.

    Raises:
        RobotError: The focal lengths are not plausible for a camera.
    """
    fx, fy, cx, cy = k[0], k[4], k[2], k[5]
    found = f"fx {fx:g}, fy {fy:g}, cx {cx:g}, cy {cy:g}"
    if not (all(map(math.isfinite, (fx, fy, cx, cy))) and fx > 0.0 and fy > 0.0):
        raise RobotError(f"expected finite intrinsics and focal lengths > 0, found {found}")
    x, y = (np.arange(width) - cx) / fx, (np.arange(height) - cy) / fy
    if max(np.abs(x).max(), np.abs(y).max()) > _STEEPEST:
        raise RobotError(f"expected rays in front of the camera, found {found}")
    return np.sqrt(1.0 + x[None] ** 2 + y[:, None] ** 2).astype(np.float32)


def blur_weights(size: int, kernel_px: int, sigma_px: float) -> F64:
    """Return Gaussian weights along one axis [size, size], reflected at both ends."""
    offsets = np.arange(kernel_px) - kernel_px // 2
    kernel = np.exp(-0.5 * np.square(offsets / sigma_px))
    weights = np.zeros((size, size))
    for row in range(size):
        for offset, weight in zip(offsets, kernel / kernel.sum(), strict=True):
            at = abs(row + offset)
            weights[row, at if at < size else 2 * (size - 1) - at] += weight
    return weights


def resize_weights(before: int, after: int, method: str) -> F64:
    """Return resizing weights along one axis [after, before]; each row sums to 1.

    Args:
        before: Number of pixels before resizing.
        after: Number of pixels after resizing.
        method: One of the contract's methods.
    """
    scale = before / after
    if method == "area":
        ends = np.minimum((np.arange(after)[:, None] + [0, 1]) * scale, before)
        cells = np.arange(before)
        shared = np.minimum(ends[:, 1:], cells + 1) - np.maximum(ends[:, :1], cells)
        return _of_sum_one(np.maximum(shared, 0.0))
    if method.endswith("_antialias"):
        stretch = max(scale, 1.0)
        centre = (np.arange(after)[:, None] + 0.5) * scale
        distance = (np.arange(before) + 0.5 - centre) / stretch
        return _of_sum_one(_triangle(distance) if "linear" in method else _cubic(distance, -0.5))
    weights = np.zeros((after, before))
    rows = np.arange(after)
    if method in ("nearest", "nearest_centre"):
        shift = 0 if method == "nearest" else 1
        weights[rows, (2 * rows + shift) * before // (2 * after)] = 1.0
        return weights
    centre = (rows + 0.5) * scale - 0.5
    first = np.floor(centre).astype(int)
    for tap in (0, 1) if method == "bilinear" else (-1, 0, 1, 2):
        distance = first + tap - centre
        weight = _triangle(distance) if method == "bilinear" else _cubic(distance, -0.75)
        np.add.at(weights, (rows, np.clip(first + tap, 0, before - 1)), weight)
    return weights


def _of_sum_one(weights: F64) -> F64:
    shares: F64 = weights / weights.sum(axis=1, keepdims=True)
    return shares


def _triangle(distance: F64) -> F64:
    return np.maximum(0.0, 1.0 - np.abs(distance))


def _cubic(distance: F64, a: float) -> F64:
    """Return the weights of cubic convolution (R. Keys, 1981) at distances given in pixels."""
    x = np.abs(distance)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = ((x - 5.0) * x + 8.0) * x * a - 4.0 * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))
