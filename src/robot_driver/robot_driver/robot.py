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

    The node's process opens the transport, so that errors show at once, and passes its descriptors
    to the link process. The node keeps the sending half, to bring the robot to rest if the link
    process dies. A transport without descriptors opens what it needs in both processes.

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
        """Return the descriptors that become readable when there is data to receive.

        For a bus that answers only on request, or a library with its own threads, the transport
        reads on its own thread, which signals through an eventfd.
        """

    @abstractmethod
    def receive(self, ready: Collection[int]) -> Iterator[Datagram]:
        """Return some of the data available on the readable descriptors.

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
        """Return why the robot cannot be reached, as sentences; sends nothing."""
        return ()

    @abstractmethod
    def keep_sending_half(self) -> None:
        """Close the parts that, from now on, only the link process uses."""

    @abstractmethod
    def close(self) -> None:
        """Close everything."""


class RobotInterface(ABC, Generic[StateT]):
    """One kind of robot; only `open` and `adopt` do I/O; no clock, no ROS.

    Both processes create an instance from the settings; the link process finds the class by its
    module and name.

    Attributes:
        name: Name of the robot kind, for messages.
        host: Receiver of the commands, as named in messages.
        preparing, prepared: Message texts for what the robot does between `prepare` and `take`, and
            for what it has done afterwards.
        stopped_by_taking: True if a robot that prepares is stopped by taking control and braking.
            If not, nothing is sent to its drives before it is ready; if it is not taken after all,
            it is sent `give_back`.
        figures: Figures of the drives; set on the class, or on its object if settings choose among
            robots.
        python: Python interpreter for the link process, for a robot whose library has its own
            environment (which must also contain NumPy); empty for the node's interpreter.
        settings_type: Type of `settings`.
        settings: The node's parameters.
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
        """Start with no data from the robot.

        Args:
            settings: An object of `settings_type`.
        """
        self.settings = settings

    @property
    @abstractmethod
    def place(self) -> str:
        """Address at which the robot's state is received, and the sender's address."""

    @abstractmethod
    def open(self) -> RobotTransport:
        """Open the transport, in the node's process; nothing is sent.

        Raises:
            DriverError: The transport is in use or does not exist.
        """

    @abstractmethod
    def adopt(self, descriptors: Sequence[int]) -> RobotTransport:
        """Return the transport in the link process, given `RobotTransport.descriptors`."""

    @abstractmethod
    def decode(self, data: bytes) -> StateT | None:
        """Return the state in a datagram that `reception` has accepted."""

    @abstractmethod
    def encode(self, values: F64) -> bytes:
        """Return the frame for values [n, 5] (columns as in COMMAND_FIELDS).

        The node's process calls this only in the shutdown sequence; in that process, only `decode`
        has seen the robot's states.
        """

    def rest(self, state: StateT | None) -> F64:
        """Return the values [n, 5] that bring the robot to rest from a state.

        Called when the rest begins; the values are sent until it ends. This default damps; a robot
        whose rest mode is MODE_HOLD_MEASURED holds the measured pose instead.
        """
        values = np.zeros((len(self.figures.joint_names), len(COMMAND_FIELDS)))
        values[:, DAMPING] = self.settings.damping
        return values

    def see(self, state: StateT, now_ns: int) -> None:
        """Update the robot's own checks with each new state."""

    def obstacles(self, now_ns: int) -> list[str]:
        """Return the robot's own reasons to refuse control, as sentences.

        The state's age, rate and joint ranges are checked elsewhere.
        """
        return []

    def fault(self) -> str:
        """Return why a robot under control must be brought to rest at once, or an empty string."""
        return ""

    def warning(self) -> str:
        """Return a problem despite which the robot may continue, for `reason` and `details`."""
        return ""

    def notes(self) -> dict[str, str | float]:
        """Return additional `details` for the status."""
        return {}

    def prepare(self) -> list[bytes]:
        """Return the frames to send when control is requested: the robot may move on its own."""
        return []

    def await_ready(self, elapsed_s: float) -> list[bytes] | None:
        """Return more frames to send before control is taken; None once the robot is ready.

        Called about 20 times per second and at each new state, with the time since `prepare`. A
        robot that never gets ready eventually returns None, and gives the reason in `obstacles`.
        """
        return None

    def take(self) -> list[bytes]:
        """Return the frames that take control; command frames follow at once."""
        return []

    def keep_control(self, now_ns: int) -> list[bytes]:
        """Return frames to send besides command frames, to keep control or to check it.

        Called before each frame while the robot is under control.
        """
        return []

    def lower(self, sent: F64, elapsed_s: float) -> F64 | None:
        """Return values [n, 5] that lower a robot that would otherwise drop when brought to rest.

        If a command is followed when control is to be given back, this is called before each frame,
        for at most `figures.lower_s`. The robot's state is fresh and there is no `fault`.

        Args:
            sent: The values [n, 5] last sent to the drives.
            elapsed_s: Time since lowering began.

        Returns:
            The values, or None once the robot is down or if it cannot be lowered; it is then
                brought to rest.
        """
        return None

    def recall(self, details: Mapping[str, str | int | float]) -> None:
        """Pass the node's process the data that `give_back` needs, before `give_back` is called.

        Args:
            details: Details in the newest report from the link process, with its `notes`.
        """

    @property
    def given_back(self) -> str:
        """Answer to `release_control`, including what the robot may do on its own afterwards.

        Read right before `give_back`.
        """
        return "control was given back"

    def give_back(self) -> list[bytes]:
        """Return the frames that give control back, after the last command frame."""
        return []
