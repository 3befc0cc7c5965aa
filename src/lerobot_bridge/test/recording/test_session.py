# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The course of a session, on a clock that the test advances."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lerobot_bridge.episode import Mark, Span
from lerobot_bridge.recording.session import Course, Ended, RecordingSession, State
from policy_core.errors import RefusedError
from testkit.wording import check_wording, refusal

S = 1_000_000_000


class Desk:
    """Records what a session does, and the times between."""

    def __init__(self) -> None:
        self.missing = ""
        self.begun: list[int] = []
        self.kept: list[Ended] = []
        self.wrong: list[str] = []
        self.discarded = 0
        self.judged: list[tuple[int, bool]] = []
        self.marks: list[tuple[Mark, int, int]] = []

    def obstacle(self, now_ns: int) -> str:
        return self.missing

    def begin(self, number: int, now_ns: int) -> None:
        self.begun.append(number)

    def end(self, ended: Ended) -> list[str]:
        self.kept.append(ended)
        return self.wrong

    def discard(self) -> None:
        self.discarded += 1

    def judge(self, number: int, success: bool) -> None:
        self.judged.append((number, success))

    def place(self, number: int) -> Path:
        return Path(f"session/episode_{number:04d}")

    def mark(self, kind: Mark, number: int, now_ns: int) -> None:
        self.marks.append((kind, number, now_ns))


@pytest.fixture
def session_desk() -> Desk:
    return Desk()


@pytest.fixture
def auto(session_desk: Desk) -> RecordingSession:
    """Return a session of three 30 s episodes that follow each other automatically."""
    return RecordingSession(Course(episodes=3), session_desk)


@pytest.fixture
def by_hand(session_desk: Desk) -> RecordingSession:
    """Return a session of three episodes that a person starts."""
    return RecordingSession(Course(episodes=3, auto=False), session_desk)


def passes(session: RecordingSession, to: int, since: int = 0) -> None:
    for second in range(since, to + 1):
        session.tick(second * S)


def test_warm_up_episodes_and_resets_follow_each_other(
    auto: RecordingSession, session_desk: Desk
) -> None:
    auto.start(0)
    states = []
    for second in range(120):
        auto.tick(second * S)
        states.append(auto.state)

    # 5 s of warm-up, then 30 s of episode and 1 s of reset in turn; no reset after the last one.
    assert (
        states
        == [State.WARM_UP] * 5
        + [*([State.EPISODE] * 30 + [State.RESET]) * 2, *[State.EPISODE] * 30]
        + [State.FINISHED] * 23
    )
    assert [each.number for each in session_desk.kept] == [0, 1, 2]
    check_wording(session_desk.kept[0].why)
    assert [(kind, number, at // S) for kind, number, at in session_desk.marks] == [
        (Mark.START, 0, 5),
        (Mark.STOP, 0, 35),
        (Mark.START, 1, 36),
        (Mark.STOP, 1, 66),
        (Mark.START, 2, 67),
        (Mark.STOP, 2, 97),
    ]


def test_by_hand_an_episode_begins_at_once_and_none_follows(
    by_hand: RecordingSession, session_desk: Desk
) -> None:
    by_hand.start(0)
    passes(by_hand, 29)
    assert by_hand.seconds_left(29 * S) == 1.0

    by_hand.tick(30 * S)
    by_hand.tick(99 * S)

    assert by_hand.state is State.IDLE
    assert session_desk.begun == [0]
    assert (by_hand.done, by_hand.writing) == (0, {0})
    by_hand.kept(0)
    assert (by_hand.done, by_hand.writing) == (1, set())


def test_next_ends_an_episode_and_another_follows_its_reset(
    by_hand: RecordingSession, session_desk: Desk
) -> None:
    by_hand.start(0)
    by_hand.next(3 * S)
    by_hand.tick(4 * S - 1)
    assert session_desk.begun == [0]

    by_hand.tick(4 * S)

    assert session_desk.begun == [0, 1]
    (kept,) = session_desk.kept
    check_wording(kept.why)


def test_discarded_episode_gives_its_number_to_the_next(
    auto: RecordingSession, session_desk: Desk
) -> None:
    auto.start(0)
    auto.start(0)
    auto.discard(2 * S)
    auto.tick(3 * S)

    assert session_desk.begun == [0, 0]
    assert (session_desk.discarded, session_desk.kept, auto.done) == (1, [], 0)
    assert (Mark.DISCARD, 0, 2 * S) in session_desk.marks


def test_an_episode_waits_until_nothing_is_missing(
    auto: RecordingSession, session_desk: Desk
) -> None:
    auto.start(0)
    session_desk.missing = "/front: silent"
    auto.tick(6 * S)
    assert (auto.waits_for, session_desk.begun) == ("/front: silent", [])

    session_desk.missing = ""
    auto.tick(7 * S)

    assert (auto.waits_for, session_desk.begun) == ("", [0])
    passes(auto, 37, since=7)  # the episode has its full duration
    assert session_desk.marks == [(Mark.START, 0, 7 * S), (Mark.STOP, 0, 37 * S)]


def test_success_is_of_the_last_episode_when_none_runs(
    by_hand: RecordingSession, session_desk: Desk
) -> None:
    with refusal(RefusedError):
        by_hand.judge(True, 0)
    by_hand.start(0)
    by_hand.stop(S)

    by_hand.judge(False, 2 * S)

    assert session_desk.judged == [(0, False)]
    assert session_desk.marks[-1] == (Mark.FAILURE, 0, 2 * S)


def test_interventions_are_spans_of_the_episode(session_desk: Desk) -> None:
    session = RecordingSession(Course(auto=False, judged=True), session_desk)
    session.intervene("service", True, 0)
    session.start(S)
    session.intervene("service", False, 2 * S)
    session.intervene("topic", True, 4 * S)
    session.intervene("service", True, 5 * S)
    session.intervene("topic", False, 6 * S)
    session.stop(8 * S)

    assert session_desk.kept[0].interventions == (Span(S, 2 * S), Span(4 * S, 8 * S))
    assert [kind for kind, _, _ in session_desk.marks] == [
        Mark.START,
        Mark.INTERVENTION_BEGINS,
        Mark.INTERVENTION_ENDS,
        Mark.INTERVENTION_BEGINS,
        Mark.STOP,
    ]


@pytest.mark.parametrize("now_s", [1, 516])
def test_episode_ends_where_its_clock_goes_back_or_leaps(
    now_s: int, auto: RecordingSession, session_desk: Desk
) -> None:
    auto.start(500 * S)
    auto.start(500 * S)
    auto.intervene("topic", True, 502 * S)
    auto.tick(505 * S)

    auto.tick(now_s * S)

    (ended,) = session_desk.kept
    check_wording(ended.why)
    assert ended.fault
    assert ended.interventions == (Span(502 * S, 505 * S),)
    assert session_desk.marks[-1] == (Mark.STOP, 0, 505 * S)
    assert (auto.state, auto.seconds_left(now_s * S)) == (State.RESET, 1.0)
    passes(auto, now_s + 1, since=now_s)
    assert session_desk.begun == [0, 1]


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
        """Make a request, and check that it changes nothing if it is refused."""
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
        longest = {State.EPISODE: EPISODE_S, State.RESET: RESET_S, State.WARM_UP: WARM_UP_S}.get(
            self.session.state, 0.0
        )
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
