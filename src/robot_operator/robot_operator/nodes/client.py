# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The operator's client for the policy node and driver: requests modes, commands velocities."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from types import TracebackType
from typing import Any, TypeVar

from geometry_msgs.msg import Twist
from policy_msgs.msg import PolicyStatus, RobotStatus
from policy_msgs.srv import LoadBundle, SwitchState
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node, NodeNameNonExistentError
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Float32MultiArray
from std_srvs.srv import SetBool, Trigger

from policy_core.errors import RobotError
from policy_inference.messages.statuses import require_usable
from policy_inference.nodes.lifecycle import PeerGuard
from robot_operator.nodes.found import find_namespace, full, require_sole_publisher
from robot_operator.nodes.own_node import own_node
from robot_operator.nodes.services import Reach, RobotServices
from robot_operator.nodes.words import MODES
from robot_operator.requests import (
    ANSWER_TIMEOUT_S,
    COMMANDED_VALUES,
    OperatorError,
    OperatorRequest,
)

COMMAND_PERIOD_S = 0.05
_NEWEST = QoSProfile(depth=1)
_CHUNK = "policy_msgs/msg/ActionChunk"
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_LOADED_WITHIN_S = 600.0
_CONTROL_WITHIN_S = 90.0
"""Time limit for taking control; a driver takes at most 60 s to fold the legs."""
_ACKNOWLEDGE_TIMEOUT_S = 1.0
_MOTION_TIMEOUT_S = 20.0
_LOOK_AROUND_S = 0.1
P = TypeVar("P", bound="Operator")


class _OperatorNode(PeerGuard, Node):
    """Node for a script; no message from other nodes can end it."""


