# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`robot_operator estop`, `damp` and `stand` as processes, beside several nodes and none."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from geometry_msgs.msg import Twist
from policy_msgs.msg import JointCommand, PolicyStatus, RobotStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float32MultiArray
from std_srvs.srv import Trigger

from testkit.wording import check_wording, lines_with

from .robot import DEADLINE_S, policy_status

pytestmark = pytest.mark.ros
_NEWEST = QoSProfile(depth=1)
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class World:
    """Nodes beside the command, which runs until it ends."""

    def __init__(self, executor: SingleThreadedExecutor) -> None:
        self._executor = executor
        self.nodes: list[Node] = []
        self.statuses: dict[str, Any] = {}

    def node(self, name: str, namespace: str = "") -> Node:
        node = Node(name, namespace=namespace, use_global_arguments=False)
        self._executor.add_node(node)
        self.nodes.append(node)
        return node

    def policy(self, name: str, namespace: str = "") -> PolicyStatus:
        """Add a policy node in RUN; return its status."""
        node, status = self.node(name, namespace), policy_status()
        status.mode, status.reason = JointCommand.MODE_RUN, "the policy runs"
        publisher = node.create_publisher(PolicyStatus, "~/status", _LATCHED)
        publisher.publish(status)
        node.create_publisher(JointCommand, "joint_command", _NEWEST)

        def answer(request: str, _: Trigger.Request, response: Trigger.Response) -> Any:
            status.mode = JointCommand.MODE_READY if request == "stand" else JointCommand.MODE_DAMP
            status.latched = status.latched or request == "estop"
            publisher.publish(status)
            response.success = True
            return response

        for request in ("stand", "damp", "estop"):
            node.create_service(Trigger, f"~/{request}", partial(answer, request))
        return status

    def driver(self, namespace: str = "") -> RobotStatus:
        """Add a driver that follows commands until the e-stop on the topic; return its status."""
        node = self.node("some_driver", namespace)
        status = RobotStatus(state=RobotStatus.FOLLOWING, reason="follows")
        publisher = node.create_publisher(RobotStatus, "~/status", _LATCHED)
        self.publish_driver = partial(publisher.publish, status)
        self.publish_driver()

        def press(_: Bool) -> None:
            status.state = RobotStatus.DAMPING
            publisher.publish(status)

        def damp(_: Trigger.Request, response: Trigger.Response) -> Any:
            # Braked, it follows again from the policy's next command on: one that damps.
            response.success = True
            return response

        node.create_subscription(Bool, "estop", press, _NEWEST)
        node.create_subscription(JointCommand, "joint_command", lambda _: None, _NEWEST)
        node.create_service(Trigger, "~/damp", damp)
        return status

    def resting_driver(self) -> None:
        """Add a driver that has braked its robot."""
        node = self.node("some_driver")
        node.create_publisher(RobotStatus, "~/status", _LATCHED).publish(
            RobotStatus(state=RobotStatus.DAMPING, reason="joint_command has expired")
        )
        node.create_service(Trigger, "~/damp", lambda _, response: response)

    def run(
        self, *arguments: str, each_turn: Callable[[], object] = lambda: None
    ) -> subprocess.CompletedProcess[str]:
        """Run `robot_operator` to its end."""
        process = subprocess.Popen(
            ["robot_operator", *arguments],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        ends_s = time.monotonic() + DEADLINE_S
        while process.poll() is None:
            assert time.monotonic() < ends_s, "never ends"
            self._executor.spin_once(timeout_sec=0.02)
            each_turn()
        out, error = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, out, error)


@pytest.fixture
def empty_domain(operator_executor: SingleThreadedExecutor) -> Iterator[World]:
    world = World(operator_executor)
    yield world
    for node in world.nodes:
        node.destroy_node()


