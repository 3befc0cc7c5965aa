# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Conversion between the native core's numbers and the words and names of the Python core."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from policy_core import words
from policy_core.control.controller import Controller
from policy_core.guard.bounds import Rule
from policy_core.native_words import ReasonCode

_RULES = tuple(Rule)
_MOTIONS = ("", "stand", "run")
_CLIPPING = (
    Rule.ACTION_CLIP,
    Rule.GAIN_LIMIT,
    Rule.RELATIVE_TARGET,
    Rule.TARGET_SPEED,
    Rule.EFFORT,
    Rule.TARGET_STEP,
    Rule.POSITION_LIMIT,
)
_INFERENCE_ERRORS = ("BackendError", "RobotError", "NoTargetError")
_STEP_TEXT = 3


_NOT_REFUSED, _REFUSED_IN_WORDS = 0, 10
"""Values of `Refusal::Code` in policy_set.hpp that occur in a saved state."""


class Reason(NamedTuple):
    """The C++ `Reason` as a tuple; guard.hpp documents the fields, with `number` named `count`."""

    code: int
    text: int = 0
    number: int = 0
    stamps: int = 0
    place: int = 0
    fields: int = 0
    a: float = 0.0
    rules: int = 0
    latched_by: int = -1
    recovered: bool = False
    estop: int = -1
    member: int = -1
    begin: int = -1
    end: int = -1
    why: int = 0
    b: float = 0.0
    c: float = 0.0
    is_drop_out: bool = False
    held_s: float = math.nan
    failed: int = 0


class _Form(NamedTuple):
    """Conversion of a tagged value: `ours` to the form in `ControlState.tree`, `theirs` from it."""

    ours: Callable[[Any], Any]
    theirs: Callable[[Any], Any]


