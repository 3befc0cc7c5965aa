# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Depth images: what the policy sees of a scene in which no wrong convention looks right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from policy_core.bundle.camera_image import DepthImage, GaussianBlur, ImageStack, check_image
from policy_core.bundle.schema import Reader
from policy_core.errors import RobotError
from policy_core.observation.camera_image import F32, DepthProcessor, ImageHistory, ray_factors

NEWEST = ImageStack(offsets=(0,), unit="frames", fill="repeat")
PARKOUR = DepthImage(
    camera_size=(60, 106),
    size=(58, 87),
    measure="depth",
    invalid_m=2.0,
    too_far_m=2.0,
    max_invalid_ratio=0.5,
    steps=("crop", "clip", "resize"),
    crop_px=(0, 2, 4, 4),
    clip_m=(0.0, 2.0),
    resize="bicubic",
    values="scaled",
    scaled_to=(-0.5, 0.5),
    stack=replace(NEWEST, offsets=(1,)),
    rate_hz=10.0,
    latency_s=0.0,
    max_age_s=0.3,
    on_stale="fault",
)
"""Crop, clip, resize; one image late."""
DODGE = replace(
    PARKOUR,
    camera_size=(9, 16),
    size=(9, 16),
    invalid_m=5.0,
    invalid_below_m=0.1,
    too_far_m=5.0,
    steps=("clip",),
    crop_px=None,
    clip_m=(0.1, 5.0),
    resize=None,
    scaled_to=(0.0, 1.0),
    stack=ImageStack(offsets=(0, 3, 8, 18), unit="ticks", fill="repeat"),
    rate_hz=50.0,
    on_stale="hold",
    hold_s=0.3,
)
"""A small image that another program has made; four of the past."""
ONBOARD = replace(
    PARKOUR,
    camera_size=(270, 480),
    size=(18, 32),
    invalid_m=0.0,
    invalid_below_m=0.2,
    steps=("resize", "crop", "blank", "blur", "clip"),
    resize="nearest",
    resize_to=(36, 64),
    crop_px=(18, 0, 16, 16),
    blank_px=(0, 3, 0, 2),
    blank_m=0.0,
    blur=GaussianBlur(kernel_px=3, sigma_px=1.0),
    clip_m=(0.0, 2.5),
    scaled_to=(0.0, 1.0),
    rate_hz=60.0,
)
"""Resize before crop, a blind zone, blur."""
METRES = replace(
    PARKOUR,
    camera_size=(12, 16),
    size=(12, 16),
    measure="distance",
    invalid_m=0.0,
    too_far_m=0.0,
    max_invalid_ratio=1.0,
    steps=(),
    crop_px=None,
    clip_m=None,
    resize=None,
    values="metres",
    scaled_to=None,
)
"""As Isaac Lab's image term: nothing is done, what is out of reach is 0."""
TRAININGS = {"parkour": PARKOUR, "dodge": DODGE, "onboard": ONBOARD, "metres": METRES}


