# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Passes on topics' messages with faults, for robots whose simulators cannot inject any.

Faults are written as in `robot_sim.faults`, but without a start: `kind:stream[+s][=value]`. Kinds:
`drop`; `freeze` (all messages repeat the first), `repeat` (likewise, with fresh stamps); `hold` (no
change), `nan`, `garbage` (random bytes), `zero`, `bias` of `stream.field`; `slow` (seconds between
messages), `late` (seconds), `loss` (share).
"""

from __future__ import annotations

import copy
import time
from array import array
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile

from robot_sim.faults import Fault
from tools.robot_faults.stack import Event, Stack

NS_PER_S = 1_000_000_000
COMMAND = "command"
"""Name of the stream of commands to the robot."""
_ANY: tuple[str, ...] = ()


class RelayFault(Fault):
    """A fault of a stream or of a field in its messages."""

    with_value: ClassVar = ("bias", "slow", "late", "loss")
    targets: ClassVar = dict.fromkeys(
        ("drop", "freeze", "repeat", "hold", "nan", "garbage", "zero", *with_value), _ANY
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayedStream:
    """Messages that are passed on.

    Attributes:
        kind: Type of the messages.
        source, sink: Topics.
        stamp: Called with a repeated and a new message; copies the stamp of the new one to the
            repeated one.
    """

    kind: type
    source: str
    sink: str
    stamp: Callable[[Any, Any], None] = lambda new, old: None


class RelayedStack(Stack):
    """A robot whose messages are relayed; the keys of `streams` are the names of its streams.

    Subclasses define which commands put the robot at rest, and how long a command is in effect.
    """

    streams: ClassVar[Mapping[str, RelayedStream]]

    def is_rest(self, command: Any) -> bool:
        raise NotImplementedError

    def valid_ns(self, command: Any) -> int:
        raise NotImplementedError

    def set_faults(self, *faults: str) -> None:
        self._frozen: dict[Fault, Any] = {}
        self._passed_ns: dict[Fault, int] = {}
        now_s = time.time()
        self._faults = [
            (fault, now_s + fault.duration_s) for fault in map(RelayFault.parse, faults)
        ]

    def fail(self, *faults: str) -> int:
        """Begin faults now; return the current time, ns."""
        self.set_faults(*faults)
        return time.time_ns()

    def events(self) -> list[Event]:
        """Return the events so far: the robot began to follow commands, or came to rest."""
        if self._valid_until_ns < time.time_ns():
            self._note("damped", self._valid_until_ns)
        return list(self._events)

    def _listen(self) -> None:
        super()._listen()
        self._random = np.random.default_rng(0)
        self._events: list[Event] = []
        self._valid_until_ns = 1 << 63
        self._late: dict[str, deque[tuple[float, Any]]] = {name: deque() for name in self.streams}
        self.set_faults()
        node: Node = self.operator.node
        for name, stream in self.streams.items():
            out = node.create_publisher(stream.kind, stream.sink, QoSProfile(depth=1))
            node.create_subscription(
                stream.kind, stream.source, partial(self._pass_on, name, out), QoSProfile(depth=1)
            )

    def _pass_on(self, name: str, out: Any, message: Any) -> None:
        now_s, passed, delay_s = time.time(), message, 0.0
        for fault, ends_s in self._faults:
            stream, _, field = fault.target.partition(".")
            if stream != name or now_s >= ends_s:
                continue
            if fault.kind == "late":
                delay_s = fault.value
            else:
                passed = self._spoilt(fault, field, passed)
            if passed is None:
                return
        late = self._late[name]
        late.append((now_s + delay_s, passed))
        while late and late[0][0] <= now_s:
            self._send(name, out, late.popleft()[1])

    def _send(self, name: str, out: Any, message: Any) -> None:
        out.publish(message)
        if name == COMMAND:
            now_ns = time.time_ns()
            self.events()  # first record the end of an expired command
            self._valid_until_ns = now_ns + self.valid_ns(message)
            self._note("damped" if self.is_rest(message) else "following", now_ns)

    def _note(self, what: str, now_ns: int) -> None:
        if not self._events or self._events[-1].event != what:
            self._events.append(Event(time_s=now_ns / 1e9, unix_ns=now_ns, event=what, who=""))

    def _spoilt(self, fault: Fault, field: str, message: Any) -> Any:
        """Return a message as modified by a fault; None if it is lost."""
        now_ns = time.time_ns()
        if fault.kind == "drop" or (fault.kind == "loss" and self._random.random() < fault.value):
            return None
        if fault.kind == "slow":
            if now_ns - self._passed_ns.get(fault, 0) < fault.value * NS_PER_S:
                return None
            self._passed_ns[fault] = now_ns
        if fault.kind in ("freeze", "repeat"):
            frozen = self._frozen.setdefault(fault, message)
            if fault.kind == "repeat":
                frozen = copy.deepcopy(frozen)
                self.streams[fault.target].stamp(frozen, message)
            return frozen
        if field:
            values = np.array(getattr(message, field))
            if fault.kind == "nan":
                values.flat[0] = np.nan
            elif fault.kind == "bias":
                values.flat[-1] += fault.value
            elif fault.kind == "garbage":
                values = self._random.integers(0, 256, values.shape).astype(values.dtype)
            elif fault.kind == "zero":
                values[:] = 0
            elif fault.kind == "hold":
                values = self._frozen.setdefault(fault, values)
            old = getattr(message, field)
            is_array = isinstance(old, array)
            setattr(message, field, array(old.typecode, values.tobytes()) if is_array else values)
        return message
