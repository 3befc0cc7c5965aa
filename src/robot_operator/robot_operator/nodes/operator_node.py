# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The operator node: turns joystick and keys into requests and the robot's only `cmd_vel`.

Subscribes: `joy` (sensor_msgs/Joy), the policy node's `~/status` (policy_msgs/PolicyStatus), the
driver's `~/status` (policy_msgs/RobotStatus), `battery_state` (sensor_msgs/BatteryState).
Publishes: `cmd_vel` (geometry_msgs/Twist, reliable, depth 1), from standing up until DAMP; `estop`
(std_msgs/Bool, reliable, transient local); the topics of the contract's commanded values
(std_msgs/Float32MultiArray), once keys have changed one, until DAMP.
Calls (std_srvs/Trigger): `stand`, `run`, `damp`, `reset`, `estop` of the policy node,
`take_control`, `release_control`, `damp`, `reset` of the driver; (policy_msgs/SetAuthority)
`set_authority` of the policy node; (policy_msgs/SwitchState) `switch` of the node of a policy set;
(std_srvs/Trigger) `take_over`, `hand_back` of the node of a chunk policy.

In a terminal, it shows a screen; elsewhere, it logs changes.
"""

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from geometry_msgs.msg import Twist
from policy_msgs.msg import JointCommand, PolicyStatus, RobotStatus
from policy_msgs.srv import SetAuthority, SwitchState
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import BatteryState, Joy
from std_msgs.msg import Float32MultiArray
from std_srvs.srv import Trigger

from policy_core.errors import RobotError, one_line
from policy_inference.messages.statuses import require_usable
from policy_inference.nodes import qos
from policy_inference.nodes.lifecycle import LifecycleBase
from policy_inference.nodes.parameters import ParameterTable, refuse_arguments
from policy_inference.nodes.process import run_node
from policy_inference.processes import unblock_log
from robot_operator.cockpit import View
from robot_operator.commanded_values import CommandedValues, ValuesByTopic
from robot_operator.nodes.found import other_publishers, require_sole_publisher
from robot_operator.nodes.services import RobotServices, ask_all
from robot_operator.nodes.settings import PARAMETERS, pilot_settings
from robot_operator.nodes.terminal import has_terminal, operate
from robot_operator.nodes.views import OperatorNews, Seen, make_view
from robot_operator.nodes.words import STATES, describe_mode
from robot_operator.pilot import STILL, Pilot, Velocity
from robot_operator.requests import OF_DIAL, OperatorRequest
from robot_operator.sliders import Sliders

_DRIVING = (JointCommand.MODE_RUN, JointCommand.MODE_HOLD)
# even before RUN, so that the policy starts with a fresh zero command
_SPEAKING = (JointCommand.MODE_STAND, JointCommand.MODE_READY, *_DRIVING)
_STATUS_TIMEOUT_NS = 2_000_000_000
_GOODBYE_WITHIN_S = 1.0
_WATCH_S = 0.5
_DIAL_NS = 2_000_000_000
"""Time within which a requested share appears in the status."""


class OperatorNode(LifecycleBase):
    """Lifecycle node around a `Pilot`: passes inputs to it, sends its velocity and requests."""

    def __init__(self) -> None:
        super().__init__("operator_node")
        self.table = ParameterTable(self, PARAMETERS, lambda: self.configured)
        self.news = OperatorNews(self.get_logger())
        self._closers = ExitStack()
        self._lock = threading.RLock()  # the pilot is shared by this thread and the screen's
        self._seen = Seen()
        self._dial = 0.0, -_DIAL_NS
        self._speaking = False
        self._rivals: list[str] = []
        self._commanded_values = CommandedValues()
        self._sliders = Sliders({})
        self._values: dict[str, Any] = {}

    def set_up(self) -> None:
        values = self.table.read()
        self._pilot = Pilot(pilot_settings(values))
        self._topic = self.resolve_topic_name("cmd_vel")
        require_sole_publisher(self, self._topic)
        self._robot = RobotServices(self, values["policy_node"], values["driver_node"])
        self._closers.callback(self._robot.close)
        self._closers.callback(self._drop_values)
        self._cmd_vel = self.create_publisher(Twist, "cmd_vel", qos.COMMAND)
        self._closers.callback(self.destroy_publisher, self._cmd_vel)
        self._subscribe(values)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        for period_s, act in (
            (1.0 / values["command_rate_hz"], self._tick),
            (_WATCH_S, self._watch),
        ):
            timer = self.create_timer(period_s, act, clock=steady)
            self._closers.callback(self.destroy_timer, timer)

    def start(self) -> None:
        self.news.tell("ready; nothing moves until you request it")

    def stop(self) -> None:
        """Leave the robot safe: command zero velocity and damp; control is not released."""
        with self._lock:
            self._pilot.stop(time.monotonic_ns())
            if self._speaking:
                self._publish(STILL)
            self._speaking = False
        policy, driver = self._seen.policy, self._seen.driver
        moves = policy is not None and policy.mode != JointCommand.MODE_DAMP
        folds = driver is not None and driver.state == RobotStatus.TAKING
        if moves or folds:
            self._owe_an_answer()

    def tear_down(self) -> None:
        self._closers.close()

    def press(self, key: str) -> None:
        """Handle a terminal key; see `robot_operator.pilot`."""
        with self._lock:
            if self.running:
                self._ask(self._pilot.press(key, time.monotonic_ns()))
                if self._speaking:
                    self._sliders.press(key)

    def view(self) -> View:
        with self._lock:
            pilot = self._pilot if self.configured else None
            served = self.configured and self._robot.reaches_policy
            # A copy, since messages arrive on another thread.
            seen = replace(self._seen, served=served)
            view = make_view(seen, pilot, self._rivals, self.news, time.monotonic_ns())
            return replace(view, lines=[*view.lines, *self._sliders.lines])

    def _subscribe(self, values: Mapping[str, Any]) -> None:
        policy, driver = values["policy_node"], values["driver_node"]
        for kind, topic, act, profile in (
            (Joy, "joy", self._on_joy, qos.SAMPLE),
            (PolicyStatus, f"{policy}/status", self._on_policy, qos.STATUS),
            (RobotStatus, f"{driver}/status", self._on_driver, qos.STATUS),
            (BatteryState, "battery_state", self._on_battery, qos.SAMPLE),
        ):
            subscription = self.create_subscription(kind, topic, act, profile)
            self._closers.callback(self.destroy_subscription, subscription)

    def _on_joy(self, message: Joy) -> None:
        if not self.running:
            return
        joysticks = self.count_publishers("joy")
        trouble = f"{joysticks} publishers on joy, expected one" if joysticks > 1 else ""
        with self._lock:
            stick = self._pilot.joystick
            before = (stick.present, stick.trouble)
            asked = self._pilot.hear_joystick(
                message.axes, message.buttons, time.monotonic_ns(), trouble=trouble
            )
            if (stick.present, stick.trouble) != before:
                self.news.tell(f"joystick: {stick.trouble or 'found'}", wrong=bool(stick.trouble))
            for request in stick.unheard:
                self.news.refuse(f"{request.value}: refused: {stick.hint} as well")
            self._ask(asked)

    def _is_usable(self, source: str, message: PolicyStatus | RobotStatus) -> bool:
        """Return whether a status can be used; if not, show why."""
        try:
            require_usable(message)
        except RobotError as error:
            if self._seen.refuse(source, f"{source}: status refused: {error}"):
                self.news.tell(self._seen.refused[source][0], wrong=True)
            return False
        return True

    def _on_policy(self, message: PolicyStatus) -> None:
        if not self._is_usable("policy", message):
            return
        before = self._seen.policy
        if before is None or (describe_mode(before), before.reason) != (
            describe_mode(message),
            message.reason,
        ):
            self.news.tell(
                f"policy: {describe_mode(message)}: {one_line(message.reason)}",
                wrong=message.latched,
            )
        self._seen.policy, self._seen.policy_ns = message, time.monotonic_ns()

    def _adopt(self, terms: ValuesByTopic) -> None:
        """Replace the sliders with ones for the values of another contract."""
        with self._lock:
            self._drop_values()
            self._sliders = Sliders(terms)
            for topic in terms:
                self._values[topic] = self.create_publisher(Float32MultiArray, topic, qos.COMMAND)

    def _drop_values(self) -> None:
        while self._values:
            self.destroy_publisher(self._values.popitem()[1])

    def _on_driver(self, message: RobotStatus) -> None:
        if not self._is_usable("driver", message):
            return
        before = self._seen.driver
        if before is None or (before.state, before.reason) != (message.state, message.reason):
            self.news.tell(f"driver: {STATES[message.state]}: {one_line(message.reason)}")
        self._seen.driver, self._seen.driver_ns = message, time.monotonic_ns()

    def _on_battery(self, message: BatteryState) -> None:
        self._seen.battery = message

    def _ask(self, asked: Sequence[OperatorRequest]) -> None:
        for request in asked:
            if request is OperatorRequest.RUN and self._rivals:
                self.news.refuse(f"run: refused: {_rivalry(self._rivals)}")
            elif request in (OperatorRequest.STAND, OperatorRequest.RUN) and self._seen.unfollowed:
                self.news.refuse(
                    f"{request.value}: refused: the robot would not follow: {self._seen.unfollowed}"
                )
            elif request is OperatorRequest.SWITCH:
                self._switch()
            elif request in OF_DIAL:
                self._turn_dial(request)
            else:
                self._request(request)

    def _switch(self) -> None:
        """Request the state that follows the current one in the policy set's order."""
        policy = self._seen.policy
        found = [] if policy is None else policy.policy_set
        if not found:
            self.news.refuse("switch: refused: expected a policy set, found a single policy")
            return
        states = [*found[0].states]
        following = states[(states.index(found[0].state) + 1) % len(states)]
        self._request(OperatorRequest.SWITCH, asked=SwitchState.Request(state=following))

    def _turn_dial(self, request: OperatorRequest) -> None:
        """Step the policy's share of the command, from the last requested share if recent."""
        policy = self._seen.policy
        if policy is None:
            self.news.refuse(f"{request.value}: refused: no status from the policy node yet")
            return
        asked, asked_ns = self._dial
        is_recent = time.monotonic_ns() - asked_ns < _DIAL_NS
        share = asked if is_recent else policy.authority
        share = min(max(round(share + OF_DIAL[request], 1), 0.0), 1.0)
        self._dial = share, time.monotonic_ns()
        self._request(request, asked=SetAuthority.Request(authority=share))

    def _request(
        self,
        request: OperatorRequest,
        on_end: Callable[[], None] = lambda: None,
        *,
        asked: Trigger.Request | SwitchState.Request | SetAuthority.Request | None = None,
    ) -> None:
        """Send a request to all nodes that grant it, without waiting; answers are shown as news."""
        name, news = request.value, self.news

        def hear(response: Any) -> None:
            if response is not None and response.success:
                news.tell(f"{name}: {response.message}")
            elif response is not None:
                news.refuse(f"{name}: refused: {response.message}")

        self._robot.announce(request)
        if ready := self._robot.ready(request):
            news.refusal = ""
            news.tell(f"{name}: requested")
            ask_all(ready, asked or Trigger.Request(), hear, on_end)
            return
        granting = self._robot.granting(request).values()
        names = " or ".join(client.srv_name for client in granting)
        on_topic = request in (OperatorRequest.ESTOP, OperatorRequest.RESET)
        so_far = "published on the topic; " if on_topic else ""
        news.refuse(
            f"{name}: {so_far}expected the service {names}, found none; "
            "is its node running in this ROS_DOMAIN_ID?"
        )
        on_end()

    def _tick(self) -> None:
        """Command a velocity from standing up until DAMP; otherwise publish nothing."""
        if not self.running:
            return
        now_ns = time.monotonic_ns()
        for gone in self._seen.forget(now_ns - _STATUS_TIMEOUT_NS):
            self.news.tell(f"{gone}: the status has stopped", wrong=True)
        with self._lock:
            lost, asked = self._pilot.lost(now_ns)
            if lost:
                self.news.tell("joystick: lost", wrong=True)
            self._ask(asked)
            policy = self._seen.policy
            mode = None if policy is None else policy.mode
            followed = mode in _DRIVING and not self._seen.unfollowed
            velocity = self._pilot.step(now_ns, driving=followed)
            speaking = mode in _SPEAKING
            if speaking or self._speaking:
                self._publish(velocity)
            if not speaking:
                self._sliders.reset()
            for topic, values in self._sliders.commanded.items():
                self._values[topic].publish(Float32MultiArray(data=values))
            self._speaking = speaking

    def _publish(self, velocity: Velocity) -> None:
        message = Twist()
        message.linear.x, message.linear.y, message.angular.z = velocity
        self._cmd_vel.publish(message)

    def _watch(self) -> None:
        """Look for another node that commands velocities, and for another running policy."""
        status = self._seen.policy
        if status is not None:
            values = self._commanded_values.take(status.bundle, status.bundle_sha256)
            if values is not None:
                self._adopt(values)
        names = other_publishers(self, self._topic)
        if names != self._rivals:
            self._rivals = names
            self.news.tell(
                _rivalry(names)
                if names
                else f"{self._topic}: this node is the only publisher again",
                wrong=bool(names),
            )

    def _owe_an_answer(self) -> None:
        """Request damp; the process waits for the answer for at most a second."""
        lock, owing = threading.Lock(), [1]
        self.answering += 1

        def settle() -> None:
            with lock:
                self.answering -= owing.pop() if owing else 0

        threading.Timer(_GOODBYE_WITHIN_S, settle).start()
        self._request(OperatorRequest.DAMP, settle)


def _rivalry(names: Sequence[str]) -> str:
    return f"other nodes publish velocity commands too: {', '.join(names)}; stop them"


def main(args: Sequence[str] | None = None) -> None:
    refuse_arguments("operator_node", __doc__, PARAMETERS, args)
    if not has_terminal():
        unblock_log()
    sys.exit(run_node(OperatorNode, args, foreground=operate))
