# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import yaml

from lerobot_bridge.mapping import RobotMapping
from lerobot_bridge.mapping_file import parse_mapping
from policy_core.errors import RobotError

pytestmark = pytest.mark.ros
rclpy = pytest.importorskip("rclpy")

from geometry_msgs.msg import Twist  # noqa: E402  not without rclpy
from policy_msgs.msg import JointCommand  # noqa: E402
from rclpy.context import Context  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from sensor_msgs.msg import Image, JointState  # noqa: E402
from std_msgs.msg import Float64MultiArray  # noqa: E402

from lerobot_bridge.nodes.robot_link import RobotLink  # noqa: E402
from testkit.fast_dds import run_python  # noqa: E402
from testkit.waiting import until  # noqa: E402
from testkit.wording import check_wording, lines_with, refusal  # noqa: E402

SOON_S = 30.0
CONTENT: dict[str, Any] = yaml.safe_load("""
schema_version: 1
robot_type: arm
rate_hz: 30
joints:
  pan: {unit: degrees, stiffness: 1, damping: 1, effort_limit: 1}
  lift: {unit: degrees, stiffness: 1, damping: 1, effort_limit: 1}
vectors:
  observation.state: [{topic: joint_states, type: sensor_msgs/msg/JointState, timeout_s: 0.2}]
  observation.effort:
    - {topic: joint_states, type: sensor_msgs/msg/JointState, quantity: effort}
cameras:
  front: {topic: front/image_raw, height: 2, width: 3, timeout_s: 0.2}
command:
  - {topic: joint_command, type: policy_msgs/msg/JointCommand}
  - {topic: cmd_vel, type: geometry_msgs/msg/Twist, fields: {x.vel: linear.x},
     limits: {x.vel: [-1, 1]}}
  - {topic: grip, type: std_msgs/msg/Float64MultiArray, fields: {grip: 'data[0]'}}
""")
MAPPING = parse_mapping(CONTENT, "mapping.yaml")
IMAGE = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)


class Robot:
    """Publishes the messages in `publishes` at 50 Hz, and stores the commands it receives."""

    def __init__(self) -> None:
        self.context = Context()
        rclpy.init(args=[], context=self.context)
        self.node = rclpy.create_node("robot", context=self.context)
        self.publishes: dict[Any, Callable[[], Any]] = {}
        self.heard: dict[str, list[Any]] = {}
        for topic, kind in (
            ("joint_command", JointCommand),
            ("cmd_vel", Twist),
            ("grip", Float64MultiArray),
        ):
            self.heard[topic] = []
            self.node.create_subscription(kind, topic, self.heard[topic].append, 1000)
        self.node.create_timer(0.02, self._publish)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.thread = threading.Thread(target=self.executor.spin)
        self.thread.start()

    def publish(self, topic: str, make: Callable[[], Any]) -> Any:
        publisher = self.node.create_publisher(type(make()), topic, 10)
        self.publishes[publisher] = make
        return publisher

    def close(self) -> None:
        self.executor.shutdown()
        self.thread.join()
        self.node.destroy_node()
        self.context.try_shutdown()

    def _publish(self) -> None:
        for publisher, make in list(self.publishes.items()):
            publisher.publish(make())


def linked_joints() -> JointState:
    return stamped_now(JointState(name=["lift", "pan"], position=[0.5, -0.25], effort=[3.0, 4.0]))


def linked_image() -> Image:
    return stamped_now(Image(height=2, width=3, step=9, encoding="rgb8", data=IMAGE.tobytes()))


def stamped_now(message: Any) -> Any:
    sec, nanosec = divmod(time.time_ns(), 1_000_000_000)
    message.header.stamp.sec, message.header.stamp.nanosec = sec, nanosec
    return message


@pytest.fixture
def linked_robot() -> Iterator[Robot]:
    made = Robot()
    yield made
    made.close()


@pytest.fixture
def live_robot(linked_robot: Robot) -> Robot:
    linked_robot.publish("joint_states", linked_joints)
    linked_robot.publish("front/image_raw", linked_image)
    return linked_robot


