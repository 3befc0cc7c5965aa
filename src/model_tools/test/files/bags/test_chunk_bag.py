# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A recording with cameras gives what a chunk policy would have seen at its ticks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin

from model_tools.errors import ToolError
from model_tools.files.observation_sources import open_source
from model_tools.files.rows import RecordedObservation
from model_tools.prove.calibration.graph_samples import collect_samples
from policy_inference.bundle.bundle import ChunkBundle
from policy_inference.bundle.chunk_contract import ChunkContract, Pairing
from policy_inference.bundle.load import load_bundle
from policy_inference.testing.chunk_bundles import ENCODER, write_chunk_bundle

from ...small_bag import MS, TYPES, S, Said, header, scan, write_bag
from ..test_successive import of_several

NAMES = ["gripper", "elbow_flex", "shoulder_pan", "wheel"]
"""Not in the order of the policy, and one more."""
Bags = list[Said]


@pytest.fixture
def contract(tmp_path: Path) -> ChunkContract:
    return load_bundle(
        write_chunk_bundle(tmp_path / "bundle", rate_hz=20), kind=ChunkBundle
    ).contract


def joints(times_ns: Sequence[int], pan_rad: float | None = None) -> Bags:
    """Say at t s that pan is t rad, elbow 0.1 + t rad, and the gripper half open."""
    make = TYPES.types["sensor_msgs/msg/JointState"]
    return [
        (
            "/joint_states",
            time_ns,
            make(
                header=header(time_ns),
                name=NAMES,
                velocity=np.empty(0),
                effort=np.empty(0),
                position=np.array(
                    [0.7854, 0.1 + time_ns / S, time_ns / S if pan_rad is None else pan_rad, 9.0]
                ),
            ),
        )
        for time_ns in times_ns
    ]


