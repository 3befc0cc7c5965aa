# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The one who stands beside the robot with a joystick: asks for modes and commands velocities."""

from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import Twist
from policy_msgs.msg import PolicyStatus, RobotStatus
from policy_msgs.srv import LoadBundle
from rclpy.duration import Duration
from rclpy.node import NodeNameNonExistentError
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Bool
from std_srvs.srv import SetBool, Trigger

from policy_inference.nodes.graph import full_name
from robot_operator.arguments import RECORD, REQUESTS
from robot_operator.errors import OperatorError
from robot_operator.nodes.found import full, namespace_of, require_to_be_alone_on
from robot_operator.nodes.participant import Participant
from robot_operator.nodes.words import MODES
from robot_operator.requests import ANSWER_TIMEOUT_S

COMMAND_PERIOD_S = 0.05
_NEWEST = QoSProfile(depth=1)
_CHUNK = "policy_msgs/msg/ActionChunk"
_NO_RECORDER = "record its topics with `ros2 bag record`"
_NOT_THERE = {
    "drive": "it takes no velocity: ask for stand, then run",
    "load": "end it and start it with the other bundle",
    "record": _NO_RECORDER, "record_run": _NO_RECORDER,
}  # fmt: skip
"""What to do instead of what a chunk policy's node does not have."""
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_LOADED_WITHIN_S = 600.0
_CONTROL_WITHIN_S = 90.0
"""A driver lets the legs fold for 60 s at most."""
_ACKNOWLEDGE_TIMEOUT_S = 1.0
_MOTION_TIMEOUT_S = 20.0


