# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint of LeRobot's, exported, in the node, with images on topics: LeRobot's chunk."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from policy_msgs.msg import JointCommand
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image, JointState

from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import ChunkContract
from policy_core.interfaces import F64
from policy_core.members.chunk.normalise import Units
from testkit.ros_time import stamp

from .clocked_arm import ClockedArm, clocked_executor, clocked_policy

pytestmark = [pytest.mark.real_data, pytest.mark.ros]

SEED = 0
TOLERANCE = 3e-4
"""In joint units: that of the golden data."""


class FedArm(ClockedArm):
    """An arm whose joints and images are those that a test gives."""

    def __init__(self, executor: SingleThreadedExecutor, contract: ChunkContract) -> None:
        super().__init__(executor)
        self.names = list(contract.joints.names)
        self.now_ns, self.period_ns = 1_000_000_000, contract.period_ns
        self.position: list[float] = contract.stand.position.tolist()
        self.images = {
            name: np.zeros((camera.height, camera.width, 3), np.uint8)
            for name, camera in contract.cameras.items()
        }
        self._joints = self.create_publisher(JointState, "joint_states", 10)
        self._cameras = {
            name: self.create_publisher(Image, f"{name}/image_raw", 1) for name in self.images
        }

    def show(self) -> None:
        self.now_ns += self.period_ns
        joints = JointState(name=self.names, position=array("d", self.position))
        joints.header.stamp = stamp(self.now_ns)
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
            message.header.stamp = stamp(self.now_ns)
            self._cameras[name].publish(message)
        self.publish_clock()


@pytest.mark.acceptance
def test_images_on_topics_give_the_chunk_that_lerobot_gives(
    shared_data: Path, so100_act: ChunkBundle, formulae: Any
) -> None:
    contract = so100_act.contract
    with clocked_executor() as executor, clocked_policy(executor, so100_act.path):
        arm = FedArm(executor, contract)
        arm.is_stood_up()
        arm.until(lambda: arm.tick() == JointCommand.MODE_RUN, "RUN")
        begun = np.array(arm.position)
        show_golden(arm, contract, formulae)
        # No joint is anywhere at once.
        for position in np.linspace(begun, arm.position, 40).tolist():
            arm.position = position
            arm.tick()
        chunk = arm.newest_chunk
        arm.destroy_node()

    found = Units(contract.units, chunk.names).of_rad(
        np.array(chunk.data).reshape(chunk.steps, len(chunk.names))
    )
    golden = np.load(shared_data / "act" / "golden.npz")[f"s{SEED}_chunk"][0]
    assert found.shape == golden.shape
    assert np.abs(found - golden).max() < TOLERANCE


def show_golden(arm: FedArm, contract: ChunkContract, inputs: Any) -> None:
    """Show the golden observation: cameras in the order of training, the state in rad."""
    for k, (name, image) in enumerate(arm.images.items()):
        arm.images[name] = np.asarray(inputs.image(k, SEED, 0, *image.shape[:2]), np.uint8)
    assert contract.state is not None
    joints = contract.state.joints
    state: F64 = np.asarray(inputs.state(len(joints), SEED, 0), np.float64).reshape(-1)
    by_name = dict(zip(joints, Units(contract.units, joints).to_rad(state), strict=True))
    arm.position = [float(by_name[name]) for name in arm.names]
