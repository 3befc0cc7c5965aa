# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Holds each tick of each controller in the process of the tests against the invariants.

Whatever a test makes a controller do, the statements of docs/invariants.md hold; a test whose
controller violates one fails. What other processes tick is checked in their recordings. A test that
breaks one on purpose is marked `violates`, with the names.
"""

from __future__ import annotations

import functools
import importlib.util
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from threading import get_ident
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import pytest

from policy_core.control.controller import Controller
from policy_core.control.tick import Tick
from policy_core.errors import RefusedError
from policy_core.native_controller import NativeController
from robot_driver.link import Link
from robot_driver.testing.invariants import LinkWatch

if TYPE_CHECKING:
    from model_tools.prove.replaying.invariants import FlightWatch

REQUESTS = {
    "refused_changes_nothing": "A request that is refused leaves mode, fault, counters and authority "
    "as they were.",
    "shown_once": "A tick shows the requests that were granted before it: each once, in their order.",
}
"""What holds of requests to a controller, by name."""
_ASKED = ("stand", "run", "damp", "reset", "request")
_JUMPS = ("start", "stop", "go_on_from", "take_over", "adopt")
"""What changes a controller between two ticks and is no request."""


class _Watched:
    """A controller whose ticks are looked at."""

    found: list[tuple[str, str]] = []  # noqa: RUF012
    """What was violated in the test that runs."""
    checked: Counter[str] = Counter()

    def __init__(self, contract: Any) -> None:
        self._contract = contract
        self._watch: FlightWatch | None = None
        self._number, self._thread = 0, get_ident()
        self._asked = list[str]()

    def jump(self) -> None:
        """Expect anything of the next tick."""
        self._number += 2
        self._asked.clear()

    def see(self, controller: Controller) -> None:
        """Look at the tick that has ended."""
        tick, self._thread = controller.latest_tick, get_ident()
        for name, _ in tick.granted:
            shown = name in self._asked
            self._hold("shown_once", shown, f"{name}, asked for {self._asked}")
            del self._asked[: self._asked.index(name) + 1 if shown else 0]
        self._number += 1
        watch = self._watch = self._watch or self._made(controller)
        self.found += watch.see(_recorded(self._number, tick))

    @contextmanager
    def ask(self, controller: Controller, name: str) -> Iterator[None]:
        """Look at what a request changes."""
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
                self._hold("refused_changes_nothing", after == before, f"{before} to {after}")
            raise

    def _hold(self, name: str, holds: bool, what: str) -> None:
        self.checked[name] += 1
        if not holds:
            self.found.append((name, what))

    def _made(self, controller: Controller) -> FlightWatch:
        from model_tools.prove.replaying.invariants import FlightWatch

        joints, fields = self._contract.joints.on_robot(), controller.state.slices
        watch = FlightWatch(self._contract, controller.limits, joints, fields)
        watch.checked = self.checked
        return watch


def _recorded(number: int, tick: Tick) -> Any:
    """Return a tick as a recording has it, as far as invariants look at it."""
    from model_tools.prove.replaying.recording import find_rule

    targets = tick.targets
    return SimpleNamespace(
        number=number,
        time_ns=tick.now_ns,
        stamp_ns=tick.now_ns,
        mode=tick.mode,
        reason=tick.reason,
        rule=find_rule(tick.reason),
        ages_ns={name: entry.age_ns(tick.now_ns) for name, entry in tick.inputs.items()},
        state=tick.state.flat,
        target=tick.target.copy() if tick.taken else None,
        blend=tick.blend,
        requests=tick.granted,
        command=None if targets is None else targets.block.copy(),
        command_mode=None if targets is None else targets.mode,
    )


def _state(controller: Controller) -> tuple[Any, ...]:
    found = controller.snapshot()
    return found.mode, found.reason, found.latched, found.authority, found.counters


_all: WeakKeyDictionary[Controller, _Watched] = WeakKeyDictionary()


def _wrap(kind: type[Controller], name: str, wrapped: Callable[..., Any]) -> None:
    """Have `wrapped(real, watched, controller, ...)` called in the place of a method."""
    real = getattr(kind, name)

    @functools.wraps(real)
    def call(self: Controller, *args: Any, **named: Any) -> Any:
        watched = _all.get(self)
        if watched is None:
            return real(self, *args, **named)
        return wrapped(real, watched, self, *args, **named)

    setattr(kind, name, call)


def _tick(real: Callable[..., Any], watched: _Watched, self: Controller, *args: Any) -> Any:
    found = real(self, *args)
    watched.see(self)
    return found


def _show(real: Callable[..., Any], watched: _Watched, self: Controller) -> Any:
    found = real(self)
    if found is not None:
        watched.see(self)
    return found


def _jump(
    real: Callable[..., Any], watched: _Watched, self: Controller, *args: Any, **named: Any
) -> Any:
    try:
        return real(self, *args, **named)
    finally:
        watched.jump()


def _ask(name: str) -> Callable[..., Any]:
    def ask(
        real: Callable[..., Any], watched: _Watched, self: Controller, *args: Any, **named: Any
    ) -> Any:
        with watched.ask(self, args[0] if name == "request" else name):
            return real(self, *args, **named)

    return ask


_links: WeakKeyDictionary[Link[Any], LinkWatch] = WeakKeyDictionary()


def _watch_links() -> None:
    """Have each link of a driver looked at that is made from now on."""
    make, step, follow = Link.__init__, Link.step, Link.follow

    def made(self: Link[Any], robot: Any, now_ns: int) -> None:
        make(self, robot, now_ns)
        watch = _links[self] = LinkWatch(robot)
        watch.checked = _Watched.checked
        encode = robot.encode

        def encoded(values: Any) -> bytes:
            watch.encoded(values)
            frame: bytes = encode(values)
            return frame

        robot.encode = encoded

    def stepped(self: Link[Any], now_ns: int) -> list[bytes]:
        out = step(self, now_ns)
        _Watched.found += _links[self].see(self, now_ns)
        return out

    def followed(self: Link[Any], command: Any, now_ns: int) -> None:
        _links[self].commanded(command)
        follow(self, command, now_ns)

    Link.__init__, Link.step, Link.follow = made, stepped, followed  # type: ignore[method-assign]


def _watch_all() -> None:
    """Have each controller looked at that is made from now on."""
    make = Controller.__init__

    @functools.wraps(make)
    def made(self: Controller, body: Any, *args: Any, **named: Any) -> None:
        make(self, body, *args, **named)
        _all[self] = _Watched(body)

    Controller.__init__ = made  # type: ignore[method-assign]
    _wrap(Controller, "tick", _tick)
    _wrap(NativeController, "show_next", _show)
    for name in _ASKED:
        _wrap(Controller, name, _ask(name))
    for name in _JUMPS:
        _wrap(Controller, name, _jump)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, and look at all controllers."""
    config.addinivalue_line("markers", "violates(*names): the test breaks these invariants itself")
    if importlib.util.find_spec("rosbags"):  # .venv-lerobot has none
        _watch_all()
    _watch_links()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Have a test fail in which an invariant did not hold."""
    _Watched.found.clear()
    yield
    allowed = {name for mark in item.iter_markers("violates") for name in mark.args}
    violated = [f"{name}: {what}" for name, what in _Watched.found if name not in allowed]
    assert not violated, f"see docs/invariants.md: {violated[:5]}"
