# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Colour images: channels, layout, resizing and scaling are those of the training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from policy_core.bundle.camera_image import ColourImage, GaussianBlur, ImageStack, check_image
from policy_core.bundle.schema import Reader
from policy_core.observation.camera_image import ColourProcessor, ImageHistory

PLAIN = ColourImage(
    camera_size=(48, 64),
    size=(48, 64),
    steps=(),
    channels="rgb",
    layout="channels_first",
    scaled_to=(0.0, 255.0),
    centre="none",
    stack=ImageStack(offsets=(0,), unit="frames", fill="repeat"),
    rate_hz=10.0,
    latency_s=0.0,
    max_age_s=0.3,
    on_stale="fault",
)
IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def scene() -> npt.NDArray[np.uint8]:
    """Return an image [48, 64, 3] in RGB in which no two channels or halves are alike."""
    y, x = np.mgrid[:48, :64]
    image = np.stack([4 * x, 5 * y, 255 - 2 * (x + y)], axis=-1).astype(np.uint8)
    image[4:20, 8:24] = (250, 10, 90)
    return image


def seen(colour: ColourImage) -> Any:
    processor = ColourProcessor(colour)
    processor.see(scene())
    return processor.image.copy()


def problems(**change: Any) -> list[str]:
    reader = Reader("policy.yaml")
    check_image(replace(PLAIN, **change), "image", 0.02, reader.problem)
    return [problem.key for problem in reader.problems]


def test_channels_and_layout_are_those_of_the_contract() -> None:
    raw = scene()
    np.testing.assert_allclose(seen(PLAIN), raw.transpose(2, 0, 1), rtol=1e-5)
    bgr = replace(PLAIN, channels="bgr", layout="channels_last")
    np.testing.assert_allclose(seen(bgr), raw[..., ::-1], rtol=1e-5)
    grey = replace(PLAIN, channels="grey")
    np.testing.assert_allclose(seen(grey)[0], cv2.cvtColor(raw, cv2.COLOR_RGB2GRAY), rtol=1e-5)
    assert (bgr.shape, grey.shape, grey.count) == ((48, 64, 3), (1, 48, 64), 48 * 64)


def test_scaling_is_that_of_torchvision_and_of_isaac_lab() -> None:
    scaled = scene().transpose(2, 0, 1) / 255.0
    mean, std = (np.reshape(IMAGENET[name], (3, 1, 1)) for name in ("mean", "std"))
    standardised = replace(PLAIN, scaled_to=(0.0, 1.0), **IMAGENET)
    np.testing.assert_allclose(seen(standardised), (scaled - mean) / std, atol=1e-5)
    centred = replace(PLAIN, scaled_to=(0.0, 1.0), centre="image")
    expected = scaled - scaled.mean(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(seen(centred), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("method", "filter_"),
    [
        ("bilinear_antialias", Image.Resampling.BILINEAR),
        ("bicubic_antialias", Image.Resampling.BICUBIC),
    ],
)
def test_a_resize_of_whole_numbers_is_that_of_pillow(method: Any, filter_: Any) -> None:
    cropped = replace(
        PLAIN,
        size=(20, 30),
        steps=("crop", "resize", "round"),
        crop_px=(0, 8, 2, 2),
        resize=method,
    )
    expected = np.asarray(Image.fromarray(scene()[:40, 2:62]).resize((30, 20), filter_))
    difference = np.abs(seen(cropped).transpose(1, 2, 0) - expected)
    assert difference.max() <= 1.0  # Pillow rounds between rows and columns, too
    assert difference.mean() < 0.5


def test_a_resize_and_a_blur_are_those_of_opencv() -> None:
    raw = scene().astype(np.float32)
    blur = GaussianBlur(kernel_px=3, sigma_px=1.0)
    blurred = replace(PLAIN, size=(24, 40), steps=("resize", "blur"), resize="bilinear", blur=blur)
    expected = cv2.GaussianBlur(cv2.resize(raw, (40, 24)), (3, 3), 1.0)
    np.testing.assert_allclose(seen(blurred).transpose(1, 2, 0), expected, atol=1e-3)


def test_what_people_look_at_is_the_image_before_its_scaling() -> None:
    processor = ColourProcessor(replace(PLAIN, scaled_to=(-1.0, 1.0), **IMAGENET))
    processor.see(scene())
    np.testing.assert_array_equal(processor.levels(), scene())


def test_a_stack_keeps_each_image_in_the_layout_of_the_contract() -> None:
    stacked = replace(
        PLAIN, layout="channels_last", stack=ImageStack(offsets=(1, 0), unit="frames", fill="zero")
    )
    processor, history = ColourProcessor(stacked), ImageHistory(stacked, 20_000_000)
    for stamp_ns in (1_000_000_000, 1_100_000_000):
        processor.see(scene() if stamp_ns == 1_000_000_000 else scene()[::-1])
        assert history.wants(stamp_ns)
        history.add(processor.image, stamp_ns)
    rows = np.zeros((2, stacked.count // 2))
    history.write(1_100_000_000, rows)
    np.testing.assert_allclose(rows[0].reshape(48, 64, 3), scene(), rtol=1e-5)
    np.testing.assert_allclose(rows[1].reshape(48, 64, 3), scene()[::-1], rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "keys"),
    [
        ({"scaled_to": (1.0, 1.0)}, ["image.scaled_to"]),
        ({"mean": (0.5,)}, ["image.mean"]),
        ({"channels": "grey", **IMAGENET}, ["image.mean", "image.std"]),
        ({"size": (24, 32)}, ["image.size"]),
        ({"steps": ("resize",)}, ["image.resize"]),
        ({"crop_px": (1, 1, 1, 1)}, ["image.crop_px"]),
        ({}, []),
    ],
)
def test_what_contradicts_itself_is_refused(change: dict[str, Any], keys: list[str]) -> None:
    assert problems(**change) == keys
