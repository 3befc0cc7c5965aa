# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A robot beside the node under test: sensors out, commands and reports in, one executor."""

import math
import re
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import Quaternion, Twist, Vector3
from policy_msgs.msg import InputStatus, JointCommand, PolicyStatus
from policy_msgs.srv import LoadBundle
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import serialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Bool
from std_srvs.srv import SetBool, Trigger

from policy_core.interfaces import Mode
from policy_inference.backends.onnx import OnnxBackend
from policy_inference.nodes.joint_policy_node import JointPolicyNode
from policy_inference.nodes.lifecycle import LifecycleBase
from testkit.ros_time import ns, stamp
from testkit.waiting import PATIENCE_S
from testkit.wording import check_wording

from .bundles import DAMP_DAMPING, JOINTS, PERIOD_NS, STAND

Activate = Callable[..., Any]
"""What configures and activates a node with parameters, and returns it."""
DEADLINE_S = PATIENCE_S
_CONFIRMING_TICKS = 25
"""Half a second at 50 Hz, in which samples of the joints must agree."""
_RELIABLE = QoSProfile(depth=100)
_LATCHED = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_UPRIGHT = (0.0, 0.0, 0.0, 1.0)
_FIRST_LINE = re.compile(r"\[(DEBUG|INFO|WARN|ERROR|FATAL)\] \[[\d.]+\] \[([^\]]+)\]: (.*)")


class Logged(NamedTuple):
    level: str
    logger: str
    text: str


