# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The course of a session: warm-up, episode, reset, next episode. The caller supplies all times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from lerobot_bridge.episode import Mark, Span
from policy_core.errors import RefusedError

_LEAP_NS = 10_000_000_000
"""A larger clock step means that the clock was set or the process was suspended."""


class State(Enum):
    """State of a session."""

    IDLE = "idle"
    WARM_UP = "warm-up"
    EPISODE = "episode"
    RESET = "reset"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Settings for a session's sequence of episodes.

    Attributes:
        episodes: Number of episodes after which the session stops, including those of earlier
            sessions.
        warm_up_s: Time before the first episode, with `auto`.
        episode_s: Maximum duration of an episode.
        reset_s: Time between episodes.
        auto: True if episodes follow each other automatically.
        judged: True if interventions are recorded: a person may drive instead of a policy.
    """

    episodes: int = 50
    warm_up_s: float = 5.0
    episode_s: float = 30.0
    reset_s: float = 1.0
    auto: bool = True
    judged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A finished episode; attributes not listed here are the same as in the sidecar file.

    Attributes:
        fault: True if a fault ended the episode and no request or answer has reported the fault
            yet.
    """

    number: int
    success: bool | None
    interventions: tuple[Span, ...] | None
    why: str
    fault: bool = False


class SessionHost(Protocol):
    """Functions that a session needs from its host, the recorder."""

    def obstacle(self, now_ns: int) -> str:
        """Return the reasons that no episode can start; empty if one can."""

    def begin(self, number: int, now_ns: int) -> None:
        """Record from now on."""

    def end(self, ended: Ended) -> Sequence[str]:
        """Keep the episode; return its problems."""

    def discard(self) -> None:
        """Delete the episode."""

    def judge(self, number: int, success: bool) -> None:
        """Write a verdict into the file of a finished episode."""

    def place(self, number: int) -> Path:
        """Return the folder of a kept episode."""

    def mark(self, kind: Mark, number: int, now_ns: int) -> None:
        """Publish a mark."""


@dataclass(slots=True)
class _RunningEpisode:
    number: int
    success: bool | None = None
    spans: list[Span] = field(default_factory=list)
    since_ns: int | None = None