@contextmanager
def linked(
    mapping: RobotMapping = MAPPING, timeout_s: float = SOON_S, hold_s: float = SOON_S
) -> Iterator[RobotLink]:
    link = RobotLink(
        mapping,
        name="link",
        features=list(mapping.vectors),
        cameras=True,
        commands=True,
        timeout_s=timeout_s,
        hold_s=hold_s,
    )
    try:
        yield link
    finally:
        link.close()


def error_of(link: RobotLink) -> str:
    """Return the link's first error."""
    found: list[str] = []

    def fails() -> bool:
        try:
            link.newest()
        except RobotError as error:
            found.append(str(error))
        return bool(found)

    until(fails)
    return found[0]


def test_the_newest_values_and_images_by_their_names(live_robot: Robot) -> None:
    with linked() as link:
        newest = link.newest()
    np.testing.assert_array_equal(newest.pop("front"), IMAGE)
    assert newest == pytest.approx(
        {"pan.pos": np.rad2deg(-0.25), "lift.pos": np.rad2deg(0.5), "pan.eff": 4.0, "lift.eff": 3.0}
    )


def test_what_is_missing_is_named_with_what_is_there(linked_robot: Robot) -> None:
    linked_robot.publish("front/image_raw", linked_joints)
    with pytest.raises(RobotError) as raised, linked(timeout_s=1.0):
        pass
    text = str(raised.value)
    check_wording(*lines_with(text, "connection"))
    check_wording(*lines_with(text, "sensor_msgs/msg/JointState"))


def test_a_topic_that_goes_silent_is_named_with_its_age(linked_robot: Robot) -> None:
    state = linked_robot.publish("joint_states", linked_joints)
    linked_robot.publish("front/image_raw", linked_image)
    with linked() as link:
        del linked_robot.publishes[state]
        text = error_of(link)
    check_wording(*lines_with(text, "connection"))
    check_wording(*lines_with(text, "sensor_msgs/msg/JointState"))
    assert "front" not in text


def test_two_publishers_of_a_state_are_refused(live_robot: Robot) -> None:
    with linked() as link:
        live_robot.publish("joint_states", linked_joints)
        text = error_of(link)
    check_wording(*lines_with(text, "/joint_states"))


def test_commands_without_a_receiver_are_no_connection(live_robot: Robot) -> None:
    nobody = {**CONTENT, "command": [{**CONTENT["command"][0], "topic": "elsewhere"}]}
    with refusal(RobotError), linked(parse_mapping(nobody, "mapping.yaml"), 1.0):
        pass


def test_another_sender_of_commands_ends_the_connection(live_robot: Robot) -> None:
    with linked() as link:
        live_robot.node.create_publisher(Twist, "cmd_vel", 10)
        text = error_of(link)
    check_wording(*lines_with(text, "/cmd_vel"))


def test_actions_arrive_and_joint_commands_are_repeated(live_robot: Robot) -> None:
    with linked() as link:
        link.send({"pan.pos": 90.0, "lift.pos": 0.0, "x.vel": 0.5, "grip": 7.0})
        until(lambda: len(live_robot.heard["joint_command"]) >= 4)
        until(lambda: bool(live_robot.heard["cmd_vel"] and live_robot.heard["grip"]))
        assert live_robot.heard["cmd_vel"][0].linear.x == 0.5
        assert [list(message.data) for message in live_robot.heard["grip"]] == [[7.0]]
    until(lambda: live_robot.heard["joint_command"][-1].mode == JointCommand.MODE_HOLD_MEASURED)
    *run, held = live_robot.heard["joint_command"]
    assert {message.mode for message in run} == {JointCommand.MODE_RUN}
    assert [message.sequence for message in (*run, held)] == list(range(len(run) + 1))
    np.testing.assert_allclose([message.position[0] for message in run], np.pi / 2)
    np.testing.assert_allclose(held.position, [-0.25, 0.5])
    assert (held.valid_for.sec, held.valid_for.nanosec) == (0, 200_000_000)
    until(lambda: live_robot.heard["cmd_vel"][-1].linear.x == 0.0)
    assert len(live_robot.heard["grip"]) == 1


