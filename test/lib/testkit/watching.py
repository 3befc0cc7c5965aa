# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Holds each tick of each controller in the process of the tests against the invariants.

Whatever a test makes a controller do, the statements of docs/invariants.md hold; a test whose
controller violates one fails. What other processes tick is checked in their recordings. A test that
breaks one on purpose is marked `violates`, with the names.
"""

from __future__ import annotations

import importlib.util
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import get_ident
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

import numpy as np
import pytest

from testkit.patching import act_on_imported, when_imported, wrap

if TYPE_CHECKING:
    from policy_msgs.msg import JointCommand

    from model_tools.prove.replaying.invariants import FlightWatch
    from policy_core.control.controller import Controller
    from policy_inference.service.connection import Connection
    from robot_driver.link import Link
    from robot_driver.testing.invariants import LinkWatch

REQUEST_INVARIANTS = {
    "refused_changes_nothing": "A refused request leaves mode, fault, counters and authority "
    "unchanged.",
    "shown_once": "Each granted request appears in exactly one later tick, in order.",
}
"""What holds of requests to a controller, by name."""
LOAD_INVARIANTS = {
    "refused_load_changes_nothing": "If a load is refused, the running policy continues with its "
    "mode, fault and counters.",
    "load_keeps_mode_and_fault": "A policy that takes over inherits the mode, fault and "
    "counters of the previous one.",
}
"""What holds where a policy takes over from another, by name."""
SERVICE_INVARIANTS = {
    "one_answer": "Each request gets one answer or one refusal; no client gets the answer to "
    "another client's request.",
    "answer_is_finite": "Each value of an answer is finite.",
}
"""What holds of the service, by name."""
checked = Counter[str]()
"""How often each invariant was looked at in this process, by name."""
_ASKED = ("stand", "run", "damp", "reset", "request")
_JUMPS = ("start", "stop", "go_on_from", "take_over", "adopt")
"""What changes a controller between two ticks and is no request."""


class _Watched:
    """A controller whose ticks are looked at."""

    found: list[tuple[str, str]] = []  # noqa: RUF012
    """What was violated in the test that runs."""

    def __init__(self, contract: Any) -> None:
        self._contract = contract
        self._watch: FlightWatch | None = None
        self._number, self._thread = 0, get_ident()
        self._asked = list[str]()

    def jump(self, name: str) -> None:
        """Expect any mode of the next tick."""
        self._number += 2
        if name in ("start", "go_on_from"):
            self._asked.clear()

    def see(self, controller: Controller) -> None:
        """Look at the tick that has ended."""
        from model_tools.prove.replaying.invariants import LiveTick

        tick, self._thread = controller.latest_tick, get_ident()
        for name, _ in tick.granted:
            shown = name in self._asked
            _hold("shown_once", shown, f"{name}, asked for {self._asked}")
            del self._asked[: self._asked.index(name) + 1 if shown else 0]
        self._number += 1
        watch = self._watch = self._watch or self._made(controller)
        found = watch.see(LiveTick.of(self._number, tick))
        # The clock of these ticks is the test's.
        self.found += [each for each in found if each[0] != "time_goes_on"]

    @contextmanager
    def ask(self, controller: Controller, name: str) -> Iterator[None]:
        """Look at what a request changes."""
        from policy_core.errors import RefusedError

        self._asked.append(name)
        before, number = _state(controller), self._number
        try:
            yield
        except RefusedError:
            if name in self._asked:
                self._asked.reverse()
                self._asked.remove(name)
                self._asked.reverse()
            if self._thread == get_ident() and number == self._number:
                after = _state(controller)
                _hold("refused_changes_nothing", after == before, f"{before} to {after}")
            raise

    def _made(self, controller: Controller) -> FlightWatch:
        from model_tools.prove.replaying.invariants import FlightWatch

        joints, fields = self._contract.joints.on_robot(), controller.state.slices
        watch = FlightWatch(self._contract, controller.limits, joints, fields)
        watch.checked = checked
        return watch


def _state(controller: Controller) -> tuple[Any, ...]:
    found = controller.snapshot()
    return found.mode, found.reason, found.latched, found.authority, found.counters


_controllers: WeakKeyDictionary[Controller, _Watched] = WeakKeyDictionary()


def _hold(name: str, holds: bool, what: str) -> None:
    checked[name] += 1
    if not holds:
        _Watched.found.append((name, what))


def _watch_controllers() -> None:
    # Imported late: tracing of the kernel begins before that.
    from policy_core.control.controller import Controller
    from policy_core.errors import RefusedError
    from policy_core.native_controller import NativeController

    known, loading = _controllers, WeakSet[Controller]()

    def make(real: Any, self: Controller, body: Any, *args: Any, **named: Any) -> None:
        real(self, body, *args, **named)
        _controllers[self] = _Watched(body)

    def tick(real: Any, self: Controller, *args: Any) -> Any:
        found = real(self, *args)
        _controllers[self].see(self)
        return found

    def show(real: Any, self: Controller) -> Any:
        found = real(self)
        if found is not None:
            _controllers[self].see(self)
        return found

    def ask(name: str, real: Any, self: Controller, *args: Any, **named: Any) -> Any:
        with _controllers[self].ask(self, args[0] if name == "request" else name):
            return real(self, *args, **named)

    def jump(name: str, real: Any, self: Controller, *args: Any, **named: Any) -> Any:
        try:
            return real(self, *args, **named)
        finally:
            _controllers[self].jump(name)

    def take_over(real: Any, self: Controller, before: Controller) -> None:
        if self in loading:  # the native one calls the other
            real(self, before)
            return
        loading.add(self)
        was = _state(before)
        try:
            real(self, before)
        except RefusedError:
            found = _state(before)
            _hold("refused_load_changes_nothing", found == was, f"{was} to {found}")
            raise
        finally:
            loading.discard(self)
        found = _state(self)
        same = [found[part] == was[part] for part in (0, 2, 4)]
        _hold("load_keeps_mode_and_fault", all(same), f"{was} to {found}")

    wrap(Controller, "__init__", make)
    wrap(Controller, "tick", tick, known)
    wrap(NativeController, "show_next", show, known)
    for kind in (Controller, NativeController):
        wrap(kind, "take_over", take_over, known)
    for name in _ASKED:
        wrap(Controller, name, partial(ask, name), known)
    for name in _JUMPS:
        wrap(Controller, name, partial(jump, name), known)


_links: WeakKeyDictionary[Link[Any], LinkWatch] = WeakKeyDictionary()


def _watch_links() -> None:
    from robot_driver.link import Link
    from robot_driver.testing.invariants import LinkWatch

    def make(real: Any, self: Link[Any], robot: Any, now_ns: int) -> None:
        real(self, robot, now_ns)
        watch = _links[self] = LinkWatch(robot)
        watch.checked = checked
        encode = robot.encode

        def encoded(values: Any) -> bytes:
            watch.encoded(values)
            frame: bytes = encode(values)
            return frame

        robot.encode = encoded

    def step(real: Any, self: Link[Any], now_ns: int) -> Any:
        out = real(self, now_ns)
        _Watched.found += _links[self].see(self, now_ns)
        return out

    def follow(real: Any, self: Link[Any], command: Any, now_ns: int) -> None:
        _links[self].commanded(command)
        real(self, command, now_ns)

    def damp(real: Any, self: Link[Any], reason: str, now_ns: int) -> None:
        _links[self].damped()
        real(self, reason, now_ns)

    wrap(Link, "__init__", make)
    wrap(Link, "step", step, _links)
    wrap(Link, "follow", follow, _links)
    wrap(Link, "damp", damp, _links)


def _watch_stages() -> None:
    from robot_driver.testing.invariants import HeardWatch

    HeardWatch.checked = checked


def _watch_service() -> None:
    from policy_inference.service.client import PolicyClient
    from policy_inference.service.connection import RawConnection
    from policy_inference.service.framed import FramedConnection

    owed: WeakSet[Connection] = WeakSet()

    def read(real: Any, self: Connection) -> Any:
        complete = real(self)
        if complete:
            owed.add(self)
        return complete

    def answer(real: Any, self: Connection) -> None:
        _hold("one_answer", self in owed, f"{self.protocol}: an answer that was not requested")
        real(self)
        owed.discard(self)

    def say(real: Any, self: Connection, error: Any) -> None:
        asked = error.code.closes or self in owed
        _hold("one_answer", asked, f"{self.protocol}: {error} was not asked for")
        owed.discard(self)
        real(self, error)

    def infer(real: Any, self: PolicyClient, *args: Any, **named: Any) -> Any:
        found = real(self, *args, **named)
        _hold("answer_is_finite", bool(np.isfinite(found).all()), f"{found}")
        return found

    for kind in (FramedConnection, RawConnection):
        wrap(kind, "read", read)
        wrap(kind, "answer", answer)
        wrap(kind, "say", say)
    wrap(FramedConnection, "read_memory", read)
    wrap(PolicyClient, "infer", infer)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, and look at whatever is made from now on."""
    config.addinivalue_line("markers", "violates(*names): the test breaks these invariants itself")
    if importlib.util.find_spec("rosbags"):  # .venv-lerobot has none
        when_imported("policy_core.control.controller", _watch_controllers)
    when_imported("robot_driver.link", _watch_links)
    when_imported("robot_driver.testing.stage", _watch_stages)
    when_imported("policy_inference.service.loop", _watch_service)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Look at what was imported since."""
    act_on_imported()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Have a test fail in which an invariant did not hold."""
    try:
        yield
        if item.get_closest_marker("ros"):
            check_flights()
        allowed = {name for mark in item.iter_markers("violates") for name in mark.args}
        violated = [f"{name}: {what}" for name, what in _Watched.found if name not in allowed]
        assert not violated, f"see docs/invariants.md: {violated[:5]}"
    finally:
        _Watched.found.clear()


