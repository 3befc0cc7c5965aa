# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Run a node as a process that leaves the robot safe when it is asked to end."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from types import FrameType
from typing import Any, Protocol, TypeVar

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions

from policy_core.errors import PolicyError
from policy_inference.log_pump import pump_log
from policy_inference.machine.middleware import fast_dds_without_shared_memory
from policy_inference.nodes.lifecycle import LifecycleBase
from policy_inference.nodes.rclpy_gaps import Logger
from policy_store.signals import INTERRUPTING, end_now

END_SIGNALS = (*INTERRUPTING, signal.SIGIO)
"""Signals after which a node ends, and leaves the robot safe before.

SIGHUP comes when a terminal closes or an ssh session is lost, SIGIO when the process that started
this one has ended (`policy_inference.worker_process`).
"""
_SWITCH_INTERVAL_S = 0.0002
"""How long the executor's thread may keep the interpreter from the control thread."""
_SLICE_S = 0.05
_LOOKED_EVERY_S = 0.2
"""So often the main thread checks whether it is to end."""
_OPENED_WITHIN_S = 1.0
"""So long an opening may still take once the process is asked to end."""
_RETURNED_WITHIN_S = 8.0
"""And so long any other callback; transitions, which wait for threads and answers, take less."""


N = TypeVar("N", bound=LifecycleBase)


def ended_by(byte: bytes) -> bool:
    """Return whether a byte that came in the main thread means that the process is to end.

    It is the number of a signal, which may be one that a library handles, or 0 where the node has
    ended by itself.
    """
    return byte == b"\0" or byte[0] in END_SIGNALS


def take_end_signals(handler: Callable[[int, FrameType | None], object]) -> None:
    """Handle END_SIGNALS, in the main thread; a SIGHUP that is ignored stays so.

    That is how nohup asks for a process that outlives its terminal. The others are taken even
    then: a shell ignores SIGINT for what is in its background, and `ros2 launch` sends it.
    """
    for number in END_SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)
    # What started this process may have blocked them, and it would never end.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)


def wait_for_end(_: object, asked: socket.socket) -> None:
    while not ended_by(asked.recv(1)):
        pass


def run_node(
    make: Callable[[], N],
    args: Sequence[str] | None = None,
    *,
    foreground: Callable[[N, socket.socket], None] = wait_for_end,
) -> int:
    """Run the node until one of END_SIGNALS comes; return the exit status.

    rclpy's own signal handlers are off: after them no message can be published any more, and
    the last message of a robot's node is the one that matters. With the parameter `autostart`
    the node configures and activates itself; where that fails, or where ROS refuses the arguments
    or a parameter's type or range, the process ends with status 2, as it does where a callback
    raises a PolicyError: the node cannot go on. Asked to end while it
    configures, it does not wait for a model that takes long to open: nothing is commanded yet.

    Args:
        make: Makes the node.
        args: Arguments of the process; those of the interpreter if None.
        foreground: What the main thread does meanwhile. It gets the node and a socket, and
            returns to end the process, at the latest when a byte comes that `ended_by` knows.
    """
    if foreground is wait_for_end:  # what shows a screen takes care of its terminal itself
        pump_log()
    os.environ.update(fast_dds_without_shared_memory(os.environ))
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = make()
    except (RuntimeError, ParameterException) as error:
        Logger(__name__).fatal(str(error))
        rclpy.try_shutdown()
        return 2
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    asked, asking = socket.socketpair()
    # The system may give a signal to any thread; a byte wakes this one whichever it was.
    asking.setblocking(False)
    signal.set_wakeup_fd(asking.fileno())
    take_end_signals(lambda *_: None)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    status = 2
    try:
        status = 0 if _serve(executor, node, asked, asking, foreground) else 2
    except PolicyError as error:
        node.get_logger().fatal(str(error))
    finally:
        # The robot first; entities may be closed only when no executor waits on them.
        node.halt()
        executor.shutdown()
        node.leave()
        node.destroy_node()
        rclpy.try_shutdown()
        # Python gives handlers back before it ends; a second signal would then kill it.
        for number in END_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        asked.close()
        asking.close()
    if node.left_behind:
        end_now(status)
    return status


class ServedNode(Protocol):
    """A node that commands nothing, as `serve_node` runs it."""

    @property
    def problem(self) -> str:
        """Why it cannot go on; empty while it can."""

    def close(self) -> None:
        """End what it does."""


def serve_node(command: str, make: Callable[[], ServedNode], args: Sequence[str] | None) -> int:
    """Run a node that commands nothing until one of END_SIGNALS comes; return the exit status.

    Args:
        command: Names the log before there is a node.
        make: Makes the node; PolicyError: it cannot work.
        args: Arguments of the process; those of the interpreter if None.
    """
    pump_log()
    # rclpy's own handlers would shut down the context in which threads of the node publish.
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    ended = threading.Event()
    take_end_signals(lambda *_: ended.set())
    try:
        node: Any = make()
    except (PolicyError, ParameterException) as error:
        Logger(command).fatal(str(error))
        rclpy.try_shutdown()
        return 2
    try:
        while not ended.is_set():
            if problem := node.problem:
                node.get_logger().fatal(problem)
                return 1
            rclpy.spin_once(node, timeout_sec=_LOOKED_EVERY_S)
        return 0
    finally:
        node.close()
        node.destroy_node()
        rclpy.try_shutdown()


def _serve(
    executor: SingleThreadedExecutor,
    node: N,
    asked: socket.socket,
    asking: socket.socket,
    foreground: Callable[[N, socket.socket], None],
) -> bool:
    """Start and spin until asked to end, and halt; return whether it started.

    What a callback raises ends it too and is raised here.
    """
    ending = threading.Event()
    # Opening a model may take minutes, and this thread must hear that it is to end.
    threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="executor")
    spinning = threads.submit(_spin, executor, node, ending)
    threads.shutdown(wait=False)
    spinning.add_done_callback(lambda _: asking.send(b"\0"))
    try:
        foreground(node, asked)
    finally:
        ending.set()
        node.ending = True
        try:
            node.halt()
        finally:
            # Work for `spin_once` to return from; `shutdown` would pull down what it waits on.
            executor.create_task(lambda: None)
    ends_s = time.monotonic() + _RETURNED_WITHIN_S
    while wait([spinning], _OPENED_WITHIN_S).not_done:
        if node.configuring:
            node.get_logger().warning("asked to end while the node configures: it ends at once")
            end_now(0)  # the thread that opens cannot be ended otherwise
        if time.monotonic() > ends_s:
            node.get_logger().error("a callback does not return; its thread is left behind")
            end_now(2)
    return spinning.result()


def _spin(executor: SingleThreadedExecutor, node: LifecycleBase, ending: threading.Event) -> bool:
    """Start the node, if that is its part, and spin; return whether it started."""
    if node.get_parameter("autostart").value:
        for transition in (node.trigger_configure, node.trigger_activate):
            if ending.is_set() or transition() is not TransitionCallbackReturn.SUCCESS:
                return ending.is_set()
    while not ending.is_set():
        executor.spin_once()
    # Halting answers the requests that wait; the executor sends the answers.
    while node.answering:
        executor.spin_once(timeout_sec=_SLICE_S)
    return True
