# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Depth images as they come: encodings, byte orders, compressedDepth, ages, broken messages."""

import io
import struct
from array import array
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from policy_core.bundle.camera_image import DepthImage, ImageStack
from policy_core.errors import RobotError
from policy_inference.messages.camera import read_depth
from policy_inference.perception import ImageSource
from testkit.wording import refusal

SECOND_NS = 1_000_000_000
NOW_NS = 50 * SECOND_NS
SIZE = (3, 4)
METRES = np.array([[0.5, 1.0, 1.5, 2.0], [2.5, 3.0, np.nan, 0.25], [0.75, 1.25, 1.75, 2.25]])
DEPTH = DepthImage(
    camera_size=SIZE,
    size=SIZE,
    measure="depth",
    invalid_m=4.0,
    too_far_m=4.0,
    max_invalid_ratio=0.5,
    steps=(),
    values="metres",
    stack=ImageStack(offsets=(0,), unit="frames", fill="repeat"),
    rate_hz=10.0,
    latency_s=0.0,
    max_age_s=0.3,
    on_stale="fault",
)
EXPECTED = np.nan_to_num(METRES, nan=4.0).ravel()


def header(ns: int) -> Any:
    stamp = SimpleNamespace(sec=ns // SECOND_NS, nanosec=ns % SECOND_NS)
    return SimpleNamespace(stamp=stamp, frame_id="camera")


def raw(kind: str = "<u2", padding: int = 0, stamp_ns: int = NOW_NS, **change: Any) -> Any:
    """Return a sensor_msgs/Image of METRES, with bytes after each row."""
    pixels = np.nan_to_num(METRES * 1000.0) if "u" in kind else METRES
    rows = pixels.astype(kind).view(np.uint8).reshape(SIZE[0], -1)
    data = np.pad(rows, ((0, 0), (0, padding)), constant_values=255)
    given = {
        **{"header": header(stamp_ns), "height": SIZE[0], "width": SIZE[1]},
        **{"encoding": "16UC1" if "u" in kind else "32FC1", "step": data.shape[1]},
        **{"is_bigendian": int(kind.startswith(">")), "data": array("B", data.tobytes())},
    }
    return SimpleNamespace(**{**given, **change})


def compressed(encoding: str = "16UC1", **change: Any) -> Any:
    """Return a sensor_msgs/CompressedImage of METRES."""
    scale, offset = 100.0, 2.0
    known = np.isfinite(METRES)
    pixels = METRES * 1000.0 if encoding == "16UC1" else scale / METRES + offset
    file = io.BytesIO()
    Pillow.fromarray(np.where(known, np.round(pixels), 0).astype(np.uint16)).save(file, "PNG")
    data = struct.pack("<i2f", 1, scale, offset) + file.getvalue()
    given = {"header": header(NOW_NS), "format": f"{encoding}; compressedDepth png", "data": data}
    return SimpleNamespace(**{**given, **change})


def flipped(data: bytes) -> bytes:
    """Return a compressed image with another bit within its pixels."""
    at = data.index(b"IDAT") + 10
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def seen(message: Any, depth: DepthImage = DEPTH) -> Any:
    source = ImageSource("perception/front", depth, 20_000_000)
    source.take(message, NOW_NS)
    found = source.see(NOW_NS)
    assert found is not None
    return found[0]


@pytest.mark.parametrize("kind", ["<u2", ">u2", "<f4", ">f4"])
@pytest.mark.parametrize("padding", [0, 5])
def test_a_raw_image_is_read_whatever_its_layout(kind: str, padding: int) -> None:
    np.testing.assert_allclose(seen(raw(kind, padding)), EXPECTED, rtol=1e-6)


def test_a_compressed_image_is_read_in_millimetres_and_in_inverse_depths() -> None:
    np.testing.assert_allclose(seen(compressed()), EXPECTED, rtol=1e-6)
    np.testing.assert_allclose(seen(compressed("32FC1")), EXPECTED, rtol=0.02)


@pytest.mark.parametrize(
    "message",
    [
        raw(encoding="mono8"),
        raw(height=4),
        raw(step=7),
        compressed("mono16"),
        compressed(format="16UC1; compressedDepth rvl", data=bytes(40)),
        compressed(data=flipped(compressed().data)),
        compressed("32FC1", data=struct.pack("<i2f", 1, np.inf, 0.0) + compressed().data[12:]),
    ],
)
def test_an_image_of_another_form_is_refused(message: Any) -> None:
    with pytest.raises(RobotError):
        read_depth(message, SIZE)


def test_a_png_of_another_size_or_depth_is_refused_before_it_is_decoded() -> None:
    for image in (Pillow.new("I;16", (4, 4000)), Pillow.new("L", (4, 3))):
        file = io.BytesIO()
        image.save(file, "PNG")
        with pytest.raises(RobotError):
            read_depth(compressed(data=bytes(12) + file.getvalue()), SIZE)


@pytest.mark.parametrize("age_ms", [301, -150])
def test_an_image_that_is_too_old_or_of_the_future_is_refused(age_ms: int) -> None:
    with pytest.raises(RobotError):
        seen(raw(stamp_ns=NOW_NS - age_ms * 1_000_000))


def test_a_camera_that_has_stopped_is_noticed_and_an_image_is_given_once() -> None:
    source = ImageSource("perception/front", DEPTH, 20_000_000)
    assert source.see(NOW_NS) is None
    with pytest.raises(RobotError):
        source.see(NOW_NS + 400_000_000)
    source.take(raw(), NOW_NS)
    assert source.see(NOW_NS) is not None
    assert source.see(NOW_NS + 100_000_000) is None
    with pytest.raises(RobotError):
        source.see(NOW_NS + 400_000_000)


def test_images_that_are_refused_are_not_called_missing() -> None:
    source = ImageSource("perception/front", DEPTH, 20_000_000)
    for later_ns in range(0, SECOND_NS, 100_000_000):
        with pytest.raises(RobotError):
            source.take(raw(height=4, stamp_ns=NOW_NS + later_ns), NOW_NS + later_ns)
        assert source.see(NOW_NS + later_ns) is None


def test_an_image_ahead_of_the_clock_is_given_at_once() -> None:
    source = ImageSource("perception/front", DEPTH, 20_000_000)
    source.take(raw(stamp_ns=NOW_NS + 20_000_000), NOW_NS)
    assert source.see(NOW_NS) is not None


@pytest.mark.parametrize("frozen_after_s", [1.0, 0.0])
def test_an_image_that_stays_the_same_is_refused(frozen_after_s: float) -> None:
    source = ImageSource("perception/front", DEPTH, 20_000_000, frozen_after_s=frozen_after_s)

    def take(later_s: float, kind: str = "<u2") -> None:
        later_ns = NOW_NS + round(later_s * SECOND_NS)
        source.take(raw(kind, stamp_ns=later_ns), later_ns)

    for later_s in (0.0, 0.5, 1.0):
        take(later_s)
    with refusal(RobotError) if frozen_after_s else nullcontext():
        take(1.1)
    take(1.2, "<f4")


def test_an_image_waits_for_the_latency_of_the_training() -> None:
    source = ImageSource("perception/front", replace(DEPTH, latency_s=0.1), 20_000_000)
    source.take(raw(), NOW_NS)
    assert source.see(NOW_NS + 99_000_000) is None
    assert source.see(NOW_NS + 100_000_000) is not None


def camera_info(**change: Any) -> Any:
    k = [4.0, 0.0, 1.5, 0.0, 3.0, 1.0, 0.0, 0.0, 1.0]
    return SimpleNamespace(**{"height": 3, "width": 4, "k": k, **change})


@pytest.mark.parametrize(("camera", "policy"), [("depth", "distance"), ("distance", "depth")])
def test_depth_and_distance_become_each_other_by_the_intrinsics(camera: str, policy: Any) -> None:
    source = ImageSource(
        "perception/front", replace(DEPTH, measure=policy), 20_000_000, camera_measure=camera
    )
    with pytest.raises(RobotError):
        source.take(raw(), NOW_NS)
    source.take_camera(camera_info())
    source.take(raw(), NOW_NS)
    found = source.see(NOW_NS)
    assert found is not None
    rays = np.sqrt(
        1.0 + ((np.arange(4) - 1.5) / 4.0) ** 2 + (((np.arange(3) - 1.0) / 3.0) ** 2)[:, None]
    )
    expected = METRES * rays if policy == "distance" else METRES / rays
    np.testing.assert_allclose(found[0], np.nan_to_num(expected, nan=4.0).ravel(), rtol=1e-6)


@pytest.mark.parametrize("change", [{"width": 8}, {"k": [0.0] * 9}])
def test_after_a_camera_that_is_another_no_image_counts(change: dict[str, Any]) -> None:
    depth = replace(DEPTH, measure="distance")
    source = ImageSource("perception/front", depth, 20_000_000)
    source.take_camera(camera_info())
    with pytest.raises(RobotError):
        source.take_camera(camera_info(**change))
    with pytest.raises(RobotError):
        source.take(raw(), NOW_NS)
    source.take_camera(camera_info())
    source.take(raw(), NOW_NS)
