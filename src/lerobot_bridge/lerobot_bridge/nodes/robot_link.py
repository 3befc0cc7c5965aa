# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Connects a ROS 2 robot to LeRobot: returns the newest observation and sends actions.

The link has its own ROS context without signal handlers, and a thread that takes messages as they
arrive, so that message ages are known even if the caller pauses.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from lerobot_bridge.mapping import RobotMapping, Source
from lerobot_bridge.nodes.command_sender import HOLD_S, CommandSender
from lerobot_bridge.nodes.live_topics import CameraTopic, LiveTopic, ValuesTopic
from policy_core.errors import RobotError
from policy_inference.fast_dds import fast_dds_without_shared_memory
from policy_inference.nodes.sampling import Arrivals, SampleGroup
from policy_inference.processes import environment

_LOOK_NS = 50_000_000
"""Time between searches for publishers, and between commands while no action arrives."""
_REMEDY = (
    "start what is missing, or correct the mapping; `ros2 topic list -t` lists the topics of the "
    "domain (ROS_DOMAIN_ID)"
)


class RobotLink:
    """A connection to the topics of a mapping; only one thread may call its methods."""

    def __init__(
        self,
        mapping: RobotMapping,
        *,
        name: str,
        features: Sequence[str],
        cameras: bool,
        commands: bool,
        timeout_s: float,
        hold_s: float = HOLD_S,
    ) -> None:
        """Join the domain; wait until each topic has a message and each command a subscriber.

        Args:
            mapping: Mapping that defines the topics.
            name: Name of the node.
            features: The features to read.
            cameras: True to read images.
            commands: True to send actions; SIGTERM and SIGHUP then end the program like SIGINT,
                until the link is closed.
            timeout_s: Maximum wait, s.
            hold_s: Time for which an arm commanded by JointCommand holds its position while no
                action arrives, s.
        """
        self._context = Context()
        with environment(fast_dds_without_shared_memory(os.environ)):
            rclpy.init(
                args=[], context=self._context, signal_handler_options=SignalHandlerOptions.NO
            )
            self._node: Node = rclpy.create_node(
                name, context=self._context, start_parameter_services=False
            )
        self._changed, self._sending = threading.Condition(), threading.Lock()
        self._closed, self._failure = False, list[str]()
        self._topics: list[LiveTopic] = []
        self._sender: CommandSender | None = None
        # A daemon, and closed at exit: LeRobot does not disconnect a robot after an error.
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        atexit.register(self.close)
        self._signals = EndSignals() if commands else None
        try:
            self._topics = list(_topics(self._node, mapping, features, cameras))
            if commands:
                self._sender = CommandSender(self._node, mapping, hold_s)
            self._thread.start()
            self._wait(timeout_s)
        except BaseException:
            self.close()
            raise

    def newest(self) -> dict[str, Any]:
        """Return the newest values and images, keyed by LeRobot's names.

        Values are in LeRobot's units; images are RGB, uint8 [height, width, 3], and owned by the
        caller.
        """
        with self._changed:
            troubles = self._troubles()
            if troubles:
                raise RobotError("the robot's connection is lost", *troubles, _REMEDY)
            return {name: value for topic in self._topics for name, value in topic.newest.items()}

    def send(self, values: Mapping[str, float]) -> None:
        """Publish an action, given by name in LeRobot's units, to all command topics."""
        assert self._sender is not None  # `commands` was set
        with self._sending:
            self._sender.send(values)

    def close(self) -> None:
        """Put the robot in a safe state, and leave the domain; further calls do nothing."""
        if self._closed:
            return
        if self._signals is not None:
            self._signals.hold_back()
        self._closed = True
        atexit.unregister(self.close)
        if self._thread.is_alive():
            self._thread.join()
        if self._sender is not None:
            self._sender.leave(self._measured())
        self._node.destroy_node()
        self._context.try_shutdown()
        if self._signals is not None:
            self._signals.give_back()

    def _measured(self) -> dict[str, Any]:
        """Return the values of all topics that have no problem."""
        now_ns = time.monotonic_ns()
        return {
            name: value
            for topic in self._topics
            if not topic.trouble(now_ns)
            for name, value in topic.newest.items()
        }

    def _wait(self, timeout_s: float) -> None:
        with self._changed:
            if self._changed.wait_for(lambda: not self._troubles(), timeout_s):
                return
            raise RobotError(
                f"no connection to the robot within {timeout_s:g} s", *self._troubles(), _REMEDY
            )

    def _troubles(self) -> list[str]:
        if self._failure:
            raise RobotError("the thread that receives messages has failed:", *self._failure)
        now_ns = time.monotonic_ns()
        found = [trouble for topic in self._topics if (trouble := topic.trouble(now_ns))]
        return found if self._sender is None else [*found, *self._sender.troubles()]

    def _work(self) -> None:
        try:
            while not self._closed:
                self._discover()
                self._take(time.monotonic_ns() + _LOOK_NS)
                # Only after the newest messages are taken: after a pause of the machine, older ones
                # would look like a lost robot.
                self._bridge()
        except Exception:  # noqa: BLE001  it ends the thread; `_troubles` raises it again
            self._failure = traceback.format_exc().splitlines()
        with self._changed:
            self._changed.notify_all()

    def _discover(self) -> None:
        with self._changed:
            for topic in self._topics:
                topic.discover()
            self._changed.notify_all()

    def _bridge(self) -> None:
        if self._sender is None:
            return
        now_ns = time.monotonic_ns()
        # an arm may hold without images, but not without its measured positions
        troubles = [
            trouble
            for topic in self._topics
            if isinstance(topic, ValuesTopic) and (trouble := topic.trouble(now_ns))
        ]
        with self._sending:
            self._sender.bridge(self._measured(), [*troubles, *self._sender.troubles()])

    def _take(self, until_ns: int) -> None:
        topics = {topic.sampled: topic for topic in self._topics if topic.sampled is not None}
        if not topics:
            time.sleep(_LOOK_NS * 1e-9)  # there is no subscription to wait for
            return
        arrivals = Arrivals(self._node, list(topics))
        while (left_ns := until_ns - time.monotonic_ns()) > 0 and not self._closed:
            ready = arrivals.wait(left_ns)
            with self._changed:
                for sampled in ready:
                    topics[sampled].look(time.monotonic_ns(), time.time_ns())
                self._changed.notify_all()


