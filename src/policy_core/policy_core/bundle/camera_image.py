# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Contract section for a joint policy's camera images: size, processing, meaning of the values.

Settings that differ between training setups have no default: an image that is cropped or scaled
differently, or arrives a frame late, still looks right, but makes the robot walk into obstacles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from policy_core.bundle.schema import Check, Found, entry, expect_paired

MOST_FRAMES = 64
"""Maximum number of images in a stack."""
LARGEST_IMAGE = 4096
"""Maximum height and width of a camera image, pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStack:
    """Selection of the images that the policy sees at once, concatenated in its input vector."""

    offsets: tuple[int, ...] = entry(
        "age of each image in steps, in the order of the vector; 0: the newest image. [0, 1] "
        "puts the newest image first, [1, 0] last; [1] is a single image, delayed by one step",
        minItems=1,
        maxItems=MOST_FRAMES,
        minimum=0,
        maximum=255,
    )
    unit: Literal["frames", "ticks"] = entry(
        "length of a step: frames, one camera period (1 / rate_hz); ticks, one policy period"
    )
    fill: Literal["repeat", "zero"] = entry(
        "content of the images before the first: repeat (the first image) or zero, as in `history`"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianBlur:
    """Gaussian blur; the border is reflected without repeating the edge pixel, as in OpenCV."""

    kernel_px: int = entry("number of weights along each axis, odd", minimum=1, maximum=31)
    sigma_px: float = entry("standard deviation of the Gaussian, pixels", exclusiveMinimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraImage:
    """Settings common to depth and color images."""

    camera_size: tuple[int, ...] = entry(
        "[height, width] of the camera's image, pixels",
        length=2,
        minimum=1,
        maximum=LARGEST_IMAGE,
    )
    size: tuple[int, ...] = entry(
        "[height, width] of the image that the policy sees, pixels",
        length=2,
        minimum=1,
        maximum=LARGEST_IMAGE,
    )
    crop_px: tuple[int, ...] | None = entry(
        "crop: pixels removed at the [top, bottom, left, right]",
        default=None,
        length=4,
        minimum=0,
        maximum=LARGEST_IMAGE,
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
        "resize: method. nearest, bilinear, bicubic: as in OpenCV, and torch without antialias; "
        "area: as in OpenCV; nearest_centre: as in Pillow, and torch's nearest-exact; "
        "..._antialias: as in Pillow, and torch with antialias",
        default=None,
    )
    resize_to: tuple[int, ...] | None = entry(
        "resize: [height, width] of the result, pixels; `size` if absent",
        default=None,
        length=2,
        minimum=1,
        maximum=LARGEST_IMAGE,
    )
    blur: GaussianBlur | None = entry("blur: size and width of the kernel", default=None)
    stack: ImageStack = entry("images that the policy sees simultaneously")
    rate_hz: float = entry(
        "images per second in training; surplus images from a faster camera are dropped",
        minimum=0.1,
        maximum=1000,
    )
    latency_s: float = entry(
        "age of the newest image when the policy received it in training, s; a younger image is "
        "delayed until it is this old",
        minimum=0,
        maximum=5,
    )
    max_age_s: float = entry(
        "maximum age of the newest image, by its stamp, s; an older one is stale",
        exclusiveMinimum=0,
        maximum=60,
    )
    on_stale: Literal["fault", "hold"] = entry(
        "fault: a stale image causes HOLD at once; hold: the last values stay valid for another "
        "`hold_s`"
    )
    hold_s: float | None = entry(
        "hold: maximum time for which the values of a stale image stay valid, s",
        default=None,
        exclusiveMinimum=0,
        maximum=60,
    )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one image in the input vector."""
        return tuple(self.size)

    @property
    def count(self) -> int:
        """Total number of values in the images of the stack."""
        return math.prod(self.shape) * len(self.stack.offsets)

    @property
    def timeout_s(self) -> float:
        """Age of the newest image, in s, beyond which the policy no longer uses its values."""
        return self.max_age_s + (self.hold_s or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthImage(CameraImage):
    """Settings that convert a depth image from camera pixels to the values that the policy expects.

    Unknown depths are replaced first, before any step interpolates across them; scaling comes last.
    """

    steps: tuple[Literal["crop", "clip", "resize", "blur", "blank"], ...] = entry(
        "processing steps, in the order of training, each at most once"
    )
    measure: Literal["depth", "distance"] = entry(
        "depth along the optical axis (REP 118), or distance along each pixel's ray"
    )
    invalid_m: float = entry(
        "value that replaces unknown depths, m; unknown: 0 in 16UC1; NaN, -infinity and numbers "
        "<= 0 in 32FC1; depths below `invalid_below_m`"
    )
    invalid_below_m: float | None = entry(
        "depth below which a pixel counts as unknown, m", default=None, exclusiveMinimum=0
    )
    too_far_m: float = entry("value that replaces +infinity (nothing within range) in 32FC1, m")
    max_invalid_ratio: float = entry(
        "maximum share of pixels with unknown depth, counted after the crop if that is the first "
        "step",
        minimum=0,
        maximum=1,
    )
    clip_m: tuple[float, ...] | None = entry(
        "clip: [nearest, farthest] depth, m", default=None, length=2, minimum=0, maximum=1000
    )
    blank_px: tuple[int, ...] | None = entry(
        "blank: pixels set to `blank_m` at the [top, bottom, left, right]",
        default=None,
        length=4,
        minimum=0,
        maximum=LARGEST_IMAGE,
    )
    blank_m: float | None = entry("blank: value of these pixels, m", default=None)
    values: Literal["metres", "scaled"] = entry(
        "metres: depths in m; scaled: `clip_m` is mapped linearly to `scaled_to`"
    )
    scaled_to: tuple[float, ...] | None = entry(
        "scaled: values for the nearest and the farthest depth, such as [0, 1] or [-0.5, 0.5]",
        default=None,
        length=2,
        minimum=-1000,
        maximum=1000,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ColourImage(CameraImage):
    """Settings that convert 8-bit color or gray pixels to the values that the policy expects.

    After all other steps, pixel levels are scaled so that 0 and 255 map to the two values in
    `scaled_to`; then `centre` and `mean` are subtracted and the result is divided by `std`.
    """

    steps: tuple[Literal["crop", "resize", "blur", "round"], ...] = entry(
        "processing steps, in the order of training, each at most once; round: levels are "
        "rounded to whole numbers from 0 to 255, as in 8-bit images from OpenCV, Pillow and "
        "torchvision"
    )
    channels: Literal["rgb", "bgr", "grey"] = entry("channels, in order")
    layout: Literal["channels_first", "channels_last"] = entry(
        "channels_first: all pixels of the first channel, then those of the next; channels_last: "
        "all channels of the first pixel, then those of the next"
    )
    scaled_to: tuple[float, ...] = entry(
        "values that the levels 0 and 255 map to: [0, 1], [-1, 1] or [0, 255]",
        length=2,
        minimum=-1000,
        maximum=1000,
    )
    centre: Literal["none", "image"] = entry(
        "image: the image's own mean is subtracted from each channel, as in Isaac Lab"
    )
    mean: tuple[float, ...] | None = entry(
        "number subtracted from each scaled channel; none if absent", default=None
    )
    std: tuple[float, ...] | None = entry(
        "divisor of each channel; none if absent", default=None, exclusiveMinimum=0
    )

    @property
    def channel_count(self) -> int:
        """Number of channels."""
        return 1 if self.channels == "grey" else len(self.channels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one image in the input vector."""
        height, width = self.size
        if self.layout == "channels_first":
            return self.channel_count, height, width
        return height, width, self.channel_count


AnyImage = DepthImage | ColourImage
"""Section for a term that contains camera images."""

_SMALLEST_SPAN_M, _MOST_PIXELS = 0.001, 1 << 26
_OPTIONS = {
    "crop": ("crop_px",),
    "clip": ("clip_m",),
    "resize": ("resize",),
    "blur": ("blur",),
    "blank": ("blank_px", "blank_m"),
}
"""Contract options for each step."""


def check_image(image: AnyImage, key: str, period_s: float, problem: Check) -> None:
    """Report contradictions in a depth or color image section.

    Args:
        image: The parsed section.
        key: Contract key of the section.
        period_s: Period of the policy, s.
        problem: Called with the key, the expected value and the found value.
    """
    if len(set(image.steps)) < len(image.steps):
        problem(f"{key}.steps", "each step once", list(image.steps))
        return
    for step, names in _OPTIONS.items():
        for name in names:
            value = getattr(image, name, None)
            expect_paired(step in image.steps, value, f"{key}.{name}", step, problem)
    if "resize" not in image.steps and image.resize_to is not None:
        expect_paired(False, image.resize_to, f"{key}.resize_to", "resize", problem)
    expect_paired(
        image.on_stale == "hold", image.hold_s, f"{key}.hold_s", "on_stale: hold", problem
    )
    if isinstance(image, DepthImage):
        _check_depths(image, key, problem)
    if isinstance(image, ColourImage):
        _check_levels(image, key, problem)
    if image.blur is not None and image.blur.kernel_px % 2 == 0:
        problem(f"{key}.blur.kernel_px", "an odd number", image.blur.kernel_px)
    _check_sizes(image, key, problem)
    youngest_s = image.latency_s + 1.0 / image.rate_hz
    if image.max_age_s < youngest_s - 1e-9:
        problem(
            f"{key}.max_age_s",
            f"{youngest_s:.3g} or more (latency_s plus the time until the next image)",
            image.max_age_s,
        )
    step_s = period_s if image.stack.unit == "ticks" else 1.0 / image.rate_hz
    images = (max(image.stack.offsets) * step_s + image.latency_s) * image.rate_hz
    if images * math.prod(image.shape) > _MOST_PIXELS:
        problem(
            f"{key}.stack.offsets",
            f"a stack that spans images of at most {_MOST_PIXELS} values in total",
            Found(f"{images:.0f} images of {math.prod(image.shape)} values"),
        )
    is_slower = image.rate_hz * period_s < 1.0 - 1e-9
    if is_slower and image.stack.unit == "ticks" and any(image.stack.offsets):
        problem(
            f"{key}.stack.unit",
            f"frames ({image.rate_hz:g} images per second are fewer than the policy's ticks)",
            image.stack.unit,
        )


def _check_depths(depth: DepthImage, key: str, problem: Check) -> None:
    """Check that a depth image section has the values that its scaling requires."""
    expect_paired(depth.values == "scaled", depth.scaled_to, f"{key}.scaled_to", "scaled", problem)
    if depth.clip_m is not None and not depth.clip_m[1] - depth.clip_m[0] >= _SMALLEST_SPAN_M:
        problem(
            f"{key}.clip_m",
            f"a farthest depth at least {_SMALLEST_SPAN_M:g} m beyond the nearest",
            list(depth.clip_m),
        )
    if depth.values == "scaled" and depth.clip_m is None:
        problem(f"{key}.clip_m", "the nearest and farthest depth, to scale by", Found("nothing"))


def _check_levels(colour: ColourImage, key: str, problem: Check) -> None:
    """Check that `scaled_to` is a range, and that `mean` and `std` have one number per channel."""
    if colour.scaled_to[0] == colour.scaled_to[1]:
        problem(f"{key}.scaled_to", "two different values", list(colour.scaled_to))
    for name in ("mean", "std"):
        numbers, count = getattr(colour, name), colour.channel_count
        if numbers is not None and len(numbers) != count:
            problem(f"{key}.{name}", f"{count} numbers, one per channel", list(numbers))


def _check_sizes(image: AnyImage, key: str, problem: Check) -> None:
    """Check that the steps convert the camera's image size to the policy's."""
    height, width = image.camera_size
    for step in image.steps:
        if step == "resize":
            before = height, width
            height, width = image.resize_to or image.size
            if image.resize == "area" and (height > before[0] or width > before[1]):
                problem(
                    f"{key}.resize",
                    f"bilinear (the image is enlarged from {before[0]} x {before[1]})",
                    "area",
                )
        elif step in ("crop", "blank"):
            cut = getattr(image, f"{step}_px") or (0, 0, 0, 0)
            left = height - cut[0] - cut[1], width - cut[2] - cut[3]
            if min(left) < 1:
                problem(
                    f"{key}.{step}_px",
                    f"fewer pixels than the {height} x {width} that the image has at this step",
                    list(cut),
                )
                return
            if step == "crop":
                height, width = left
        elif step == "blur" and image.blur and image.blur.kernel_px >= 2 * min(height, width):
            problem(
                f"{key}.blur.kernel_px",
                f"less than twice the smaller side of the image at this step ({height} x {width})",
                image.blur.kernel_px,
            )
            return
    if (height, width) != image.size:
        problem(f"{key}.size", f"{[height, width]} (the result of the steps)", list(image.size))