class Robot:
    """Feeds a node with sensors, in lockstep on /clock or on request."""

    policy_node = "joint_policy_node"
    period_ns = PERIOD_NS
    stand: Sequence[float] = STAND

    def __init__(self, executor: SingleThreadedExecutor, new_log: Callable[[], str]) -> None:
        self.executor = executor
        self._new_log, self._log = new_log, ""
        self.node = Node("robot", use_global_arguments=False)
        executor.add_node(self.node)
        self.now_ns = 1_000_000_000
        self.clock_offset_ns = 0
        """Of the sensors' clock."""
        self.names: Sequence[str] = JOINTS
        self.position: Sequence[float] = self.stand
        self.velocity: Sequence[float] = (0.0, 0.0)
        self.quat_xyzw: Sequence[float] = _UPRIGHT
        self.ang_vel = 0.0
        self.holds = False
        """Whether the policy is one of `hold_measured`: nothing is commanded before a request."""
        self.silent: set[str] = set()
        self.spoilt: dict[str, Callable[[bytes], bytes]] = {}
        """What happens to the bytes of an input's messages on their way."""
        self.commands: list[JointCommand] = []
        self.statuses: list[PolicyStatus] = []
        self.diagnostics: list[DiagnosticArray] = []
        self._joint_states = self.node.create_publisher(JointState, "joint_states", _RELIABLE)
        self._imu = self.node.create_publisher(Imu, "imu/data", _RELIABLE)
        self._clock = self.node.create_publisher(Clock, "/clock", _RELIABLE)
        self.cmd_vel = self.node.create_publisher(Twist, "cmd_vel", _RELIABLE)
        self.estop = self.node.create_publisher(Bool, "estop", _RELIABLE)
        self._listen(PolicyStatus, f"{self.policy_node}/status", self.statuses, _LATCHED)
        self._listen(DiagnosticArray, "/diagnostics", self.diagnostics)
        self.listening = self._listen(JointCommand, "joint_command", self.commands)
        self._load_client = self.node.create_client(LoadBundle, f"{self.policy_node}/load")

    def _listen(
        self, message: type[Any], topic: str, into: list[Any], qos: QoSProfile = _RELIABLE
    ) -> Any:
        return self.node.create_subscription(message, topic, into.append, qos)

    def is_joined_by_publisher(self, watching: Node, message: type[Any], topic: str) -> None:
        """Publish on a topic that has a publisher; the node that watches knows of both."""
        self.node.create_publisher(message, topic, 10)
        self.until(lambda: watching.count_publishers(topic) == 2, "two publishers")

    def until(
        self, condition: Callable[[], object], what: str, within_s: float = DEADLINE_S
    ) -> None:
        """Spin until the condition holds; fail the test with `what` if it never does."""
        ends_s = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < ends_s, f"waited in vain for {what}; the log: {self.log!r}"
            self.executor.spin_once(timeout_sec=0.02)

    def finishes(self, future: Any, what: str) -> Any:
        self.until(future.done, what)
        return future.result()

    def call(self, service: type[Any], name: str, request: Any = None) -> Any:
        client = self.node.create_client(service, name)
        self.until(client.service_is_ready, f"the service {name}")
        response = self.finishes(client.call_async(request or service.Request()), name)
        self.node.destroy_client(client)
        return response

    def read(self, service: type[Any], name: str) -> Any:
        """Call a service that changes nothing, again each second; return its response.

        The first answer of another process is lost where DDS has matched only one direction.
        """
        client = self.node.create_client(service, name)
        self.until(client.service_is_ready, f"the service {name}")
        calls = [client.call_async(service.Request())]
        timer = self.node.create_timer(
            1.0, lambda: calls.append(client.call_async(service.Request()))
        )
        self.until(lambda: any(call.done() for call in calls), name)
        self.node.destroy_timer(timer)
        self.node.destroy_client(client)
        return next(call.result() for call in calls if call.done())

    def ask(self, request: str) -> Trigger.Response:
        """Call one of the node's requests: stand, run, damp, estop, reset."""
        return self.call(Trigger, f"{self.policy_node}/{request}")

    def request(self, request: str) -> None:
        """Call a request that must succeed; where time stood still for too long, after a tick."""
        response = self.ask(request)
        if not response.success and "no tick for" in response.message:
            self.tick()
            response = self.ask(request)
        assert response.success, response.message

    def refusal(self, request: str) -> str:
        """Call a request that must be refused; compare the reason's wording, and return it."""
        return self._refusal(self.ask(request))

    def asks_to_load(self, bundle: Path | str, backend: str = "") -> Any:
        client = self._load_client
        self.until(client.service_is_ready, "the service load")
        return client.call_async(LoadBundle.Request(bundle=str(bundle), backend=backend))

    def loads(self, bundle: Path | str, backend: str = "") -> str:
        response = self.finishes(self.asks_to_load(bundle, backend), "the load")
        assert response.success, response.message
        return str(response.message)

    def load_refusal(self, bundle: Path | str, backend: str = "") -> str:
        """Ask for a policy that must be refused; compare the reason's wording, and return it."""
        return self._refusal(self.finishes(self.asks_to_load(bundle, backend), "the refusal"))

    def _refusal(self, response: Any) -> str:
        assert not response.success
        check_wording(response.message)
        return str(response.message)

    def record_run(self, on: bool) -> SetBool.Response:
        response: SetBool.Response = self.call(
            SetBool, f"{self.policy_node}/record_run", SetBool.Request(data=on)
        )
        return response

    def send_joints(self) -> None:
        message = JointState(
            name=list(self.names),
            position=array("d", self.position),
            velocity=array("d", self.velocity),
        )
        message.header.stamp = stamp(self.now_ns + self.clock_offset_ns)
        self.publish(self._joint_states, "joint_states", message)

    def send_imu(self) -> None:
        message = Imu(
            orientation=Quaternion(**dict(zip("xyzw", self.quat_xyzw, strict=True))),
            angular_velocity=Vector3(x=self.ang_vel),
        )
        message.header.stamp = stamp(self.now_ns + self.clock_offset_ns)
        self.publish(self._imu, "imu/data", message)

    def publish(self, publisher: Any, name: str, message: Any) -> None:
        """Publish a message of an input, spoilt where it is to be."""
        spoil = self.spoilt.get(name)
        publisher.publish(spoil(serialize_message(message)) if spoil else message)

    def send(self) -> None:
        if "joint_states" not in self.silent:
            self.send_joints()
        if "imu/data" not in self.silent:
            self.send_imu()

    def sends_in_real_time(self) -> None:
        """Publish the sensors every 10 ms from now on, while the executor spins."""

        def send() -> None:
            self.now_ns = time.time_ns()
            self.send()

        self.node.create_timer(0.01, send)

    def send_clock(self) -> None:
        self._clock.publish(Clock(clock=stamp(self.now_ns)))

    def show_time(self, step_ns: int | None = None) -> None:
        """Move simulated time, by a period, publish the sensors, then the time."""
        self.now_ns += self.period_ns if step_ns is None else step_ns
        self.send()
        self.send_clock()

    def shows_time_until(
        self, condition: Callable[[], object], what: str, step_ns: int | None = None
    ) -> None:
        def act() -> object:
            self.show_time(step_ns)
            return condition()

        self.until(act, what)

    def tick(self, step_ns: int | None = None) -> JointCommand:
        """Let simulated time pass; return the command that answers it."""
        self.show_time(step_ns)
        self.until(self.answers, f"the command stamped {self.now_ns} ns")
        return self.answers()[-1]

    def answers(self) -> list[JointCommand]:
        """Return the commands stamped with the present simulated time."""
        return [command for command in self.commands if ns(command.stamp) == self.now_ns]

    def is_met(self) -> None:
        """Let simulated time pass until the node answers it, and believes the joints' pose."""
        if self.holds:
            self.until(self._is_held, "a pose that is held")
            return
        ends_s, answered = time.monotonic() + DEADLINE_S, False
        while not answered:
            assert time.monotonic() < ends_s, "the node never answered"
            self.show_time()
            patient_until_s = time.monotonic() + 0.05
            while not answered and time.monotonic() < patient_until_s:
                self.executor.spin_once(timeout_sec=0.01)
                answered = bool(self.answers())
        for _ in range(_CONFIRMING_TICKS):
            self.tick()

    def _is_held(self) -> bool:
        """Let time pass in which a pose can be believed, and ask for it to be held."""
        for _ in range(_CONFIRMING_TICKS):
            self.show_time()
            self.executor.spin_once(timeout_sec=0.01)
        if not self.ask("damp").success:
            return False
        self.tick()
        return True

    def ticks(self, count: int) -> JointCommand:
        return [self.tick() for _ in range(count)][-1]

    def modes(self, ticks: int) -> list[int]:
        return [self.tick().mode for _ in range(ticks)]

    def stands(self) -> None:
        self.tick()
        self.request("stand")
        self.until(lambda: self.tick().mode == Mode.READY, "READY")

    def runs(self) -> "Robot":
        """Tick until the policy runs and has its gains to itself."""
        self.is_met()
        self.stands()
        self.request("run")
        self.until(lambda: self.tick().stiffness[0] == 30.0, "the end of blending into RUN")
        assert self.commands[-1].mode == Mode.RUN
        return self

    def newest(self) -> PolicyStatus:
        """Return a status made after this call, after two more ticks."""
        self.ticks(2)
        self.statuses.clear()
        return self.reported(lambda _: len(self.statuses) > 1, "two statuses")

    def diagnosed(self, condition: Callable[[DiagnosticStatus], object]) -> DiagnosticStatus:
        """Tick until the newest diagnosis fulfils a condition; return it."""
        self.until(
            lambda: self.tick() and self.diagnostics and condition(self.diagnostics[-1].status[0]),
            "a diagnosis",
        )
        found: DiagnosticStatus = self.diagnostics[-1].status[0]
        return found

    def told(self) -> dict[str, str]:
        self.until(lambda: self.diagnostics, "diagnostics")
        return {entry.key: entry.value for entry in self.diagnostics[-1].status[0].values}

    def reported(self, condition: Callable[[PolicyStatus], object], what: str) -> PolicyStatus:
        self.until(lambda: self.statuses and condition(self.statuses[-1]), what)
        return self.statuses[-1]

    def hears(self, *words: str, level: str = "") -> str:
        """Spin until a message with all these words is logged, at this level; return its text."""

        def found() -> str:
            return next(
                (
                    each.text
                    for each in self.logged(level)
                    if all(word in each.text for word in words)
                ),
                "",
            )

        self.until(found, f"{level} {words} in the log")
        return found()

    def logged(self, level: str = "") -> list[Logged]:
        return [each for each in logged_in(self.log) if level in each.level]

    @property
    def log(self) -> str:
        """All that this process has written since the beginning."""
        self._log += self._new_log()
        return self._log


