# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the author of a driver writes: how a robot is driven, and the bytes' way to it."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, NamedTuple

import numpy as np

from robot_driver.interfaces import (
    COMMAND_FIELDS,
    DAMPING,
    F64,
    DriveFigures,
    DriverSettings,
)
from robot_driver.reception import Source, StateReception, StateT


class Datagram(NamedTuple):
    """What came from the robot, from where, and when (ns, the system's clock)."""

    data: bytes
    source: Source
    received_ns: int


class RobotTransport(ABC):
    """The way to the robot: sockets, a serial port, DDS. No method here waits.

    The node's process opens it, so that what is wrong is known at once, and hands its descriptors
    to the link process. It keeps the sending half: if the link process dies, it brings the robot to
    rest. A transport without descriptors opens what it needs in both.

    Attributes:
        counts: For `details` of the status, as `dropped`.
    """

    counts: dict[str, int]

    @property
    @abstractmethod
    def descriptors(self) -> Sequence[int]:
        """What `RobotInterface.adopt` takes in the link process."""

    @abstractmethod
    def watched(self) -> Sequence[int]:
        """Return the descriptors that become readable when there is something to receive.

        A bus that answers only when it is asked, or a library with threads of its own, is read on a
        thread of the transport, which signals through an eventfd.
        """

    @abstractmethod
    def receive(self, ready: Collection[int]) -> Iterator[Datagram]:
        """Return some of what has come on the descriptors that are readable.

        Raises:
            DriverError: What was sent did not arrive.
        """

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Send one frame.

        Raises:
            DriverError: It cannot be sent.
        """

    def problems(self) -> tuple[str, ...]:
        """Return why the robot cannot be reached: a sentence each. Nothing is sent."""
        return ()

    @abstractmethod
    def keep_sending_half(self) -> None:
        """Close what the link process alone has from now on."""

    @abstractmethod
    def close(self) -> None:
        """Close everything."""


class RobotInterface(ABC, Generic[StateT]):
    """One kind of robot: pure but for `open` and `adopt`, without a clock and without ROS.

    Both processes make one from the settings; the link process finds the class by its module and
    name.

    Attributes:
        name: Of the kind of robot, for people.
        host: What obeys the commands, as messages call it.
        preparing, prepared: What the robot does, and did, between `prepare` and `take`, as messages
            call it.
        stopped_by_taking: Whether a robot that gets ready is stopped by taking control and braking.
            Else nothing is sent to its drives before it is ready, and what is sent to a robot that
            is not taken in the end is what gives control back.
        figures: Of the drives; of the class, or of its object where settings choose among robots.
        python: Interpreter of the link process, for a robot whose library has an environment of
            its own, which needs numpy beside it; empty: that of the node.
        settings_type: What `settings` is.
        settings: As the node's parameters say.
        reception: The newest state.
    """

    name: str
    host: ClassVar[str] = "the robot"
    preparing: ClassVar[str] = "gets ready"
    prepared: ClassVar[str] = "got ready"
    stopped_by_taking: ClassVar[bool] = True
    figures: DriveFigures
    python: str = ""
    settings_type: ClassVar[type[DriverSettings]] = DriverSettings
    reception: StateReception[StateT]

    def __init__(self, settings: Any) -> None:
        """Begin with a robot that has said nothing.

        Args:
            settings: Of `settings_type`.
        """
        self.settings = settings

    @property
    @abstractmethod
    def place(self) -> str:
        """Where the robot's state is received, and from whom."""

    @abstractmethod
    def open(self) -> RobotTransport:
        """Open the way to the robot, in the node's process; nothing is sent.

        Raises:
            DriverError: It is in use, or not there.
        """

    @abstractmethod
    def adopt(self, descriptors: Sequence[int]) -> RobotTransport:
        """Return the transport in the link process, from `RobotTransport.descriptors`."""

    @abstractmethod
    def decode(self, data: bytes) -> StateT | None:
        """Return the state in a datagram that `reception` has believed."""

    @abstractmethod
    def encode(self, values: F64) -> bytes:
        """Return the frame for values [n, 5], columns as COMMAND_FIELDS.

        The node's process encodes in the shutdown sequence alone; of the robot's states only
        `decode` has seen any there.
        """

    def rest(self, state: StateT | None) -> F64:
        """Return the values [n, 5] that bring the robot to rest from a state.

        They are asked for where the rest begins, and sent until it ends. Here they damp; a robot
        whose mode of rest is MODE_HOLD_MEASURED holds the measured pose instead.
        """
        values = np.zeros((len(self.figures.joint_names), len(COMMAND_FIELDS)))
        values[:, DAMPING] = self.settings.damping
        return values

    def see(self, state: StateT, now_ns: int) -> None:
        """Let the robot's own checks see each new state."""

    def obstacles(self, now_ns: int) -> list[str]:
        """Return the robot's own reasons to refuse control, a sentence each.

        That its state is fresh, comes at its rate and inside the joints' ranges is checked already.
        """
        return []

    def fault(self) -> str:
        """Return why a robot under control must be brought to rest at once, or nothing."""
        return ""

    def warning(self) -> str:
        """Return what is wrong with a robot that may go on, for reason and details."""
        return ""

    def notes(self) -> dict[str, str | float]:
        """Return what else there is to tell, for `details` of the status."""
        return {}

    def prepare(self) -> list[bytes]:
        """Return what to send as soon as control is asked for: the robot may move by itself."""
        return []

    def await_ready(self, elapsed_s: float) -> list[bytes] | None:
        """Return what else to send before control is taken; None once the robot is ready.

        Called about 20 times per second, and with each new state, with the time since `prepare`. A
        robot that never gets ready returns None in the end, and says so in `obstacles`.
        """
        return None

    def take(self) -> list[bytes]:
        """Return what takes control; command frames follow at once."""
        return []

    def keep_control(self, now_ns: int) -> list[bytes]:
        """Return what to send beside the command frames, to keep control or to see whether it is.

        Called before each frame while the robot is under control.
        """
        return []

    def lower(self, sent: F64, elapsed_s: float) -> F64 | None:
        """Return the values [n, 5] that lower a robot which would drop when it is brought to rest.

        Called before each frame from when control is to be given back while a command is followed,
        for at most `figures.lower_s`. The robot's state is fresh and there is no `fault`.

        Args:
            sent: The values [n, 5] that the drives were sent last.
            elapsed_s: Time since lowering began.

        Returns:
            None once it is down, or where it cannot be lowered: it is brought to rest.
        """
        return None

    def recall(self, details: Mapping[str, str | int | float]) -> None:
        """Let the node's process know what `give_back` needs, before it does so.

        Args:
            details: Of the newest report of the link process, with its `notes`.
        """

    @property
    def given_back(self) -> str:
        """The answer to `release_control`: with what the robot may do by itself from then on.

        It is asked for right before `give_back`.
        """
        return "control was given back"

    def give_back(self) -> list[bytes]:
        """Return what gives control back, after the last command frame."""
        return []
