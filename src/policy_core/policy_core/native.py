# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the native core says in numbers, in the words and names of the Python core."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, NamedTuple

from policy_core import words
from policy_core.control.controller import Controller
from policy_core.guard.bounds import Rule
from policy_core.native_words import ReasonCode

_RULES = tuple(Rule)
_MOTIONS = ("", "stand", "run")
_CLIPPING = (
    Rule.ACTION_CLIP,
    Rule.RELATIVE_TARGET,
    Rule.TARGET_SPEED,
    Rule.EFFORT,
    Rule.TARGET_STEP,
    Rule.POSITION_LIMIT,
)
_INFERENCE_ERRORS = ("BackendError", "RobotError", "NoTargetError")
_STEP_TEXT = 3


class RefusalCode(IntEnum):
    """`Refusal::Code` of policy_set.hpp, those that a set remembers."""

    NONE = 0
    BLENDING = 3
    CONDITIONS = 4
    MODEL_ERROR = 5
    STALE = 6
    NOT_FINITE = 7
    FIRST_TARGET = 8
    TEXT = 10


class Reason(NamedTuple):
    """`Reason` of guard.hpp, where its fields are described; `number` is its `count`."""

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


class Words:
    """Makes words of the numbers of one native controller, and the other way round.

    Attributes:
        text: Returns the words of a number that the host has given to a request or a message.
        set_text: Sets them, of a number that `new_number` has returned.
        number_of: Returns the number by which words are known from now on; from any thread.
        new_number: Returns a number without words.
        joint_problem: Returns why a sample of the joints cannot be true, "" where it is believed.
        clock_step: Returns that a clock was set, "" where none was.
    """

    def __init__(self, controller: Controller, plan: bytes) -> None:
        """Take names from the Python controller that the plan was made of.

        Args:
            controller: That one.
            plan: With the texts of `native_words`.
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
        self._drivers = [each.value for each in type(driver)] if driver is not None else []

    def reason(self, found: tuple[Any, ...]) -> str:
        """Return why the mode is what it is."""
        return str(self._native.reason(found))

    def last_switch(self, found: tuple[Any, ...]) -> tuple[str, ...]:
        """Return the last switch of a set: from, to, why."""
        said = Reason(*found)
        return self._states[said.begin], self._states[said.end], str(self._native.why(said))

    def refusal(self, found: Mapping[str, Any]) -> str:
        """Return why a switch does not begin, or was given up; see `Refusal` in policy_set.hpp."""
        return str(self._native.switch_refusal(found))

    def tree(self, saved: Mapping[str, Any]) -> dict[str, Any]:
        """Return a saved state in the form of `ControlState.tree`."""
        return {name: self._value(value) for name, value in saved.items()}

    def numbers(self, tree: Mapping[str, Any], saved: Mapping[str, Any]) -> dict[str, Any]:
        """Return a `ControlState.tree` in the form of what the native core saves.

        Args:
            tree: It; what has words becomes numbers for them.
            saved: What the native core saves now, for its form.
        """
        return {name: self._number(tree[name], before) for name, before in saved.items()}

    def _number(self, value: Any, before: Any) -> Any:
        if isinstance(before, dict):
            return self.numbers(value, before)
        if not (isinstance(before, tuple) and before and isinstance(before[0], str)):
            return value
        tag, inside = before
        match tag:
            case "reason":
                return tag, Reason(ReasonCode.TEXT, self.number_of(value)) if value else None
            case "last":
                if not value:
                    return tag, None
                begin, end, why = value
                said = Reason(ReasonCode.TEXT, self.number_of(why))
                return tag, said._replace(begin=self._place(begin), end=self._place(end))
            case "refusal":
                code = RefusalCode.TEXT if value else RefusalCode.NONE
                return tag, {"code": code, "text": self.number_of(value) if value else 0}
            case "text":
                return tag, self.number_of(value) if value else 0
            case "estop":
                return tag, -1 if value is None else self.number_of(value[0])
            case "step":
                return tag, (_STEP_TEXT, self.number_of(value)) if value else (0, 0)
            case "stamps":
                return tag, words.STAMPS.index(value)
            case "rules":
                return tag, sum(1 << _RULES.index(Rule(name)) for name in value)
            case "counters":
                return tag, tuple(value[rule.value] for rule in _RULES)
            case "motion":
                return tag, _MOTIONS.index(value)
            case "driver":
                return tag, self._drivers.index(value)
            case "plain":
                return tag, value
            case "blind":
                said = Reason(ReasonCode.TEXT, self.number_of(value or ""))
                return tag, None if value is None else said
            case "failure":
                if value is None:
                    return tag, None
                kind, text = value
                said = Reason(ReasonCode.TEXT, self.number_of(text))
                return tag, (_INFERENCE_ERRORS.index(kind), said)
            case "state":
                return tag, self._place(value)
            case "request":
                if value is None:
                    return tag, None
                to, why, ticks, timeout_state = value
                return tag, (
                    self._place(to),
                    words.WHY.index(why),
                    -1 if ticks is None else ticks,
                    self._place(timeout_state),
                )
        parts = zip(value, inside.values(), strict=True)
        return tag, {str(i): self.numbers(*pair) for i, pair in enumerate(parts)}

    def _place(self, state: str | None) -> int:
        return -1 if state is None else self._states.index(state)

    def _value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return self.tree(value)
        if isinstance(value, tuple) and value and isinstance(value[0], str):
            return self._tagged(*value)
        return value

    def _tagged(self, tag: str, value: Any) -> Any:
        match tag:
            case "reason":
                return "" if value is None else self.reason(value)
            case "last":
                return () if value is None else self.last_switch(value)
            case "refusal":
                return self.refusal(value)
            case "text":
                return self.text(max(0, value))
            case "estop":
                return None if value < 0 else (self.text(value),)
            case "step":
                return self.clock_step(*value)
            case "stamps":
                return words.STAMPS[value]
            case "rules":
                return tuple(rule.value for rule in _CLIPPING if value >> _RULES.index(rule) & 1)
            case "counters":
                return {rule.value: count for rule, count in zip(_RULES, value, strict=True)}
            case "motion":
                return _MOTIONS[value]
            case "driver":
                return self._drivers[value]
            case "plain":
                return value
            case "blind":
                return None if value is None else self.reason(value)
            case "failure":
                if value is None:
                    return None
                kind, found = value
                return _INFERENCE_ERRORS[kind], self.reason(found)
            case "state":
                return self._state(value)
            case "request":
                return None if value is None else self._request(*value)
            case "sequence":
                return tuple(self.tree(part) for part in value.values())
        raise ValueError(f"expected a tag of the native core, found {tag!r}")

    def _state(self, number: int) -> str | None:
        return None if number < 0 else self._states[number]

    def _request(self, to: int, why: int, ticks: int, timeout_state: int) -> tuple[Any, ...]:
        return (
            self._states[to],
            words.WHY[why],
            None if ticks < 0 else ticks,
            self._state(timeout_state),
        )