def logged_in(output: str) -> list[Logged]:
    """Return the messages in the output of a node, whose lines are whole."""
    found = list[Logged]()
    for line in output[: output.rfind("\n") + 1].splitlines():
        if first := _FIRST_LINE.match(line):
            found.append(Logged(*first.groups()))
        elif found:
            found[-1] = found[-1]._replace(text=f"{found[-1].text}\n{line}")
    return found


R = TypeVar("R", bound=Robot)
N = TypeVar("N", bound=LifecycleBase)
Other = TypeVar("Other", bound=Node)


class StageOf(Generic[R, N]):
    def __init__(self, robot: type[R], make: Callable[[], N], new_log: Callable[[], str]) -> None:
        self.executor = SingleThreadedExecutor()
        self.robot = robot(self.executor, new_log)
        self._make = make
        self.nodes: list[N] = []
        self.others: list[Node] = []

    def node(self, **parameters: object) -> N:
        """Return a node with parameters, unconfigured; `__` in their names stands for a dot."""
        node = self._make()
        self.executor.add_node(node)
        self.nodes.append(node)
        given = [
            Parameter(name.replace("__", "."), value=value) for name, value in parameters.items()
        ]
        for result in node.set_parameters(given):
            assert result.successful, result.reason
        return node

    def beside(self, node: Other) -> Other:
        """Have a node of another kind until the end."""
        self.executor.add_node(node)
        self.others.append(node)
        return node

    def active(self, **parameters: object) -> N:
        node = self.node(**parameters)
        assert node.trigger_configure() is TransitionCallbackReturn.SUCCESS
        assert node.trigger_activate() is TransitionCallbackReturn.SUCCESS
        return node

    def refuses(self, **parameters: object) -> None:
        """Configure a node that must be refused with one line per reason, and leave nothing."""
        node = self.node(**parameters)
        before = entities(node)
        assert node.trigger_configure() is TransitionCallbackReturn.FAILURE
        self.robot.hears(level="ERROR")
        check_wording(*(each.text for each in self.robot.logged("ERROR")))
        assert entities(node) == before
        assert self.robot.commands == []

    def close(self) -> None:
        for node in self.nodes:
            node.halt()
        self.executor.shutdown()
        for node in self.nodes:
            node.leave()
        for node in (*self.others, *self.nodes, self.robot.node):
            node.destroy_node()