def test_estop_stops_all_policy_nodes_and_drivers_in_every_namespace(empty_domain: World) -> None:
    policies = [
        empty_domain.policy("act_policy_node"),
        empty_domain.policy("joint_policy_node", "one"),
    ]
    drivers = [empty_domain.driver(), empty_domain.driver("one")]

    result = empty_domain.run("estop", "--timeout", "30")

    assert result.returncode == 0, result.stderr
    assert all(status.latched for status in policies)
    assert all(status.state == RobotStatus.DAMPING for status in drivers)
    check_wording(*lines_with(result.stderr, "/one/joint_policy_node"))
    check_wording(*lines_with(result.stdout, "latched"))


@pytest.mark.slow
def test_estop_waits_for_a_driver_that_is_found_late(empty_domain: World) -> None:
    policy, drivers, obeyed_s = (
        empty_domain.policy("act_policy_node"),
        list[RobotStatus](),
        list[float](),
    )

    def appear() -> None:
        if policy.latched and not obeyed_s:
            obeyed_s.append(time.monotonic())
        if obeyed_s and not drivers and time.monotonic() > obeyed_s[0] + 2.0:
            drivers.append(empty_domain.driver())

    result = empty_domain.run("estop", "--timeout", "30", each_turn=appear)

    assert result.returncode == 0, result.stderr
    check_wording(*lines_with(result.stderr, "/act_policy_node"))
    assert drivers[0].state == RobotStatus.DAMPING


@pytest.mark.acceptance
def test_damp_waits_for_a_policy_node_that_is_found_late(empty_domain: World) -> None:
    empty_domain.resting_driver()
    policies, found_s = list[PolicyStatus](), list[float]()

    def appear() -> None:
        if empty_domain.nodes[0].count_subscribers("some_driver/status") and not found_s:
            found_s.append(time.monotonic())
        if found_s and not policies and time.monotonic() > found_s[0] + 2.0:
            policies.append(empty_domain.policy("joint_policy_node"))

    result = empty_domain.run("damp", "--timeout", "30", each_turn=appear)

    assert result.returncode == 0, result.stderr
    check_wording(*lines_with(result.stderr, "/joint_policy_node"))
    assert policies[0].mode == JointCommand.MODE_DAMP


@pytest.mark.slow
def test_estop_of_a_named_robot_leaves_the_others_alone(empty_domain: World) -> None:
    other, one = (
        empty_domain.policy("joint_policy_node"),
        empty_domain.policy("joint_policy_node", "one"),
    )
    result = empty_domain.run("estop", "--node", "one/joint_policy_node", "--timeout", "30")
    assert result.returncode == 0, result.stderr
    assert one.latched
    assert not other.latched


@pytest.mark.slow
def test_estop_is_published_though_there_is_nothing_that_could_obey(empty_domain: World) -> None:
    heard: list[bool] = []
    empty_domain.node("listener").create_subscription(
        Bool, "estop", lambda message: heard.append(message.data), _NEWEST
    )

    result = empty_domain.run("estop", "--timeout", "3")

    assert heard
    assert all(heard)
    assert result.returncode == 1
    check_wording(*lines_with(result.stderr, "policy"))


def policy_and_driver(world: World) -> None:
    world.policy("joint_policy_node")
    world.driver()


def deaf_driver(world: World) -> None:
    world.policy("joint_policy_node")
    world.node("deaf").create_publisher(RobotStatus, "~/status", _LATCHED).publish(
        RobotStatus(state=RobotStatus.FOLLOWING, reason="follows")
    )


def driver_with_uneven_lists(world: World) -> None:
    world.policy("joint_policy_node")
    status = world.driver()
    status.joint_names, status.temperature_c = ["hip", "knee"], [40.0]
    world.publish_driver()


