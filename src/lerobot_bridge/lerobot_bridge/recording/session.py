# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The course of a session: warm-up, episode, reset, next episode. No clock but the one given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from lerobot_bridge.episode import Mark, Span
from policy_inference.errors import RefusedError

_LEAP_NS = 10_000_000_000
"""A clock that goes on by more than this at once was set, or nothing ran meanwhile."""


class State(Enum):
    """What goes on."""

    IDLE = "idle"
    WARM_UP = "warm-up"
    EPISODE = "episode"
    RESET = "reset"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How a session goes.

    Attributes:
        episodes: How many there shall be, those of earlier times included.
        warm_up_s: Time before the first one, where they follow each other by themselves.
        episode_s: Length of one, at most.
        reset_s: Time between two.
        auto: Whether they follow each other by themselves.
        judged: Whether a person may drive in a policy's place, so that it is watched for.
    """

    episodes: int = 50
    warm_up_s: float = 5.0
    episode_s: float = 30.0
    reset_s: float = 1.0
    auto: bool = True
    judged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """An episode that is over; attributes as those of the sidecar.

    Attributes:
        fault: Whether something went wrong, so that nobody knows yet that it is over.
    """

    number: int
    success: bool | None
    interventions: tuple[Span, ...] | None
    why: str
    fault: bool = False


class Stage(Protocol):
    """What a session is played on."""

    def obstacle(self, now_ns: int) -> str:
        """Return why no episode can begin; empty where one can."""

    def begin(self, number: int, now_ns: int) -> None:
        """Record from now on."""

    def end(self, ended: Ended) -> Sequence[str]:
        """Keep what was recorded; return what is wrong with it."""

    def discard(self) -> None:
        """Keep nothing of it."""

    def judge(self, number: int, success: bool) -> None:
        """Note how an episode that is over ended."""

    def place(self, number: int) -> Path:
        """Return the folder of an episode that is kept."""

    def mark(self, kind: Mark, number: int, now_ns: int) -> None:
        """Tell others."""


@dataclass(slots=True)
class _Running:
    """The episode that is being recorded."""

    number: int
    success: bool | None = None
    spans: list[Span] = field(default_factory=list)
    since_ns: int | None = None


class Session:
    """The state machine; all times are ns of one clock.

    Where that goes back (a simulator was reset) or leaps, an episode ends with the time before, so
    that its times are in order; a warm-up or reset takes as long as it would have.

    Attributes:
        state: What goes on.
        done: Number of episodes that are there, whole.
        writing: Numbers of those that are over and still being written.
        number: Of the episode that is being recorded, or of the next one.
        waits_for: Why the next one does not begin though its time has come; or empty.
    """

    def __init__(self, course: Course, stage: Stage, *, number: int = 0, done: int = 0) -> None:
        """Begin idle; `number` is that of the next episode, `done` how many are there already."""
        self.course, self._stage = course, stage
        self.state, self.number, self.done = State.IDLE, number, done
        self.writing = set[int]()
        self.waits_for = ""
        self._until_ns, self._now_ns = 0, 0
        self._running: _Running | None = None
        self._last: int | None = None
        self._driving = set[str]()

    def start(self, now_ns: int) -> str:
        """Begin an episode, after the warm-up where there is one; return what happens now.

        Raises:
            RefusedError: One is being recorded, all are there, or something is missing.
        """
        self._follow_clock(now_ns)
        if self._running:
            raise RefusedError(f"episode {self.number} is being recorded; ask for stop or next")
        if self._enough:
            raise RefusedError(
                f"all {self.course.episodes} episodes are there; for more, start "
                "the node anew with a larger number"
            )
        if obstacle := self._stage.obstacle(now_ns):
            raise RefusedError(obstacle)
        fresh = self.state in (State.IDLE, State.FINISHED)
        if fresh and self.course.auto and self.course.warm_up_s > 0:
            self._wait(State.WARM_UP, self.course.warm_up_s, now_ns)
            return f"warm-up; episode {self.number} begins in {self.course.warm_up_s:g} s"
        self._begin(now_ns)
        return f"episode {self.number} has begun"

    def stop(self, now_ns: int) -> str:
        """End the episode and keep it.

        Raises:
            RefusedError: None is being recorded.
        """
        number = self._require_running(now_ns)
        wrong = self._end(now_ns, "stop was asked for")
        self._after(now_ns, goes_on=self.course.auto)
        return "\n".join([f"episode {number} is over and being written; {self._outlook()}", *wrong])

    def discard(self, now_ns: int) -> str:
        """End the episode and keep nothing of it; the next one has its number.

        Raises:
            RefusedError: None is being recorded.
        """
        self._follow_clock(now_ns)
        if not self._running and self._last is not None:
            raise RefusedError(
                "expected an episode that is being recorded, found none "
                f"({self.state.value}); episode {self._last} is over and kept: to "
                f"be rid of it, delete {self._stage.place(self._last)} and start "
                "the node anew, which counts what is there"
            )
        number = self._require_running(now_ns)
        self._running = None
        self._stage.discard()
        self._stage.mark(Mark.DISCARD, number, now_ns)
        self._after(now_ns, goes_on=self.course.auto)
        return f"episode {number} is discarded; {self._outlook()}"

    def next(self, now_ns: int) -> str:
        """End the episode and keep it, the next one follows its reset; or end a wait at once.

        Raises:
            RefusedError: As `start`.
        """
        self._follow_clock(now_ns)
        if not self._running:
            return self.start(now_ns)
        number = self.number
        wrong = self._end(now_ns, "next was asked for")
        self._after(now_ns, goes_on=True)
        return "\n".join([f"episode {number} is over and being written; {self._outlook()}", *wrong])

    def finish(self, now_ns: int, why: str = "finish was asked for") -> str:
        """End the session; an episode that is being recorded is kept."""
        self._follow_clock(now_ns)
        wrong = self._end(now_ns, why) if self._running else []
        self.state = State.FINISHED
        more = f", {len(self.writing)} being written" if self.writing else ""
        return "\n".join([f"{self.done} episodes are there{more}", *wrong])

    def judge(self, success: bool, now_ns: int) -> str:
        """Say how the episode that is being recorded ends, or the last one ended.

        Raises:
            RefusedError: There is none.
        """
        self._follow_clock(now_ns)
        if self._running:
            self._running.success = success
            number = self.number
        elif self._last is not None:
            number = self._last
            self._stage.judge(number, success)
        else:
            raise RefusedError("expected an episode to judge, found none since the node began")
        self._stage.mark(Mark.SUCCESS if success else Mark.FAILURE, number, now_ns)
        return f"episode {number}: {'success' if success else 'failure'}"

    def intervene(self, who: str, drives: bool, now_ns: int) -> None:
        """Note that `who` says that a person drives in the policy's place, or no longer does.

        One drives as long as anybody says so.
        """
        self._follow_clock(now_ns)
        before = self.intervening
        (self._driving.add if drives else self._driving.discard)(who)
        if self._running and self.intervening is not before:
            self._note(now_ns)

    @property
    def intervening(self) -> bool:
        """Whether a person drives in the policy's place."""
        return bool(self._driving)

    def tick(self, now_ns: int) -> None:
        """Do what it is time for."""
        self._follow_clock(now_ns)
        if now_ns < self._until_ns:
            return
        if self.state is State.EPISODE:
            self._end(now_ns, "its time was over")
            self._after(now_ns, goes_on=self.course.auto)
        elif self.state in (State.WARM_UP, State.RESET):
            self.waits_for = self._stage.obstacle(now_ns)
            if not self.waits_for:
                self._begin(now_ns)

    def cut(self, now_ns: int, why: str) -> None:
        """End the episode for a fault, keep what there is of it, and begin no other."""
        self._end(now_ns, why, fault=True)
        self.state = State.IDLE

    def kept(self, number: int) -> None:
        """Take note that an episode is there."""
        self.writing.discard(number)
        self.done += 1

    def failed(self, number: int) -> None:
        """Take note that an episode could not be written, and begin no other."""
        self.writing.discard(number)
        if self._last == number:
            self._last = None
        if self._running and self._running.number == number:
            self._running = None
            self.number += 1
        if not self._running:
            self.state = State.IDLE

    def seconds_left(self, now_ns: int) -> float:
        """Return how long what goes on still takes, at most, s."""
        waits = self.state in (State.WARM_UP, State.EPISODE, State.RESET)
        return max(0.0, (self._until_ns - now_ns) * 1e-9) if waits else 0.0

    @property
    def _enough(self) -> bool:
        return self.done + len(self.writing) >= self.course.episodes

    def _follow_clock(self, now_ns: int) -> None:
        before_ns, self._now_ns = self._now_ns, now_ns
        step_ns = now_ns - before_ns
        if 0 <= step_ns <= _LEAP_NS:
            return
        if self._running:
            how = "back" if step_ns < 0 else "on at once"
            self._end(before_ns, f"the clock went {how} by {abs(step_ns) * 1e-9:.3f} s", fault=True)
            self._after(now_ns, goes_on=self.course.auto)
        else:
            self._until_ns += step_ns

    def _require_running(self, now_ns: int) -> int:
        self._follow_clock(now_ns)
        if not self._running:
            raise RefusedError(
                "expected an episode that is being recorded, found none "
                f"({self.state.value}); to begin none, ask for finish"
            )
        return self.number

    def _begin(self, now_ns: int) -> None:
        self._stage.begin(self.number, now_ns)
        self._running, self.waits_for = _Running(self.number), ""
        self._wait(State.EPISODE, self.course.episode_s, now_ns)
        self._stage.mark(Mark.START, self.number, now_ns)
        if self._driving:
            self._note(now_ns)

    def _end(self, now_ns: int, why: str, *, fault: bool = False) -> Sequence[str]:
        """End the episode that is being recorded; return what is wrong with it."""
        running, self._running = self._running, None
        assert running is not None
        if running.since_ns is not None:
            running.spans.append(Span(running.since_ns, now_ns))
        watched = self.course.judged or running.spans
        wrong = self._stage.end(
            Ended(
                number=running.number,
                success=running.success,
                why=why,
                fault=fault,
                interventions=tuple(running.spans) if watched else None,
            )
        )
        self._stage.mark(Mark.STOP, running.number, now_ns)
        self.writing.add(running.number)
        self._last, self.number = running.number, running.number + 1
        return wrong

    def _after(self, now_ns: int, *, goes_on: bool) -> None:
        if self._enough:
            self.state = State.FINISHED
        elif goes_on:
            self._wait(State.RESET, self.course.reset_s, now_ns)
        else:
            self.state = State.IDLE

    def _wait(self, state: State, seconds: float, now_ns: int) -> None:
        self.state, self._until_ns, self.waits_for = state, now_ns + round(seconds * 1e9), ""

    def _note(self, now_ns: int) -> None:
        """Note that a person begins or ceases to drive, in the episode."""
        running = self._running
        assert running is not None
        if self._driving:
            running.since_ns = now_ns
        elif running.since_ns is not None:
            running.spans.append(Span(running.since_ns, now_ns))
            running.since_ns = None
        self._stage.mark(
            Mark.INTERVENTION_BEGINS if self._driving else Mark.INTERVENTION_ENDS,
            self.number,
            now_ns,
        )

    def _outlook(self) -> str:
        if self.state is State.RESET:
            return f"episode {self.number} begins in {self.course.reset_s:g} s"
        return f"{self.done} of {self.course.episodes} are there"
