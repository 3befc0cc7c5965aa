# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A dataset, played as a recording into the node, gives the chunks of `lerobot_bridge replay`."""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import rclpy
from policy_msgs.msg import ActionChunk, JointCommand
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosbags.highlevel import AnyReader
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Trigger

from lerobot_bridge.cli import main as lerobot_bridge
from lerobot_bridge.open_loop.predict import OpenLoop
from model_tools.files.observation_sources import DatasetSource
from policy_inference.backends.registry import open_models
from policy_inference.bundle.bundle import ChunkBundle
from policy_inference.bundle.chunk_contract import ChunkContract
from policy_inference.bundle.load import load_bundle
from policy_inference.core.chunks.normalise import Units
from policy_inference.interfaces import F64, Tensor
from policy_inference.nodes.act_policy_node import ActPolicyNode

pytestmark = pytest.mark.ros

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "config" / "bundles" / "so101_reach"
small: Any = importlib.import_module("src.lerobot_bridge.test.given_frames")
WITHIN_S = 60.0
RESTING, MOVING = 200, 20
"""Frames in which the arm is brought to its stand, and in which the policy sees others."""
TOLERANCE = 3e-4
"""In joint units: that of the golden data."""
MAPPING = """
schema_version: 1
robot_type: so101_follower
rate_hz: 30
joints:
  shoulder_pan: {unit: degrees}
  shoulder_lift: {unit: degrees}
  elbow_flex: {unit: degrees}
  wrist_flex: {unit: degrees}
  wrist_roll: {unit: degrees}
  gripper: {unit: range_0_100, low_rad: -0.174533, high_rad: 1.745329}
vectors:
  observation.state: [{topic: joint_states, type: sensor_msgs/msg/JointState}]
  action: [{topic: leader/joint_states, type: sensor_msgs/msg/JointState}]
cameras:
  front: {topic: front/image_raw, height: 96, width: 128}
  wrist: {topic: wrist/image_raw, height: 96, width: 128}
"""


class Player(Node):  # type: ignore[misc]  # rclpy has no types
    """Plays a recording in simulated time, frame by frame."""

    def __init__(self, executor: SingleThreadedExecutor, bag: Path) -> None:
        super().__init__("player")
        self._executor = executor
        executor.add_node(self)
        self.now_ns = 0
        self.commands: list[JointCommand] = []
        self.chunks: dict[int, ActionChunk] = {}
        self._clock = self.create_publisher(Clock, "/clock", 10)
        with AnyReader([bag]) as reader:
            self._topics = {
                name: self.create_publisher(_class(info.msgtype or ""), name, 10)
                for name, info in reader.topics.items()
            }
            said = [
                (log_ns, connection.topic, bytes(data))
                for connection, log_ns, data in reader.messages()
            ]
        self._frames = [
            (time_ns, [(topic, data) for _, topic, data in each])
            for time_ns, each in groupby(said, key=lambda entry: entry[0])
        ]
        self.left = len(self._frames)
        self.create_subscription(JointCommand, "joint_command", self.commands.append, 10)
        self.create_subscription(ActionChunk, "action_chunk", self._keep, 10)

    def until(self, condition: Any, what: str) -> None:
        ends_s = time.monotonic() + WITHIN_S
        while not condition():
            assert time.monotonic() < ends_s, f"waited in vain for {what}"
            self._executor.spin_once(timeout_sec=0.02)

    def ask(self, request: str) -> None:
        answer = self._answer(request)
        assert answer.success, answer.message

    def _answer(self, request: str) -> Trigger.Response:
        client = self.create_client(Trigger, f"act_policy_node/{request}")
        self.until(client.service_is_ready, request)
        future = client.call_async(Trigger.Request())
        self.until(future.done, request)
        return future.result()

    def show(self) -> None:
        """Play a frame."""
        assert self.left, "the recording is over"
        self.now_ns, said = self._frames[-self.left]
        self.left -= 1
        for topic, data in said:
            self._topics[topic].publish(data)
        self._publish_clock()

    def tick(self) -> int:
        """Play a frame; return the mode of the command that answers."""
        self.show()
        self.until(lambda: self.answered, f"the command of {self.now_ns} ns")
        return int(self.commands[-1].mode)

    @property
    def answered(self) -> bool:
        return bool(self.commands) and _ns(self.commands[-1].stamp) == self.now_ns

    def is_met(self) -> None:
        """Play until the node holds the arm, as it is asked to."""
        self.until(
            lambda: all(
                one.get_subscription_count()
                for name, one in self._topics.items()
                if not name.startswith("/leader")
            ),
            "the node's subscriptions",
        )
        while not self._answer("damp").success:
            self.show()
            for _ in range(10):
                self._executor.spin_once(timeout_sec=0.02)

    def _publish_clock(self) -> None:
        clock = Clock()
        clock.clock.sec, clock.clock.nanosec = divmod(self.now_ns, 1_000_000_000)
        self._clock.publish(clock)

    def _keep(self, chunk: ActionChunk) -> None:
        self.chunks[_ns(chunk.stamp)] = chunk