def policy_that_runs_on(world: World) -> None:
    world.node("joint_policy_node").create_publisher(PolicyStatus, "~/status", _LATCHED).publish(
        PolicyStatus(mode=JointCommand.MODE_RUN)
    )
    world.driver()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("there", "words", "status", "said"),
    [
        (policy_and_driver, "damp --timeout 30", 0, "/joint_policy_node"),
        (policy_that_runs_on, "damp --timeout 3", 1, "waiting"),
        (driver_with_uneven_lists, "damp --timeout 3", 1, "temperature_c"),
        pytest.param(deaf_driver, "estop --timeout 3", 1, "hardware", marks=pytest.mark.slow),
        pytest.param(
            World.resting_driver, "damp --timeout 30", 0, "/some_driver", marks=pytest.mark.slow
        ),
    ],
    ids=["obeyed", "runs on", "uneven lists", "deaf driver", "no policy"],
)
def test_whether_all_have_obeyed_is_said_with_what_is_missing(
    empty_domain: World, there: Callable[[World], object], words: str, status: int, said: str
) -> None:
    there(empty_domain)
    result = empty_domain.run(*words.split())
    assert result.returncode == status, result.stderr
    check_wording(*lines_with(result.stderr, said))


def test_nothing_that_an_estop_does_not_need_is_imported_before_it_is_out() -> None:
    code = (
        "import sys, robot_operator.nodes.start, robot_operator.nodes.stop\n"
        "print([name for name in ('policy_msgs', 'numpy', 'geometry_msgs', 'textual')"
        " if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


@pytest.mark.acceptance
def test_stand_is_refused_while_the_subscriber_of_its_commands_is_unknown(
    empty_domain: World,
) -> None:
    status = empty_domain.policy("joint_policy_node")
    node = empty_domain.node("something")
    node.create_subscription(JointCommand, "joint_command", lambda _: None, _NEWEST)

    refused = empty_domain.run("stand", "--timeout", "3")
    assert refused.returncode == 1
    check_wording(*lines_with(refused.stderr, "/joint_command"))
    assert status.mode == JointCommand.MODE_RUN

    stood = empty_domain.run("stand", "--without-driver", "--timeout", "30")
    assert stood.returncode == 0, stood.stderr
    check_wording(*lines_with(stood.stderr, "commands"))

    node.create_publisher(JointState, "joint_states", _NEWEST)
    stood = empty_domain.run("stand", "--timeout", "30")
    assert stood.returncode == 0, stood.stderr
    check_wording(*lines_with(stood.stderr, "/something"))


@pytest.mark.slow
@pytest.mark.parametrize("follows", [True, False])
def test_stand_waits_for_a_driver_that_damps_after_a_late_command(
    empty_domain: World, follows: bool
) -> None:
    policy, driver = empty_domain.policy("joint_policy_node"), empty_domain.driver()
    driver.state = RobotStatus.DAMPING
    empty_domain.publish_driver()
    listener = empty_domain.nodes[-1]
    turns = [0]

    def follow_again() -> None:
        if listener.count_subscribers("some_driver/status"):
            turns[0] += 1
        if turns[0] == 10 and follows:
            driver.state = RobotStatus.FOLLOWING
            empty_domain.publish_driver()

    result = empty_domain.run("stand", "--timeout", "30", each_turn=follow_again)

    assert turns[0] >= 10
    assert result.returncode == (0 if follows else 1), result.stderr
    assert policy.mode == (JointCommand.MODE_READY if follows else JointCommand.MODE_RUN)
    check_wording(*lines_with(result.stderr, "some_driver"))


@pytest.mark.slow
def test_drive_publishes_what_is_commanded_besides_the_velocity(empty_domain: World) -> None:
    empty_domain.policy("joint_policy_node")
    heard, listener = list[list[float]](), empty_domain.node("listener")

    def hear(message: Float32MultiArray) -> None:
        heard.append(list(message.data))

    listener.create_subscription(Float32MultiArray, "commanded_values", hear, _NEWEST)
    listener.create_subscription(Twist, "cmd_vel", lambda _: None, _NEWEST)

    drive = ("drive", "0.1", "0", "0", "--seconds", "0.5", "--values", "0.5", "0.25")
    result = empty_domain.run(*drive, "--timeout", "30")

    assert result.returncode == 0, result.stderr
    assert len(heard) > 3
    assert heard[0] == [0.5, 0.25]
