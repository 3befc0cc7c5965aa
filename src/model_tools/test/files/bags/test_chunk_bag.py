# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A recording with cameras gives what a chunk policy would have seen at its ticks."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin

from model_tools.errors import ToolError
from model_tools.files.observation_sources import open_source
from model_tools.files.rows import RecordedObservation
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import ChunkContract, Pairing
from policy_core.bundle.load import load_bundle
from testkit.bags import S, Said, compressed_image, image, in_log, picture, write_bag
from testkit.chunk_bundles import write_chunk_bundle
from testkit.wording import check_wording, refusal

from ...small_bag import every, joint_states, scan

NAMES = ["gripper", "elbow_flex", "shoulder_pan", "wheel"]
"""Not in the order of the policy, and one more."""
Bags = list[Said]


@pytest.fixture
def arm_contract(tmp_path: Path) -> ChunkContract:
    return load_bundle(
        write_chunk_bundle(tmp_path / "bundle", rate_hz=20), kind=ChunkBundle
    ).contract


def joints(times_ns: Sequence[int], pan_rad: float | None = None) -> Bags:
    """Say at t s that pan is t rad, elbow 0.1 + t rad, and the gripper half open."""
    said = Bags()
    for time_ns in times_ns:
        t = time_ns / S
        position = np.array([0.7854, 0.1 + t, t if pan_rad is None else pan_rad, 9.0])
        said += joint_states([time_ns], name=NAMES, position=position, velocity=())
    return said


def camera_images(
    times_ns: Sequence[int],
    topic: str = "/laptop/image_raw",
    size: tuple[int, int] = (16, 24),
    encoding: str = "rgb8",
) -> Bags:
    return [(topic, at_ns, image(at_ns, picture(at_ns, size), encoding)) for at_ns in times_ns]


def compressed(times_ns: Sequence[int], topic: str) -> Bags:
    return [(topic, at_ns, compressed_image(at_ns, picture(at_ns, (12, 16)))) for at_ns in times_ns]


def phones(times_ns: Sequence[int]) -> Bags:
    return camera_images(times_ns, "/phone/image_raw", (12, 16))


def write_arm_bag(folder: Path, *parts: Bags, **given: Any) -> Path:
    return write_bag(folder / "bag", in_log(one for part in parts for one in part), **given)


def everything(arm_contract: ChunkContract, bag: Path, **topics: str) -> list[RecordedObservation]:
    source = open_source(arm_contract, bag, topics)
    return list(source.observations(range(source.count)))


@pytest.mark.parametrize(
    ("storage", "end"),
    [(StoragePlugin.MCAP, "image_raw/compressed"), (StoragePlugin.SQLITE3, "compressed")],
)
def test_each_tick_has_the_newest_of_every_input_before_it(
    arm_contract: ChunkContract, tmp_path: Path, storage: StoragePlugin, end: str
) -> None:
    arm_contract = dataclasses.replace(arm_contract, pairing=Pairing(rule="newest"))
    bag = write_arm_bag(
        tmp_path,
        joints(every(10, 1000, 2000)),
        camera_images(every(30, 1010, 2000)),
        compressed(every(40, 1000, 2000), f"/phone/{end}"),
        storage=storage,
    )

    found = everything(arm_contract, bag)

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


def test_chosen_ticks_are_those_of_all(arm_contract: ChunkContract, tmp_path: Path) -> None:
    bag = write_arm_bag(
        tmp_path,
        joints(every(20, 1000, 2000)),
        camera_images(every(20, 1000, 2000)),
        camera_images(every(20, 1000, 2000), "/phone/image_raw", (12, 16), "bgr8"),
    )
    source, whole = open_source(arm_contract, bag), everything(arm_contract, bag)

    for one in source.observations([2, 3, 17]):
        expected = whole[one.number]
        for camera, shot in one.images.items():
            np.testing.assert_array_equal(shot, expected.images[camera])
            assert shot[0, 0, 1:].tolist() == [50, 100]
        np.testing.assert_array_equal(one.state, expected.state)


def test_joints_of_a_chunk_policy_go_by_the_robot_s_names(
    arm_contract: ChunkContract, tmp_path: Path
) -> None:
    bag = write_arm_bag(
        tmp_path,
        joints(every(20, 1000, 2000)),
        camera_images(every(20, 1000, 2000)),
        camera_images(every(20, 1000, 2000), "/phone/image_raw", (12, 16)),
    )
    swapped = {
        **arm_contract.joints.robot_names,
        "shoulder_pan": "elbow_flex",
        "elbow_flex": "shoulder_pan",
    }
    renamed = dataclasses.replace(
        arm_contract, joints=dataclasses.replace(arm_contract.joints, robot_names=swapped)
    )

    assert renamed.joints.on_robot(("gripper", "elbow_flex")) == ("gripper", "shoulder_pan")
    pan, elbow, _ = np.asarray(everything(renamed, bag)[0].state).tolist()
    assert pan == pytest.approx(math.degrees(0.1 + 1.0), abs=1e-3)
    assert elbow == pytest.approx(-math.degrees(1.0) + math.degrees(0.1), abs=1e-3)


def test_ticks_without_a_camera_are_left_out(
    arm_contract: ChunkContract, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    phone = phones([*every(20, 1000, 1300), *every(20, 1900, 2000)])
    bag = write_arm_bag(
        tmp_path, joints(every(20, 1000, 2000)), camera_images(every(20, 1000, 2000)), phone
    )

    assert open_source(arm_contract, bag).count == 21 - 8
    check_wording(caplog.messages[-1])


GOOD = every(20, 1000, 1400)
PHONE = phones(GOOD)


def test_the_environment_state_is_there(tmp_path: Path) -> None:
    bundle = load_bundle(
        write_chunk_bundle(tmp_path / "b", environment=2, rate_hz=20), kind=ChunkBundle
    )
    times = every(20, 1000, 1400)
    bag = write_arm_bag(
        tmp_path,
        joints(times),
        camera_images(times),
        phones(times),
        [scan(time_ns, (0.5, time_ns / S), "/goal") for time_ns in times],
    )

    found = everything(bundle.contract, bag)

    values = np.stack([one.environment_state for one in found if one.environment_state is not None])
    np.testing.assert_allclose(values[1], np.array([0.5, 1.04]), atol=1e-6)


@pytest.mark.parametrize(
    ("parts", "topics"),
    [
        ((joints(GOOD), camera_images(GOOD)), {}),
        ((camera_images(GOOD), PHONE), {}),
        ((joints(GOOD, math.nan), camera_images(GOOD), PHONE), {}),
        ((joints(GOOD), camera_images(GOOD, size=(17, 24)), PHONE), {}),
        ((joints(GOOD), camera_images(GOOD, encoding="32FC1"), PHONE), {}),
        ((joints(GOOD), camera_images(every(20, 2000, 2400)), PHONE), {}),
        ((joints(GOOD), camera_images(GOOD), PHONE), {"top/image_raw": "/phone/image_raw"}),
    ],
)
def test_what_does_not_fit_is_named(
    arm_contract: ChunkContract, tmp_path: Path, parts: tuple[Bags, ...], topics: dict[str, str]
) -> None:
    bag = write_arm_bag(tmp_path, *parts)

    with refusal(ToolError):
        everything(arm_contract, bag, **topics)
