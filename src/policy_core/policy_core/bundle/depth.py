# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The depth image of a policy: its size, its processing, and the meaning of its values.

Settings that differ between training setups have no default: an image that is cropped elsewhere,
scaled differently or a frame late still looks like a depth image, and the robot walks into what it
shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from policy_core.bundle.schema import Check, Found, entry, expect_paired

MOST_FRAMES = 64
"""Largest number of images in a stack."""
LARGEST_IMAGE = 4096
"""Height and width of a camera's image, pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthStack:
    """Selection of the images that the policy sees at once, one after another in its vector."""

    offsets: tuple[int, ...] = entry(
        "age of each image in the order of the vector, in steps; 0: the newest. [0, 1] has the "
        "newest first, [1, 0] last; [1] alone is an image that is one step late",
        minItems=1,
        maxItems=MOST_FRAMES,
        minimum=0,
        maximum=255,
    )
    unit: Literal["frames", "ticks"] = entry(
        "what a step is: frames, a period of the camera; ticks, a period of the policy"
    )
    fill: Literal["repeat", "zero"] = entry(
        "what stands for images before the first: the first image, or zeros, as in `history`"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianBlur:
    """Gaussian blur; the border is reflected without its last pixel, as in OpenCV."""

    kernel_px: int = entry("odd number of weights along each axis", minimum=1, maximum=31)
    sigma_px: float = entry("standard deviation of the weights, pixels", exclusiveMinimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthImage:
    """A depth image: the conversion from camera pixels to the policy's values.

    Unknown depths are replaced first, before anything interpolates across them. The steps follow in
    their order, then the scaling.
    """

    camera_size: tuple[int, ...] = entry(
        "height and width of the camera's image, pixels",
        length=2,
        minimum=1,
        maximum=LARGEST_IMAGE,
    )
    size: tuple[int, ...] = entry(
        "height and width of the image that the policy sees, pixels",
        length=2,
        minimum=1,
        maximum=LARGEST_IMAGE,
    )
    measure: Literal["depth", "distance"] = entry(
        "depth along the optical axis (REP 118), or distance along the ray of each pixel"
    )
    invalid_m: float = entry(
        "what stands for a depth that is not known, m: 0 in 16UC1; NaN, -infinity and numbers of 0 "
        "or less in 32FC1; those below `invalid_below_m`"
    )
    invalid_below_m: float | None = entry(
        "nearer than this a depth counts as not known, m", default=None, exclusiveMinimum=0
    )
    too_far_m: float = entry("what stands for +infinity in 32FC1: nothing in reach, m")
    max_invalid_ratio: float = entry(
        "largest share of pixels whose depth is not known, after a crop that comes first",
        minimum=0,
        maximum=1,
    )
    steps: tuple[Literal["crop", "clip", "resize", "blur", "blank"], ...] = entry(
        "what is done to the image, in the order of the training, each at most once"
    )
    crop_px: tuple[int, ...] | None = entry(
        "crop: pixels that are cut off at the top, bottom, left and right",
        default=None,
        length=4,
        minimum=0,
        maximum=LARGEST_IMAGE,
    )
    clip_m: tuple[float, ...] | None = entry(
        "clip: nearest and farthest depth, m", default=None, length=2, minimum=0, maximum=1000
    )
    resize: (
        Literal[
            "nearest",
            "nearest_centre",
            "area",
            "bilinear",
            "bicubic",
            "bilinear_antialias",
            "bicubic_antialias",
        ]
        | None
    ) = entry(
        "resize: how. nearest, bilinear, bicubic: as OpenCV, and torch without antialias; area: as "
        "OpenCV; nearest_centre: as Pillow, and torch's nearest-exact; ..._antialias: as Pillow, "
        "and torch with antialias",
        default=None,
    )
    resize_to: tuple[int, ...] | None = entry(
        "resize: height and width of what it makes, pixels; `size` if absent",
        default=None,
        length=2,
        minimum=1,
        maximum=LARGEST_IMAGE,
    )
    blur: GaussianBlur | None = entry("blur: the weights", default=None)
    blank_px: tuple[int, ...] | None = entry(
        "blank: pixels at the top, bottom, left and right that get the value `blank_m`",
        default=None,
        length=4,
        minimum=0,
        maximum=LARGEST_IMAGE,
    )
    blank_m: float | None = entry("blank: the value, m", default=None)
    values: Literal["metres", "scaled"] = entry(
        "metres: depths as they are; scaled: linear, so that `clip_m` becomes `scaled_to`"
    )
    scaled_to: tuple[float, ...] | None = entry(
        "scaled: the values of the nearest and the farthest depth: [0, 1], or [-0.5, 0.5]",
        default=None,
        length=2,
        minimum=-1000,
        maximum=1000,
    )
    stack: DepthStack = entry("images that the policy sees at once")
    rate_hz: float = entry(
        "images per second in training; a faster camera's are thinned out",
        minimum=0.1,
        maximum=1000,
    )
    latency_s: float = entry(
        "age of the newest image in training when the policy gets it, s: a younger one waits",
        minimum=0,
        maximum=5,
    )
    max_age_s: float = entry(
        "age of the newest image, by its own stamp, beyond which it is stale, s",
        exclusiveMinimum=0,
        maximum=60,
    )
    on_stale: Literal["fault", "hold"] = entry(
        "fault: a stale image holds the robot at once; hold: the last values count for `hold_s` "
        "more"
    )
    hold_s: float | None = entry(
        "hold: longest time for which the values of a stale image count, s",
        default=None,
        exclusiveMinimum=0,
        maximum=60,
    )

    @property
    def count(self) -> int:
        """Number of values in all images of the stack."""
        return math.prod(self.size) * len(self.stack.offsets)

    @property
    def timeout_s(self) -> float:
        """Age beyond which the policy no longer acts on the values, s."""
        return self.max_age_s + (self.hold_s or 0.0)


_SMALLEST_SPAN_M, _MOST_PIXELS = 0.001, 1 << 26
_OPTIONS = {
    "crop": ("crop_px",),
    "clip": ("clip_m",),
    "resize": ("resize",),
    "blur": ("blur",),
    "blank": ("blank_px", "blank_m"),
}
"""Options of each step."""


def check_depth(depth: DepthImage, key: str, period_s: float, problem: Check) -> None:
    """Report contradictions in a depth image.

    Args:
        depth: The section as it was read.
        key: Key of the section.
        period_s: Period of the policy, s.
        problem: Called with key, expected value and found value.
    """
    if len(set(depth.steps)) < len(depth.steps):
        problem(f"{key}.steps", "each step once", list(depth.steps))
        return
    for step, names in _OPTIONS.items():
        for name in names:
            expect_paired(step in depth.steps, getattr(depth, name), f"{key}.{name}", step, problem)
    if "resize" not in depth.steps and depth.resize_to is not None:
        expect_paired(False, depth.resize_to, f"{key}.resize_to", "resize", problem)
    expect_paired(depth.values == "scaled", depth.scaled_to, f"{key}.scaled_to", "scaled", problem)
    expect_paired(
        depth.on_stale == "hold", depth.hold_s, f"{key}.hold_s", "on_stale: hold", problem
    )
    if depth.clip_m is not None and not depth.clip_m[1] - depth.clip_m[0] >= _SMALLEST_SPAN_M:
        problem(
            f"{key}.clip_m", f"nearest < farthest by {_SMALLEST_SPAN_M:g} m", list(depth.clip_m)
        )
    if depth.values == "scaled" and depth.clip_m is None:
        problem(f"{key}.clip_m", "nearest and farthest depth, which are scaled", Found("nothing"))
    if depth.blur is not None and depth.blur.kernel_px % 2 == 0:
        problem(f"{key}.blur.kernel_px", "an odd number", depth.blur.kernel_px)
    _check_sizes(depth, key, problem)
    youngest_s = depth.latency_s + 1.0 / depth.rate_hz
    if depth.max_age_s < youngest_s - 1e-9:
        problem(
            f"{key}.max_age_s",
            f"{youngest_s:.3g} or more: latency_s, and the time until the next image",
            depth.max_age_s,
        )
    step_s = period_s if depth.stack.unit == "ticks" else 1.0 / depth.rate_hz
    images = (max(depth.stack.offsets) * step_s + depth.latency_s) * depth.rate_hz
    if images * math.prod(depth.size) > _MOST_PIXELS:
        problem(
            f"{key}.stack.offsets",
            f"images of at most {_MOST_PIXELS} pixels in all between the first and the last",
            Found(f"{images:.0f} images of {math.prod(depth.size)} pixels"),
        )
    is_slower = depth.rate_hz * period_s < 1.0 - 1e-9
    if is_slower and depth.stack.unit == "ticks" and any(depth.stack.offsets):
        problem(
            f"{key}.stack.unit",
            f"frames, since {depth.rate_hz:g} images per second are fewer than the policy's ticks",
            depth.stack.unit,
        )


def _check_sizes(depth: DepthImage, key: str, problem: Check) -> None:
    """Check that the steps lead from the camera's size to the policy's."""
    height, width = depth.camera_size
    for step in depth.steps:
        if step == "resize":
            before = height, width
            height, width = depth.resize_to or depth.size
            if depth.resize == "area" and (height > before[0] or width > before[1]):
                problem(
                    f"{key}.resize", f"bilinear, to enlarge from {before[0]} x {before[1]}", "area"
                )
        elif step in ("crop", "blank"):
            cut = (depth.crop_px if step == "crop" else depth.blank_px) or (0, 0, 0, 0)
            left = height - cut[0] - cut[1], width - cut[2] - cut[3]
            if min(left) < 1:
                problem(
                    f"{key}.{step}_px", f"less than the {height} x {width} pixels there", list(cut)
                )
                return
            if step == "crop":
                height, width = left
        elif step == "blur" and depth.blur and depth.blur.kernel_px >= 2 * min(height, width):
            problem(
                f"{key}.blur.kernel_px",
                f"less than twice the {height} x {width} pixels there",
                depth.blur.kernel_px,
            )
            return
    if (height, width) != depth.size:
        problem(f"{key}.size", f"{[height, width]}, what the steps make", list(depth.size))