ACTION = {"pan.pos": 90.0, "lift.pos": 0.0, "x.vel": 0.5, "grip": 7.0}


def commanded_modes(robot: Robot) -> list[int]:
    return [message.mode for message in robot.heard["joint_command"]]


def has_stopped(robot: Robot) -> bool:
    return [message.linear.x for message in robot.heard["cmd_vel"]][-1:] == [0.0]


def test_an_arm_holds_without_images(linked_robot: Robot) -> None:
    linked_robot.publish("joint_states", linked_joints)
    camera = linked_robot.publish("front/image_raw", linked_image)
    with linked() as link:
        link.send(ACTION)
        del linked_robot.publishes[camera]
        assert "/front/image_raw" in error_of(link)
        heard = len(commanded_modes(linked_robot))
        until(lambda: len(commanded_modes(linked_robot)) >= heard + 3)


AT_WORK = """
import json
import signal
import sys
import time

# The link leaves ignored signals alone, and the parent may ignore SIGHUP (nohup).
signal.signal(signal.SIGHUP, signal.SIG_DFL)

from lerobot_bridge.mapping_file import parse_mapping
from lerobot_bridge.nodes.robot_link import RobotLink

link = RobotLink(parse_mapping(json.loads(sys.argv[1]), "mapping.yaml"), name="link",
                 features=["observation.state"], cameras=False, commands=True, timeout_s=30.0)
while True:
    link.send({"pan.pos": 90.0, "lift.pos": 0.0, "x.vel": 0.5, "grip": 7.0})
    time.sleep(0.02)
"""


MEMORY = """
import json
import os
import sys
from contextlib import suppress
from pathlib import Path

import rclpy

from lerobot_bridge.mapping_file import parse_mapping
from lerobot_bridge.nodes.robot_link import RobotLink
from policy_core.errors import RobotError

def create(*args, **options):
    node = real(*args, **options)
    print("/dev/shm/fast" in Path("/proc/self/maps").read_text())
    return node

real, rclpy.create_node = rclpy.create_node, create
before = dict(os.environ)
with suppress(RobotError):  # there is no robot
    RobotLink(parse_mapping(json.loads(sys.argv[1]), "mapping.yaml"), name="link", features=[],
              cameras=False, commands=True, timeout_s=0.0)
print("unchanged" if os.environ == before else "changed")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_program_that_is_ended_leaves_the_robot_safe(linked_robot: Robot, number: int) -> None:
    linked_robot.publish("joint_states", linked_joints)
    words = [sys.executable, "-c", AT_WORK, json.dumps(CONTENT)]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as program:
        until(lambda: bool(linked_robot.heard["cmd_vel"]))
        try:
            program.send_signal(number)
            assert program.wait(SOON_S) == (-number if number == signal.SIGINT else 128 + number)
        finally:
            program.kill()
    until(lambda: has_stopped(linked_robot))
    until(lambda: commanded_modes(linked_robot)[-1] == JointCommand.MODE_HOLD_MEASURED)


def test_closing_leaves_nothing(live_robot: Robot) -> None:
    before = set(threading.enumerate())
    with linked() as link:
        assert set(threading.enumerate()) > before
        until(lambda: "link" in live_robot.node.get_node_names())
    assert set(threading.enumerate()) == before
    until(lambda: "link" not in live_robot.node.get_node_names())
    link.close()


@pytest.mark.parametrize("is_configured", [False, True])
def test_the_link_uses_no_shared_memory_of_fast_dds_unless_the_user_configured_it(
    is_configured: bool,
) -> None:
    ran = run_python(MEMORY, json.dumps(CONTENT), is_configured=is_configured)
    assert (ran.returncode, ran.stdout.split()) == (0, [str(is_configured), "unchanged"])
