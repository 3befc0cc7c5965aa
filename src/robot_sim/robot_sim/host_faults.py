# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Faults of a robot's computer and network, in addition to those of the robot itself.

They are written as in `robot_sim.faults`: `kind:target[@start_s][+duration_s][=value]`.

==========================  ======================================================================
`loss:state|command=share`  this share of the datagrams in one direction is lost (0 to 1)
`duplicate:...=share`       this share arrives twice
`reorder:...=share`         this share arrives 5 ms late, so that later datagrams overtake it
`delay:...=seconds`         every datagram arrives this much later (up to 1 s)
`slow:...=seconds`          at most one datagram arrives per interval of this length
`repeat:state|command`      every datagram repeats the first one's content
`garbage:state|command`     all bits are inverted
`silent:state`              no state frame is sent
`deaf:command`              no datagram is received
`restart:host`              the host is off for the fault's duration and restarts at tick 0
==========================  ======================================================================
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np

from robot_sim.driven import NS_PER_S
from robot_sim.errors import SimError
from robot_sim.faults import STREAM_FIELDS, TARGETS, WITH_VALUE, Fault, FaultPlan

Direction = Literal["state", "command"]
T = TypeVar("T")
StateT = TypeVar("StateT")
CommandT = TypeVar("CommandT")
_BOTH = ("state", "command")
_SHARES = ("loss", "duplicate", "reorder")
_LATE_NS = 5_000_000
_MAX_DELAY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFault(Fault):
    """A fault of the robot, its computer or the network; each robot adds more kinds."""

    targets: ClassVar = {
        **TARGETS,
        **dict.fromkeys((*_SHARES, "delay", "repeat", "garbage"), _BOTH),
        "slow": (*STREAM_FIELDS, *_BOTH),
        "silent": ("state",),
        "deaf": ("command",),
        "restart": ("host",),
    }
    with_value: ClassVar[tuple[str, ...]] = (*WITH_VALUE, *_SHARES, "delay")

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        limit = {"delay": _MAX_DELAY_S, **dict.fromkeys(_SHARES, 1.0)}.get(self.kind)
        if limit is not None and self.value > limit:
            raise SimError(f"fault {self.kind}: expected at most {limit:g}, found {self.value:g}")


class Impaired(Generic[T]):
    """One direction of a faulty network: takes what is sent, and returns what arrives."""

    def __init__(self, direction: Direction, faults: Iterable[Fault], *, seed: int = 0) -> None:
        """Plan the faults of this direction; `seed` determines the datagrams affected."""
        self._faults = [fault for fault in faults if fault.target == direction]
        self._rng = np.random.default_rng([seed, _BOTH.index(direction)])
        self._on_the_way: list[tuple[int, int, T]] = []
        self._repeated: T | None = None
        self._sent, self._slow_until_ns = 0, 0

    def carry(self, sent: Sequence[T], now_ns: int) -> list[T]:
        """Take the datagrams sent now; return those that arrive now, in order.

        Args:
            sent: Datagrams.
            now_ns: Simulated time; late datagrams arrive on the first call at or after their time.
        """
        active = [fault for fault in self._faults if fault.active(now_ns)]
        if not active and not self._on_the_way:
            return list(sent)
        kinds = {fault.kind for fault in active}
        for datagram in sent:
            if "repeat" in kinds:
                self._repeated = datagram = self._repeated or datagram
            content = _inverted(datagram) if "garbage" in kinds else datagram
            for due_ns in self._arrivals(active, now_ns):
                self._sent += 1
                heapq.heappush(self._on_the_way, (due_ns, self._sent, content))
        arrived = []
        while self._on_the_way and self._on_the_way[0][0] <= now_ns:
            arrived.append(heapq.heappop(self._on_the_way)[2])
        return arrived

    def _arrivals(self, active: Sequence[Fault], now_ns: int) -> list[int]:
        """Return a datagram's arrival times: none, one or two."""
        due_ns, copies = now_ns, 1
        for fault in active:
            if fault.kind in ("silent", "deaf"):
                return []
            if fault.kind == "slow":
                if now_ns < self._slow_until_ns:
                    return []
                self._slow_until_ns = now_ns + round(fault.value * NS_PER_S)
            if fault.kind == "delay":
                due_ns += round(fault.value * NS_PER_S)
            elif fault.kind in _SHARES and self._rng.random() < fault.value:
                if fault.kind == "loss":
                    return []
                copies += fault.kind == "duplicate"
                due_ns += _LATE_NS if fault.kind == "reorder" else 0
        return [due_ns] * copies


def _inverted(datagram: Any) -> Any:
    """Return a datagram with all bits inverted, but with its address or topic unchanged."""
    if type(datagram) is tuple:  # not a request, which is a named one
        return tuple(_inverted(part) for part in datagram)
    return bytes(255 - byte for byte in datagram) if isinstance(datagram, bytes) else datagram


class HostFaultPlan(Generic[StateT, CommandT]):
    """Planned faults of a robot, its computer and its network.

    Attributes:
        faults: All faults.
        robot: Plan for the faults of the robot's body and sensors.
        state, command: The two directions of the network.
    """

    def __init__(
        self, faults: Iterable[HostFault], *, seed: int, joint_names: Sequence[str]
    ) -> None:
        """Plan faults.

        Args:
            faults: The faults; faults of the same kind apply in this order.
            seed: Seed for the noise and the losses.
            joint_names: The robot's joints.
        """
        self.faults = tuple(faults)
        self.robot = FaultPlan(
            [fault for fault in self.faults if fault.kind in TARGETS],
            seed=seed,
            joint_names=joint_names,
        )
        self.state: Impaired[StateT] = Impaired("state", self.faults, seed=seed)
        self.command: Impaired[CommandT] = Impaired("command", self.faults, seed=seed)
        self._of_host = [fault for fault in self.faults if fault.target == "host"]
        self._begun: set[HostFault] = set()

    def active(self, now_ns: int) -> list[HostFault]:
        """Return the faults that are active at a simulated time."""
        return [fault for fault in self.faults if fault.active(now_ns)]

    def changes(self, now_ns: int) -> list[tuple[HostFault, bool]]:
        """Return the host's own faults that began (True) or ended (False) since the last call."""
        changed = []
        for fault in self._of_host:
            if (active := fault.active(now_ns)) != (fault in self._begun):
                (self._begun.add if active else self._begun.remove)(fault)
                changed.append((fault, active))
        return changed

    def end(self) -> list[HostFault]:
        """End all of the host's own faults; return those that were active, in order."""
        begun = [fault for fault in self._of_host if fault in self._begun]
        self._begun.clear()
        return begun


AnyPlan = HostFaultPlan[Any, Any]
"""A plan for any robot."""
