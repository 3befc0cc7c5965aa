# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The same messages give the same pairs on the robot, in calibration and in datasets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from lerobot_bridge.episode import Episode
from lerobot_bridge.frames import EpisodeFrames
from lerobot_bridge.mapping import RobotMapping
from lerobot_bridge.mapping_file import parse_mapping
from model_tools.files.observation_sources import open_source
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import ChunkContract, Pairing
from policy_core.bundle.load import load_bundle
from policy_core.errors import NoTargetError
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.members.chunk.controller import camera_input, chunk_timeouts_ns
from policy_core.members.chunk.observation_sync import JOINTS, ObservationSync
from policy_core.observation.freshness import Input
from policy_core.observation.images import read_frame
from policy_core.observation.state import StateVector
from testkit.bags import image, in_log, joint_state, write_bag
from testkit.chunk_bundles import write_chunk_bundle

MS, RATE_HZ, PERIOD_MS, FIRST_MS, LAST_MS = 1_000_000, 20, 50, 1000, 9000
SIZES = {"laptop": (16, 24), "phone": (12, 16)}
_STEP_RAD = 1e-3
"""Joints move so far from message to message."""
_NAMES = ["shoulder_pan", "elbow_flex", "gripper"]


class Sent(NamedTuple):
    """A message: which of its topic, stamped, and received, ms."""

    number: int
    stamp_ms: int
    received_ms: int


Recorded = dict[str, list[Sent]]
Pairs = dict[int, tuple[int, ...]]
"""By tick, ms: numbers of the messages of both cameras and of the joints."""


