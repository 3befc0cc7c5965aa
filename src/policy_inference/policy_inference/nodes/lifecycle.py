# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A lifecycle node whose subclasses only set up, start, stop and tear down."""

import traceback
from abc import abstractmethod

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from policy_inference.errors import PolicyError

_SUCCESS, _FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class LifecycleBase(LifecycleNode):
    """Owns the transitions: errors are logged whole, and there is one way to tear down.

    `set_up` may fail half-way; `tear_down` copes with whatever part there is.
    """

    def __init__(self, name: str) -> None:
        """Create the node, unconfigured."""
        super().__init__(name)
        self.configured = False
        self.running = False

    @abstractmethod
    def set_up(self) -> None:
        """Open everything; publish nothing."""

    @abstractmethod
    def start(self) -> None:
        """Begin to work."""

    @abstractmethod
    def stop(self) -> None:
        """Stop working and leave the robot safe."""

    @abstractmethod
    def tear_down(self) -> None:
        """Close whatever `set_up` opened."""

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Set up; after an error nothing of it is left."""
        try:
            self.set_up()
        except PolicyError as error:
            for line in str(error).splitlines():
                self.get_logger().error(line)
        except Exception:  # noqa: BLE001  rclpy would turn it into a state without a traceback
            self.get_logger().error(traceback.format_exc())
        else:
            self.configured = True
            return _SUCCESS
        self.tear_down()
        return _FAILURE

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start."""
        try:
            self.start()
        except Exception:  # noqa: BLE001  as above
            self.get_logger().error(traceback.format_exc())
            return _FAILURE
        self.running = True
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop."""
        self.halt()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Tear down."""
        self._tear_down()
        return _SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and tear down."""
        self.leave()
        return _SUCCESS

    def halt(self) -> None:
        """Stop working and leave the robot safe, from whatever state; close nothing."""
        if self.running:
            self.running = False
            self.stop()

    def leave(self) -> None:
        """Stop and tear down, from whatever state; no executor may be at work on the node."""
        self.halt()
        self._tear_down()

    def _tear_down(self) -> None:
        self.configured = False
        self.tear_down()
