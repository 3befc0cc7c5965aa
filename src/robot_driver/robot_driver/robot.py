# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Base classes that a driver author implements: the robot's interface and its transport."""

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
    """Data from the robot, its source, and its receipt time (ns, system clock)."""

    data: bytes
    source: Source
    received_ns: int


class RobotTransport(ABC):
    """The connection to the robot: sockets, a serial port, DDS. No method blocks.

    The node's process opens the transport, so that errors appear immediately, and passes its
    descriptors to the link process. The node keeps the sending half, to bring the robot to rest if
    the link process dies. A transport without descriptors opens what it needs in both processes.

    Attributes:
        counts: Counters for the status's `details`, such as `dropped`.
    """

    counts: dict[str, int]

    @property
    @abstractmethod
    def descriptors(self) -> Sequence[int]:
        """Descriptors passed to `RobotInterface.adopt` in the link process."""

    @abstractmethod
    def watched(self) -> Sequence[int]:
        """Return the descriptors that become readable when data can be received.

        For a bus that answers only on request, or a library with its own threads, the transport
        reads on its own thread and signals through an eventfd.
        """

    @abstractmethod
    def receive(self, ready: Collection[int]) -> Iterator[Datagram]:
        """Return some of the data waiting on the descriptors that are readable.

        Raises:
            DriverError: Data that was sent did not arrive.
        """

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Send one frame.

        Raises:
            DriverError: The frame cannot be sent.
        """

    def problems(self) -> tuple[str, ...]:
        """Return why the robot cannot be reached, as sentences, without sending anything."""
        return ()

    @abstractmethod
    def keep_sending_half(self) -> None:
        """Close the parts that only the link process uses from now on."""

    @abstractmethod
    def close(self) -> None:
        """Close everything."""


class RobotInterface(ABC, Generic[StateT]):
    """One kind of robot. Only `open` and `adopt` do I/O; nothing here reads a clock or uses ROS.

    Both processes create an instance from the settings; the link process finds the class by module
    and name.

    Attributes:
        name: Name of the robot kind, used in messages.
        host: Receiver of the commands, as named in messages.
        preparing, prepared: Message texts: what the robot is doing between `prepare` and `take`,
            and what it has done when it is ready.
        stopped_by_taking: True if taking control and braking stops a robot that is preparing.
            Otherwise nothing is sent to its drives before it is ready; if control is not taken
            after all, the frames of `give_back` are sent.
        figures: Figures of the drives; set on the class, or on the instance if the settings choose
            among robots.
        python: Python interpreter for the link process, for a robot whose library has its own
            environment (which must also contain NumPy); empty for the node's interpreter. There,
            the process also finds this class's package, and the packages of the suite that the
            package's `setup.py` requires.
        settings_type: Type of `settings`.
        settings: The node's parameters.
        reception: Accepts or rejects received states, and holds the newest one.
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
        """Store the settings; no data has been received from the robot yet.

        Args:
            settings: An object of `settings_type`.
        """
        self.settings = settings

    @property
    @abstractmethod
    def place(self) -> str:
        """Where, and from whom, the robot's state is received; for use in messages."""

    @abstractmethod
    def open(self) -> RobotTransport:
        """Open the transport in the node's process, without sending anything.

        Raises:
            DriverError: The transport is in use or does not exist.
        """

    @abstractmethod
    def adopt(self, descriptors: Sequence[int]) -> RobotTransport:
        """Return the link process's transport, built from `RobotTransport.descriptors`."""

    @abstractmethod
    def decode(self, data: bytes) -> StateT | None:
        """Return the state from a datagram that `reception` has accepted."""

    @abstractmethod
    def encode(self, values: F64) -> bytes:
        """Return the frame that sends values [n, 5] (columns as in COMMAND_FIELDS) to the drives.

        The node's process calls this only in the shutdown sequence; there, `decode` has been
        called, but `see` never has.
        """

    def rest(self, state: StateT | None) -> F64:
        """Return the values [n, 5] that bring the robot to rest from a given state.

        Called once when the rest begins; the values are then sent until it ends. This default
        damps; a robot whose rest mode is MODE_HOLD_MEASURED must hold the measured pose instead.
        """
        values = np.zeros((len(self.figures.joint_names), len(COMMAND_FIELDS)))
        values[:, DAMPING] = self.settings.damping
        return values

    def see(self, state: StateT, now_ns: int) -> None:
        """Update this robot's own checks; called for each new state."""

    def obstacles(self, now_ns: int) -> list[str]:
        """Return reasons to refuse control that are specific to this robot, as sentences.

        `Link` itself checks the state's age and rate, and the joint ranges.
        """
        return []

    def fault(self) -> str:
        """Return why a robot under control must come to rest at once, or an empty string.

        The driver keeps control, and goes on sending frames.
        """
        return ""

    def taken_back(self) -> str:
        """Return why the robot is no longer under control, as a sentence, or an empty string.

        For a robot that takes control back by itself, such as at a button of its remote control,
        and says so in its state. The driver then sends it nothing more, not even `give_back`.
        Called from `take` on, so allow the robot the time to obey.
        """
        return ""

    def warning(self) -> str:
        """Return a problem that does not stop the robot, for `reason` and `details`."""
        return ""

    def notes(self) -> dict[str, str | float]:
        """Return this robot's additional entries for the status's `details`."""
        return {}

    def prepare(self) -> list[bytes]:
        """Return the frames to send on a request for control; the robot may then start to move."""
        return []

    def await_ready(self, elapsed_s: float) -> list[bytes] | None:
        """Return more frames to send before control is taken; None once the robot is ready.

        Called about 20 times per second and at each new state, with the time since `prepare`. If
        the robot does not become ready, eventually return None here and the reason in `obstacles`.
        """
        return None

    def take(self) -> list[bytes]:
        """Return the frames that take control; command frames follow at once."""
        return []

    def keep_control(self, now_ns: int) -> list[bytes]:
        """Return frames to send in addition to the command frames, to keep or check control.

        Called before each frame while the robot is under control.
        """
        return []

    def lower(self, sent: F64, elapsed_s: float) -> F64 | None:
        """Return values [n, 5] that gently lower a robot that would drop if brought to rest.

        If a command is being followed when control is to be given back, this is called before each
        frame, for at most `figures.lower_s`, while the robot's state is fresh and `fault` is empty.

        Args:
            sent: The values [n, 5] last sent to the drives.
            elapsed_s: Time since lowering began.

        Returns:
            The values, or None if the robot is down or cannot be lowered; it is then brought to
                rest.
        """
        return None

    def recall(self, details: Mapping[str, str | int | float]) -> None:
        """Store what `give_back` needs; called in the node's process if the link process dies.

        Args:
            details: Details in the link process's last report, including the result of `notes`.
        """

    @property
    def given_back(self) -> str:
        """Answer to `release_control`, which also says what the robot may do on its own afterwards.

        Read right before `give_back` is called.
        """
        return "control was given back"

    def give_back(self) -> list[bytes]:
        """Return the frames that give control back, after the last command frame."""
        return []
