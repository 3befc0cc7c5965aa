# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Any course of a session: each episode ends once, none overlap, and none are too many."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lerobot_bridge.episode import Mark
from lerobot_bridge.recording.session import Course, RecordingSession, State
from policy_core.errors import RefusedError

from .test_session import Desk, S

EPISODES, EPISODE_S, RESET_S, WARM_UP_S = 3, 8.0, 1.0, 2.0


class AnySession(RuleBasedStateMachine):
    """A session of three episodes, its operator, its disk and its clock."""

    @initialize(auto=strategies.booleans(), judged=strategies.booleans())
    def begins(self, auto: bool, judged: bool) -> None:
        self.desk, self.now_ns, self.lost = Desk(), 1000 * S, 0
        course = Course(
            episodes=EPISODES,
            episode_s=EPISODE_S,
            reset_s=RESET_S,
            warm_up_s=WARM_UP_S,
            auto=auto,
            judged=judged,
        )
        self.session = RecordingSession(course, self.desk)
        self.session.tick(self.now_ns)

    def ask(self, request: Callable[[int], object]) -> None:
        """A request that is refused changes nothing."""
        session = self.session
        before = (session.state, session.number, session.done, set(session.writing))
        try:
            request(self.now_ns)
        except RefusedError:
            assert (session.state, session.number, session.done, session.writing) == before

    @rule(seconds=strategies.sampled_from([0.1, 1.0, 2.0, 9.0]))
    def time_passes(self, seconds: float) -> None:
        self.now_ns += round(seconds * S)
        self.session.tick(self.now_ns)

    @rule(seconds=strategies.sampled_from([-400, -1, 60]))
    def the_clock_jumps(self, seconds: int) -> None:
        self.now_ns += seconds * S
        self.session.tick(self.now_ns)

    @rule()
    def start(self) -> None:
        self.ask(self.session.start)

    @rule()
    def stop(self) -> None:
        self.ask(self.session.stop)

    @rule()
    def discard(self) -> None:
        self.ask(self.session.discard)

    @rule()
    def next(self) -> None:
        self.ask(self.session.next)

    @rule()
    def finish(self) -> None:
        self.session.finish(self.now_ns)
        assert self.session.state is State.FINISHED

    @rule(success=strategies.booleans())
    def judge(self, success: bool) -> None:
        with suppress(RefusedError):
            self.session.judge(success, self.now_ns)
            assert self.desk.marks[-1][0] is (Mark.SUCCESS if success else Mark.FAILURE)

    @rule(who=strategies.sampled_from(["topic", "service"]), drives=strategies.booleans())
    def intervene(self, who: str, drives: bool) -> None:
        self.session.intervene(who, drives, self.now_ns)

    @rule(missing=strategies.sampled_from(["", "/front: none"]))
    def something_is_missing(self, missing: str) -> None:
        self.desk.missing = missing

    @precondition(lambda self: self.session.writing)
    @rule(keeps=strategies.booleans())
    def an_episode_is_written(self, keeps: bool) -> None:
        number = min(self.session.writing)
        (self.session.kept if keeps else self.session.failed)(number)

    @precondition(lambda self: self.session.state is State.EPISODE)
    @rule()
    def the_disk_fails(self) -> None:
        self.session.failed(self.session.number)
        self.lost += 1
        assert self.session.state is State.IDLE

    @precondition(lambda self: self.session.state is State.EPISODE)
    @rule()
    def the_disk_is_full(self) -> None:
        self.session.cut(self.now_ns, "full")
        assert self.session.state is State.IDLE

    @invariant()
    def one_episode_runs_or_none(self) -> None:
        ended = len(self.desk.kept) + self.desk.discarded + self.lost
        assert len(self.desk.begun) - ended == (self.session.state is State.EPISODE)

    @invariant()
    def there_are_never_too_many(self) -> None:
        session = self.session
        running = session.state is State.EPISODE
        assert session.done + len(session.writing) + running <= EPISODES

    @invariant()
    def numbers_go_on(self) -> None:
        numbers = [each.number for each in self.desk.kept]
        assert numbers == sorted(set(numbers))
        assert all(number < self.session.number for number in numbers)

    @invariant()
    def nothing_lasts_longer_than_it_may(self) -> None:
        longest = {
            State.EPISODE: EPISODE_S,
            State.RESET: RESET_S,
            State.WARM_UP: WARM_UP_S,
        }.get(self.session.state, 0.0)
        assert 0.0 <= self.session.seconds_left(self.now_ns) <= longest

    @invariant()
    def interventions_are_in_their_episode_and_do_not_overlap(self) -> None:
        begins = {number: at for kind, number, at in self.desk.marks if kind is Mark.START}
        ends = {number: at for kind, number, at in self.desk.marks if kind is Mark.STOP}
        for each in self.desk.kept:
            times = [at for span in each.interventions or () for at in (span.begin_ns, span.end_ns)]
            assert times == sorted(times)
            assert all(begins[each.number] <= at <= ends[each.number] for at in times)


AnySession.TestCase.settings = settings(stateful_step_count=30, derandomize=True)
TestAnySession = AnySession.TestCase
