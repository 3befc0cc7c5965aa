# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Faults of a motion host and of the network before it, beside those of the robot.

They are written as those of `robot_sim.faults`, `kind:target[@start_s][+duration_s][=value]`:

==========================  ======================================================================
`loss:state|command=share`  so many datagrams of this direction are lost (0 to 1)
`duplicate:...=share`       so many arrive twice
`reorder:...=share`         so many arrive 5 ms late, so that later ones overtake them
`delay:...=seconds`         all arrive later (up to 1 s)
`silent:state`              no state frame leaves
`deaf:command`              no datagram is heard
`length:state`              frames lack their last byte
`firmware:state`            frames have a code of another firmware
`foreign:state`             another sender also sends frames, which show another pose
`forged:state=ticks`        such frames come from the host's own address and port, so many ticks
                            ahead of its own
`restart:host`              the host is off for the fault's duration and restarts at tick 0
`occupied:host`             another controller takes control, if it is free, and holds the legs
==========================  ======================================================================
"""

import heapq
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, Literal, TypeVar

import numpy as np

from lite3_driver import wire
from robot_sim.driven import NS_PER_S
from robot_sim.errors import SimError
from robot_sim.faults import TARGETS, WITH_VALUE, Fault, FaultPlan
from robot_sim.figures import LITE3
from robot_sim.lite3_host import Address, MotionHost

Direction = Literal["state", "command"]
T = TypeVar("T")
_BOTH = ("state", "command")
_SHARES = ("loss", "duplicate", "reorder")
HOST_TARGETS = {
    **dict.fromkeys((*_SHARES, "delay"), _BOTH),
    **dict.fromkeys(("silent", "length", "firmware", "foreign", "forged"), ("state",)),
    "deaf": ("command",),
    "restart": ("host",),
    "occupied": ("host",),
}
"""Kinds of faults that only a motion host has, and the targets of each."""
OTHER_CODE = 0x0A06
"""Of state frames of another firmware: no code that is known."""
_LATE_NS = 5_000_000
_MAX_DELAY_S = 1.0
_FOREIGN_AHEAD = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFault(Fault):
    """A fault of the robot, of its host, or of the network."""

    targets: ClassVar = {**TARGETS, **HOST_TARGETS}
    with_value: ClassVar = (*WITH_VALUE, *_SHARES, "delay", "forged")

    def __post_init__(self) -> None:
        """Check kind, target and value.

        Raises:
            SimError: One of them does not fit; the message lists what is known.
        """
        Fault.__post_init__(self)
        limit = {"delay": _MAX_DELAY_S, **dict.fromkeys(_SHARES, 1.0)}.get(self.kind)
        if limit is not None and self.value > limit:
            raise SimError(f"fault {self.kind}: expected at most {limit:g}, got {self.value:g}")


class Impaired(Generic[T]):
    """One direction of a network: takes what is sent and gives what arrives."""

    def __init__(self, direction: Direction, faults: Iterable[Fault], *, seed: int = 0) -> None:
        """Plan the faults of this direction; `seed` chooses which datagrams they meet."""
        self._faults = [fault for fault in faults if fault.target == direction]
        self._rng = np.random.default_rng([seed, _BOTH.index(direction)])
        self._on_the_way: list[tuple[int, int, T]] = []
        self._sent = 0

    def carry(self, sent: Sequence[T], now_ns: int) -> list[T]:
        """Take what is sent now; return what arrives now, in this order.

        Args:
            sent: Datagrams.
            now_ns: Simulated time; what is late arrives at the first call at or after its time.
        """
        active = [fault for fault in self._faults if fault.active(now_ns)]
        if not active and not self._on_the_way:
            return list(sent)
        for datagram in sent:
            for due_ns in self._arrivals(active, now_ns):
                self._sent += 1
                heapq.heappush(self._on_the_way, (due_ns, self._sent, datagram))
        arrived = []
        while self._on_the_way and self._on_the_way[0][0] <= now_ns:
            arrived.append(heapq.heappop(self._on_the_way)[2])
        return arrived

    def _arrivals(self, active: Sequence[Fault], now_ns: int) -> list[int]:
        """Return when a datagram arrives: once, twice, or never."""
        due_ns, copies = now_ns, 1
        for fault in active:
            if fault.kind in ("silent", "deaf"):
                return []
            if fault.kind == "delay":
                due_ns += round(fault.value * NS_PER_S)
            elif fault.kind in _SHARES and self._rng.random() < fault.value:
                if fault.kind == "loss":
                    return []
                copies += fault.kind == "duplicate"
                due_ns += _LATE_NS if fault.kind == "reorder" else 0
        return [due_ns] * copies


class HostFaultPlan:
    """Faults to come, of a robot, its host and the network."""

    def __init__(self, faults: Iterable[HostFault] = (), *, seed: int = 0) -> None:
        """Plan faults; `seed` is that of the noise and of the losses."""
        self.faults = tuple(faults)
        self.robot = FaultPlan([fault for fault in self.faults if fault.kind in TARGETS], seed=seed)
        self.state: Impaired[bytes] = Impaired("state", self.faults, seed=seed)
        self.command: Impaired[tuple[bytes, Address]] = Impaired("command", self.faults, seed=seed)
        self._of_host = [fault for fault in self.faults if fault.target == "host"]
        self._of_frames = [
            fault
            for fault in self.faults
            if fault.kind in ("length", "firmware", "foreign", "forged")
        ]
        self._begun: set[HostFault] = set()

    def act(self, host: MotionHost) -> None:
        """Begin and end the faults of the host itself; call it before each of its steps."""
        for fault in self._of_host:
            active = fault.active(host.world.time_ns)
            if active and fault not in self._begun:
                self._begun.add(fault)
                (host.stop if fault.kind == "restart" else host.occupy)()
            elif not active:
                self._end(fault, host)

    def end(self, host: MotionHost) -> None:
        """End the active faults of the host, before another plan replaces this one."""
        for fault in self._of_host:
            self._end(fault, host)

    def _end(self, fault: HostFault, host: MotionHost) -> None:
        if fault in self._begun:
            self._begun.remove(fault)
            (host.start if fault.kind == "restart" else host.vacate)()

    def spoil(self, frame: bytes, now_ns: int) -> bytes:
        """Return a state frame as the host sends it."""
        for fault in self._of_frames:
            if fault.active(now_ns) and fault.kind == "length":
                frame = frame[:-1]
            elif fault.active(now_ns) and fault.kind == "firmware":
                frame = struct.pack("<I", OTHER_CODE) + frame[4:]
        return frame

    def foreign(self, frame: bytes, now_ns: int) -> bytes | None:
        """Return the false frame of a foreign sender beside this state frame, with a newer tick."""
        if not any(fault.kind == "foreign" and fault.active(now_ns) for fault in self._of_frames):
            return None
        return _false_frame(frame, _FOREIGN_AHEAD)

    def forged(self, frame: bytes, now_ns: int) -> bytes | None:
        """Return the false frame that is sent in the host's name after this state frame."""
        for fault in self._of_frames:
            if fault.kind == "forged" and fault.active(now_ns):
                return _false_frame(frame, round(fault.value))
        return None


def _false_frame(frame: bytes, ahead: int) -> bytes:
    """Return a state frame so many ticks later, of a robot in another pose."""
    state = wire.read_state(frame)
    if not isinstance(state, wire.Lite3State):
        return frame
    return wire.write_state(state._replace(tick=state.tick + ahead, joint_pos=LITE3.standing_rad))