class Operator:
    """Client for one policy node. Use it in a `with` block.

    Publishes `estop` (std_msgs/Bool) and, if it drives, `cmd_vel` (geometry_msgs/Twist) at 20 Hz
    once a velocity has been given. Subscribes to the policy node's `~/status`. Call its methods on
    one thread; messages arrive on another.

    Attributes:
        node: ROS node, to which you may add entities; their callbacks must call `notify`.
        clock: Clock for `now_ns`: `/clock` with `use_sim_time`, otherwise the steady clock.
        changed: Lock that is held while `wait_until` checks its condition.
    """

    def __init__(
        self,
        *,
        policy_node: str | None = "joint_policy_node",
        driver_node: str | None = None,
        drives: bool = True,
        requests: bool = True,
        use_sim_time: bool = False,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        """Join the ROS 2 domain that the environment sets.

        Args:
            policy_node: Full name of the node that runs the policy; None sends requests only to the
                driver. `cmd_vel` and `estop` are in its namespace.
            driver_node: Full name of the robot's driver, if it is to receive requests too.
            drives: True to publish `cmd_vel`, which only one node at a time may do.
            requests: False to prepare only for `load`, `record` and `record_run`: an SROS 2 enclave
                that may call these may not request modes.
            use_sim_time: True if velocities and waits are to follow `/clock`.
            answer_timeout_s: Maximum wait for a service, an answer or the first status.
            watch: Called often during each wait; an exception from it ends the wait.
        """
        policy_node, driver_node = (name and full(name) for name in (policy_node, driver_node))
        self.watch, self.changed = watch, threading.Condition()
        self.answer_timeout_s = answer_timeout_s
        self._leaving = False
        self._undo = ExitStack()
        self.node: Node = self._undo.enter_context(
            own_node(
                "operator",
                kind=_OperatorNode,
                namespace=find_namespace(policy_node or driver_node or "/"),
                parameter_overrides=[Parameter("use_sim_time", value=use_sim_time)],
            )
        )
        self.clock = (
            self.node.get_clock() if use_sim_time else Clock(clock_type=ClockType.STEADY_TIME)
        )
        self._executor = SingleThreadedExecutor(context=self.node.context)
        self._executor.add_node(self.node)
        self._spinner = threading.Thread(target=self._spin, name="operator")
        self._status: PolicyStatus | None = None
        self._refused: Mapping[str, str] = {}
        """By topic, why the newest status could not be used."""
        self._velocity: Twist | None = None
        self._values: dict[str, tuple[Publisher, Float32MultiArray]] = {}
        self._policy_node, self._driver_node = policy_node, driver_node
        self._maintenance: dict[str, Any] = {}
        if requests:
            _ = self._services  # its clients find the nodes from now on
        if policy_node is not None:
            self.node.create_subscription(
                PolicyStatus, f"{policy_node}/status", self._on_status, _LATCHED
            )
        if drives:
            self._cmd_vel = self.node.create_publisher(Twist, "cmd_vel", _NEWEST)
            self._reach = Reach(self.node, self._cmd_vel)
        # a timer keeps to absolute deadlines, on any clock
        self.node.create_timer(COMMAND_PERIOD_S, self._on_timer, clock=self.clock)
        # last: after an error above, the thread would keep the process from ending
        self._spinner.start()

    def __enter__(self: P) -> P:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leaving = True
        self._spinner.join()
        self._executor.shutdown()
        self._undo.close()

    @property
    def now_ns(self) -> int:
        """Time on the clock that velocities and waits follow."""
        return int(self.clock.now().nanoseconds)

    def ask(self, service: Any, name: str, request: Any, timeout_s: float) -> tuple[bool, str]:
        """Call a service whose response has `success` and `message`, and return both."""
        response = self.send(service, name, request, timeout_s)
        return response.success, response.message

    def send(self, service: Any, name: str, request: Any, timeout_s: float) -> Any:
        """Call a service once it is available, and return its response."""
        self.wait_until(service.service_is_ready, f"the service '{name}'", self.answer_timeout_s)
        future = service.call_async(request)
        future.add_done_callback(lambda _: self.notify())
        self.wait_until(future.done, f"the answer to '{name}'", timeout_s)
        return future.result()

    def wait(self, duration_s: float, timeout_s: float = 120.0) -> None:
        """Wait for a duration on the clock used for `now_ns`."""
        # The clock of a simulator that waits for the first command is still at zero.
        self.wait_until(lambda: self.now_ns > 0, "the clock", timeout_s)
        ends_ns = self.now_ns + round(duration_s * 1e9)
        self.wait_until(lambda: self.now_ns >= ends_ns, f"{duration_s:g} s to pass", timeout_s)

    def wait_until(self, reached: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Wait for a condition that depends on messages or time.

        Args:
            reached: Returns whether the condition holds; called on each message.
            what: Description of the condition.
            timeout_s: Maximum wait, on the steady clock.
        """
        ends_s = time.monotonic() + timeout_s
        with self.changed:
            while not self.changed.wait_for(reached, _LOOK_AROUND_S):
                self.watch()
                if time.monotonic() > ends_s:
                    raise OperatorError(
                        f"operator: expected {what} within {timeout_s:g} s; {self.described()}"
                    )

    def notify(self) -> None:
        """Make `wait_until` check again; call this from callbacks of entities added to `node`."""
        with self.changed:
            self.changed.notify_all()

    @property
    def status(self) -> PolicyStatus:
        if self._status is None:
            raise OperatorError("operator: expected a status from the policy node, found none yet")
        return self._status

    @property
    def mode(self) -> str:
        return MODES[self.status.mode]

    @property
    def heard(self) -> bool:
        """True if `cmd_vel` has a subscriber and all subscribers receive it."""
        return self._reach.is_complete()

    @property
    def makes_chunks(self) -> bool:
        """True if the policy node is known to run a chunk policy."""
        name = self.node.resolve_topic_name(self._policy_node)
        space, _, name = name.rpartition("/")
        try:
            published = self.node.get_publisher_names_and_types_by_node(name, space or "/")
        except NodeNameNonExistentError:
            return False
        return any(_CHUNK in types for _, types in published)

    def require_joint_policy(self, name: str, known: Callable[[], bool]) -> None:
        """Return once the policy node is `known` to have a feature specific to joint policies."""
        self.wait_until(
            lambda: known() or self.makes_chunks, f"what '{name}' needs", self.answer_timeout_s
        )
        if not known() and self.makes_chunks:
            raise OperatorError(
                f"{name}: expected a node that runs joint policies, found "
                f"{self._policy_node}, which runs a chunk policy and accepts no "
                "velocity; request stand, then run"
            )

    def require_to_be_alone(self) -> None:
        """Raise OperatorError if another node publishes `cmd_vel` now or within a second."""
        require_sole_publisher(self.node, self._cmd_vel.topic_name)

    def wait_for_robot(self, timeout_s: float = 60.0) -> None:
        """Wait until the policy node serves requests and its status reports fresh inputs.

        Opening a policy may take a long time, for example to load an engine or over a slow network.
        """
        self.wait_until(
            lambda: self._services.reaches_policy, "the services of the policy node", timeout_s
        )
        self.wait_until(self._fed, "fresh inputs of the policy node", timeout_s)

    def request(self, name: str) -> tuple[bool, str]:
        """Request `stand`, `run`, `damp`, `reset`, `estop`, `take_control` or `release_control`.

        Returns:
            Whether all nodes that grant the request agreed, and the first refusal or, if there is
                none, the first answer (the policy node answers before the driver). `take_control`
                takes seconds, because the robot may move first.
        """
        answers = self._asked(name)
        refusals = [message for _, agreed, message in answers if not agreed]
        return not refusals, refusals[0] if refusals else answers[0][2]

    def demand(self, name: str) -> str:
        """Send a request as `request` does; return the answer; raise OperatorError if refused."""
        said = [granted(name, agreed, text, who) for who, agreed, text in self._asked(name)]
        return said[0]

    def call(self, service: Any, name: str) -> str:
        """Call any node's std_srvs/Trigger service; return the answer, or raise on a refusal."""
        return granted(name, *self.ask(service, name, Trigger.Request(), self.answer_timeout_s))

    def status_of_driver(self, follow_timeout_s: float = 0.0) -> RobotStatus:
        """Return the driver's newest status.

        Args:
            follow_timeout_s: How long to wait for a driver that does not follow commands.
        """
        heard: list[RobotStatus] = []
        driver = self._driver_node
        topic = f"{driver}/status"

        def hear(message: RobotStatus) -> None:
            if self._is_usable(topic, message):
                heard.append(message)
            self.notify()

        self.node.create_subscription(RobotStatus, topic, hear, _LATCHED)
        self.wait_until(lambda: bool(heard), f"a status of {driver}", self.answer_timeout_s)
        with self.changed:
            self.changed.wait_for(
                lambda: heard[-1].state == RobotStatus.FOLLOWING, follow_timeout_s
            )
            return heard[-1]

    def record(self) -> str:
        return self.call(self._service(Trigger, "record"), "record")

    def record_run(self, on: bool) -> str:
        name, request = "record_run", SetBool.Request(data=on)
        service, timeout_s = self._service(SetBool, name), self.answer_timeout_s
        return granted(name, *self.ask(service, name, request, timeout_s))

    def load(self, bundle: str, backend: str = "") -> str:
        """Make the policy node load another bundle; return its answer.

        Args:
            bundle: Bundle folder or name of an installed bundle, on the node's machine.
            backend: Back ends in order of preference; unchanged if empty.
        """
        request = LoadBundle.Request(bundle=bundle, backend=backend)
        service = self._service(LoadBundle, "load")
        return granted("load", *self.ask(service, "load", request, _LOADED_WITHIN_S))

    def switch(self, state: str) -> tuple[bool, str]:
        """Ask a policy set to switch states.

        Returns:
            Whether the request was granted (the switch then begins with the next tick, or waits for
            its conditions), and the requested state or all reasons for the refusal.
        """
        request = SwitchState.Request(state=state)
        (service,) = self._services.granting(OperatorRequest.SWITCH).values()
        return self.ask(service, "switch", request, self.answer_timeout_s)

    def stand(self) -> None:
        """Make the robot stand up; the mode is then READY."""
        self.demand("stand")
        self.wait_until(lambda: self.mode != "DAMP", "the robot to begin", _MOTION_TIMEOUT_S)
        self.wait_until(lambda: self.mode in ("READY", "DAMP"), "READY", _MOTION_TIMEOUT_S)
        if self.mode == "DAMP":
            raise OperatorError(f"stand: the policy node gave up: {self.status.reason}")

    def stand_up(self) -> None:
        """Make the robot stand up, then run the policy."""
        self.stand()
        self.demand("run")
        self.wait_for_mode("RUN")

    def wait_for_status(self) -> None:
        self.wait_until(lambda: self._status is not None, "a status", self.answer_timeout_s)

    def wait_for_mode(self, mode: str, timeout_s: float = _MOTION_TIMEOUT_S) -> None:
        self.wait_until(
            lambda: self._status is not None and self.mode == mode, f"the mode {mode}", timeout_s
        )

    def command_values(self, values: Sequence[float], topic: str = COMMANDED_VALUES) -> None:
        """Start commanding values that the contract names in addition to the velocity.

        Args:
            values: Values in the order of `commanded` in the contract, such as a height, m.
            topic: Topic of the contract's term.
        """
        message = Float32MultiArray(data=list(values))
        with self.changed:
            if topic not in self._values:
                publisher = self.node.create_publisher(Float32MultiArray, topic, _NEWEST)
                self._values[topic] = publisher, message
            publisher, _ = self._values[topic]
            self._values[topic] = publisher, message
            publisher.publish(message)

    def move(self, vx_mps: float = 0.0, vy_mps: float = 0.0, wz_radps: float = 0.0) -> None:
        """Start commanding this velocity (body frame)."""
        velocity = Twist()
        velocity.linear.x, velocity.linear.y, velocity.angular.z = vx_mps, vy_mps, wz_radps
        with self.changed:
            self._velocity = velocity
            self._cmd_vel.publish(velocity)

    def let_go(self) -> None:
        """Stop publishing velocities and other values."""
        with self.changed:
            self._velocity = None
            while self._values:
                publisher, _ = self._values.popitem()[1]
                self.node.destroy_publisher(publisher)

    def halt(self) -> None:
        """Command zero, wait until the command has arrived, and stop publishing."""
        self.move()
        self.let_go()
        self._cmd_vel.wait_for_all_acked(Duration(seconds=_ACKNOWLEDGE_TIMEOUT_S))

    def _asked(self, name: str) -> list[tuple[str, bool, str]]:
        """Send a request to all nodes that grant it; return each one's name, agreement and answer.

        Even if the policy node hangs, the driver receives the request; then the error is raised.
        """
        request = OperatorRequest(name)
        self._services.announce(request)
        answers: list[tuple[str, bool, str]] = []
        errors: list[OperatorError] = []
        for owner, service in self._services.granting(request).items():
            of_driver = owner == self._driver_node
            try:
                if of_driver and request is OperatorRequest.RESET:
                    self._wait_for_listener(owner)
                timeout_s = _CONTROL_WITHIN_S if of_driver else self.answer_timeout_s
                agreed, text = self.ask(service, name, Trigger.Request(), timeout_s)
            except OperatorError as error:
                errors.append(error)
            else:
                answers.append((owner if of_driver else "the policy node", agreed, text))
        if errors:
            raise errors[0]
        return answers

    def _wait_for_listener(self, name: str) -> None:
        """Wait until a node has received the reset on `estop`, so that no old press follows."""
        services, timeout_s = self._services, self.answer_timeout_s
        self.wait_until(lambda: services.is_heard_by(name), f"{name} to listen to estop", timeout_s)
        services.announce(OperatorRequest.RESET)
        services.wait_for_acknowledgement()

    @cached_property
    def _services(self) -> RobotServices:
        return RobotServices(self.node, self._policy_node, self._driver_node)

    def _service(self, kind: Any, name: str) -> Any:
        """Return the client for a service of the policy node that only maintenance may call.

        Created when first used: an SROS 2 enclave without this permission could not create it.
        """
        if name not in self._maintenance:
            self._maintenance[name] = self.node.create_client(kind, f"{self._policy_node}/{name}")
        return self._maintenance[name]

    def _fed(self) -> bool:
        required = (
            []
            if self._status is None
            else [entry for entry in self._status.inputs if entry.name != "cmd_vel"]
        )
        return bool(required) and all(entry.ok for entry in required)

    def described(self) -> str:
        """Return a possible reason for a timeout."""
        if self._refused:
            return "; ".join(f"{topic}: {reason}" for topic, reason in self._refused.items())
        if self._status is None:
            return "no status received from the policy node; is it running in this ROS_DOMAIN_ID?"
        troubles = [entry.text for entry in self._status.inputs if entry.text]
        return "; ".join([f"the mode is {self.mode} ({self._status.reason})", *troubles])

    def _spin(self) -> None:
        while not self._leaving:
            self._executor.spin_once(timeout_sec=_LOOK_AROUND_S)

    def _on_status(self, message: PolicyStatus) -> None:
        if self._is_usable(f"{self._policy_node}/status", message):
            self._status = message
        self.notify()

    def _is_usable(self, topic: str, message: PolicyStatus | RobotStatus) -> bool:
        """Return whether a status can be used; keep the reason if not."""
        try:
            require_usable(message)
        except RobotError as error:
            self._refused = {**self._refused, topic: str(error)}
            return False
        self._refused = {name: text for name, text in self._refused.items() if name != topic}
        return True

    def _on_timer(self) -> None:
        with self.changed:
            if self._velocity is not None:
                self._cmd_vel.publish(self._velocity)
            for publisher, values in self._values.values():
                publisher.publish(values)
            self.changed.notify_all()


def granted(name: str, agreed: bool, message: str, who: str = "the policy node") -> str:
    """Return the answer, or raise an error if it is a refusal."""
    if not agreed:
        raise OperatorError(*f"{name}: {who} refused: {message}".split("\n"))
    return message
