# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A node of one's own in a script: messages come in on a thread, what they bring is waited for."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, TypeVar

from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter

from policy_inference.nodes.lifecycle import PeerGuard
from robot_operator.nodes.own_node import own_node
from robot_operator.requests import OperatorError

_LOOK_AROUND_S = 0.1
P = TypeVar("P", bound="Participant")


class _ParticipantNode(PeerGuard, Node):
    """A node of a script, which no message of another node ends."""


class Participant:
    """Takes part in the ROS 2 domain of the environment. Use it in a `with` block.

    Its methods belong to one thread; messages come in on another. Simulated time is that of the
    node's clock: `/clock` with `use_sim_time`, else the steady one.

    Attributes:
        node: For entities; their callbacks call `notify`.
        clock: That of `now_ns`.
        changed: Held while `wait_until` looks.
        watch: Called often while something is waited for; what it raises ends the wait.
        answer_timeout_s: How long to wait for a service or an answer.
    """

    def __init__(
        self,
        name: str,
        *,
        namespace: str,
        use_sim_time: bool,
        answer_timeout_s: float,
        watch: Callable[[], None],
    ) -> None:
        """Join, as a node of this name in this namespace."""
        self.watch, self.changed = watch, threading.Condition()
        self.answer_timeout_s = answer_timeout_s
        self._leaving = False
        self._undo = ExitStack()
        self.node: Node = self._undo.enter_context(
            own_node(
                name,
                kind=_ParticipantNode,
                namespace=namespace,
                parameter_overrides=[Parameter("use_sim_time", value=use_sim_time)],
            )
        )
        self.clock = (
            self.node.get_clock() if use_sim_time else Clock(clock_type=ClockType.STEADY_TIME)
        )
        self._executor = SingleThreadedExecutor(context=self.node.context)
        self._executor.add_node(self.node)
        self._spinner = threading.Thread(target=self._spin, name=name)
        self._spinner.start()

    def __enter__(self: P) -> P:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the domain."""
        self._leaving = True
        self._spinner.join()
        self._executor.shutdown()
        self._undo.close()

    @property
    def now_ns(self) -> int:
        """The clock that velocities and waits follow."""
        return int(self.clock.now().nanoseconds)

    def ask(self, service: Any, name: str, request: Any, timeout_s: float) -> tuple[bool, str]:
        """Call a service whose response has `success` and `message`; return both."""
        self.wait_until(service.service_is_ready, f"the service '{name}'", self.answer_timeout_s)
        future = service.call_async(request)
        future.add_done_callback(lambda _: self.notify())
        self.wait_until(future.done, f"the answer to '{name}'", timeout_s)
        response = future.result()
        return response.success, response.message

    def wait(self, duration_s: float, timeout_s: float = 120.0) -> None:
        """Let time pass on the clock of `now_ns`."""
        # Of a simulator that waits for the first command, the clock shows no time yet.
        self.wait_until(lambda: self.now_ns > 0, "the clock", timeout_s)
        ends_ns = self.now_ns + round(duration_s * 1e9)
        self.wait_until(lambda: self.now_ns >= ends_ns, f"{duration_s:g} s to pass", timeout_s)

    def wait_until(self, reached: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Wait until something that messages or time bring about is there.

        Args:
            reached: Looks whether it is there; called at each message.
            what: What is waited for, in words.
            timeout_s: How long to wait at most, on the steady clock.
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
        """Let `wait_until` look again; for callbacks of entities added to `node`."""
        with self.changed:
            self.changed.notify_all()

    def described(self) -> str:
        """Return what may be why something does not come."""
        return "is all that it needs there, in this ROS_DOMAIN_ID?"

    def _spin(self) -> None:
        while not self._leaving:
            self._executor.spin_once(timeout_sec=_LOOK_AROUND_S)