@pytest.fixture
def executor() -> Iterator[SingleThreadedExecutor]:
    rclpy.init(args=[])
    executor = SingleThreadedExecutor()
    yield executor
    executor.shutdown()
    rclpy.shutdown()


@pytest.mark.slow
def test_a_played_dataset_gives_the_chunks_of_replay(
    tmp_path: Path, executor: SingleThreadedExecutor
) -> None:
    bundle = load_bundle(BUNDLE, kind=ChunkBundle)
    contract = bundle.contract
    dataset = write(bundle, tmp_path / "dataset")
    (tmp_path / "mapping.yaml").write_text(MAPPING, "utf-8")
    assert (
        lerobot_bridge(
            [
                "to-bag",
                str(dataset),
                "--mapping",
                str(tmp_path / "mapping.yaml"),
                "--output",
                str(tmp_path / "session"),
            ]
        )
        == 0
    )
    node = ActPolicyNode()
    player = Player(executor, tmp_path / "session" / "episode_0000")
    executor.add_node(node)
    node.set_parameters(
        [
            Parameter(name, value=value)
            for name, value in {
                "bundle": str(BUNDLE),
                "use_sim_time": True,
                "mode": "synchronous",
                "n_action_steps": 1,
            }.items()
        ]
    )
    try:
        assert node.trigger_configure() is TransitionCallbackReturn.SUCCESS
        assert node.trigger_activate() is TransitionCallbackReturn.SUCCESS
        player.is_met()
        player.tick()
        player.ask("stand")
        player.until(lambda: player.tick() == JointCommand.MODE_READY, "READY")
        player.ask("run")
        while player.left > MOVING:
            player.tick()
        stamps = []
        while player.left:
            assert player.tick() == JointCommand.MODE_RUN
            stamps.append(player.now_ns)
            player.until(lambda: player.now_ns in player.chunks, "its chunk")
    finally:
        node.halt()
        executor.shutdown()
        node.leave()
        node.destroy_node()
        player.destroy_node()
    found = np.stack([first_step(contract, player.chunks[stamp]) for stamp in stamps])

    expected = replayed(bundle, dataset)[-MOVING:]
    assert np.abs(found - expected).max() < TOLERANCE
    assert np.ptp(expected, axis=0).max() > 1.0


def write(bundle: ChunkBundle, folder: Path) -> Path:
    """Write an episode: the arm rests, then it is seen at other places, from one image on."""
    contract, golden = bundle.contract, bundle.golden()
    joints = contract.action.joints
    names = list(contract.joints.names)
    stand: F64 = contract.stand.position[[names.index(one) for one in joints]]
    moved = np.maximum(0, np.arange(RESTING + MOVING) - RESTING)[:, np.newaxis]
    state = Units(contract.units, joints).of_rad(
        stand + math.radians(0.4) * moved * np.array([1, 1, -1, 1, 1, 0.5])
    )
    images = {
        f"observation.images.{name}": moving(golden[f"cameras.{name}"], moved[:, 0])
        for name in contract.cameras
    }
    columns = {
        "observation.state": state.astype(np.float32),
        "action": state.astype(np.float32),
        **images,
    }
    names = [f"{joint}.pos" for joint in joints]
    dataset: Path = small.write_frames(
        folder, [columns], {"observation.state": names, "action": names}
    )
    return dataset


def moving(images: Tensor, moved: npt.NDArray[np.int64]) -> Tensor:
    """Return a frame of the golden images for each, going over from the first to the second."""
    first, second = images[0], images[1]
    return np.stack(
        [cv2.addWeighted(first, 1 - share, second, share, 0.0) for share in moved / MOVING]
    )


def replayed(bundle: ChunkBundle, dataset: Path) -> F64:
    """Return the first steps of all chunks, in the units of the dataset."""
    source = DatasetSource(bundle.contract, dataset)
    with open_models(bundle.models, ["onnx"]) as backends:
        found: F64 = OpenLoop(source, backends, 1).run(source.dataset.episodes[0]).predicted
    return found


def first_step(contract: ChunkContract, chunk: ActionChunk) -> F64:
    units = Units(contract.units, chunk.names)
    found: F64 = units.of_rad(np.array(chunk.data).reshape(chunk.steps, len(chunk.names))[0])
    return found


def _class(kind: str) -> Any:
    package, _, name = kind.split("/")
    return getattr(importlib.import_module(f"{package}.msg"), name)


def _ns(stamp: Any) -> int:
    return int(stamp.sec * 1_000_000_000 + stamp.nanosec)
