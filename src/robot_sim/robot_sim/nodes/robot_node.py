# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Base class of the simulated robots' nodes: joints and commands, real time and lockstep.

In real time, the drives damp when a command expires. In lockstep, the node publishes the sensor
messages of tick k, stamped t_k, then /clock = t_k, and waits for the JointCommand stamped t_k
before it steps to t_k+1. Time stands still until the first command. If a later command does not
arrive within `answer_timeout_s`, the drives damp, and the world continues in real time until the
next command. `lockstep_speed` limits the speed of simulated time, to leave processor time to other
programs.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Protocol

import numpy as np
import rclpy
from geometry_msgs.msg import Twist
from policy_msgs.msg import JointCommand
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState

from policy_core.errors import PolicyError
from policy_inference.fast_dds import fast_dds_without_shared_memory
from policy_inference.nodes.lifecycle import PeerGuard
from policy_inference.nodes.one_sender import OneSender
from policy_inference.nodes.parameters import refuse_arguments
from policy_inference.nodes.rclpy_gaps import Logger
from robot_sim.driven import NS_PER_S, DrivenWorld, RealTimePacer
from robot_sim.drives import DriveCommand
from robot_sim.errors import SimError
from robot_sim.nodes.messages import JointStateWriter, drive_command, nanoseconds, to_time
from robot_sim.nodes.parameters import Parameters, declared, specs
from robot_sim.trace import WalkRecord
from robot_sim.viewer import Viewer

NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
"""QoS of sensor messages and commands: only the newest matters, but in lockstep none may be lost.
"""
RECORD = "trace"
"""Name of the stream of trace rows; a row is due once the command for its time has arrived."""

_END_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_REPEAT_S = 0.05
_LOOK_UP_NS = 50_000_000


class Runs(Protocol):
    """Methods of a node that `run_node` needs."""

    stopped: bool

    def run(self) -> None:
        """Work until `stop`."""

    def stop(self) -> None:
        """Make `run` return soon; callable from any thread or a signal handler."""

    def save(self) -> None:
        """Write the recording, if any; called once, when the node ends."""

    def destroy_node(self) -> None:
        """Destroy the node."""


