# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Passes a real robot's sensor messages on to the policy, with faults once some are requested.

It subscribes to `joint_states`, `imu/data` and `odom`, and publishes each message below `faulty/`,
unchanged until `faults` is set. `robot_sim.faults` lists the faults; those of the robot's body and
of its contacts are refused. Their times count from the moment they are set:

    ros2 param set /fault_injector faults "['drop:imu@1+0.3']"

Only the policy's measurements change: the driver's own checks still use the real ones. Before
setting a fault, suspend a legged robot, keep clear of an arm, and have the e-stop within reach.
"""
# run: needs: ros2
# run: before: sim_node & fault_injector &
# run: swap: {ros2 param: until ros2 param}
# run: short: '| grep successful; do sleep 1; done'

import copy
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, ClassVar

import numpy as np
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Imu, JointState

from policy_inference.nodes.lifecycle import PeerGuard
from robot_sim.errors import SimError
from robot_sim.faults import STREAM_FIELDS, TARGETS, Fault, FaultPlan, find_stream
from robot_sim.nodes.parameters import FAULT_INJECTOR, declared, set_faults
from robot_sim.nodes.robot_node import NEWEST, run_node
from robot_sim.world import Sensors

PREFIX = "faulty/"
"""Prefix of the topics for the policy."""
_TOPICS = {
    "joint_states": ("joint_states", JointState),
    "imu": ("imu/data", Imu),
    "odom": ("odom", Odometry),
}
"""Topic and message type of each stream."""
_BODY = ("latency", "motor_off", "push")
_MOST_LATE_S = 10.0
"""Maximum value of `late`, which stores all messages received within that time."""


class InjectedFault(Fault):
    """A sensor fault that a node can inject into messages."""

    targets: ClassVar = {
        kind: tuple(each for each in targets if each.partition(".")[0] in _TOPICS)
        for kind, targets in TARGETS.items()
        if kind not in _BODY
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind == "late" and self.value > _MOST_LATE_S:
            raise SimError(f"fault late: expected at most {_MOST_LATE_S:g} s, found {self.value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading(Sensors):
    """The part of the robot's sensor values that a message contains; the rest is empty."""

    message: Any


_EMPTY: Mapping[str, Any] = {
    field.name: np.zeros(0)
    for field in fields(Sensors)
    if field.name not in ("time_ns", "joint_names")
}


def _xyz(vector: Any) -> list[float]:
    return [vector.x, vector.y, vector.z]


def _set(target: Any, values: Any) -> None:
    for axis, value in zip("xyzw", values.tolist(), strict=False):
        setattr(target, axis, value)


class InjectedFaults:
    """Injects the planned faults into messages.

    Attributes:
        joint_names: Joints in the newest JointState; empty before the first.
    """

    def __init__(self) -> None:
        self.joint_names: tuple[str, ...] = ()
        self._plan, self._since_ns = FaultPlan(), 0
        self._received = set[str]()

    def plan(self, texts: Sequence[str], now_ns: int) -> None:
        """Replace all faults; their times count from now.

        Args:
            texts: The faults; empty for unchanged messages.
            now_ns: Steady clock.

        Raises:
            SimError: A fault is invalid, or no message to change has been received yet.
        """
        faults = InjectedFault.parse_all(texts)
        for stream in {find_stream(fault) for fault in faults} - self._received:
            raise SimError(
                f"faults: expected {_TOPICS[stream][0]} from the robot, received none yet"
            )
        self._plan = FaultPlan(faults, joint_names=self.joint_names)
        self._since_ns = now_ns

    def changed(self, stream: str, message: Any, now_ns: int) -> Any:
        """Return the message to pass on in place of one received now; None to send nothing."""
        self._received.add(stream)
        if stream == "joint_states":
            self.joint_names = tuple(message.name)
        if not self._plan.faults:
            return message
        try:
            return self._spoilt(stream, message, now_ns)
        except (IndexError, ValueError):
            return message  # its sizes differ: the policy node rejects it

    def _spoilt(self, stream: str, message: Any, now_ns: int) -> Any:
        read = {"joint_states": _of_joints, "imu": _of_imu, "odom": _of_odometry}[stream](message)
        reading = _Reading(
            **{**_EMPTY, **{name: np.array(values, float) for name, values in read.items()}},
            joint_names=self.joint_names,
            time_ns=now_ns - self._since_ns,
            message=message,
        )
        shown = self._plan.stream(stream, reading)
        return None if shown is None else _written(stream, shown)


def _of_joints(message: JointState) -> dict[str, Any]:
    joints = len(message.name)
    return {
        name: getattr(message, field) or np.full(joints, np.nan)
        for field, name in STREAM_FIELDS["joint_states"].items()
    }


def _of_imu(message: Imu) -> dict[str, Any]:
    return {
        "quat_xyzw": [*_xyz(message.orientation), message.orientation.w],
        "ang_vel_body": _xyz(message.angular_velocity),
        "lin_acc_body": _xyz(message.linear_acceleration),
    }


def _of_odometry(message: Odometry) -> dict[str, Any]:
    return {
        "pos_world": _xyz(message.pose.pose.position),
        "lin_vel_body": _xyz(message.twist.twist.linear),
    }


def _written(stream: str, shown: Any) -> Any:
    """Return a copy of a reading's message, with the reading's values written into it."""
    message = copy.deepcopy(shown.message)
    if stream == "joint_states":
        for field, name in STREAM_FIELDS[stream].items():
            if getattr(message, field):  # drivers may leave a field empty
                setattr(message, field, getattr(shown, name).tolist())
    elif stream == "imu":
        for field, name in STREAM_FIELDS[stream].items():
            _set(getattr(message, field), getattr(shown, name))
    else:
        _set(message.pose.pose.position, shown.pos_world)
        _set(message.twist.twist.linear, shown.lin_vel_body)
    return message


class FaultInjectorNode(PeerGuard, Node):
    """The node; callbacks are called on the executor's thread."""

    def __init__(self) -> None:
        super().__init__("fault_injector", automatically_declare_parameters_from_overrides=True)
        if any(map(str.strip, declared(self, FAULT_INJECTOR)("faults"))):
            raise SimError("faults: expected none at the start, found some; set them later")
        self.stopped, self._faults, self._ended = False, InjectedFaults(), threading.Event()
        for stream, (topic, kind) in _TOPICS.items():
            publish = self.create_publisher(kind, PREFIX + topic, NEWEST).publish
            self.create_subscription(
                kind, topic, partial(self._on_message, stream, publish), qos_profile_sensor_data
            )
        self.add_on_set_parameters_callback(self._on_parameters)
        self.get_logger().warning(
            f"the policy receives this node's {PREFIX} topics: faults can be injected"
        )

    def run(self) -> None:
        self._ended.wait()

    def stop(self) -> None:
        self.stopped = True
        self._ended.set()

    def save(self) -> None:
        """Save nothing."""

    def _on_message(self, stream: str, publish: Callable[[Any], None], message: Any) -> None:
        changed = self._faults.changed(stream, message, time.monotonic_ns())
        if changed is not None:
            publish(changed)

    def _on_parameters(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        return set_faults(parameters, FAULT_INJECTOR, self._plan)

    def _plan(self, texts: Sequence[str]) -> None:
        self._faults.plan(texts, time.monotonic_ns())
        given = [text for text in texts if text.strip()]
        self.get_logger().warning(f"faults: {', '.join(given) or 'none'}")


def main(args: Sequence[str] | None = None) -> None:
    run_node("fault_injector", FaultInjectorNode, FAULT_INJECTOR, __doc__, args)
