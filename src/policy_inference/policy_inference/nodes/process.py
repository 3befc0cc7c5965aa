# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Run a node as a process that leaves the robot safe when asked to end."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from types import FrameType
from typing import TypeVar

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from policy_core.errors import PolicyError
from policy_inference.fast_dds import fast_dds_without_shared_memory
from policy_inference.nodes.lifecycle import LifecycleBase, PeerGuard
from policy_inference.nodes.parameters import ParameterTable, Spec
from policy_inference.nodes.rclpy_gaps import Logger
from policy_inference.processes import unblock_log
from policy_store.signals import INTERRUPTING, end_now

END_SIGNALS = (*INTERRUPTING, signal.SIGIO)
"""Signals on which a node leaves the robot safe and then exits.

SIGHUP arrives when a terminal closes or an SSH session is lost, and SIGIO when the parent process
has ended (`policy_inference.worker_process`).
"""
_SWITCH_INTERVAL_S = 0.0002
"""Maximum time that the executor's thread may keep the GIL from the control thread."""
_SLICE_S = 0.05
_LOOKED_EVERY_S = 0.2
"""Interval at which the main thread checks whether it must end."""
_OPENED_WITHIN_S = 1.0
"""Time limit for opening a model after the process is asked to end."""
_RETURNED_WITHIN_S = 8.0
"""Time limit for any other callback; even transitions, which wait for threads, take less."""


N = TypeVar("N", bound=LifecycleBase)


def ended_by(byte: bytes) -> bool:
    """Return True if a byte received on the main thread means that the process must end.

    The byte is a signal number, possibly of a signal that a library handles, or 0 if the node has
    ended on its own.
    """
    return byte == b"\0" or byte[0] in END_SIGNALS


def take_end_signals(handler: Callable[[int, FrameType | None], object]) -> None:
    """Handle END_SIGNALS on the main thread; an ignored SIGHUP stays ignored.

    nohup relies on this to keep a process alive after its terminal has closed. The other signals
    are handled even if ignored: a shell ignores SIGINT for background processes, and `ros2 launch`
    sends it.
    """
    for number in END_SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)
    # The parent process may have blocked them, and this process would never end.
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
    """Run the node until one of END_SIGNALS arrives; return the exit status.

    rclpy's own signal handlers are disabled, since no message can be published after they run, and
    a robot node's last message is the most important one. With the parameter `autostart`, the node
    configures and activates itself. The process exits with status 2 if that fails, if ROS refuses
    the arguments or a parameter's type or range, or if a callback raises a PolicyError, after which
    the node cannot continue. If asked to end while configuring, the process does not wait for a
    slow model to open, since no command has been sent yet.

    Args:
        make: Creates the node.
        args: Process arguments; None for the interpreter's.
        foreground: Runs on the main thread while the node runs. It receives the node and a socket,
            and returns to end the process, at the latest when it reads a byte for which `ended_by`
            is True.
    """
    if foreground is wait_for_end:  # a full-screen program manages its terminal itself
        unblock_log()
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
    # The system may deliver a signal to any thread; a byte always wakes this one.
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
        # Stop the robot first; entities may be closed only when no executor waits on them.
        node.halt()
        executor.shutdown()
        node.leave()
        node.destroy_node()
        rclpy.try_shutdown()
        # Python restores handlers before it ends; a second signal would then kill it.
        for number in END_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        asked.close()
        asking.close()
    if node.left_behind:
        end_now(status)
    return status


class ServedNode(PeerGuard, Node):
    """A node that sends no commands, run by `serve_node`.

    Attributes:
        values: The node's parameters, which no longer change.
    """

    def __init__(self, name: str, specs: Sequence[Spec], overrides: Sequence[Parameter]) -> None:
        """Read the parameters; overrides take precedence over the process's own."""
        super().__init__(
            name,
            automatically_declare_parameters_from_overrides=True,
            parameter_overrides=list(overrides),
        )
        self.values = ParameterTable(self, specs, lambda: hasattr(self, "values")).read()

    @property
    def problem(self) -> str:
        """Reason why the node cannot continue; "" while it can."""
        return ""

    def close(self) -> None:
        """Stop working."""


def serve_node(command: str, make: Callable[[], ServedNode], args: Sequence[str] | None) -> int:
    """Run a node that sends no commands until one of END_SIGNALS arrives; return the exit status.

    Args:
        command: Name for the log before the node exists.
        make: Creates the node; raises PolicyError if it cannot work.
        args: Process arguments; None for the interpreter's.
    """
    unblock_log()
    os.environ.update(fast_dds_without_shared_memory(os.environ))
    ended = threading.Event()
    try:
        # rclpy's own handlers would shut down the context in which threads of the node publish.
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        take_end_signals(lambda *_: ended.set())
        node = make()
    except (RuntimeError, PolicyError, ParameterException) as error:
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
    """Start the node and spin until asked to end, then halt; return True if the node started.

    An error in a callback also stops the spinning, and is raised here.
    """
    ending = threading.Event()
    # Opening a model may take minutes, and this thread must notice a request to end.
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
            # Makes `spin_once` return; `shutdown` would destroy what it waits on.
            executor.create_task(lambda: None)
    ends_s = time.monotonic() + _RETURNED_WITHIN_S
    while wait([spinning], _OPENED_WITHIN_S).not_done:
        if node.configuring:
            node.get_logger().warning(
                "the process was stopped while the node was being configured: it exits immediately"
            )
            end_now(0)  # the opening thread cannot be stopped otherwise
        if time.monotonic() > ends_s:
            node.get_logger().error("a callback does not return; its thread is left running")
            end_now(2)
    return spinning.result()


def _spin(executor: SingleThreadedExecutor, node: LifecycleBase, ending: threading.Event) -> bool:
    """Start the node if requested, and spin; return True if it started."""
    if node.get_parameter("autostart").value:
        for transition in (node.trigger_configure, node.trigger_activate):
            if ending.is_set() or transition() is not TransitionCallbackReturn.SUCCESS:
                return ending.is_set()
    while not ending.is_set():
        executor.spin_once()
    # Halting answers waiting requests; the executor sends the answers.
    while node.answering:
        executor.spin_once(timeout_sec=_SLICE_S)
    return True