class RobotNode(PeerGuard, Node):
    """Steps a world on the caller's thread; commands arrive on the executor's thread.

    Attributes:
        joint_states_topic: Topic of the joints' true state.
    """

    world: DrivenWorld
    joint_states_topic: ClassVar[str] = "joint_states"

    def __init__(self, name: str, parameters: Parameters) -> None:
        """Read the parameters; a subclass then creates `world` and calls `connect`."""
        super().__init__(name, automatically_declare_parameters_from_overrides=True)
        self._get = declared(self, parameters)
        self._received: JointCommand | None = None
        self._arrival = threading.Condition()
        self.stopped = False

    def connect(self, *, period_steps: int, stream_steps: Mapping[str, int]) -> None:
        """Create the topics of all robots: `joint_states`, `joint_command`; in lockstep, `/clock`.

        Args:
            period_steps: Physics steps between ticks in lockstep, and between rows of the trace.
            stream_steps: Physics steps between messages in real time, by stream name.
        """
        self._period_steps, self._stream_steps = period_steps, stream_steps
        self._answer_timeout_s: float = self._get("answer_timeout_s")
        self._speed: float = self._get("lockstep_speed")
        self._ends_ns = round(self._get("duration_s") * NS_PER_S) or None
        order = [name for name in self._get("joint_order") if name] or self.world.joint_names
        self.joint_state = JointStateWriter(order, self.world.joint_names)
        self.joint_states = self.create_publisher(JointState, self.joint_states_topic, NEWEST)
        lockstep = self._get("lockstep")
        self._time = self.create_publisher(Clock, "/clock", NEWEST) if lockstep else None
        # In lockstep, a node has `answer_timeout_s` for its answer.
        self._commands = OneSender(self, "joint_command", expires=not lockstep)
        self._viewer = Viewer(self.world) if self._get("viewer") else None

    def steps_of_rate(self, name: str) -> int:
        """Return the number of physics steps between messages at the rate in this parameter."""
        return self.world.whole_steps(round(NS_PER_S / self._get(name)), name)

    def publish(self, due: Sequence[str], stamp: Any) -> None:
        """Publish the streams that are due, including repetitions, on the thread of `run`."""
        raise NotImplementedError

    def obey(self, command: DriveCommand) -> None:
        """Give a command to the drives."""
        self.world.apply(command)

    def applied(self, command: DriveCommand, message: JointCommand) -> None:
        """Hook after the drives have accepted a command."""

    def before_step(self) -> None:
        """Hook before each step of the world."""

    def save(self) -> None:
        """Write the recording, if any; called once, when the node ends."""

    def run(self) -> None:
        receiving = threading.Thread(target=self._receive, name="joint_command", daemon=True)
        receiving.start()
        timing = "real time" if self._time is None else "lockstep, from the first joint_command on"
        self.get_logger().info(f"ready, in {timing}")
        try:
            if self._time is not None:
                self._run_lockstep()
            else:
                self._run_real_time()
        finally:
            self.stop()
            receiving.join()
            if self._viewer is not None:
                self._viewer.close()

    def stop(self) -> None:
        self.stopped = True

    def _run_real_time(self) -> None:
        """Publish each stream at its own rate; simulated time follows the steady clock."""
        periods = {**self._stream_steps, RECORD: self._period_steps}
        due = dict.fromkeys(periods, 0)
        clock = RealTimePacer(self.get_logger().warning)
        while self._goes_on():
            now = self.world.steps
            ready = [name for name, at in due.items() if at <= now]
            self.publish(ready, to_time(clock.stamp_ns(self.world.time_ns)))
            for name in ready:
                due[name] += periods[name]
            self._step(min(due.values()) - now)
            clock.wait(self.world.time_ns)

    def _run_lockstep(self) -> None:
        """At each tick, wait for the command that answers it."""
        period_s = self._period_steps / self.world.steps_per_s
        shortest_s = period_s / self._speed if self._speed else 0.0
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
                        f"{self._answer_timeout_s:g} s; the drives damp"
                    )
                    self.world.expire()
                    self._commands.release()
            else:
                left_s = began + period_s - time.monotonic()
                answered = self._answer(now_ns, max(0.0, left_s))
            self.publish([RECORD], to_time(now_ns))
            self._step(self._period_steps)
            time.sleep(max(0.0, began + shortest_s - time.monotonic()))

    def _show(self, now_ns: int) -> None:
        """Publish all streams for this time, then the time itself."""
        assert self._time is not None
        self.publish(list(self._stream_steps), to_time(now_ns))
        self._time.publish(Clock(clock=to_time(now_ns)))

    def _wait_for_answer(self, now_ns: int, *, forever: bool) -> bool:
        """Repeat streams and time until the answer arrives, since a message may have been lost."""
        ends = time.monotonic() + self._answer_timeout_s
        while not self.stopped and (forever or time.monotonic() < ends):
            if self._answer(now_ns, _REPEAT_S):
                return True
            self._show(now_ns)
        return False

    def _answer(self, now_ns: int, timeout_s: float) -> bool:
        """Wait for the command for this tick; return whether it arrived."""
        with self._arrival:
            return self._arrival.wait_for(lambda: self._answers(now_ns), timeout_s)

    def _answers(self, now_ns: int) -> bool:
        return self._received is not None and nanoseconds(self._received.stamp) == now_ns

    def _goes_on(self) -> bool:
        over = self._ends_ns is not None and self.world.time_ns >= self._ends_ns
        return not over and not self.stopped

    def _step(self, steps: int) -> None:
        """Give any new command to the drives, and advance."""
        with self._arrival:
            message, self._received = self._received, None
        if message is not None:
            self._apply(message)
        self.before_step()
        self.world.advance(steps)
        if self._viewer is not None:
            self._viewer.show()

    def _apply(self, message: JointCommand) -> None:
        try:
            command = drive_command(message)
            self.obey(command)
        except SimError as error:
            self.get_logger().error(f"joint_command refused: {error}", throttle_duration_sec=1.0)
            return
        self.applied(command, message)

    def _receive(self) -> None:
        """Take the commands of one sender, keeping the newest, until the node stops."""
        while not self.stopped:
            if not self._commands.wait(_LOOK_UP_NS):
                continue
            message = self._commands.take()
            if message is not None:
                with self._arrival:
                    self._received = message
                    self._arrival.notify()


def run_node(
    name: str,
    make: Callable[[], Runs],
    parameters: Parameters,
    doc: str | None,
    args: Sequence[str] | None,
) -> None:
    """Run a node until it ends or a signal arrives; exit with status 2 for an invalid parameter.

    Args:
        name: Name of the command.
        make: Creates the node.
        parameters: Parameters to list in `--help`.
        doc: Description of the command, for `--help`.
        args: Arguments; None for those of the process.
    """
    try:
        refuse_arguments(name, doc, specs(parameters), args)
        os.environ.update(fast_dds_without_shared_memory(os.environ))
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = make()
    except (PolicyError, RuntimeError, ParameterException) as error:
        Logger(name).error(str(error))
        rclpy.try_shutdown()
        sys.exit(2)
    for number in _END_SIGNALS:
        signal.signal(number, lambda *_: node.stop())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _END_SIGNALS)  # threads inherit the blocked signals
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
        node.save()
        node.destroy_node()
        rclpy.try_shutdown()
        # Python restores the default handlers before it exits; a second signal would then kill it.
        for number in _END_SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def _spin(executor: SingleThreadedExecutor, node: Runs) -> None:
    """Spin until the node stops; if a callback raises, stop the node."""
    try:
        while not node.stopped:
            executor.spin_once(timeout_sec=_REPEAT_S)
    finally:
        node.stop()


def record_velocity(node: Node, record: WalkRecord) -> None:
    """Record the velocity commands on `cmd_vel`."""

    def on_velocity(message: Twist) -> None:
        record.velocity = np.array([message.linear.x, message.linear.y, message.angular.z])

    node.create_subscription(Twist, "cmd_vel", on_velocity, NEWEST)
