# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Run a node as a process that leaves the robot safe when it is asked to end."""

import signal
import sys
import threading
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions

from policy_inference.nodes.lifecycle import LifecycleBase

_SWITCH_INTERVAL_S = 0.0002
"""How long the executor's thread may keep the interpreter from the control thread."""


def run_node(make: Callable[[], LifecycleBase], args: Sequence[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; return the exit status.

    rclpy's own signal handlers are off: after them no message can be published any more, and
    the last message of a robot's node is the one that matters. With the parameter `autostart`
    the node configures and activates itself; where that fails the process ends with status 2.
    """
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    asked_to_end = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked_to_end.set())
    node = make()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spinner = threading.Thread(target=_spin, args=(executor, asked_to_end), name="executor")
    try:
        if node.get_parameter("autostart").value and not _autostart(node):
            return 2
        spinner.start()
        asked_to_end.wait()
        return 0
    finally:
        # The robot first; entities may be closed only when no executor waits on them.
        node.halt()
        executor.shutdown()
        if spinner.is_alive():
            spinner.join()
        node.leave()
        node.destroy_node()
        rclpy.try_shutdown()


def _autostart(node: LifecycleBase) -> bool:
    return all(transition() is TransitionCallbackReturn.SUCCESS
               for transition in (node.trigger_configure, node.trigger_activate))


def _spin(executor: SingleThreadedExecutor, asked_to_end: threading.Event) -> None:
    try:
        executor.spin()
    except ExternalShutdownException:
        return
    finally:
        asked_to_end.set()
