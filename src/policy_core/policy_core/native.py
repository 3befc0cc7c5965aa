# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the native core says in numbers, in the words and names of the Python core."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from policy_core.control.controller import Controller
from policy_core.guard.bounds import Rule
from policy_core.sets.policy import LATE, NOT_FINITE, PolicySet

_RULES = tuple(Rule)
_MOTIONS = ("", "stand", "run")
_STAMPS = ("", "repeat", "run backward")
_CLOCKS = ("", "our clock", "the sender's clock")
_WHY = ("asked for", "on the way back to standing", "the state has ended", "waited for too long")
_FAILED = (LATE, NOT_FINITE)
_CLIPPING = (Rule.ACTION_CLIP, Rule.EFFORT, Rule.TARGET_STEP, Rule.POSITION_LIMIT)
_TEXT, _STALE, _MODEL_ERROR = 0, 8, 10
_STEP_TEXT, _REFUSAL_TEXT = 3, 10


class Words:
    """Makes words of the numbers of one native controller.

    Attributes:
        texts: Words that the host has given to requests and messages, by their numbers.
    """

    def __init__(self, controller: Controller, model_error: Callable[[int, int], str]) -> None:
        """Take names and limits from the Python controller that the plan was made of.

        Args:
            controller: That one.
            model_error: Returns what a runtime said, by the member (-1: the only one) and the
                number of its error.
        """
        self.texts = [""]
        self._limits, self._model_error = controller.limits, model_error
        self._fields, self._inputs = [*controller.state.slices], [*controller.inputs.values()]
        policy = controller.policy
        self._set = policy if isinstance(policy, PolicySet) else None
        self._members = [*self._set.members] if self._set else []
        self._states = [*self._set.states] if self._set else []

    def number_of(self, text: str) -> int:
        """Return the number by which a text is known from now on."""
        self.texts.append(text)
        return len(self.texts) - 1

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
                return tag, self._saved_reason(value) if value else None
            case "last":
                if not value:
                    return tag, None
                begin, end, why = value
                return tag, self._saved_reason(why, self._place(begin), self._place(end))
            case "refusal":
                code = _REFUSAL_TEXT if value else 0
                return tag, {"code": code, "text": self.number_of(value) if value else 0}
            case "text":
                return tag, self.number_of(value) if value else 0
            case "estop":
                return tag, -1 if value is None else self.number_of(value[0])
            case "step":
                return tag, (_STEP_TEXT, self.number_of(value)) if value else (0, 0)
            case "stamps":
                return tag, _STAMPS.index(value)
            case "rules":
                return tag, sum(1 << _RULES.index(Rule(name)) for name in value)
            case "counters":
                return tag, tuple(value[rule.value] for rule in _RULES)
            case "motion":
                return tag, _MOTIONS.index(value)
            case "state":
                return tag, self._place(value)
            case "request":
                if value is None:
                    return tag, None
                to, why, ticks, timeout_state = value
                ticks = -1 if ticks is None else ticks
                places = self._place(to), self._place(timeout_state)
                return tag, (places[0], _WHY.index(why), ticks, places[1])
        parts = zip(value, inside.values(), strict=True)
        return tag, {str(i): self.numbers(*pair) for i, pair in enumerate(parts)}

    def _saved_reason(self, text: str, begin: int = -1, end: int = -1) -> tuple[Any, ...]:
        """Return a reason whose words are known by a number."""
        number = self.number_of(text)
        return (_TEXT, number, 0, 0, 0, 0, 0.0, 0, -1, False, -1, -1, begin, end, 0)

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
                return () if value is None else self._last(value)
            case "refusal":
                return self.refusal(value)
            case "text":
                return self.texts[max(0, value)]
            case "estop":
                return None if value < 0 else (self.texts[value],)
            case "step":
                whose, step_ns = value
                return self.texts[step_ns] if whose == _STEP_TEXT else _step(whose, step_ns)
            case "stamps":
                return _STAMPS[value]
            case "rules":
                return tuple(rule.value for rule in _rules_of(value))
            case "counters":
                return {rule.value: count for rule, count in zip(_RULES, value, strict=True)}
            case "motion":
                return _MOTIONS[value]
            case "state":
                return self._state(value)
            case "request":
                return None if value is None else self._request(*value)
            case "sequence":
                return tuple(self.tree(part) for part in value.values())
        raise ValueError(f"expected a tag of the native core, found {tag!r}")

    def reason(self, numbers: Sequence[Any]) -> str:
        """Return why the mode is what it is; see `Reason` in guard.hpp."""
        code, *_, latched_by, recovered, estop, member, _, _, _ = numbers
        words = self._because(code, numbers)
        if code == _STALE and member >= 0:
            words = f"{self._members[member]}: {words}"
        if latched_by >= 0:
            words = f"{_RULES[latched_by].value}: {words}"
        if recovered:
            words = f"recovered from: {words}"
        if estop >= 0:
            words += f"; {Rule.ESTOP.value}: {self.texts[estop]}"
        return words

    def _because(self, code: int, numbers: Sequence[Any]) -> str:
        _, text, count, stamps, place, fields, number, rules, *_ = numbers
        match code:
            case 0:
                return self._said(text)
            case 6:
                limit_ms = self._limits.longest_gap_ns * 1e-6
                return f"{number:.0f} ms since the last tick, limit {limit_ms:.0f} ms"
            case 7:
                return ", ".join(name for i, name in enumerate(self._fields) if fields >> i & 1)
            case 8:
                return self._stale(place, number, text, count, stamps)
            case 9:
                return f"tilt {number:.2f} rad, limit {self._limits.max_tilt_rad or 0.0:.2f} rad"
            case 10:
                return self._model_error(numbers[11], text)
            case 13:
                return f"{number:.1f} ms late"
            case 14:
                return f"{count} ticks in a row: " + ", ".join(
                    rule.value for rule in _rules_of(rules)
                )
            case 15:
                return self._switched(numbers)
        return {
            1: "started",
            2: "reset",
            3: "standing",
            4: "standing up",
            5: "the policy runs",
            11: "output of the model",
            12: "target of the policy",
        }[code]

    def _said(self, number: int) -> str:
        return self.texts[number]

    def _stale(self, place: int, age_ns: float, problem: int, refused: int, stamps: int) -> str:
        return self._inputs[place].described(
            None if math.isnan(age_ns) else int(age_ns),
            self.texts[problem],
            refused,
            _STAMPS[stamps],
        )

    def _switched(self, numbers: Sequence[Any]) -> str:
        *_, begin, end, _ = numbers
        return f"{self._state(begin)} -> {self._state(end)}: {self._why(numbers)}"

    def _why(self, numbers: Sequence[Any]) -> str:
        *_, member, begin, _, why = numbers
        if numbers[0] == _TEXT:
            return self._said(numbers[1])
        if why < len(_WHY):
            return _WHY[why]
        failed = f"{self._state(begin)} failed: "
        if why < len(_WHY) + len(_FAILED):
            return failed + _FAILED[why - len(_WHY)]
        if why == len(_WHY) + len(_FAILED):
            return failed + self._model_error(member, numbers[1])
        return failed + self.reason((_STALE, *numbers[1:8], -1, False, -1, member, -1, -1, 0))

    def _last(self, numbers: Sequence[Any]) -> tuple[str, ...]:
        *_, begin, end, _ = numbers
        return self._states[begin], self._states[end], self._why(numbers)

    def _state(self, number: int) -> str | None:
        return None if number < 0 else self._states[number]

    def _request(self, to: int, why: int, ticks: int, timeout_state: int) -> tuple[Any, ...]:
        return (
            self._states[to],
            _WHY[why],
            None if ticks < 0 else ticks,
            self._state(timeout_state),
        )

    def refusal(self, found: Mapping[str, Any]) -> str:
        """Return why a switch does not begin; see `Refusal` in policy_set.hpp."""
        code, assumed = found["code"], self._set
        if code == 0 or assumed is None:
            return ""
        if code == _REFUSAL_TEXT:
            return self._said(found["failure"][1])
        to, member = self._states[found["to"]], self._members[max(0, found["member"])]
        match code:
            case 3:
                problems = [f"the switch to {self._states[found['other']]} has not ended"]
            case 4:
                check = assumed.states[self._states[found["other"]]].checks[to]
                problems = check.words(found)
            case 5:
                problems = [f"{member}: {self._model_error(found['member'], found['failure'][1])}"]
            case 6:
                problems = [f"{member}: {member}: {self.reason(found['failure'])}"]
            case 7:
                problems = [f"{member}: {NOT_FINITE}"]
            case _:
                check = assumed.states[self._states[found["other"]]].checks[to]
                problems = check.words({"ticks": -1, "off": found["off"]}, "the first target")
        return f"switch to {to}: {'; '.join(problems)}"


def _rules_of(bits: int) -> list[Rule]:
    return [rule for rule in _CLIPPING if bits >> _RULES.index(rule) & 1]


def _step(whose: int, step_ns: int) -> str:
    if not whose:
        return ""
    return f"{_CLOCKS[whose]} was set by {step_ns * 1e-6:+.0f} ms; ages go on without it"