def scene(size: tuple[int, ...]) -> F32:
    """Return a slope with a box to the left, near edges and holes, m."""
    height, width = size
    y, x = np.mgrid[:height, :width].astype(np.float64)
    image = 0.5 + 2.0 * y / height + 0.7 * x / width
    image[height // 4 : height // 2, width // 8 : width // 3] = 0.45
    image[: height // 3, 3 * width // 4 :] = 4.0
    image[height // 2 :: 5, width // 2 :: 7] = 0.0
    image[0, 0], image[-1, -1] = 0.15, 4.7
    return np.asarray(image, np.float32)


def seen(depth: DepthImage, raw: Any = None, factor: F32 | None = None) -> F32:
    processor = DepthProcessor(depth)
    processor.see(scene(depth.camera_size) if raw is None else raw, factor)
    return processor.image.copy()


def problems(depth: DepthImage, period_s: float = 0.02) -> list[str]:
    reader = Reader("policy.yaml")
    check_image(depth, "depth", period_s, reader.problem)
    return [problem.key for problem in reader.problems]


@pytest.mark.parametrize("depth", TRAININGS.values(), ids=TRAININGS)
def test_the_conventions_of_public_trainings_are_contracts(depth: DepthImage) -> None:
    assert problems(depth) == []
    assert seen(depth).shape == depth.size


def test_crop_clip_and_resize_are_those_of_the_training() -> None:
    raw = scene(PARKOUR.camera_size)
    raw[raw <= 0.0] = 2.0
    expected = cv2.resize(
        np.clip(raw[:58, 4:-4], 0.0, 2.0), (87, 58), interpolation=cv2.INTER_CUBIC
    )
    np.testing.assert_allclose(seen(PARKOUR), expected / 2.0 - 0.5, atol=2e-6)


def test_a_blind_zone_and_a_blur_are_those_of_the_training() -> None:
    raw = scene(ONBOARD.camera_size)
    raw[raw < 0.2] = 0.0
    image = cv2.resize(raw, (64, 36), interpolation=cv2.INTER_NEAREST)[18:, 16:48].copy()
    image[15:], image[:, 30:] = 0.0, 0.0
    image = cv2.GaussianBlur(image, (3, 3), 1.0)
    np.testing.assert_allclose(seen(ONBOARD), np.clip(image, 0.0, 2.5) / 2.5, atol=2e-6)


@pytest.mark.parametrize(
    ("method", "flag"),
    [
        ("nearest", cv2.INTER_NEAREST),
        ("area", cv2.INTER_AREA),
        ("bilinear", cv2.INTER_LINEAR),
        ("bicubic", cv2.INTER_CUBIC),
    ],
)
@pytest.mark.parametrize("size", [(58, 87), (27, 31)])
def test_resizes_are_those_of_opencv(method: Any, flag: int, size: tuple[int, int]) -> None:
    plain = replace(METRES, camera_size=(90, 160), size=size, steps=("resize",), resize=method)
    raw = np.maximum(scene((90, 160)), np.float32(0.3))
    expected = cv2.resize(raw, size[::-1], interpolation=flag)
    np.testing.assert_allclose(seen(plain, raw), expected, atol=5e-6)


@pytest.mark.parametrize(
    ("method", "filter_"),
    [
        ("nearest_centre", Image.Resampling.NEAREST),
        ("bilinear_antialias", Image.Resampling.BILINEAR),
        ("bicubic_antialias", Image.Resampling.BICUBIC),
    ],
)
@pytest.mark.parametrize("size", [(58, 87), (30, 40)])
def test_resizes_are_those_of_pillow(method: Any, filter_: Any, size: tuple[int, int]) -> None:
    plain = replace(METRES, camera_size=(90, 160), size=size, steps=("resize",), resize=method)
    raw = np.maximum(scene((90, 160)), np.float32(0.3))
    expected = np.asarray(Image.fromarray(raw).resize(size[::-1], filter_))
    np.testing.assert_allclose(seen(plain, raw), expected, atol=5e-6)


def test_what_is_not_known_and_what_is_too_far_have_values_of_their_own() -> None:
    depth = replace(DODGE, too_far_m=2.55, camera_size=(1, 7), size=(1, 7), max_invalid_ratio=0.8)
    raw = np.array([[0.05, np.nan, -np.inf, 0.0, np.inf, 0.1, 2.55]], np.float32)
    np.testing.assert_allclose(seen(depth, raw)[0], [1.0, 1.0, 1.0, 1.0, 0.5, 0.0, 0.5], atol=1e-6)


def test_nothing_interpolates_across_a_depth_that_is_not_known() -> None:
    raw = np.full((60, 106), 1.0, np.float32)
    raw[30, 50] = np.nan
    assert np.abs(seen(replace(PARKOUR, invalid_m=1.0), raw)).max() < 1e-6


@pytest.mark.parametrize("kind", ["<u2", ">u2", "<f4", ">f4"])
def test_millimetres_and_metres_of_either_byte_order_are_the_same(kind: str) -> None:
    metres = np.round(scene(PARKOUR.camera_size), 3)
    raw = np.round(metres * 1000.0).astype(kind) if "u" in kind else metres.astype(kind)
    np.testing.assert_allclose(seen(PARKOUR, raw), seen(PARKOUR, metres), atol=1e-6)


def test_an_image_without_enough_known_depths_is_refused() -> None:
    processor = DepthProcessor(PARKOUR)
    raw = np.ones((60, 106), np.uint16)
    raw[:, :4] = 0  # is cut off
    raw[:58, 4:53] = 0
    processor.see(raw)
    assert processor.invalid == 58 * 49
    raw[:58, 53:55] = 0
    with pytest.raises(RobotError):
        processor.see(raw)


def test_a_covered_camera_is_refused_whatever_share_may_be_unknown() -> None:
    with pytest.raises(RobotError):
        seen(replace(METRES, max_invalid_ratio=1.0), np.zeros((12, 16), np.uint16))


def test_distance_along_the_ray_grows_from_the_centre() -> None:
    factors = ray_factors([8.0, 0, 7.5, 0, 6.0, 5.5, 0, 0, 1], 12, 16)
    assert factors[5:7, 7:9].max() < 1.01
    np.testing.assert_allclose(factors[0, 0], np.sqrt(1 + (7.5 / 8) ** 2 + (5.5 / 6) ** 2))
    raw = np.ones((12, 16), np.float32)
    np.testing.assert_allclose(seen(METRES, raw, factors), factors)
    with pytest.raises(RobotError):
        ray_factors([0.0] * 9, 12, 16)


def stacked(depth: DepthImage, stamps_ms: list[int], period_ns: int = 20_000_000) -> list[float]:
    """Return the value of each image of the stack, which is its number, from 1 on."""
    history = ImageHistory(depth, period_ns)
    newest_ns, number = 0, 0
    for stamp_ms in stamps_ms:
        if history.wants(stamp_ms * 1_000_000):
            number += 1
            newest_ns = stamp_ms * 1_000_000
            history.add(np.full(depth.size, number, np.float32), newest_ns)
    out = np.zeros((len(depth.stack.offsets), depth.size[0] * depth.size[1]))
    history.write(newest_ns, out)
    return [float(value) for value in out[:, 0]]


def test_a_stack_has_the_images_of_its_offsets_in_their_order() -> None:
    stamps_ms = [20 * i for i in range(25)]
    assert stacked(DODGE, stamps_ms) == [25, 22, 17, 7]
    oldest_first = replace(DODGE, stack=replace(DODGE.stack, offsets=(18, 8, 3, 0)))
    assert stacked(oldest_first, stamps_ms) == [7, 17, 22, 25]


def test_frames_are_periods_of_the_camera_and_ticks_those_of_the_policy() -> None:
    stamps_ms = [10 * i for i in range(60)]
    ticks = replace(DODGE, rate_hz=100.0)
    frames = replace(ticks, stack=replace(DODGE.stack, unit="frames"))
    assert stacked(ticks, stamps_ms) == [60, 54, 44, 24]
    assert stacked(frames, stamps_ms) == [60, 57, 52, 42]


def test_before_there_are_enough_images_the_first_or_zeros_stand_for_them() -> None:
    assert stacked(DODGE, [0, 20]) == [2, 1, 1, 1]
    zero = replace(DODGE, stack=replace(DODGE.stack, fill="zero"))
    assert stacked(zero, [0, 20, 40, 60]) == [4, 1, 0, 0]


def test_jitter_and_a_lost_image_shift_no_other() -> None:
    jitter = [20 * i + (7 * i) % 5 - 2 for i in range(1, 26)]
    assert stacked(DODGE, jitter) == [25, 22, 17, 7]
    lost = [20 * i for i in range(25) if i != 20]
    assert stacked(DODGE, lost) == [24, 21, 17, 7]


def test_a_gap_or_a_clock_that_was_set_back_begins_a_new_stack() -> None:
    assert stacked(DODGE, [0, 20, 40, 60, 1500]) == [5, 5, 5, 5]
    assert stacked(DODGE, [5000, 5020, 5040, 5060, 20]) == [5, 5, 5, 5]


def test_a_camera_that_is_too_slow_for_the_stack_is_refused() -> None:
    assert stacked(DODGE, [25 * i for i in range(9)])
    with pytest.raises(RobotError):
        stacked(DODGE, [40 * i for i in range(9)])


def test_an_image_waits_until_it_is_as_old_as_in_training() -> None:
    history = ImageHistory(replace(PARKOUR, latency_s=0.08), 20_000_000)
    history.add(np.zeros((58, 87), np.float32), 1_000_000_000)
    assert history.ready_ns(1_079_000_000) is None
    assert history.ready_ns(1_080_000_000) == 1_000_000_000


@pytest.mark.parametrize(
    ("depth", "change", "keys"),
    [
        (PARKOUR, {"size": (58, 88), "resize_to": (58, 87)}, ["depth.size"]),
        (PARKOUR, {"steps": ("clip", "clip")}, ["depth.steps"]),
        (PARKOUR, {"scaled_to": None}, ["depth.scaled_to"]),
        (PARKOUR, {"resize": "area", "size": (58, 120)}, ["depth.resize"]),
        (PARKOUR, {"max_age_s": 0.09}, ["depth.max_age_s"]),
        (PARKOUR, {"clip_m": (1.0, 1.0)}, ["depth.clip_m"]),
        (
            PARKOUR,
            {"stack": ImageStack(offsets=(0, 20_000), unit="frames", fill="repeat")},
            ["depth.stack.offsets"],
        ),
        (DODGE, {"hold_s": None}, ["depth.hold_s"]),
        (DODGE, {"rate_hz": 30.0}, ["depth.stack.unit"]),
        (METRES, {"values": "scaled", "scaled_to": (0.0, 1.0)}, ["depth.clip_m"]),
        (ONBOARD, {"blur": GaussianBlur(kernel_px=4, sigma_px=1.0)}, ["depth.blur.kernel_px"]),
    ],
)
def test_what_contradicts_itself_is_refused(
    depth: DepthImage, change: dict[str, Any], keys: list[str]
) -> None:
    assert problems(replace(depth, **change)) == keys