@contextmanager
def staged(
    robot: type[R], make: Callable[[], N], new_log: Callable[[], str], arguments: Sequence[str] = ()
) -> Iterator[StageOf[R, N]]:
    """Give nodes of a kind and a robot in one ROS 2 context; all ends with it."""
    rclpy.init(args=[*arguments])
    stage = StageOf(robot, make, new_log)
    yield stage
    stage.close()
    rclpy.shutdown()


Stage = StageOf[Robot, JointPolicyNode]


def is_damp(command: JointCommand) -> bool:
    """Whether a command damps as the contract says, and does nothing else."""
    return (
        command.mode == JointCommand.MODE_DAMP
        and list(command.damping) == [DAMP_DAMPING] * len(JOINTS)
        and not any((*command.stiffness, *command.velocity, *command.effort))
    )


def counters(status: PolicyStatus) -> dict[str, int]:
    return {counter.name: counter.count for counter in status.guard_counters}


def status_of_input(status: PolicyStatus, name: str) -> InputStatus:
    return next(entry for entry in status.inputs if entry.name == name)


def entities(node: Node) -> Mapping[str, list[str]]:
    """Return the topics and services of a node, and how many timers it has."""
    return {
        "publishers": sorted(p.topic_name for p in node.publishers),
        "subscriptions": sorted(s.topic_name for s in node.subscriptions),
        "services": sorted(s.srv_name for s in node.services),
        "timers": [str(len(list(node.timers)))],
    }


NAN = math.nan


@contextmanager
def runs_hang(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Have runs of ONNX Runtime hang until the end; the event says that one does."""
    hangs, goes_on = threading.Event(), threading.Event()

    def hang(_: OnnxBackend) -> None:
        hangs.set()
        goes_on.wait()

    monkeypatch.setattr(OnnxBackend, "run", hang)
    try:
        yield hangs
    finally:
        goes_on.set()