@pytest.fixture(scope="session", autouse=True)
def _last_flights_hold(_apart_from_the_user: None) -> Iterator[None]:
    """Fail the session where what nodes wrote last violates an invariant."""
    yield
    check_flights()
    assert not _Watched.found, f"see docs/invariants.md: {_Watched.found[:5]}"


PUBLISHED_INVARIANTS = {
    "recorded_is_published": "Each recorded command equals the one published with the same stamp.",
}
"""What holds of recordings and of what others hear, by name."""
_published: Sequence[JointCommand] = ()
_flights = set[Path]()


def hold_against(commands: Sequence[JointCommand]) -> None:
    """Hold recordings from now on against these commands of the only node, and those so far."""
    global _published
    check_flights()
    _published = commands


def check_flights() -> None:
    """Check the recordings that nodes of this test, or of one before, have written by now."""
    from testkit.recordings import whole_recordings

    heard_at = defaultdict[int, list[Any]](list)
    for command in [*_published]:  # more may come meanwhile
        heard_at[command.stamp.sec * 1_000_000_000 + command.stamp.nanosec].append(command)
    for path in sorted(whole_recordings() - _flights):
        from model_tools.errors import ToolError
        from model_tools.prove.replaying.invariants import check_flight
        from model_tools.prove.replaying.recording import COMMAND_ROWS

        _flights.add(path)
        try:
            flight = check_flight(path)
        except ToolError:
            continue  # its clock was set back, or its set is gone: `check` refuses it
        checked.update(flight.checked)
        _Watched.found += [
            (one.name, f"{path.name}: tick {one.tick}: {one.found}") for one in flight.violations
        ]
        for tick in flight.recording.ticks() if heard_at else ():
            heard = heard_at.get(tick.stamp_ns, [])
            if tick.command is not None and tick.alone and len(heard) == 1:
                _hold(
                    "recorded_is_published",
                    all(
                        np.array_equal(row, getattr(heard[0], name))
                        for name, row in zip(COMMAND_ROWS, tick.command, strict=True)
                    ),
                    f"{path.name}: tick {tick.number}",
                )
