# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint of LeRobot's, exported, in the node, with images on topics: LeRobot's chunk."""

from __future__ import annotations

import importlib.util
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from policy_msgs.msg import ActionChunk, JointCommand
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger

from model_tools.cli import main as model_tools
from policy_inference.bundle.bundle import ChunkBundle
from policy_inference.bundle.chunk_contract import ChunkContract
from policy_inference.bundle.load import load_bundle
from policy_inference.core.chunks.normalise import Units
from policy_inference.interfaces import F64
from policy_inference.nodes.act_policy_node import ActPolicyNode

pytestmark = [pytest.mark.real_data, pytest.mark.ros]

WITHIN_S = 60.0
SEED = 0
TOLERANCE = 3e-4
"""In joint units: that of the golden data."""


class Feeder(Node):  # type: ignore[misc]  # rclpy has no types
    """Shows an arm's joints and images in simulated time."""

    def __init__(self, executor: SingleThreadedExecutor, contract: ChunkContract) -> None:
        super().__init__("feeder")
        self._executor = executor
        executor.add_node(self)
        self.names = list(contract.joints.names)
        self.now_ns, self.period_ns = 1_000_000_000, contract.period_ns
        self.position: list[float] = contract.stand.position.tolist()
        self.images = {
            name: np.zeros((camera.height, camera.width, 3), np.uint8)
            for name, camera in contract.cameras.items()
        }
        self.commands: list[JointCommand] = []
        self.chunks: list[ActionChunk] = []
        self._clock = self.create_publisher(Clock, "/clock", 10)
        self._joints = self.create_publisher(JointState, "joint_states", 10)
        self._cameras = {
            name: self.create_publisher(Image, f"{name}/image_raw", 1) for name in self.images
        }
        self.create_subscription(JointCommand, "joint_command", self.commands.append, 10)
        self.create_subscription(ActionChunk, "action_chunk", self.chunks.append, 10)

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
        """Let a period pass."""
        self.now_ns += self.period_ns
        clock = Clock()
        clock.clock.sec, clock.clock.nanosec = divmod(self.now_ns, 1_000_000_000)
        joints = JointState(name=self.names, position=array("d", self.position))
        joints.header.stamp = clock.clock
        self._joints.publish(joints)
        for name, image in self.images.items():
            height, width, _ = image.shape
            message = Image(
                height=height,
                width=width,
                encoding="rgb8",
                step=3 * width,
                data=array("B", image.tobytes()),
            )
            message.header.stamp = clock.clock
            self._cameras[name].publish(message)
        self._clock.publish(clock)

    def tick(self) -> int:
        """Let a period pass; return the mode of the command that answers."""
        self.show()
        self.until(lambda: self.answered, f"the command of {self.now_ns} ns")
        return int(self.commands[-1].mode)

    @property
    def answered(self) -> bool:
        return bool(self.commands) and _ns(self.commands[-1].stamp) == self.now_ns

    def is_met(self) -> None:
        """Let time pass until the node holds the arm, as it is asked to."""
        self.until(self._is_held, "a pose that is held")

    def _is_held(self) -> bool:
        self.show()
        for _ in range(10):
            self._executor.spin_once(timeout_sec=0.02)
        return bool(self._answer("damp").success)


@pytest.fixture
def inputs(shared_data: Path) -> Any:
    """The formulas of the golden data's inputs."""
    spec = importlib.util.spec_from_file_location("inputs", shared_data / "act" / "inputs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def bundle(shared_data: Path, tmp_path: Path) -> Path:
    """The checkpoint as a bundle."""
    folder = tmp_path / "so100"
    assert (
        model_tools(
            [
                "export",
                "act",
                "--act-path",
                str(shared_data / "act" / "so100_new"),
                "--export-path",
                str(folder),
                "--units",
                "degrees",
                "--robot",
                "so100",
                "--fps",
                "30",
            ]
        )
        == 0
    )
    return folder


@pytest.fixture
def executor() -> Iterator[SingleThreadedExecutor]:
    rclpy.init(args=[])
    executor = SingleThreadedExecutor()
    yield executor
    executor.shutdown()
    rclpy.shutdown()


def test_images_on_topics_give_the_chunk_that_lerobot_gives(
    shared_data: Path, bundle: Path, inputs: Any, executor: SingleThreadedExecutor
) -> None:
    contract = load_bundle(bundle, kind=ChunkBundle).contract
    node, feeder = ActPolicyNode(), Feeder(executor, contract)
    executor.add_node(node)
    node.set_parameters(
        [
            Parameter(name, value=value)
            for name, value in {
                "bundle": str(bundle),
                "use_sim_time": True,
                "mode": "synchronous",
                "n_action_steps": 1,
            }.items()
        ]
    )
    try:
        assert node.trigger_configure() is TransitionCallbackReturn.SUCCESS
        assert node.trigger_activate() is TransitionCallbackReturn.SUCCESS
        feeder.is_met()
        feeder.tick()
        feeder.ask("stand")
        feeder.until(lambda: feeder.tick() == JointCommand.MODE_READY, "READY")
        feeder.ask("run")
        feeder.until(lambda: feeder.tick() == JointCommand.MODE_RUN, "RUN")
        begun = np.array(feeder.position)
        show_golden(feeder, contract, inputs)
        # No joint is anywhere at once.
        for position in np.linspace(begun, feeder.position, 40).tolist():
            feeder.position = position
            feeder.tick()
        feeder.until(lambda: _ns(feeder.chunks[-1].stamp) == feeder.now_ns, "its chunk")
    finally:
        node.halt()
        executor.shutdown()
        node.leave()
        node.destroy_node()
        feeder.destroy_node()
    chunk = feeder.chunks[-1]

    found = Units(contract.units, chunk.names).of_rad(
        np.array(chunk.data).reshape(chunk.steps, len(chunk.names))
    )
    golden = np.load(shared_data / "act" / "golden.npz")[f"s{SEED}_chunk"][0]
    assert found.shape == golden.shape
    assert np.abs(found - golden).max() < TOLERANCE


def show_golden(feeder: Feeder, contract: ChunkContract, inputs: Any) -> None:
    """Show the golden observation: cameras in the order of training, the state in rad."""
    for k, (name, image) in enumerate(feeder.images.items()):
        feeder.images[name] = np.asarray(inputs.image(k, SEED, 0, *image.shape[:2]), np.uint8)
    assert contract.state is not None
    joints = contract.state.joints
    state: F64 = np.asarray(inputs.state(len(joints), SEED, 0), np.float64).reshape(-1)
    by_name = dict(zip(joints, Units(contract.units, joints).to_rad(state), strict=True))
    feeder.position = [float(by_name[name]) for name in feeder.names]


def _ns(stamp: Any) -> int:
    return int(stamp.sec * 1_000_000_000 + stamp.nanosec)