class RecordingSession:
    """The session's state machine; all times are in ns on one clock.

    If the clock jumps back (after a simulator reset) or forward, the running episode ends at the
    time before the jump, so that its times only increase; a warm-up or reset keeps its duration.

    Attributes:
        state: The current state.
        done: Number of completed episodes.
        writing: Numbers of finished episodes that are still being written.
        number: Number of the running episode, or of the next one.
        waits_for: Why the next episode has not started although it is due; empty otherwise.
        signalled: True if the policy's bundle has a success signal: without a signal, an episode
            that the policy drove throughout is a failure.
    """

    def __init__(
        self, course: Course, host: SessionHost, *, number: int = 0, done: int = 0
    ) -> None:
        """Start idle; `number` is the next episode's number, `done` counts existing episodes."""
        self.course, self._host = course, host
        self.state, self.number, self.done = State.IDLE, number, done
        self.writing = set[int]()
        self.waits_for, self.signalled = "", False
        self._until_ns, self._now_ns = 0, 0
        self._running: _RunningEpisode | None = None
        self._last: int | None = None
        self._driving = set[str]()

    def start(self, now_ns: int) -> str:
        """Start an episode, after any warm-up; return a description of what happens."""
        self._follow_clock(now_ns)
        if self._running:
            raise RefusedError(f"episode {self.number} is being recorded; request stop or next")
        if self._enough:
            raise RefusedError(
                f"all {self.course.episodes} episodes are recorded; for more, "
                "restart the node with a larger number"
            )
        if obstacle := self._host.obstacle(now_ns):
            raise RefusedError(*obstacle.split("\n"))
        fresh = self.state in (State.IDLE, State.FINISHED)
        if fresh and self.course.auto and self.course.warm_up_s > 0:
            self._wait(State.WARM_UP, self.course.warm_up_s, now_ns)
            return f"warm-up; episode {self.number} begins in {self.course.warm_up_s:g} s"
        self._begin(now_ns)
        return f"episode {self.number} has begun"

    def stop(self, now_ns: int) -> str:
        number = self._require_running(now_ns)
        wrong = self._end(now_ns, "stop was requested")
        self._after(now_ns, goes_on=self.course.auto)
        return "\n".join(
            [f"episode {number} has ended and is being written; {self._outlook()}", *wrong]
        )

    def discard(self, now_ns: int) -> str:
        """End the episode and delete it; the next episode gets its number."""
        self._follow_clock(now_ns)
        if not self._running and self._last is not None:
            raise RefusedError(
                "expected an episode that is being recorded, found none "
                f"({self.state.value}); episode {self._last} has ended and is kept: to "
                f"remove it, delete {self._host.place(self._last)} and restart "
                "the node, which counts the episodes when it starts"
            )
        number = self._require_running(now_ns)
        self._running = None
        self._host.discard()
        self._host.mark(Mark.DISCARD, number, now_ns)
        self._after(now_ns, goes_on=self.course.auto)
        return f"episode {number} is discarded; {self._outlook()}"

    def next(self, now_ns: int) -> str:
        """End and keep the episode; the next follows after a reset. While waiting, end the wait."""
        self._follow_clock(now_ns)
        if not self._running:
            return self.start(now_ns)
        number = self.number
        wrong = self._end(now_ns, "next was requested")
        self._after(now_ns, goes_on=True)
        return "\n".join(
            [f"episode {number} has ended and is being written; {self._outlook()}", *wrong]
        )

    def finish(self, now_ns: int, why: str = "finish was requested") -> str:
        """End the session; keep the episode that is being recorded."""
        self._follow_clock(now_ns)
        wrong = self._end(now_ns, why) if self._running else []
        self.state = State.FINISHED
        more = f", {len(self.writing)} being written" if self.writing else ""
        return "\n".join([f"{self.done} episodes are recorded{more}", *wrong])

    def judge(self, success: bool, now_ns: int) -> str:
        """Set the verdict of the running episode or, if none is running, of the last one."""
        self._follow_clock(now_ns)
        if self._running:
            self._running.success = success
            number = self.number
        elif self._last is not None:
            number = self._last
            self._host.judge(number, success)
        else:
            raise RefusedError(
                "expected an episode to judge, found none since the node was started"
            )
        self._host.mark(Mark.SUCCESS if success else Mark.FAILURE, number, now_ns)
        return f"episode {number}: {'success' if success else 'failure'}"

    def policy_is_done(self, now_ns: int, *, over: bool) -> None:
        """Process the policy's success signal: the running episode succeeded unless already judged.

        Args:
            now_ns: Time of the signal.
            over: True if the policy's run is over, which ends the episode.
        """
        self._follow_clock(now_ns)
        if self._running and self._running.success is None:
            self.judge(True, now_ns)
        if self._running and over:
            self._end(now_ns, "the policy has completed its task")
            self._after(now_ns, goes_on=self.course.auto)

    def intervene(self, who: str, drives: bool, now_ns: int) -> None:
        """Note a report from the source `who` that a person has started or stopped driving.

        An intervention lasts as long as any source reports it.
        """
        self._follow_clock(now_ns)
        before = self.intervening
        (self._driving.add if drives else self._driving.discard)(who)
        if self._running and self.intervening is not before:
            self._note(now_ns)

    @property
    def intervening(self) -> bool:
        return bool(self._driving)

    def tick(self, now_ns: int) -> None:
        self._follow_clock(now_ns)
        if now_ns < self._until_ns:
            return
        if self.state is State.EPISODE:
            running = self._running
            assert running is not None
            driven = running.spans or self._driving
            if self.signalled and running.success is None and not driven:
                self.judge(False, now_ns)
            self._end(now_ns, "it reached its time limit")
            self._after(now_ns, goes_on=self.course.auto)
        elif self.state in (State.WARM_UP, State.RESET):
            self.waits_for = self._host.obstacle(now_ns)
            if not self.waits_for:
                self._begin(now_ns)

    def cut(self, now_ns: int, why: str) -> None:
        """End the episode because of a fault; keep its data, and start no further episode."""
        self._end(now_ns, why, fault=True)
        self.state = State.IDLE

    def kept(self, number: int) -> None:
        """Note that an episode is complete on the disk."""
        self.writing.discard(number)
        self.done += 1

    def failed(self, number: int) -> None:
        """Note that an episode could not be written, and start no further episode."""
        self.writing.discard(number)
        if self._last == number:
            self._last = None
        if self._running and self._running.number == number:
            self._running = None
            self.number += 1
        if not self._running:
            self.state = State.IDLE

    def seconds_left(self, now_ns: int) -> float:
        """Return the maximum remaining time of the current state, s."""
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
            how = "back" if step_ns < 0 else "forward"
            self._end(
                before_ns, f"the clock jumped {how} by {abs(step_ns) * 1e-9:.3f} s", fault=True
            )
            self._after(now_ns, goes_on=self.course.auto)
        else:
            self._until_ns += step_ns

    def _require_running(self, now_ns: int) -> int:
        self._follow_clock(now_ns)
        if not self._running:
            raise RefusedError(
                "expected an episode that is being recorded, found none "
                f"({self.state.value}); to end the session, request finish"
            )
        return self.number

    def _begin(self, now_ns: int) -> None:
        self._host.begin(self.number, now_ns)
        self._running, self.waits_for = _RunningEpisode(self.number), ""
        self._wait(State.EPISODE, self.course.episode_s, now_ns)
        self._host.mark(Mark.START, self.number, now_ns)
        if self._driving:
            self._note(now_ns)

    def _end(self, now_ns: int, why: str, *, fault: bool = False) -> Sequence[str]:
        running, self._running = self._running, None
        assert running is not None
        if running.since_ns is not None:
            running.spans.append(Span(running.since_ns, now_ns))
        watched = self.course.judged or running.spans
        wrong = self._host.end(
            Ended(
                number=running.number,
                success=running.success,
                why=why,
                fault=fault,
                interventions=tuple(running.spans) if watched else None,
            )
        )
        self._host.mark(Mark.STOP, running.number, now_ns)
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
        """Record in the episode that a person has started or stopped driving."""
        running = self._running
        assert running is not None
        if self._driving:
            running.since_ns = now_ns
        elif running.since_ns is not None:
            running.spans.append(Span(running.since_ns, now_ns))
            running.since_ns = None
        self._host.mark(
            Mark.INTERVENTION_BEGINS if self._driving else Mark.INTERVENTION_ENDS,
            self.number,
            now_ns,
        )

    def _outlook(self) -> str:
        if self.state is State.RESET:
            return f"episode {self.number} begins in {self.course.reset_s:g} s"
        return f"{self.done} of {self.course.episodes} are recorded"
