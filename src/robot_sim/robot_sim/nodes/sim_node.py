# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The simulated Lite3 as a ROS 2 node with the topics of a real robot.

Publishes (reliable, depth 1): `joint_states` (sensor_msgs/JointState), `imu/data`
(sensor_msgs/Imu), `odom` (nav_msgs/Odometry), `contact_forces` (policy_msgs/ContactForces); in
lockstep also `/clock`.
Subscribes: `joint_command` (policy_msgs/JointCommand, reliable, depth 1) and `cmd_vel`
(geometry_msgs/Twist), which is only recorded.

In real time the drives damp when a command expires. In lockstep the node publishes the sensors
of tick k stamped t_k, then /clock = t_k, and waits for the JointCommand stamped t_k before it
steps to t_k+1. Time stands still until the first command; if none comes for `answer_timeout_s`
later on, the drives damp, and the world runs on in real time until a command comes again.
"""

import argparse
import math
import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from policy_msgs.msg import ContactForces, JointCommand
from rcl_interfaces.msg import SetParametersResult
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Imu, JointState

from robot_sim.errors import SimError
from robot_sim.faults import FaultPlan
from robot_sim.figures import Array
from robot_sim.nodes.messages import (
    NS_PER_S,
    JointStateWriter,
    contact_message,
    drive_command,
    imu_message,
    nanoseconds,
    odometry_message,
    time_of,
)
from robot_sim.nodes.parameters import PARAMETERS, declared, described, whole_steps
from robot_sim.trace import TraceRecorder
from robot_sim.world import World

NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
"""Sensors and commands: only the newest counts; in lockstep none may be lost."""

_END_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_REPEAT_S = 0.05
_BEHIND_NS = 100_000_000


class SimNode(Node):
    """Steps the world on the caller's thread; commands come in on the executor's."""

    def __init__(self) -> None:
        """Read the parameters and put the robot on the floor.

        Raises:
            SimError: A parameter does not fit.
        """
        super().__init__("sim_node")
        self._get = declared(self)
        seed = self._get("seed")
        self.world = World(friction=self._get("friction"), seed=seed, pose=self._get("pose"))
        self.world.latency_ns = round(self._get("latency_s") * NS_PER_S)
        self._plan = FaultPlan.parse(self._get("faults"), seed=seed)
        order = [name for name in self._get("joint_order") if name] or self.world.joint_names
        self._joint_state = JointStateWriter(order, self.world.joint_names)
        self._period_ns = whole_steps("period_s", self._get("period_s"), self.world)
        self._periods_ns = {
            name: whole_steps(name, 1.0 / self._get(name), self.world)
            for name in ("joint_state_rate_hz", "imu_rate_hz", "contact_rate_hz")
        }
        self._recorder = TraceRecorder() if self._get("trace_file") else None
        self._answer_timeout_s: float = self._get("answer_timeout_s")
        self._ends_ns = round(self._get("duration_s") * NS_PER_S) or None
        self._velocity = np.zeros(3)
        self._target: Array | None = None
        self._mode = math.nan
        self._received: JointCommand | None = None
        self._arrival = threading.Condition()
        self.stopped = False
        self._create_entities()
        self.add_on_set_parameters_callback(self._on_set)

    def _create_entities(self) -> None:
        def publish(message: type[Any], topic: str) -> Any:
            return self.create_publisher(message, topic, NEWEST)

        self._joint_states = publish(JointState, "joint_states")
        self._imu, self._odom = publish(Imu, "imu/data"), publish(Odometry, "odom")
        self._contacts = publish(ContactForces, "contact_forces")
        self._time = publish(Clock, "/clock") if self._get("lockstep") else None
        self.create_subscription(JointCommand, "joint_command", self._on_command, NEWEST)
        self.create_subscription(Twist, "cmd_vel", self._on_velocity, NEWEST)

    def run(self) -> None:
        """Simulate until `stop` or until the duration is over."""
        if self._time is not None:
            self._run_lockstep()
        else:
            self._run_real_time()

    def stop(self) -> None:
        """Let `run` return soon; may be called from a signal handler and from any thread."""
        self.stopped = True

    def save_trace(self) -> None:
        """Write the trace, if one was asked for and there is anything in it."""
        if self._recorder is not None and self.world.time_ns > 0:
            self._recorder.trace().save(Path(self._get("trace_file")))

    def _run_real_time(self) -> None:
        """Publish each sensor at its own rate; simulated time keeps up with the steady clock."""
        periods_ns = {**self._periods_ns, "trace": self._period_ns}
        due_ns = dict.fromkeys(periods_ns, 0)
        offset_ns, wall_offset_ns = time.monotonic_ns(), time.time_ns()
        while self._goes_on():
            now_ns = self.world.time_ns
            ready = [name for name, at_ns in due_ns.items() if at_ns <= now_ns]
            self._publish(ready, time_of(wall_offset_ns + now_ns))
            for name in ready:
                due_ns[name] += periods_ns[name]
            self._step(min(due_ns.values()) - now_ns)
            ahead_ns = offset_ns + self.world.time_ns - time.monotonic_ns()
            if ahead_ns > 0:
                time.sleep(ahead_ns / NS_PER_S)
            elif ahead_ns < -_BEHIND_NS:
                self.get_logger().warning(f"{-ahead_ns / 1e6:.0f} ms behind real time",
                                          throttle_duration_sec=5.0)
                offset_ns, wall_offset_ns = offset_ns - ahead_ns, wall_offset_ns - ahead_ns

    def _run_lockstep(self) -> None:
        """Wait for the answer to each tick."""
        assert self._time is not None
        answered = True
        while self._goes_on():
            now_ns, began = self.world.time_ns, time.monotonic()
            self._show(now_ns)
            if answered:
                waits_for_first = now_ns == 0
                answered = self._wait_for_answer(now_ns, forever=waits_for_first)
                if not answered and not self.stopped:
                    self.get_logger().error(
                        f"no command for t = {now_ns / NS_PER_S:.3f} s within "
                        f"{self._answer_timeout_s:g} s; the drives damp")
                    self.world.expire()
            else:
                left_s = began + self._period_ns / NS_PER_S - time.monotonic()
                answered = self._answer(now_ns, max(0.0, left_s))
            self._publish(["trace"], time_of(now_ns))
            self._step(self._period_ns)

    def _show(self, now_ns: int) -> None:
        """Publish all sensors of this time, then the time."""
        assert self._time is not None
        self._publish(list(self._periods_ns), time_of(now_ns))
        self._time.publish(Clock(clock=time_of(now_ns)))

    def _wait_for_answer(self, now_ns: int, *, forever: bool) -> bool:
        """Repeat sensors and time until the answer comes: they may have met no one, or be lost."""
        ends = time.monotonic() + self._answer_timeout_s
        while not self.stopped and (forever or time.monotonic() < ends):
            if self._answer(now_ns, _REPEAT_S):
                return True
            self._show(now_ns)
        return False

    def _answer(self, now_ns: int, timeout_s: float) -> bool:
        """Return whether the command of this tick came."""
        with self._arrival:
            return self._arrival.wait_for(lambda: self._answers(now_ns), timeout_s)

    def _answers(self, now_ns: int) -> bool:
        return self._received is not None and nanoseconds(self._received.stamp) == now_ns

    def _goes_on(self) -> bool:
        over = self._ends_ns is not None and self.world.time_ns >= self._ends_ns
        return not over and not self.stopped

    def _step(self, duration_ns: int) -> None:
        """Give the newest command to the drives and advance."""
        with self._arrival:
            message, self._received = self._received, None
        if message is not None:
            self._apply(message)
        self._plan.act(self.world)
        self.world.step(duration_ns)

    def _apply(self, message: JointCommand) -> None:
        try:
            command = drive_command(message)
            self.world.apply(command)
        except SimError as error:
            self.get_logger().error(f"joint_command refused: {error}", throttle_duration_sec=1.0)
            return
        places = [command.joint_names.index(name) for name in self.world.joint_names]
        self._target, self._mode = command.position[places], float(message.mode)

    def _publish(self, due: Sequence[str], stamp: Any) -> None:
        """Publish the streams that are due, as the faults leave them."""
        truth = self.world.sense()
        if "trace" in due and self._recorder is not None:
            self._recorder.append(
                truth, command=self._velocity, target=self._target, mode=self._mode)
        streams = self._plan.apply(truth)
        offset_ns = nanoseconds(stamp) - truth.time_ns
        if "joint_state_rate_hz" in due and (seen := streams.joint_states):
            self._joint_states.publish(
                self._joint_state.fill(seen, time_of(seen.time_ns + offset_ns)))
        if "imu_rate_hz" in due and (seen := streams.imu):
            self._imu.publish(imu_message(seen, time_of(seen.time_ns + offset_ns)))
        if "contact_rate_hz" in due and (seen := streams.contact):
            self._contacts.publish(contact_message(
                seen, self.world.foot_names, time_of(seen.time_ns + offset_ns)))
        if "contact_rate_hz" in due and (seen := streams.odom):
            self._odom.publish(odometry_message(seen, time_of(seen.time_ns + offset_ns)))

    def _on_command(self, message: JointCommand) -> None:
        with self._arrival:
            self._received = message
            self._arrival.notify()

    def _on_velocity(self, message: Twist) -> None:
        self._velocity = np.array([message.linear.x, message.linear.y, message.angular.z])

    def _on_set(self, parameters: list[Parameter]) -> SetParametersResult:
        """Switch faults; everything else is read at the start only."""
        for parameter in parameters:
            if parameter.name != "faults" and parameter.name in PARAMETERS:
                reason = f"{parameter.name} is read when the node starts; start it anew"
                return SetParametersResult(successful=False, reason=reason)
            if parameter.name == "faults":
                try:
                    plan = FaultPlan.parse(parameter.value, seed=self._get("seed"),
                                           now_ns=self.world.time_ns)
                except SimError as error:
                    return SetParametersResult(successful=False, reason=str(error))
                self._plan = plan
                self.world.motors_on()
                self.world.latency_ns = round(self._get("latency_s") * NS_PER_S)
        return SetParametersResult(successful=True)


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of the command `sim_node`; it ends with status 2 where a parameter is wrong."""
    try:
        _refuse_arguments(remove_ros_args(["sim_node", *args] if args is not None else sys.argv))
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = SimNode()
    except (SimError, RuntimeError, ParameterException) as error:
        rclpy.logging.get_logger("sim_node").error(str(error))
        rclpy.try_shutdown()
        sys.exit(2)
    for number in _END_SIGNALS:
        signal.signal(number, lambda *_: node.stop())
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="executor") as threads:
            spinning = threads.submit(_spin, executor, node)
            try:
                node.run()
            finally:
                node.stop()
        spinning.result()
    finally:
        executor.shutdown()
        node.save_trace()
        node.destroy_node()
        rclpy.try_shutdown()
        # Python gives handlers back before it ends; a second signal would then kill it.
        for number in _END_SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def _refuse_arguments(given: Sequence[str]) -> None:
    """End where arguments are not for ROS: after `--help`, or with status 2."""
    argparse.ArgumentParser(
        "sim_node", usage="sim_node [--ros-args -p NAME:=VALUE ...]", description=__doc__,
        epilog=f"parameters:\n{described()}", formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(given[1:])


def _spin(executor: SingleThreadedExecutor, node: SimNode) -> None:
    """Spin until the node stops; it stops, too, when a callback raises."""
    try:
        while not node.stopped:
            executor.spin_once(timeout_sec=_REPEAT_S)
    finally:
        node.stop()
