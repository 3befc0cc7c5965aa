# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Receive `joint_command` on a separate thread, and convert it to wire order."""

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from policy_msgs.msg import JointCommand
from rclpy.node import Node

from policy_core.errors import RobotError
from policy_inference.messages.readers import JointOrder
from policy_inference.nodes.one_sender import OneSender
from policy_inference.nodes.rclpy_gaps import full_name
from policy_inference.nodes.sampling import decoder_for
from robot_driver.following import LONGEST_VALID_NS, refused
from robot_driver.interfaces import COMMAND_FIELDS, NS_PER_S, WireCommand

TOPIC = "joint_command"
_FIELDS = (*COMMAND_FIELDS, "effort_limit")
_LOOK_UP_NS = 50_000_000


class CommandReader:
    """Converts a JointCommand to wire order."""

    def __init__(self, joint_names: Sequence[str]) -> None:
        """Start without knowing the joint names in the commands.

        Args:
            joint_names: Joint names in wire order.
        """
        self._joint_names = tuple(joint_names)
        self._names: list[str] = []
        self._index = np.zeros(0, dtype=np.intp)

    def read(self, message: JointCommand, received_ns: int) -> WireCommand:
        """Return a message as a command in wire order; its numbers are not checked.

        Raises:
            RobotError: The command does not name each joint exactly once, or an array has the wrong
                length.
        """
        if message.names != self._names or not self._names:
            self._index = self._find_indices(message.names)
            self._names = list(message.names)
        rows = [np.asarray(getattr(message, field)) for field in _FIELDS]
        for field, row in zip(_FIELDS, rows, strict=True):
            if len(row) != len(self._names):
                raise RobotError(
                    f"{TOPIC}.{field}: expected {len(self._names)} values, one per "
                    f"name, found {len(row)}"
                )
        block = np.array(rows)[:, self._index]
        valid_for = message.valid_for
        return WireCommand(
            sequence=message.sequence,
            mode=message.mode,
            received_ns=received_ns,
            valid_for_ns=valid_for.sec * NS_PER_S + valid_for.nanosec,
            values=block[:-1].T,
            effort_limit=block[-1],
        )

    def _find_indices(self, names: Sequence[str]) -> npt.NDArray[np.intp]:
        """Return, for each joint in wire order, its index in a command's names."""
        joint_names = self._joint_names
        if others := sorted(set(names) - set(joint_names)):
            raise RobotError(
                f"{TOPIC}.names: expected only the joints of this robot "
                f"({', '.join(joint_names)}), found {', '.join(others)} as well; start a policy "
                "whose bundle is for this robot"
            )
        places = np.zeros(len(joint_names))
        JointOrder(joint_names).take(names, np.arange(float(len(names))), places)
        return places.astype(np.intp)


class CommandTopic:
    """Subscription that forwards each JointCommand from one publisher as soon as it arrives.

    Attributes:
        unfit: Number of commands with wrong joint names or arrays of the wrong length.
    """

    def __init__(self, node: Node, joint_names: Sequence[str]) -> None:
        self._node, self._joint_names = node, joint_names
        self._sender = OneSender(node, TOPIC, decode=decoder_for(JointCommand))
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()
        self._problem, self._problem_ns = "", 0
        """Error in the newest command ("" if none), and receipt time of the last bad command."""
        self.unfit = 0

    def start(self, follow: Callable[[WireCommand], None]) -> None:
        """Forward commands from now on, on a separate thread."""
        self._sender.clear()  # a command received before this start does not count
        self._ending.clear()
        self._problem, self.unfit = "", 0
        self._thread = threading.Thread(target=self._run, args=(follow,), name=TOPIC, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    @property
    def ignored(self) -> int:
        """Number of ignored commands, from publishers other than the one that is followed."""
        return self._sender.ignored

    def ignored_problem(self) -> str:
        """Return a message that names the publishers whose commands are ignored, or ""."""
        return self._sender.problem()

    def senders_problem(self) -> str:
        """Return a message that lists all publishers if there are several; otherwise ""."""
        senders = self._node.get_publishers_info_by_topic(self._sender.topic)
        names = sorted(map(full_name, senders))
        if len(names) <= 1:
            return ""
        return (
            f"{len(names)} publishers on {TOPIC} ({', '.join(names)}), expected one; stop the "
            "others; a killed process stays listed for about 20 s"
        )

    def fit_problem(self) -> str:
        """Return why the newest command does not fit the joints; "" if it fits or is too old."""
        silent = time.monotonic_ns() - self._problem_ns >= LONGEST_VALID_NS
        return "" if silent or not self._problem else refused(self._problem)

    def close(self) -> None:
        self._sender.close()

    def _run(self, follow: Callable[[WireCommand], None]) -> None:
        reader = CommandReader(self._joint_names)
        while not self._ending.is_set():
            if not self._sender.wait(_LOOK_UP_NS):
                continue
            received_ns = time.monotonic_ns()
            try:
                message = self._sender.take()
                if message is not None:
                    command = reader.read(message, received_ns)
                    self._problem = ""
                    follow(command)
            # an invalid message must not stop the thread: the next message may be valid
            except Exception as error:  # noqa: BLE001
                self.unfit += 1
                text = str(error) if isinstance(error, RobotError) else repr(error)
                self._problem_ns, self._problem = received_ns, text
                self._node.get_logger().error(f"command refused: {text}", throttle_duration_sec=1.0)