class Operator(Participant):
    """A client of one policy node. Use it in a `with` block.

    Publishes `cmd_vel` (geometry_msgs/Twist), if it drives, at 20 Hz once a velocity was given,
    and `estop` (std_msgs/Bool). Subscribes to the policy node's `~/status`.
    """

    def __init__(
        self,
        *,
        policy_node: str = "joint_policy_node",
        drives: bool = True,
        use_sim_time: bool = False,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        """Join the ROS 2 domain of the environment.

        Args:
            policy_node: Full name of the node that runs the policy. `cmd_vel` and `estop` are those
                of its namespace.
            drives: Whether it is to publish `cmd_vel`, which one node at a time may.
            use_sim_time: Whether velocities and waits follow `/clock`.
            answer_timeout_s: How long to wait for a service, an answer or the first status.
            watch: Called often while something is waited for; what it raises ends the wait.
        """
        policy_node = full(policy_node)
        super().__init__("operator", namespace=namespace_of(policy_node),
                         use_sim_time=use_sim_time, answer_timeout_s=answer_timeout_s, watch=watch)
        self._status: PolicyStatus | None = None
        self._velocity: Twist | None = None
        self._services = {
            name: self.node.create_client(Trigger, f"{policy_node}/{name}")
            for name in (*REQUESTS, RECORD)
        }
        self._estop = self.node.create_publisher(Bool, "estop", _LATCHED)
        self._policy_node = policy_node
        self._record_run = self.node.create_client(SetBool, f"{policy_node}/record_run")
        self._load = self.node.create_client(LoadBundle, f"{policy_node}/load")
        self.node.create_subscription(
            PolicyStatus, f"{policy_node}/status", self._on_status, _LATCHED
        )
        if drives:
            self._cmd_vel = self.node.create_publisher(Twist, "cmd_vel", _NEWEST)
        # A timer keeps to its absolute deadlines, on whichever clock.
        self.node.create_timer(COMMAND_PERIOD_S, self._on_timer, clock=self.clock)

    @property
    def status(self) -> PolicyStatus:
        """The newest status.

        Raises:
            OperatorError: None has come yet.
        """
        if self._status is None:
            raise OperatorError("operator: expected a status of the policy node, none has come yet")
        return self._status

    @property
    def mode(self) -> str:
        """The mode in the newest status, `DAMP` for example."""
        return MODES[self.status.mode]

    @property
    def heard(self) -> bool:
        """Whether velocities reach everybody who subscribes to them, and somebody does."""
        subscribers = self.node.count_subscribers(self._cmd_vel.topic_name)
        return bool(0 < subscribers <= self._cmd_vel.get_subscription_count())

    @property
    def makes_chunks(self) -> bool:
        """Whether the policy node runs a chunk policy, as far as is known by now."""
        name = self.node.resolve_topic_name(self._policy_node)
        space, _, name = name.rpartition("/")
        try:
            published = self.node.get_publisher_names_and_types_by_node(name, space or "/")
        except NodeNameNonExistentError:
            return False
        return any(_CHUNK in types for _, types in published)

    def require_joint_policy(self, name: str, known: Callable[[], bool]) -> None:
        """Return once it is `known` that the policy node has what only joint policies have.

        Raises:
            OperatorError: It runs a chunk policy, or nothing is known within `answer_timeout_s`.
        """
        self.wait_until(lambda: known() or self.makes_chunks, f"what '{name}' needs",
                        self.answer_timeout_s)
        if not known() and self.makes_chunks:
            raise OperatorError(f"{name}: expected a node of joint policies, found "
                           f"{self._policy_node}, which runs a chunk policy; {_NOT_THERE[name]}")

    def require_to_be_alone(self) -> None:
        """Return if nobody else publishes `cmd_vel`; others have a second to appear.

        Raises:
            OperatorError: Somebody does.
        """
        require_to_be_alone_on(self.node, self._cmd_vel.topic_name)

    def wait_for_robot(self, timeout_s: float = 20.0) -> None:
        """Wait until the policy node serves requests and its status says that inputs are fresh.

        Raises:
            OperatorError: That takes longer than `timeout_s`; it says what is missing.
        """
        self.wait_until(self._served, "the services of the policy node", timeout_s)
        self.wait_until(self._fed, "fresh inputs of the policy node", timeout_s)

    def request(self, name: str) -> tuple[bool, str]:
        """Ask the policy node for `stand`, `run`, `damp`, `reset`, `estop` or `record`.

        Returns:
            Whether it agreed, and what it says.

        Raises:
            OperatorError: No service, or no answer, within `answer_timeout_s`.
        """
        if name == RECORD:
            self.require_joint_policy(name, self._services[name].service_is_ready)
        if name in ("estop", "reset"):
            # A robot's driver hears it as well, whatever the policy node does.
            self.tell_estop(pressed=name == "estop")
        return self.ask(self._services[name], name, Trigger.Request(), self.answer_timeout_s)

    def tell_estop(self, *, pressed: bool) -> None:
        """Say on the topic `estop` whether it is pressed, to all who listen now and later."""
        self._estop.publish(Bool(data=pressed))

    def tell_listener(self, name: str, *, pressed: bool) -> None:
        """Say it once a node listens, and return when that has heard of it.

        Raises:
            OperatorError: The node of this full name does not listen within `answer_timeout_s`.
        """
        def listens() -> bool:
            infos = self.node.get_subscriptions_info_by_topic(self._estop.topic_name)
            return (name in map(full_name, infos)
                    and self._estop.get_subscription_count() >= len(infos))

        self.wait_until(listens, f"{name} to listen to estop", self.answer_timeout_s)
        self.tell_estop(pressed=pressed)
        self._estop.wait_for_all_acked(Duration(seconds=_ACKNOWLEDGE_TIMEOUT_S))

    def demand(self, name: str) -> str:
        """Ask, accept no refusal, and return what the policy node says.

        Raises:
            OperatorError: The policy node refused.
        """
        return granted(name, *self.request(name))

    def call(self, service: Any, name: str) -> str:
        """Call another node's std_srvs/Trigger, accept no refusal, and return what it says.

        Raises:
            OperatorError: It refused, or there is no answer within `answer_timeout_s`.
        """
        return granted(
            name, *self.ask(service, name, Trigger.Request(), self.answer_timeout_s))

    def request_of_driver(self, driver: str, name: str) -> tuple[bool, str]:
        """Ask a robot's driver for something.

        Args:
            driver: Full name of its node.
            name: `take_control`, `release_control`, `damp` or `reset`.

        Returns:
            Whether it agreed, and what it says, once that is done; `take_control` takes seconds:
            the robot folds its legs.

        Raises:
            OperatorError: It does not answer in time.
        """
        service = self.node.create_client(Trigger, f"{driver}/{name}")
        return self.ask(service, name, Trigger.Request(), _CONTROL_WITHIN_S)

    def status_of_driver(self, driver: str) -> RobotStatus:
        """Return the status of a robot's driver.

        Raises:
            OperatorError: None comes within `answer_timeout_s`.
        """
        heard: list[RobotStatus] = []

        def hear(message: RobotStatus) -> None:
            heard.append(message)
            self.notify()

        self.node.create_subscription(RobotStatus, f"{driver}/status", hear, _LATCHED)
        self.wait_until(lambda: bool(heard), f"a status of {driver}", self.answer_timeout_s)
        return heard[-1]

    def record_run(self, on: bool) -> str:
        """Let the policy node record everything from now on, or end that; return what it says.

        Raises:
            OperatorError: The policy node refused, or does not answer in time.
        """
        name, request = "record_run", SetBool.Request(data=on)
        self.require_joint_policy(name, self._record_run.service_is_ready)
        timeout_s = self.answer_timeout_s
        return granted(name, *self.ask(self._record_run, name, request, timeout_s))

    def load(self, bundle: str, backend: str = "") -> str:
        """Let the policy node take another bundle; return what it says.

        Args:
            bundle: Folder, or name of an installed one, on the machine of the node.
            backend: Back ends in order of preference; as before if empty.

        Raises:
            OperatorError: The policy node refused, or has not answered within ten minutes: an
                engine may have to be built.
        """
        self.require_joint_policy("load", self._load.service_is_ready)
        request = LoadBundle.Request(bundle=bundle, backend=backend)
        return granted("load", *self.ask(self._load, "load", request, _LOADED_WITHIN_S))

    def stand(self) -> None:
        """Let the robot stand up; it is READY then.

        Raises:
            OperatorError: The policy node refused, met a fault, or did not get there within 20 s.
        """
        self.demand("stand")
        self.wait_until(lambda: self.mode != "DAMP", "the robot to begin", _MOTION_TIMEOUT_S)
        self.wait_until(lambda: self.mode in ("READY", "DAMP"), "READY", _MOTION_TIMEOUT_S)
        if self.mode == "DAMP":
            raise OperatorError(f"stand: the policy node gave up: {self.status.reason}")

    def stand_up(self) -> None:
        """Let the robot stand up and the policy run.

        Raises:
            OperatorError: The policy node refused, met a fault, or did not get there within 20 s.
        """
        self.stand()
        self.demand("run")
        self.wait_for_mode("RUN")

    def wait_for_status(self) -> None:
        """Wait until there is a status.

        Raises:
            OperatorError: None comes within `answer_timeout_s`.
        """
        self.wait_until(lambda: self._status is not None, "a status", self.answer_timeout_s)

    def wait_for_mode(self, mode: str, timeout_s: float = _MOTION_TIMEOUT_S) -> None:
        """Wait until the status shows this mode.

        Raises:
            OperatorError: It does not within `timeout_s` (steady clock).
        """
        self.wait_until(lambda: self._status is not None and self.mode == mode,
                        f"the mode {mode}", timeout_s)  # fmt: skip

    def move(self, vx_mps: float = 0.0, vy_mps: float = 0.0, wz_radps: float = 0.0) -> None:
        """Command this velocity (body frame) now and from now on."""
        velocity = Twist()
        velocity.linear.x, velocity.linear.y, velocity.angular.z = vx_mps, vy_mps, wz_radps
        with self.changed:
            self._velocity = velocity
            self._cmd_vel.publish(velocity)

    def let_go(self) -> None:
        """Fall silent: no velocity is published any more."""
        with self.changed:
            self._velocity = None

    def halt(self) -> None:
        """Command zero, wait until that has arrived, and fall silent."""
        self.move()
        self.let_go()
        self._cmd_vel.wait_for_all_acked(Duration(seconds=_ACKNOWLEDGE_TIMEOUT_S))

    def _served(self) -> bool:
        return all(self._services[name].service_is_ready() for name in REQUESTS)

    def _fed(self) -> bool:
        required = [] if self._status is None else [
            entry for entry in self._status.inputs if entry.name != "cmd_vel"]  # fmt: skip
        return bool(required) and all(entry.ok for entry in required)

    def described(self) -> str:
        """Return what may be why something does not come."""
        if self._status is None:
            return "no status of the policy node has come; does it run, in this ROS_DOMAIN_ID?"
        troubles = [entry.text for entry in self._status.inputs if entry.text]
        return "; ".join([f"the mode is {self.mode} ({self._status.reason})", *troubles])

    def _on_status(self, message: PolicyStatus) -> None:
        self._status = message
        self.notify()

    def _on_timer(self) -> None:
        with self.changed:
            if self._velocity is not None:
                self._cmd_vel.publish(self._velocity)
            self.changed.notify_all()


def granted(name: str, agreed: bool, message: str, who: str = "the policy node") -> str:
    """Return what was said where it was agreed to.

    Raises:
        OperatorError: It was not.
    """
    if not agreed:
        raise OperatorError(f"{name}: {who} refused: {message}")
    return message
