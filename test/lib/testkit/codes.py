# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which tests have produced which code: rules, reasons, refusals, exit statuses.

`pytest --codes out/codes.json` adds to that file how many tests have produced each; so runs add up,
also those of pytest-xdist. `make codes` shows the table (`testkit.known_codes`), and fails for a
code that no test has produced.
"""

from __future__ import annotations

import fcntl
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any

import pytest

from testkit import watching
from testkit.patching import act_on_imported, replace, when_imported, wrap

RULE, REASON, ERROR = "rule of the guard", "reason of the control path", "error"
STATUS, SERVICE, SENSES = "exit status", "refusal of the service", "rule of the senses"
STATE, TRIAL, SHADOW = "state that is no state", "event of a trial", "outcome of a shadow"
INVARIANT = "invariant that was looked at"
INTERRUPTED = 128
_KEY = "codes"
_LEAST_LETTERS = 5
"""A text of fewer is a form for others."""

_found = set[tuple[str, str]]()
"""By the test that runs: kind and code."""
_said = set[str]()
_counts = Counter[tuple[str, str]]()
"""How many tests have produced each."""


def _note(kind: str, code: object) -> None:
    _found.add((kind, str(code.value if isinstance(code, Enum) else code)))


@cache
def reasons() -> Mapping[str, re.Pattern[str]]:
    """Return what finds each text of `policy_core.words` in a message, by its name there."""
    from policy_core import words  # late: tracing of the kernel begins before

    found = {}
    for name, value in vars(words).items():
        texts = value if isinstance(value, tuple) else (value,)
        if not name.isupper() or not all(isinstance(text, str) for text in texts):
            continue
        for place, text in enumerate(texts):
            parts = [part for part, *_ in Formatter().parse(text)]
            if sum(map(str.isalpha, "".join(parts))) >= _LEAST_LETTERS:
                pattern = ".*".join(map(re.escape, parts)) + (".*" if text.endswith("}") else "")
                key = name if texts == (value,) else f"{name}[{place}]"
                found[key] = re.compile(rf"(?<!\w){pattern}(?!\w)")
    return found


def reasons_in(text: str) -> set[str]:
    """Return the names of the reasons in a message.

    Line by line: what a search takes grows with the cube of its text, and the message of a bundle
    with very many problems took minutes.
    """
    return {name for line in text.splitlines() for name in _reasons_in_line(line)}


@cache
def _reasons_in_line(line: str) -> tuple[str, ...]:
    return tuple(name for name, pattern in reasons().items() if pattern.search(line))


def _listen_to_errors() -> None:
    from policy_core.errors import PolicyError

    def make(real: Any, self: PolicyError, *args: Any) -> None:
        real(self, *args)
        _note(ERROR, type(self).__name__)
        _said.add(str(self))

    wrap(PolicyError, "__init__", make)


def _listen_to_wording() -> None:
    def check_wording(real: Any, *messages: object) -> None:
        real(*messages)
        _said.update(map(str, messages))

    replace("testkit.wording", "check_wording", check_wording)


def _listen_to_controllers() -> None:
    from policy_core.control.controller import Controller
    from policy_core.native_controller import NativeController

    def listen(made: type[Controller]) -> None:
        def make(real: Any, self: Controller, *args: Any, **named: Any) -> None:
            real(self, *args, **named)
            if type(self) is not made:
                return  # not yet complete, and may still be refused
            if len(_controllers) >= 32:
                _ask_controllers()
            _controllers.append(self)

        wrap(made, "__init__", make)

    def see(real: Any, self: Controller, *args: Any) -> Any:
        found = real(self, *args)
        _said.add(self.latest_tick.reason)
        return found

    def report(real: Any, self: Controller) -> Any:
        found = real(self)
        _said.add(found.reason)
        return found

    listen(Controller)
    listen(NativeController)
    wrap(Controller, "tick", see)
    wrap(Controller, "snapshot", report)
    wrap(NativeController, "show_next", see)


_controllers = list[Any]()


def _ask_controllers() -> None:
    for controller in _controllers:
        found = controller.snapshot()
        _said.add(found.reason)
        _said.update(reason for _, reason, _ in controller.edges)
        for rule, count in found.counters.items():
            if count:
                _note(RULE, rule)
    _controllers.clear()


def _listen_to_commands() -> None:
    def run_command(real: Any, *args: Any, **named: Any) -> Any:
        try:
            status = real(*args, **named)
        except SystemExit as ended:
            _note(STATUS, ended.code or 0)
            raise
        _note(STATUS, status if status < INTERRUPTED else f"{INTERRUPTED} + N")
        return status

    replace("policy_store.command_line", "run_command", run_command)


def _listen_to_service() -> None:
    from policy_inference.service.protocol import ServiceError

    def make(real: Any, self: ServiceError, code: Any, text: str) -> None:
        real(self, code, text)
        _note(SERVICE, code.name)

    wrap(ServiceError, "__init__", make)


def _listen_to_receptions() -> None:
    from robot_driver.reception import StateReception

    def reject(real: Any, self: Any, what: str, *args: Any) -> Any:
        _note(STATE, f"{type(self).__name__}: {getattr(what, 'value', what)}")
        return real(self, what, *args)

    wrap(StateReception, "reject", reject)


def _listen_to_senses() -> None:
    from robot_driver.consistency import SenseConsistency

    def see(real: Any, self: SenseConsistency, *args: Any) -> None:
        real(self, *args)
        if self.problem:
            for rule, share in self.shares.items():
                if share >= 1.0:
                    _note(SENSES, rule)

    wrap(SenseConsistency, "see", see)


def _listen_to_trials() -> None:
    def new_line(real: Any, trial: int, event: Enum, **values: object) -> Any:
        _note(TRIAL, event)
        return real(trial, event, **values)

    replace("policy_store.trial_record", "new_line", new_line)


def _listen_to_shadows() -> None:
    from policy_inference.shadow.divergence import Divergence

    def add(real: Any, self: Divergence, answer: Any) -> None:
        _note(SHADOW, answer.outcome.name)
        real(self, answer)

    wrap(Divergence, "add", add)


def _listen_to_checks() -> None:
    def check_flight(real: Any, *args: Any) -> Any:
        found = real(*args)
        watching.checked.update(found.checked)
        return found

    replace("model_tools.prove.replaying.invariants", "check_flight", check_flight)


_LISTEN: Mapping[str, Callable[[], None]] = {
    "policy_core.control.controller": _listen_to_controllers,
    "policy_inference.service.protocol": _listen_to_service,
    "testkit.wording": _listen_to_wording,
    "policy_core.errors": _listen_to_errors,
    "policy_store.command_line": _listen_to_commands,
    "robot_driver.reception": _listen_to_receptions,
    "robot_driver.consistency": _listen_to_senses,
    "policy_store.trial_record": _listen_to_trials,
    "policy_inference.shadow.divergence": _listen_to_shadows,
    "model_tools.prove.replaying.invariants": _listen_to_checks,
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare `--codes`."""
    parser.addoption(
        "--codes",
        metavar="FILE",
        type=Path,
        help="add to this file how many tests have produced each code of the suite",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Listen, if that is asked for; an own process of pytest-xdist is asked too."""
    if config.option.codes is not None:
        config.pluginmanager.register(_Listener(config.option.codes), "codes")
        for module, act in _LISTEN.items():
            when_imported(module, act)


class _Listener:
    """Keeps what tests produce; reports of tests bring it from the workers of pytest-xdist."""

    def __init__(self, file: Path) -> None:
        self._file, self._counts = file, Counter[tuple[str, str]]()
        self._checked = Counter[str]()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Begin with none."""
        act_on_imported()
        _found.clear()
        _said.clear()
        self._checked = Counter(watching.checked)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        """Add what was produced to the report of the test."""
        _ask_controllers()
        for name in {name for text in _said for name in reasons_in(text)}:
            _note(REASON, name)
        for name in watching.checked - self._checked:
            _note(INVARIANT, name)
        item.user_properties.append((_KEY, sorted(_found)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count it."""
        if report.when == "teardown":
            properties: dict[str, Any] = dict(report.user_properties)
            self._counts.update((kind, code) for kind, code in properties.get(_KEY, ()))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Add it to the file, but for a worker."""
        if hasattr(session.config, "workerinput"):
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a+", encoding="utf-8") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX)
            opened.seek(0)
            known = json.loads(opened.read() or "{}")
            for (kind, code), count in self._counts.items():
                codes = known.setdefault(kind, {})
                codes[code] = codes.get(code, 0) + count
            opened.truncate(0)
            json.dump(known, opened, indent=1, sort_keys=True)
