# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A dataset, played as a recording into the node, gives the chunks of `lerobot_bridge replay`."""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import ChunkContract
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import F64, Tensor
from policy_core.members.chunk.normalise import Units
from policy_inference.backends.registry import open_models
from policy_inference.nodes.act_policy_node import ActPolicyNode
from testkit.ros_time import ns, stamp

pytestmark = pytest.mark.ros

WITHIN_S = 60.0
ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "config" / "bundles" / "so101_reach"
small: Any = importlib.import_module("src.lerobot_bridge.test.given_frames")
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
    """Plays a recording period by period, in simulated time."""

    def __init__(self, executor: SingleThreadedExecutor, bag: Path) -> None:
        super().__init__("arm")
        self.executor_of_all = executor
        executor.add_node(self)
        self.now_ns = 0
        self.commands: list[JointCommand] = []
        self.chunks: dict[int, ActionChunk] = {}
        self._clock = self.create_publisher(Clock, "/clock", 10)
        self.create_subscription(JointCommand, "joint_command", self.commands.append, 10)
        self.create_subscription(ActionChunk, "action_chunk", self._keep, 10)
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

    def _keep(self, chunk: ActionChunk) -> None:
        self.chunks[ns(chunk.stamp)] = chunk

    def show(self) -> None:
        """Let a period pass, and publish what sensors say."""
        assert self.left, "the recording is over"
        self.now_ns, said = self._frames[-self.left]
        self.left -= 1
        for topic, data in said:
            self._topics[topic].publish(data)
        self._clock.publish(Clock(clock=stamp(self.now_ns)))

    def is_met(self) -> None:
        topics = [one for name, one in self._topics.items() if not name.startswith("/leader")]
        self.until(lambda: all(one.get_subscription_count() for one in topics), "subscriptions")

    def spin(self, times: int = 1) -> None:
        for _ in range(times):
            self.executor_of_all.spin_once(timeout_sec=0.02)

    def until(self, condition: Any, what: str) -> None:
        ends_s = time.monotonic() + WITHIN_S
        while not condition():
            assert time.monotonic() < ends_s, f"waited in vain for {what}"
            self.spin()

    def answer(self, request: str) -> Trigger.Response:
        client = self.create_client(Trigger, f"act_policy_node/{request}")
        self.until(client.service_is_ready, request)
        future = client.call_async(Trigger.Request())
        self.until(future.done, request)
        return future.result()

    def ask(self, request: str) -> None:
        answer = self.answer(request)
        assert answer.success, answer.message

    def tick(self) -> int:
        """Let a period pass; return the mode of the command that answers."""
        self.show()
        self.until(lambda: self.answered, f"the command of {self.now_ns} ns")
        return int(self.commands[-1].mode)

    @property
    def answered(self) -> bool:
        return bool(self.commands) and ns(self.commands[-1].stamp) == self.now_ns

    def is_stood_up(self) -> None:
        """Let time pass until the node holds the arm, as it is asked to, and stands it up."""
        while not self.answer("damp").success:
            self.show()
            self.spin(10)
        self.tick()
        self.ask("stand")
        self.until(lambda: self.tick() == JointCommand.MODE_READY, "READY")
        self.ask("run")

    @property
    def newest_chunk(self) -> ActionChunk:
        """The chunk of the observation that was shown last."""
        self.until(lambda: self.now_ns in self.chunks, "its chunk")
        return self.chunks[self.now_ns]


@contextmanager
def clocked_executor() -> Iterator[SingleThreadedExecutor]:
    rclpy.init(args=[])
    executor = SingleThreadedExecutor()
    try:
        yield executor
    finally:
        executor.shutdown()
        rclpy.shutdown()


@contextmanager
def clocked_policy(executor: SingleThreadedExecutor, bundle: Path) -> Iterator[None]:
    """Run a policy's node that infers in each tick."""
    node = ActPolicyNode()
    executor.add_node(node)
    parameters = {
        "bundle": str(bundle),
        "use_sim_time": True,
        "mode": "synchronous",
        "n_action_steps": 1,
    }
    node.set_parameters([Parameter(name, value=value) for name, value in parameters.items()])
    try:
        assert node.trigger_configure() is TransitionCallbackReturn.SUCCESS
        assert node.trigger_activate() is TransitionCallbackReturn.SUCCESS
        yield
    finally:
        node.halt()
        executor.shutdown()
        node.leave()
        node.destroy_node()


@pytest.mark.acceptance
def test_a_played_dataset_gives_the_chunks_of_replay(tmp_path: Path) -> None:
    bundle = load_bundle(BUNDLE, kind=ChunkBundle)
    contract = bundle.contract
    dataset, mapping = write_moving_arm(bundle, tmp_path / "dataset"), tmp_path / "mapping.yaml"
    mapping.write_text(MAPPING, "utf-8")
    words = [str(dataset), "--mapping", str(mapping), "--output", str(tmp_path / "session")]
    assert lerobot_bridge(["to-bag", *words]) == 0
    found = []
    with clocked_executor() as executor, clocked_policy(executor, BUNDLE):
        player = Player(executor, tmp_path / "session" / "episode_0000")
        player.is_met()
        player.is_stood_up()
        while player.left > MOVING:
            player.tick()
        while player.left:
            assert player.tick() == JointCommand.MODE_RUN
            found.append(first_step(contract, player.newest_chunk))
        player.destroy_node()

    expected = first_steps_replayed(bundle, dataset)[-MOVING:]
    assert np.abs(np.stack(found) - expected).max() < TOLERANCE
    assert np.ptp(expected, axis=0).max() > 1.0


def write_moving_arm(bundle: ChunkBundle, folder: Path) -> Path:
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
        f"observation.images.{name}": moving_images(golden[f"cameras.{name}"], moved[:, 0])
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


def moving_images(images: Tensor, moved: npt.NDArray[np.int64]) -> Tensor:
    """Return a frame of the golden images for each, going over from the first to the second."""
    first, second = images[0], images[1]
    return np.stack(
        [cv2.addWeighted(first, 1 - share, second, share, 0.0) for share in moved / MOVING]
    )


def first_steps_replayed(bundle: ChunkBundle, dataset: Path) -> F64:
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
