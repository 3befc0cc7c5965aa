# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The simulated arm on its topics, in lockstep and in real time."""

import io
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Duration
from PIL import Image as Pillow
from policy_msgs.msg import JointCommand
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Bool, Float32MultiArray
from std_srvs.srv import Trigger

from robot_sim.arm_episodes import ArmTrace
from robot_sim.arm_expert import ReachExpert
from robot_sim.arm_figures import SO101
from robot_sim.arm_world import ArmWorld
from robot_sim.errors import SimError
from robot_sim.figures import Array
from robot_sim.nodes.arm_sim_node import ArmSimNode
from testkit.ros_time import stamp
from testkit.wording import check_wording, lines_with, refusal

from .harness import Stage, stamps_ns

pytestmark = pytest.mark.ros
_DEEP = QoSProfile(depth=1000)
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def tick_ns(tick: int) -> int:
    return round(tick * 1e9 / 30.0)


class ArmStage(Stage):
    """A running arm, and what it has published in addition to the topics of every robot."""

    node: Any
    new_node = ArmSimNode

    def __init__(self, new_log: Callable[[], str]) -> None:
        super().__init__(new_log)
        self.images: dict[str, list[Any]] = {"front": [], "wrist": []}
        self.cubes: list[Float32MultiArray] = []
        self.results: list[bool] = []

    def listen(self, message: type[Any] = Image, topic: str = "image_raw") -> None:
        """Subscribe to the cameras, the cube and the results."""
        listen = self.listener.create_subscription
        for name, into in self.images.items():
            listen(message, f"{name}/{topic}", into.append, _DEEP)
        listen(Float32MultiArray, "environment_state", self.cubes.append, _DEEP)
        listen(Bool, "episode_result", lambda m: self.results.append(m.data), _LATCHED)

    def answer(
        self, tick: int, position: Array = SO101.home_rad, mode: int = JointCommand.MODE_STAND
    ) -> None:
        self.shows(tick_ns(tick))
        self.send(arm_message(tick_ns(tick), position, mode))

    def next_episode(self) -> str:
        client = self.listener.create_client(Trigger, "arm_sim_node/next_episode")
        self.until(client.service_is_ready, "the service")
        future = client.call_async(Trigger.Request())
        self.until(future.done, "the answer")
        return str(future.result().message)


def arm_message(time_ns: int, position: Array, mode: int) -> JointCommand:
    servo, fields = SO101.servo, {"position": position.tolist()}
    same = {"velocity": 0.0, "effort": 0.0, "stiffness": servo.stiffness, "damping": servo.damping}
    for name, value in {**same, "effort_limit": servo.stall_nm}.items():
        fields[name] = [value] * 6
    return JointCommand(
        stamp=stamp(time_ns),
        names=list(SO101.joint_names),
        mode=mode,
        valid_for=Duration(nanosec=200_000_000),
        **{name: array("d", values) for name, values in fields.items()},
    )


@pytest.fixture
def simulated_arm(capfd: pytest.CaptureFixture[str]) -> Iterator[ArmStage]:
    """Provide a stage for a simulated arm; close it after the test."""
    stage = ArmStage(lambda: capfd.readouterr().err)
    yield stage
    stage.close()


def test_ticks_are_a_thirtieth_of_a_second_and_sensors_carry_their_times(
    simulated_arm: ArmStage,
) -> None:
    simulated_arm.run(lockstep=True)
    simulated_arm.listen()
    for tick in range(4):
        simulated_arm.answer(tick)
    simulated_arm.shows(tick_ns(4))
    simulated_arm.until(lambda: len({*stamps_ns(simulated_arm.images["wrist"])}) >= 4, "the images")
    ticks = {tick_ns(tick) for tick in range(5)}
    assert set(stamps_ns(simulated_arm.joint_states)) == ticks
    assert set(stamps_ns(simulated_arm.images["front"])) <= ticks
    assert simulated_arm.joint_states[-1].name == list(SO101.joint_names)
    np.testing.assert_allclose(
        simulated_arm.cubes[-1].data, simulated_arm.node.world.sense().cube_world, atol=1e-4
    )


def test_images_on_topics_are_those_of_the_world(simulated_arm: ArmStage) -> None:
    simulated_arm.run(lockstep=True, seed=4, image_height=48, image_width=64)
    simulated_arm.listen()
    simulated_arm.shows(0)
    simulated_arm.until(lambda: all(simulated_arm.images.values()), "an image of each camera")
    alike = ArmWorld(seed=4, image_size=(48, 64))
    for name, messages in simulated_arm.images.items():
        message = messages[0]
        assert (message.header.frame_id, message.encoding) == (name, "rgb8")
        assert (message.height, message.width, message.step) == (48, 64, 192)
        image = np.frombuffer(message.data, np.uint8).reshape(48, 64, 3)
        np.testing.assert_array_equal(image, alike.render(name))
    alike.close()


def test_compressed_images_are_jpeg_of_the_same(simulated_arm: ArmStage) -> None:
    simulated_arm.run(lockstep=True, seed=4, compressed=True)
    simulated_arm.listen(CompressedImage, "image_raw/compressed")
    simulated_arm.until(lambda: simulated_arm.images["front"], "an image")
    message = simulated_arm.images["front"][0]
    assert "jpeg" in message.format
    image = np.asarray(Pillow.open(io.BytesIO(bytes(message.data)))).astype(int)
    alike = ArmWorld(seed=4)
    assert np.abs(image - alike.render("front")).mean() < 3.0
    alike.close()


def test_an_episode_succeeds_where_the_arm_reaches_and_the_next_cube_lies_elsewhere(
    simulated_arm: ArmStage, tmp_path: Path
) -> None:
    trace_file = tmp_path / "trace.npz"
    simulated_arm.run(lockstep=True, seed=7, trace_file=str(trace_file))
    simulated_arm.listen()
    alike = ArmWorld(seed=7)
    expert, tick = ReachExpert(alike), 0
    while not simulated_arm.results:
        simulated_arm.answer(tick, expert.target(tick_ns(tick)), JointCommand.MODE_RUN)
        tick += 1
        simulated_arm.shows(tick_ns(tick))
    assert simulated_arm.results == [True]
    check_wording(simulated_arm.next_episode())
    simulated_arm.answer(tick)
    simulated_arm.shows(tick_ns(tick + 1))
    alike.reset(seed=8)
    np.testing.assert_allclose(
        simulated_arm.node.world.sense().cube_world, alike.sense().cube_world, atol=1e-3
    )
    simulated_arm.node.stop()
    simulated_arm.ends()
    simulated_arm.node.save()
    trace = ArmTrace.load(trace_file)
    assert (trace.seed.tolist(), trace.succeeded.tolist()) == ([7], [True])
    assert 2.0 < trace.took_s[0] < 5.0
    assert set(trace.episode) == {0, -1}
    check_wording(*lines_with(simulated_arm.log, "reached"))


@pytest.mark.parametrize(
    ("parameter", "value"), [("rate_hz", 31.0), ("image_width", 4000), ("joint_order", ["gripper"])]
)
def test_parameters_that_do_not_fit_are_refused(
    simulated_arm: ArmStage, parameter: str, value: object
) -> None:
    with refusal(SimError):
        simulated_arm.make(**{parameter: value})