class Words:
    """Converts a native controller's numbers to words and back.

    Attributes:
        text: Returns the words for a number that the host assigned to a request or message.
        set_text: Sets the words for a number that `new_number` returned.
        number_of: Returns the number for words, assigning one on first use; may be called from any
            thread.
        new_number: Returns a new number that has no words yet.
        joint_problem: Returns why a joint sample is implausible, or "" if it is trusted.
        clock_step: Describes a clock step, or returns "" if there was none.
    """

    def __init__(self, controller: Controller, plan: bytes) -> None:
        """Prepare the conversions for a controller.

        Args:
            controller: The Python controller from which the plan was made.
            plan: The plan, with the texts from `native_words`.
        """
        from policy_core_native import Words as NativeWords

        native: Any = NativeWords(plan)
        self._native = native
        self.text: Callable[[int], str] = native.text
        self.set_text: Callable[[int, str], None] = native.set_text
        self.number_of: Callable[[str], int] = native.number_of
        self.new_number: Callable[[], int] = native.new_number
        self.joint_problem: Callable[[tuple[Any, ...]], str] = native.sample
        self.clock_step: Callable[[int, int], str] = native.clock_step
        policy: Any = controller.policy
        self._states = [*getattr(policy, "states", ())]
        driver = getattr(policy, "driver", None)
        drivers = [each.value for each in type(driver)] if driver is not None else []
        self._forms = self._tags(self._states, drivers)

    def reason(self, found: tuple[Any, ...]) -> str:
        """Return a `Reason` in words."""
        return str(self._native.reason(found))

    def last_switch(self, found: tuple[Any, ...]) -> tuple[str, ...]:
        """Return a set's last switch: old state, new state, and the reason in words."""
        said = Reason(*found)
        return self._states[said.begin], self._states[said.end], str(self._native.why(said))

    def refusal(self, found: Mapping[str, Any]) -> str:
        """Describe why a switch was refused or abandoned; see policy_set.hpp."""
        return str(self._native.switch_refusal(found))

    def tree(self, saved: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a saved state to the form of `ControlState.tree`."""
        return {name: self._value(value) for name, value in saved.items()}

    def numbers(self, tree: Mapping[str, Any], saved: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a `ControlState.tree` to the form of a state saved by the native core.

        Args:
            tree: The tree, whose words are converted to numbers.
            saved: The native core's current saved state, which defines the form.
        """
        return {name: self._number(tree[name], before) for name, before in saved.items()}

    def _number(self, value: Any, before: Any) -> Any:
        if isinstance(before, dict):
            return self.numbers(value, before)
        if not (isinstance(before, tuple) and before and isinstance(before[0], str)):
            return value
        tag, inside = before
        if tag == "sequence":
            parts = zip(value, inside.values(), strict=True)
            return tag, {str(i): self.numbers(*pair) for i, pair in enumerate(parts)}
        return tag, self._forms[tag].theirs(value)

    def _value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return self.tree(value)
        if isinstance(value, tuple) and value and isinstance(value[0], str):
            return self._forms[value[0]].ours(value[1])
        return value

    def _tags(self, states: Sequence[str], drivers: Sequence[str]) -> dict[str, _Form]:
        """Return each tag's conversion, given the names of a set's states and of the drivers."""

        def said(text: str) -> Reason:
            return Reason(ReasonCode.TEXT, self.number_of(text))

        def state(number: int) -> str | None:
            return None if number < 0 else states[number]

        def place(name: str | None) -> int:
            return -1 if name is None else states.index(name)

        def last(switch: tuple[str, str, str]) -> Reason:
            begin, end, why = switch
            return said(why)._replace(begin=place(begin), end=place(end))

        def request(to: int, why: int, ticks: int, timeout_state: int) -> tuple[Any, ...]:
            waits = None if ticks < 0 else ticks
            return states[to], words.WHY[why], waits, state(timeout_state)

        def request_numbers(
            to: str, why: str, ticks: int | None, timeout_state: str | None
        ) -> tuple[int, ...]:
            waits = -1 if ticks is None else ticks
            return place(to), words.WHY.index(why), waits, place(timeout_state)

        return {
            "reason": _Form(
                lambda found: "" if found is None else self.reason(found),
                lambda text: said(text) if text else None,
            ),
            "last": _Form(
                lambda found: () if found is None else self.last_switch(found),
                lambda switch: last(switch) if switch else None,
            ),
            "refusal": _Form(
                self.refusal,
                lambda text: {
                    "code": _REFUSED_IN_WORDS if text else _NOT_REFUSED,
                    "text": self.number_of(text) if text else 0,
                },
            ),
            "text": _Form(
                lambda number: self.text(max(0, number)),
                lambda text: self.number_of(text) if text else 0,
            ),
            "estop": _Form(
                lambda number: None if number < 0 else (self.text(number),),
                lambda pressed: -1 if pressed is None else self.number_of(pressed[0]),
            ),
            "step": _Form(
                lambda step: self.clock_step(*step),
                lambda text: (_STEP_TEXT, self.number_of(text)) if text else (0, 0),
            ),
            "stamps": _Form(words.STAMPS.__getitem__, words.STAMPS.index),
            "rules": _Form(
                lambda bits: tuple(
                    rule.value for rule in _CLIPPING if bits >> _RULES.index(rule) & 1
                ),
                lambda names: sum(1 << _RULES.index(Rule(name)) for name in names),
            ),
            "counters": _Form(
                lambda counts: dict(zip([rule.value for rule in _RULES], counts, strict=True)),
                lambda counters: tuple(counters[rule.value] for rule in _RULES),
            ),
            "motion": _Form(_MOTIONS.__getitem__, _MOTIONS.index),
            "driver": _Form(drivers.__getitem__, drivers.index),
            "plain": _Form(lambda value: value, lambda value: value),
            "blind": _Form(
                lambda found: None if found is None else self.reason(found),
                lambda text: None if text is None else said(text),
            ),
            "failure": _Form(
                lambda found: found and (_INFERENCE_ERRORS[found[0]], self.reason(found[1])),
                lambda failure: failure and (_INFERENCE_ERRORS.index(failure[0]), said(failure[1])),
            ),
            "state": _Form(state, place),
            "request": _Form(
                lambda asked: asked and request(*asked),
                lambda asked: asked and request_numbers(*asked),
            ),
            "sequence": _Form(
                lambda parts: tuple(self.tree(part) for part in parts.values()),
                lambda parts: parts,
            ),
        }