def received(random: np.random.Generator, mean_ms: float) -> list[int]:
    """Return when the messages of a topic come, none of them shortly after a tick.

    There a dataset takes a message for the tick, since its frames have images of their own.
    """
    steps = np.maximum(1, random.normal(mean_ms, mean_ms / 4, 4 * LAST_MS)).cumsum()
    times = np.unique(FIRST_MS + steps.astype(int))
    times = times[(random.random(len(times)) > 0.1) & (times <= LAST_MS)]
    offsets = times % PERIOD_MS
    return [FIRST_MS, *times[(offsets == 0) | (offsets > PERIOD_MS // 8 + 1)].tolist()]


def without_delay(random: np.random.Generator) -> Recorded:
    rates_ms = {JOINTS: 12, "laptop": 31, "phone": 45}
    return {
        name: [Sent(i, at, at) for i, at in enumerate(received(random, mean_ms))]
        for name, mean_ms in rates_ms.items()
    }


def with_delays(random: np.random.Generator) -> Recorded:
    """Return messages with delays that change, which do not overtake each other."""
    found = without_delay(random)
    for (name, each), most_ms in zip(found.items(), (4, 60, 200), strict=True):
        before_ms, late = 0, list[Sent]()
        for sent in each:
            stamp_ms = sent.received_ms - int(random.integers(most_ms // 2, most_ms))
            before_ms = max(before_ms + 1, stamp_ms)
            late.append(sent._replace(stamp_ms=before_ms))
        found[name] = late
    return found


def message_of(name: str, sent: Sent) -> Any:
    stamp_ns = int(sent.stamp_ms) * MS
    if name == JOINTS:
        return joint_state(stamp_ns, _NAMES, [sent.number * _STEP_RAD] * len(_NAMES))
    pixels = np.full((*SIZES[name], 3), (sent.number // 256, sent.number % 256, 0), np.uint8)
    return image(stamp_ns, pixels)


def number_of(pixel: Sequence[int]) -> int:
    return int(pixel[0]) * 256 + int(pixel[1])


def write_sent(folder: Path, recorded: Recorded) -> Path:
    """Write the messages in the order in which they come."""
    said = [
        (
            f"/{name if name == JOINTS else camera_input(name)}",
            int(sent.received_ms) * MS,
            message_of(name, sent),
        )
        for name, each in sorted(recorded.items())
        for sent in each
    ]
    return write_bag(folder, in_log(said))


def on_the_robot(contract: ChunkContract, recorded: Recorded, last_ms: int) -> Pairs:
    """Return the pairs of a node's parts, which get the newest message of each topic at a tick."""
    state = StateVector({"joint_pos": len(contract.joints.names)})
    timeouts_ns = chunk_timeouts_ns(contract, limits_in_force(contract, StricterLimits()))
    inputs = {name: Input(name, timeout_ns) for name, timeout_ns in timeouts_ns.items()}
    sync, found = ObservationSync(contract, state, inputs), Pairs()
    for tick_ms in range(FIRST_MS, last_ms + 1, PERIOD_MS):
        for name, each in recorded.items():
            sent = [one for one in each if one.received_ms <= tick_ms][-1]
            entry = inputs[name if name == JOINTS else camera_input(name)]
            if not entry.is_new(int(sent.stamp_ms) * MS, tick_ms * MS):
                continue
            entry.accept(tick_ms * MS, int(sent.stamp_ms) * MS, tick_ms * MS)
            if name == JOINTS:
                state["joint_pos"][:] = sent.number * _STEP_RAD
            else:
                frame = read_frame(message_of(name, sent), contract.cameras[name])
                assert entry.measured_ns is not None
                sync.frames[name].add(frame, entry.measured_ns)
        sync.record_state(tick_ms * MS)
        assert not [entry for entry in inputs.values() if entry.is_stale(tick_ms * MS)]
        try:
            sensed = sync.snapshot(tick_ms * MS)
        except NoTargetError:
            continue
        frames = [number_of(sensed.frames[name].data) for name in SIZES]
        found[tick_ms] = (*frames, round(sensed.fields["joint_pos"][0] / _STEP_RAD))
    return found


def in_calibration(contract: ChunkContract, bag: Path) -> Iterator[tuple[int, ...]]:
    """Yield the pairs of the ticks of a recording."""
    source = open_source(contract, bag)
    for one in source.observations(range(source.count)):
        assert one.state is not None
        frames = [number_of(one.images[name][0, 0]) for name in SIZES]
        yield (*frames, round(np.radians(one.state[0]) / _STEP_RAD))


def in_a_dataset(mapping: RobotMapping, bag: Path) -> Pairs:
    frames, found = EpisodeFrames(mapping, Episode(bag=bag, task="test")), Pairs()
    for part in range(len(frames.parts)):
        for one in frames.frames(part):
            numbers = [number_of(one.images[name][0, 0]) for name in SIZES]
            state = one.vectors["observation.state"][0]
            found[one.time_ns // MS] = (*numbers, round(state / _STEP_RAD))
    return found


def mapping_with_pairing(pairing: Pairing) -> RobotMapping:
    stamp = "received" if pairing.rule == "newest" else "header"
    state = {"topic": JOINTS, "type": "sensor_msgs/msg/JointState", "stamp": stamp}
    cameras = {
        name: {
            "topic": camera_input(name),
            "height": height,
            "width": width,
            "tolerance_s": 0.5,
            "stamp": stamp,
        }
        for name, (height, width) in SIZES.items()
    }
    return parse_mapping(
        {
            "schema_version": 1,
            "robot_type": "arm",
            "rate_hz": RATE_HZ,
            "joints": {name: {"unit": "radians"} for name in _NAMES},
            "vectors": {"observation.state": [state]},
            "cameras": cameras,
            "max_gap_frames": 0,
            "pairing": dataclasses.asdict(pairing),
        },
        "mapping.yaml",
    )


@pytest.mark.parametrize(
    ("pairing", "recorded"),
    [(Pairing(tolerance_s=0.03), without_delay), (Pairing(rule="newest"), with_delays)],
)
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.acceptance) for seed in (1, 2))]
)
def test_the_same_messages_give_the_same_pairs(
    tmp_path: Path, pairing: Pairing, recorded: Callable[[np.random.Generator], Recorded], seed: int
) -> None:
    bundle = write_chunk_bundle(tmp_path / "bundle", rate_hz=RATE_HZ)
    contract = load_bundle(bundle, kind=ChunkBundle).contract
    contract = dataclasses.replace(contract, pairing=pairing)
    messages = recorded(np.random.default_rng(seed))
    bag = write_sent(tmp_path / "bag", messages)
    last_ms = max(each[-1].received_ms for each in messages.values())

    robot = on_the_robot(contract, messages, last_ms)

    ticks = (last_ms - FIRST_MS) // PERIOD_MS + 1
    assert 0.5 * ticks < len(robot)
    # Some frames are too far apart to be of one time.
    assert (len(robot) < ticks) == (pairing.rule == "frame_time")
    assert list(in_calibration(contract, bag)) == list(robot.values())
    dataset = in_a_dataset(mapping_with_pairing(pairing), bag)
    assert dataset.items() <= robot.items()
    assert len(dataset) > 0.8 * len(robot)  # frames that stand alone make no part of an episode