def images(
    times_ns: Sequence[int],
    topic: str = "/laptop/image_raw",
    size: tuple[int, int] = (16, 24),
    encoding: str = "rgb8",
) -> Bags:
    """Say images whose red is the time in 10 ms, green 50, blue 100."""
    said = []
    for time_ns in times_ns:
        colour = [time_ns // (10 * MS) % 256, 50, 100]
        pixels = np.full((*size, 3), colour if encoding == "rgb8" else colour[::-1], np.uint8)
        said.append(
            (
                topic,
                time_ns,
                TYPES.types["sensor_msgs/msg/Image"](
                    header=header(time_ns),
                    height=size[0],
                    width=size[1],
                    encoding=encoding,
                    is_bigendian=0,
                    step=3 * size[1],
                    data=pixels.reshape(-1),
                ),
            )
        )
    return said


def compressed(times_ns: Sequence[int], topic: str, size: tuple[int, int] = (12, 16)) -> Bags:
    said = []
    for time_ns in times_ns:
        pixels = np.full((*size, 3), [100, 50, time_ns // (10 * MS) % 256], np.uint8)
        data = np.frombuffer(cv2.imencode(".png", pixels)[1].tobytes(), np.uint8)
        said.append(
            (
                topic,
                time_ns,
                TYPES.types["sensor_msgs/msg/CompressedImage"](
                    header=header(time_ns), format="png", data=data
                ),
            )
        )
    return said


def phones(times_ns: Sequence[int]) -> Bags:
    return images(times_ns, "/phone/image_raw", (12, 16))


def every(period_ms: int, first_ms: int, last_ms: int) -> list[int]:
    return [time_ms * MS for time_ms in range(first_ms, last_ms + 1, period_ms)]


def record(folder: Path, *parts: Bags, **given: Any) -> Path:
    said = sorted((one for part in parts for one in part), key=lambda one: one[1])
    return write_bag(folder / "bag", said, **given)


def everything(contract: ChunkContract, bag: Path, **topics: str) -> list[RecordedObservation]:
    source = open_source(contract, bag, topics)
    return list(source.observations(range(source.count)))


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize("end", ["image_raw/compressed", "compressed"])
def test_each_tick_has_the_newest_of_every_input_before_it(
    contract: ChunkContract, tmp_path: Path, storage: StoragePlugin, end: str
) -> None:
    contract = dataclasses.replace(contract, pairing=Pairing(rule="newest"))
    bag = record(
        tmp_path,
        joints(every(10, 1000, 2000)),
        images(every(30, 1010, 2000)),
        compressed(every(40, 1000, 2000), f"/phone/{end}"),
        storage=storage,
    )

    found = everything(contract, bag)

    ticks_ms = list(range(1050, 2001, 50))
    assert [one.number for one in found] == list(range(len(ticks_ms)))
    for one, tick_ms in zip(found, ticks_ms, strict=True):
        laptop_ms, phone_ms = tick_ms - (tick_ms - 1010) % 30, tick_ms - (tick_ms - 1000) % 40
        assert one.images["laptop"].shape == (16, 24, 3)
        assert one.images["laptop"][3, 4].tolist() == [laptop_ms // 10 % 256, 50, 100]
        assert one.images["phone"][3, 4].tolist() == [phone_ms // 10 % 256, 50, 100]
        degrees = math.degrees(tick_ms / 1000)
        assert one.state is not None
        np.testing.assert_allclose(one.state, [degrees, -degrees, 50.0], atol=1e-3)
        assert one.environment_state is None


def test_each_tick_has_what_is_of_the_time_of_the_frames(
    contract: ChunkContract, tmp_path: Path
) -> None:
    """The phone is 40 ms late at each tick, the laptop 20 ms; joints are sampled at ticks."""
    bag = record(
        tmp_path,
        joints(every(10, 1000, 2000)),
        images(every(50, 980, 2000)),
        phones(every(50, 960, 2000)),
    )

    found = everything(contract, bag)

    for one, tick_ms in zip(found, range(1000, 2001, 50), strict=True):
        assert one.images["phone"][3, 4, 0] == (tick_ms - 40) // 10 % 256
        assert one.images["laptop"][3, 4, 0] == (tick_ms - 20) // 10 % 256
        measured_ms = max(1000, tick_ms - 50)
        assert one.state is not None
        np.testing.assert_allclose(one.state[0], math.degrees(measured_ms / 1000), atol=1e-3)


def test_by_the_rule_newest_messages_count_when_they_were_recorded(
    contract: ChunkContract, tmp_path: Path
) -> None:
    late = [
        (topic, log_ns + 200 * MS, message)
        for part in (images(every(50, 1000, 2000)), phones(every(50, 1000, 2000)))
        for topic, log_ns, message in part
    ]
    bag = record(tmp_path, joints(every(10, 1000, 2000)), late)
    pairs = {
        pairing.rule: [
            (round(math.radians(one.state[0]) * 1000), int(one.images["phone"][0, 0, 0]))
            for one in everything(dataclasses.replace(contract, pairing=pairing), bag)
            if one.state is not None
        ]
        for pairing in (Pairing(), Pairing(rule="newest"))
    }

    assert pairs["frame_time"][3] == (1150, 115)
    assert pairs["newest"][3] == (1350, 115)


def test_chosen_ticks_are_those_of_all(contract: ChunkContract, tmp_path: Path) -> None:
    bag = record(
        tmp_path,
        joints(every(20, 1000, 2000)),
        images(every(20, 1000, 2000)),
        images(every(20, 1000, 2000), "/phone/image_raw", (12, 16), "bgr8"),
    )
    source, whole = open_source(contract, bag), everything(contract, bag)

    for one in source.observations([2, 3, 17]):
        expected = whole[one.number]
        for camera, image in one.images.items():
            np.testing.assert_array_equal(image, expected.images[camera])
            assert image[0, 0, 1:].tolist() == [50, 100]
        np.testing.assert_array_equal(one.state, expected.state)


def test_joints_of_a_chunk_policy_go_by_the_robot_s_names(
    contract: ChunkContract, tmp_path: Path
) -> None:
    bag = record(
        tmp_path,
        joints(every(20, 1000, 2000)),
        images(every(20, 1000, 2000)),
        images(every(20, 1000, 2000), "/phone/image_raw", (12, 16)),
    )
    swapped = {
        **contract.joints.robot_names,
        "shoulder_pan": "elbow_flex",
        "elbow_flex": "shoulder_pan",
    }
    renamed = dataclasses.replace(
        contract, joints=dataclasses.replace(contract.joints, robot_names=swapped)
    )

    assert renamed.joints.on_robot(("gripper", "elbow_flex")) == ("gripper", "shoulder_pan")
    pan, elbow, _ = np.asarray(everything(renamed, bag)[0].state).tolist()
    assert pan == pytest.approx(math.degrees(0.1 + 1.0), abs=1e-3)
    assert elbow == pytest.approx(-math.degrees(1.0) + math.degrees(0.1), abs=1e-3)


def test_ticks_without_a_camera_are_left_out(
    contract: ChunkContract, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    phone = phones([*every(20, 1000, 1300), *every(20, 1900, 2000)])
    bag = record(tmp_path, joints(every(20, 1000, 2000)), images(every(20, 1000, 2000)), phone)

    assert open_source(contract, bag).count == 21 - 8
    assert (
        "8 of 21 ticks are left out: /phone/image_raw is too old at 1, frames are further apart "
        "than pairing.tolerance_s at 8"
    ) in caplog.text


def test_a_tick_without_an_observation_ends_what_is_known_of_those_before(
    contract: ChunkContract, tmp_path: Path
) -> None:
    phone = phones([*every(20, 1000, 1300), *every(20, 1900, 2000)])
    bag = record(tmp_path, joints(every(20, 1000, 2000)), images(every(20, 1000, 2000)), phone)
    single = [np.asarray(one.state).tolist() for one in everything(contract, bag)]

    found = everything(of_several(contract, 3), bag)

    first_after = 10  # ticks from 1.0 to 1.45 s, then from 1.9 s on
    assert len(found) == len(single) == 13
    for one in found:
        begin = 0 if one.number < first_after else first_after
        steps = [max(one.number - back, begin) for back in (2, 1, 0)]
        assert [np.asarray(step.state).tolist() for step in (*one.earlier, one)] == [
            single[step] for step in steps
        ]
    assert single[first_after] != single[first_after - 1]


def test_the_environment_state_is_there(tmp_path: Path) -> None:
    bundle = load_bundle(
        write_chunk_bundle(tmp_path / "b", environment=2, rate_hz=20), kind=ChunkBundle
    )
    times = every(20, 1000, 1400)
    bag = record(
        tmp_path,
        joints(times),
        images(times),
        phones(times),
        [scan(time_ns, (0.5, time_ns / S), "/goal") for time_ns in times],
    )

    found = everything(bundle.contract, bag)

    values = np.stack([one.environment_state for one in found if one.environment_state is not None])
    np.testing.assert_allclose(values[1], np.array([0.5, 1.04]), atol=1e-6)


def test_graphs_are_calibrated_from_a_recording(tmp_path: Path) -> None:
    bundle = load_bundle(write_chunk_bundle(tmp_path / "b", rate_hz=20), kind=ChunkBundle)
    times = every(20, 1000, 2000)
    bag = record(tmp_path, joints(times), images(times), phones(times))
    (tmp_path / "samples").mkdir()

    samples = collect_samples(bundle, open_source(bundle.contract, bag), 21, tmp_path / "samples")

    red = np.asarray(samples[f"{ENCODER}_16x24"].inputs["images"][:, 0, 0, 0], float)
    np.testing.assert_allclose(red[[0, -1]], (np.array([100, 200]) / 255 - 0.5) / 0.25, atol=1e-5)


GOOD = every(20, 1000, 1400)
PHONE = phones(GOOD)


@pytest.mark.parametrize(
    ("parts", "topics", "expected"),
    [
        (
            (joints(GOOD), images(GOOD)),
            {},
            "expected messages of the input phone/image_raw (sensor_msgs/msg/Image or",
        ),
        ((images(GOOD), PHONE), {}, "expected messages of the input joint_states"),
        ((joints(GOOD, math.nan), images(GOOD), PHONE), {}, "expected finite values, found NaN"),
        (
            (joints(GOOD), images(GOOD, size=(17, 24)), PHONE),
            {},
            "/laptop/image_raw at 1.000 s: expected an image of 24 x 16 pixels, found 24 x 17",
        ),
        (
            (joints(GOOD), images(GOOD, encoding="32FC1"), PHONE),
            {},
            "expected one of the encodings",
        ),
        (
            (joints(GOOD), images(every(20, 2000, 2400)), PHONE),
            {},
            "expected a tick at which each input of the policy is there, found none: /phone/image",
        ),
        (
            (joints(GOOD), images(GOOD), PHONE),
            {"top/image_raw": "/phone/image_raw"},
            "found one for top/image_raw",
        ),
    ],
)
def test_what_does_not_fit_is_named(
    contract: ChunkContract,
    tmp_path: Path,
    parts: tuple[Bags, ...],
    topics: dict[str, str],
    expected: str,
) -> None:
    bag = record(tmp_path, *parts)

    with pytest.raises(ToolError) as error:
        everything(contract, bag, **topics)

    assert expected in str(error.value)


def test_a_camera_of_another_name_is_chosen_by_the_user(
    contract: ChunkContract, tmp_path: Path
) -> None:
    bag = record(tmp_path, joints(GOOD), images(GOOD), compressed(GOOD, "/wrist/image"))

    found = everything(contract, bag, **{"phone/image_raw": "/wrist/image"})

    assert found[0].images["phone"][0, 0].tolist() == [100, 50, 100]
