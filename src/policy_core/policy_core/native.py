# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the native core says in numbers, in the words and names of the Python core."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, NamedTuple

from policy_core import words
from policy_core.control.controller import Controller
from policy_core.guard.bounds import Rule
from policy_core.native_words import ReasonCode, Texts, texts_of

_RULES = tuple(Rule)
_MOTIONS = ("", "stand", "run")
_CLOCKS = ("", words.OUR_CLOCK, words.SENDERS_CLOCK)
_FAILED = (words.MEMBER_LATE, words.MEMBER_NOT_FINITE)
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


class JointProblem(NamedTuple):
    """`JointCheck::Problem` of joint_check.hpp; `number` is its `count`."""

    code: int
    place: int
    is_velocity: bool
    found: float
    low: float
    high: float
    number: int
    needed: int


class Words:
    """Makes words of the numbers of one native controller.

    Attributes:
        texts: Words that the host has given to requests and messages, by their numbers.
        members: Names of the members of the set; none of a policy alone.
    """

    def __init__(
        self,
        controller: Controller,
        model_error: Callable[[int, int], str],
    ) -> None:
        """Take names and limits from the Python controller that the plan was made of.

        Args:
            controller: That one.
            model_error: Returns what a runtime said, by the member (-1: the only one) and the
                number of its error.
        """
        self.texts, self._numbers, self._numbering = [""], dict[str, int](), threading.Lock()
        self._model_error = model_error
        said: Texts = texts_of(controller)
        self._said, self._samples, self._unseen = said["reasons"], said["samples"], said["chunks"]
        self._fields, self._members, self._states = said["fields"], said["members"], said["states"]
        self._inputs = [*controller.inputs.values()]
        policy: Any = controller.policy
        # Of a set, without what a policy alone does not need.
        self._set: Any = policy if self._states else None
        driver = getattr(policy, "driver", None)
        self._drivers = [each.value for each in type(driver)] if driver is not None else []

    def number_of(self, text: str) -> int:
        """Return the number by which a text is known from now on; from any thread."""
        with self._numbering:
            number = self._numbers.setdefault(text, len(self.texts))
            if number == len(self.texts):
                self.texts.append(text)
            return number

    def new_number(self) -> int:
        """Return a number whose text the caller sets in `texts`, again and again."""
        with self._numbering:
            self.texts.append("")
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
                return "" if value is None else self.reason(Reason(*value))
            case "last":
                return () if value is None else self.last_switch(Reason(*value))
            case "refusal":
                return self.refusal(value)
            case "text":
                return self.texts[max(0, value)]
            case "estop":
                return None if value < 0 else (self.texts[value],)
            case "step":
                return self.clock_step(*value)
            case "stamps":
                return words.STAMPS[value]
            case "rules":
                return tuple(rule.value for rule in _rules_of(value))
            case "counters":
                return {rule.value: count for rule, count in zip(_RULES, value, strict=True)}
            case "motion":
                return _MOTIONS[value]
            case "driver":
                return self._drivers[value]
            case "plain":
                return value
            case "blind":
                return None if value is None else self.reason(Reason(*value))
            case "failure":
                if value is None:
                    return None
                kind, found = value
                return _INFERENCE_ERRORS[kind], self.reason(Reason(*found))
            case "state":
                return self._state(value)
            case "request":
                return None if value is None else self._request(*value)
            case "sequence":
                return tuple(self.tree(part) for part in value.values())
        raise ValueError(f"expected a tag of the native core, found {tag!r}")

    def clock_step(self, whose: int, step_ns: int) -> str:
        """Return that a clock was set; empty where none was."""
        if whose == _STEP_TEXT:
            return self.texts[step_ns]
        return words.CLOCK_STEP.format(whose=_CLOCKS[whose], a=step_ns * 1e-6) if whose else ""

    def reason(self, found: Reason) -> str:
        """Return why the mode is what it is."""
        why = self._failure(found)
        if found.latched_by >= 0:
            why = words.LATCHED.format(rule=_RULES[found.latched_by].value, why=why)
        if found.recovered:
            why = words.RECOVERED.format(why=why)
        if found.estop >= 0:
            why = words.PRESSED_TOO.format(why=why, estop=self.texts[found.estop])
        return why

    def joint_problem(self, problem: JointProblem) -> str:
        """Return why a sample of the joints cannot be true, empty where it is believed."""
        code, place, is_velocity, a, b, c, agreeing, needed = problem
        match code:
            case 0:
                return ""
            case 1:
                texts = self._samples["velocity" if is_velocity else "position"]
                return str(texts[place].format(a=a, b=b, c=c))
            case 2:
                return words.UNCONFIRMED.format(count=agreeing, needed=needed)
            case _:
                return str(self._samples["jump"][place].format(a=a, b=b))

    def _failure(self, found: Reason) -> str:
        why = self._because(found)
        if found.code == ReasonCode.SWITCHED:
            return why
        if found.is_drop_out:
            return words.DROPPED_OUT.format(why=why)
        if not math.isnan(found.held_s):
            member = self._members[found.member]
            return words.MEMBER_HELD.format(member=member, held_s=found.held_s, why=why)
        if found.code == ReasonCode.STALE and found.member >= 0:
            return words.OF_MEMBER.format(member=self._members[found.member], why=why)
        return why

    def _because(self, found: Reason) -> str:
        code = str(found.code)
        match ReasonCode(found.code):
            case ReasonCode.TEXT:
                return self.texts[found.text]
            case ReasonCode.FIELDS:
                names = enumerate(self._fields)
                return ", ".join(name for i, name in names if found.fields >> i & 1)
            case ReasonCode.STALE:
                return self._stale(found)
            case ReasonCode.MODEL_ERROR:
                return self._model_error(found.member, found.text)
            case ReasonCode.SWITCHED:
                begin, end = self._state(found.begin), self._state(found.end)
                return words.SWITCHED.format(begin=begin, end=end, why=self._why(found))
            case ReasonCode.LEADER_SILENT:
                why = self._stale(found)
                silent: str = self._said[code][0].format(input=why)
                return why if math.isnan(found.a) else silent
            case ReasonCode.NO_FRAME | ReasonCode.FRAMES_APART | ReasonCode.FROZEN_CAMERA:
                text = self._unseen[max(0, found.member)][code][found.place]
            case ReasonCode.LEADER_BEYOND | ReasonCode.LEADER_JUMP:
                said = self._said[code]
                text = said[found.place + (len(said) // 2 if found.number else 0)]
            case _:
                [text] = self._said[code]
        rules = ", ".join(rule.value for rule in _rules_of(found.rules))
        return str(text.format(a=found.a, b=found.b, c=found.c, count=found.number, rules=rules))

    def _stale(self, found: Reason) -> str:
        return self._inputs[found.place].described(
            _age_ns(found), self.texts[found.text], found.number, words.STAMPS[found.stamps]
        )

    def _why(self, found: Reason) -> str:
        if found.code == ReasonCode.TEXT:
            return self.texts[found.text]
        if found.why < len(words.WHY):
            return words.WHY[found.why]
        kind = found.why - len(words.WHY)
        if kind < len(_FAILED):
            why = _FAILED[kind]
        else:
            why = self._failure(found._replace(code=found.failed))
        return words.FAILED.format(state=self._state(found.begin), why=why)

    def last_switch(self, found: Reason) -> tuple[str, ...]:
        """Return the last switch of a set: from, to, why."""
        return self._states[found.begin], self._states[found.end], self._why(found)

    def _state(self, number: int) -> str | None:
        return None if number < 0 else self._states[number]

    def _request(self, to: int, why: int, ticks: int, timeout_state: int) -> tuple[Any, ...]:
        return (
            self._states[to],
            words.WHY[why],
            None if ticks < 0 else ticks,
            self._state(timeout_state),
        )

    def refusal(self, found: Mapping[str, Any]) -> str:
        """Return why a switch does not begin; see `Refusal` in policy_set.hpp."""
        code, policy = RefusalCode(found["code"]), self._set
        if code is RefusalCode.NONE or policy is None:
            return ""
        failure = Reason(*found["failure"])
        if code is RefusalCode.TEXT:
            return self.texts[failure.text]
        to, other = self._states[found["to"]], self._states[found["other"]]
        place = found["member"]
        member = self._members[place] if place >= 0 else ""
        match code:
            case RefusalCode.BLENDING:
                problems = [words.STILL_BLENDING.format(state=other)]
            case RefusalCode.CONDITIONS:
                problems = policy.states[other].checks[to].words(found)
            case RefusalCode.MODEL_ERROR | RefusalCode.STALE:
                problems = [words.OF_MEMBER.format(member=member, why=self._failure(failure))]
            case RefusalCode.NOT_FINITE:
                problems = [words.OF_MEMBER.format(member=member, why=words.MEMBER_NOT_FINITE)]
            case _:
                off = {"ticks": -1, "off": found["off"]}
                problems = policy.states[other].checks[to].words(off, is_target=True)
        return words.SWITCH.format(to=to, problems="; ".join(problems))


def _age_ns(found: Reason) -> int | None:
    return None if math.isnan(found.a) else int(found.a)


def _rules_of(bits: int) -> list[Rule]:
    return [rule for rule in _CLIPPING if bits >> _RULES.index(rule) & 1]
