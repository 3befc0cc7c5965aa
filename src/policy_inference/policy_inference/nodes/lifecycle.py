# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A lifecycle node whose subclasses only set up, start, stop and tear down."""

import threading
import traceback
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial

from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from policy_core.errors import PolicyError
from policy_inference.nodes.rclpy_gaps import Logger

_SUCCESS, _FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class PeerGuard:
    """Keeps terminal control characters out of a node's log; must precede rclpy's base class."""

    def get_logger(self) -> Logger:
        return self._own_logger

    @cached_property
    def _own_logger(self) -> Logger:
        return Logger(super().get_logger().name)  # type: ignore[misc]  # the node's


class LifecycleBase(PeerGuard, LifecycleNode):
    """Implements the transitions, with full error logs and a single teardown path.

    `set_up` may fail halfway; `tear_down` handles whatever parts exist.
    """

    def __init__(self, name: str) -> None:
        # Declared automatically, so that unknown names among the overrides can be reported.
        super().__init__(name, automatically_declare_parameters_from_overrides=True)
        self.configuring = False
        self.configured = False
        self.running = False
        self.ending = False
        """True once the process is asked to end; slow parts of `start` may then be skipped."""
        self._starting_or_halting = threading.RLock()
        self.answering = 0
        """Number of unanswered requests."""
        for service in self.services:
            if service.srv_type is ChangeState:
                service.callback = partial(self._change_state, service.callback)

    @abstractmethod
    def set_up(self) -> None:
        """Open all resources; publish nothing."""

    @abstractmethod
    def start(self) -> None:
        """Start working."""

    @abstractmethod
    def stop(self) -> None:
        """Stop working and leave the robot safe."""

    @abstractmethod
    def tear_down(self) -> None:
        """Close whatever `set_up` opened."""

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.configuring = True
        try:
            self.configured = self._succeeds(self.set_up)
        finally:
            self.configuring = False
        if self.configured:
            return _SUCCESS
        self._succeeds(self.tear_down)
        return _FAILURE

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        # If the process is asked to end meanwhile, it halts a complete start, not half of it.
        with self._starting_or_halting:
            self.running = True
            started = self._succeeds(self.start)
            if not started:
                self._succeeds(self.halt)
        return super().on_activate(state) if started else _FAILURE

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop; the state changes even if this fails, since the node is no longer working."""
        self._succeeds(self.halt)
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._succeeds(self._tear_down)
        return _SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._succeeds(self.halt)
        self._succeeds(self._tear_down)
        return _SUCCESS

    @contextmanager
    def owing_answer(self) -> Iterator[None]:
        """Mark a request as unanswered; the process does not end until it is answered."""
        self.answering += 1
        try:
            yield
        finally:
            self.answering -= 1

    def halt(self) -> None:
        """Stop working and leave the robot safe, from any state, without closing anything."""
        with self._starting_or_halting:
            if self.running:
                self.running = False
                self.stop()

    @property
    def left_behind(self) -> bool:
        """True if a thread that cannot be stopped is still running."""
        return False

    def leave(self) -> None:
        """Stop and tear down, from any state; the node must not be spinning in an executor."""
        self.halt()
        self._tear_down()

    def _tear_down(self) -> None:
        self.configured = False
        self.tear_down()

    def _succeeds(self, act: Callable[[], None]) -> bool:
        """Run an action and log any error; rclpy would change the state without giving a reason."""
        try:
            act()
        except PolicyError as error:
            for line in str(error).splitlines():
                self.get_logger().error(line)
        except Exception:  # noqa: BLE001  as above
            self.get_logger().error(traceback.format_exc())
        else:
            return True
        return False

    def _change_state(
        self,
        change: Callable[[ChangeState.Request, ChangeState.Response], ChangeState.Response],
        request: ChangeState.Request,
        response: ChangeState.Response,
    ) -> ChangeState.Response:
        """Reject an impossible transition, which rclpy would let end the executor."""
        try:
            return change(request, response)
        except RuntimeError as error:
            self.get_logger().error(f"transition refused: {error}")
            response.success = False
            return response
