# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the operator's node meets: a policy node, a driver, a joystick, what follows cmd_vel."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from geometry_msgs.msg import Twist
from policy_msgs.msg import GuardCounter, InputStatus, JointCommand, PolicyStatus, RobotStatus
from policy_msgs.srv import SetAuthority, SwitchState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import BatteryState, Joy
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

DEADLINE_S = 60.0
"""Far beyond what anything here takes; only a test that fails waits so long."""
PERSON_S = 0.2
"""Between two keys."""
AGAIN_S = 5.0
"""Until an operator tries again what had no effect."""
DEADMAN = 4
OF_POLICY = {
    "stand": JointCommand.MODE_READY,
    "run": JointCommand.MODE_RUN,
    "take_over": JointCommand.MODE_RUN,
    "hand_back": JointCommand.MODE_RUN,
    "damp": JointCommand.MODE_DAMP,
    "reset": JointCommand.MODE_DAMP,
    "estop": JointCommand.MODE_DAMP,
}
OF_DRIVER = {
    "take_control": RobotStatus.FOLLOWING,
    "release_control": RobotStatus.LISTENING,
    "damp": RobotStatus.DAMPING,
    "reset": RobotStatus.DAMPING,
}
_EVERY_ONE = QoSProfile(depth=1000)
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Robot:
    """Policy node and driver in one, as far as an operator sees of them; and a joystick."""

    def __init__(self, executor: SingleThreadedExecutor, namespace: str = "") -> None:
        self.executor = executor
        self.node = Node("robot", namespace=namespace, use_global_arguments=False)
        executor.add_node(self.node)
        self.policy = policy_status()
        self.driver: RobotStatus | None = None
        self.silent = False
        self.refusal = ""
        self.asked: list[str] = []
        self.velocities: list[tuple[float, float, float]] = []
        self.estops: list[bool] = []
        self.joy: Joy | None = None
        node = self.node
        node.create_service(SwitchState, "joint_policy_node/switch", self._switches)
        node.create_service(SetAuthority, "joint_policy_node/set_authority", self._turns)
        self._policy_status = node.create_publisher(
            PolicyStatus, "joint_policy_node/status", _LATCHED
        )
        self._driver_status = node.create_publisher(RobotStatus, "lite3_driver/status", _LATCHED)
        self._joy = node.create_publisher(Joy, "joy", QoSProfile(depth=1))
        self.battery = node.create_publisher(BatteryState, "battery_state", QoSProfile(depth=1))
        for name in OF_POLICY:
            node.create_service(
                Trigger, f"joint_policy_node/{name}", partial(self._policy_answers, name)
            )
        node.create_subscription(Twist, "cmd_vel", self._on_velocity, _EVERY_ONE)
        node.create_subscription(Bool, "estop", lambda m: self.estops.append(m.data), _EVERY_ONE)

    def has_driver(self) -> None:
        self.driver = RobotStatus(state=RobotStatus.LISTENING, reason="asked for nothing yet")
        for name in OF_DRIVER:
            self.node.create_service(
                Trigger, f"lite3_driver/{name}", partial(self._driver_answers, name)
            )

    def holds(self, *buttons: int, vx: float = 0.0) -> None:
        """Have these buttons pressed, and the stick pushed; from now on the joystick speaks."""
        self.joy = Joy(
            axes=[0.0, vx, 0.0, 0.0], buttons=[int(index in buttons) for index in range(11)]
        )

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Speak and listen until the condition holds."""
        ends_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < ends_s, f"never: {what}"
            if not self.silent:
                self._policy_status.publish(self.policy)
                if self.driver is not None:
                    self._driver_status.publish(self.driver)
            if self.joy is not None:
                self._joy.publish(self.joy)
            self.executor.spin_once(timeout_sec=0.02)

    def heard_since(self, count: int) -> bool:
        """Return whether more velocities have come than these."""
        return len(self.velocities) > count

    def types(self, press: Callable[[str], None], letter: str, done: Callable[[], object]) -> None:
        """Press a letter and Enter as a person does; again where the operator was held up."""
        while not done():
            press(letter)
            self._waits(PERSON_S, lambda: False)
            press("enter")
            self._waits(AGAIN_S, done)

    def _waits(self, duration_s: float, done: Callable[[], object]) -> None:
        ends_s = time.monotonic() + duration_s
        self.until(lambda: done() or time.monotonic() > ends_s, "the end of a moment")

    def is_asked(self, *names: str) -> None:
        """Wait until these were asked for, in this order, and nothing else."""
        self.until(lambda: len(self.asked) >= len(names), f"asked for {names}, so far {self.asked}")
        assert self.asked == [*names]
        self.asked.clear()

    def _policy_answers(self, name: str, _: Any, response: Trigger.Response) -> Trigger.Response:
        self.asked.append(name)
        response.success, response.message = not self.refusal, self.refusal or name.upper()
        if response.success:
            self.policy.mode, self.policy.reason = OF_POLICY[name], f"{name} asked for"
            self.policy.latched = name == "estop" or (self.policy.latched and name != "reset")
        return response

    def _switches(
        self, request: SwitchState.Request, response: SwitchState.Response
    ) -> SwitchState.Response:
        self.asked.append(f"switch {request.state}")
        response.success = not self.refusal
        response.message = self.refusal or f"{request.state} has been requested"
        if response.success:
            self.policy.policy_set[0].state = request.state
        return response

    def _turns(
        self, request: SetAuthority.Request, response: SetAuthority.Response
    ) -> SetAuthority.Response:
        self.asked.append(f"authority {request.authority:g}")
        self.policy.authority = request.authority
        response.success, response.message = True, self.asked[-1]
        return response

    def _driver_answers(self, name: str, _: Any, response: Trigger.Response) -> Trigger.Response:
        self.asked.append(f"driver: {name}")
        assert self.driver is not None
        self.driver.state, self.driver.reason = OF_DRIVER[name], f"{name} asked for"
        response.success, response.message = True, name
        return response

    def _on_velocity(self, message: Twist) -> None:
        self.velocities.append((message.linear.x, message.linear.y, message.angular.z))


def policy_status() -> PolicyStatus:
    """Return the status of a policy node that has just begun."""
    return PolicyStatus(
        authority=1.0,
        mode=JointCommand.MODE_DAMP,
        reason="started",
        bundle_name="walk",
        bundle_version="1.0.0",
        backend="onnx",
        runs_on="CPU",
        rate_hz=50.0,
        rate_reached_hz=50.0,
        guard_counters=[GuardCounter(name="estop", count=0)],
        inputs=[
            InputStatus(name="joint_states", ok=True, publishers=1),
            InputStatus(name="imu/data", ok=True, publishers=1),
        ],
    )