def _topics(
    node: Node, mapping: RobotMapping, features: Sequence[str], cameras: bool
) -> Iterator[LiveTopic]:
    group = SampleGroup()
    sources: dict[str, list[Source]] = {}
    for feature in features:
        for source in mapping.vectors[feature]:
            sources.setdefault(source.topic, []).append(source)
    for same in sources.values():
        yield ValuesTopic(node, group, mapping, same)
    for name, camera in mapping.cameras.items() if cameras else ():
        yield CameraTopic(node, group, name, camera)


class EndSignals:
    """Turns SIGTERM and SIGHUP into SystemExit, in the main thread.

    Like KeyboardInterrupt, SystemExit runs the `finally` blocks of LeRobot's commands and the
    functions registered at exit, so that the robot is left safe. Signals that the program already
    handles or ignores (nohup) are left alone.
    """

    def __init__(self) -> None:
        """Install the handlers if this is the main thread; other threads cannot install any."""
        self._holds_back, self._has_raised, self._came = False, False, 0
        self._numbers = [
            number
            for number in (signal.SIGTERM, signal.SIGHUP)
            if _is_main() and signal.getsignal(number) is signal.SIG_DFL
        ]
        for number in self._numbers:
            signal.signal(number, self._on_signal)

    def hold_back(self) -> None:
        self._holds_back = True

    def give_back(self) -> None:
        for number in self._numbers if _is_main() else ():
            if signal.getsignal(number) == self._on_signal:
                signal.signal(number, signal.SIG_DFL)
        self._holds_back = False
        if self._came:
            raise SystemExit(128 + self._came)

    def _on_signal(self, number: int, _frame: object) -> None:
        if self._has_raised:
            return  # a second signal would interrupt the shutdown that the first one began
        if self._holds_back:
            self._came = number
            return
        self._has_raised = True
        raise SystemExit(128 + number)


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()
