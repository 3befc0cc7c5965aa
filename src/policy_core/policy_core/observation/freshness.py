# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Age of the inputs, and the reason why an input cannot be used."""

from __future__ import annotations

from policy_core import words
from policy_core.bundle.terms import is_perceived
from policy_core.control_state import Stateful

_SOONEST_NS, _LATEST_NS = -50_000_000, 500_000_000
"""Range of header ages in which the sender's clock counts as synchronized with ours."""
_RESTART_AGAIN_NS = 1_000_000_000
"""Time after the restart of a stream during which messages with earlier stamps count as old, since
clocks are not set back that often.
"""
_NOTED_STEP_NS = 20_000_000
_DRIFT_SHIFT, _SLEW_SHIFT = 10, 3
"""Allowances, as bit shifts: clocks may drift apart by 1/1024, as under NTP's slow corrections (500
ppm), and a sender whose clock is ahead may slew back by 1/8 (chrony's fastest correction is 1/12).
"""


class Input(Stateful):
    """An input: the age of its newest message, and the reason why its messages cannot be used.

    The header stamp identifies the sample in a message. The sample's age on arrival is the smaller
    of two measures, because setting a clock affects at most one of them:

    - the delay relative to the least delayed message of the stream, on our steady clock;
    - if the sender's clock is synchronized with ours, the age of the header: -50 ms to 500 ms, on
      our current clock or on our clock as of the last synchronization.

    Therefore a step in either clock does not make a live stream old, but an increasing transport
    delay does. At the start of a stream, only the header counts if the clocks are synchronized.

    A message with a repeated or earlier stamp is not new. But if the next message continues from an
    earlier stamp rather than from the newest one, the sender's clock was set back, and the stream
    starts over. This is accepted at most once per second, so that old messages sent in a loop do
    not count as new.
    """

    STATE = (
        "problem",
        "clock_step",
        "measured_ns",
        "repeats",
        "_born_ns",
        "_came_ns",
        "_stamp_ns",
        "_earlier",
        "_restarts",
        "_restarted_ns",
        "_refused",
        "_refused_stamps",
        "_ahead_ns",
        "_wall_ns",
        "_seen_wall_ns",
    )

    PLAN = ("name", "timeout_ns", "stops_all", "is_perceived", "no_message")

    def __init__(
        self,
        name: str,
        timeout_ns: int | None,
        *,
        stops_all: bool = True,
        no_message: str = words.NO_MESSAGE,
    ) -> None:
        """Begin without a message.

        Args:
            name: Topic of the input.
            timeout_ns: Age beyond which the input is stale; None for never.
            stops_all: True if the whole robot is held while the input is stale; if False, the
                policy that reads the input handles the problem.
            no_message: Description of the input before its first message.
        """
        self.name, self.is_perceived = name, is_perceived(name)
        self.timeout_ns, self.stops_all, self.no_message = timeout_ns, stops_all, no_message
        self.reset()

    def reset(self) -> None:
        self.problem = ""
        self.clock_step = ""
        """Description of the latest clock step; a new object for each step."""
        self.measured_ns: int | None = None
        """Measurement time of the newest message, on our steady clock: from its stamp, if the
        sender's clock is synchronized with ours, and otherwise from its age. Unlike the age, this
        time accounts for a constant delay, which the drift allowance removes from the age.
        """
        self.repeats = 0
        """For a camera: number of consecutive earlier messages with the same image."""
        self._born_ns: int | None = None
        self._came_ns = 0
        self._stamp_ns: int | None = None
        self._earlier: tuple[int, int] | None = None
        """Stamp and arrival time of the last message stamped earlier than the newest."""
        self._restarts = False
        """True if the current message belongs to a stream that starts over."""
        self._restarted_ns: int | None = None
        self._refused, self._refused_stamps = 0, ""
        """Number of messages since the newest one that were not new, and the last one's reason.
        """
        self._ahead_ns = 0
        """Stamp minus arrival time of the least delayed message, less the drift allowance."""
        self._wall_ns: int | None = None
        """Our clock for header stamps minus the steady clock, as of the last synchronization."""
        self._seen_wall_ns = 0

    def is_new(self, stamp_ns: int | None, now_ns: int) -> bool:
        """Return True if a message is new; call this once per message.

        Args:
            stamp_ns: Header stamp; None for a message without one.
            now_ns: Time on the steady clock.
        """
        newest_ns, self._restarts = self._stamp_ns, False
        if stamp_ns is None or newest_ns is None:
            return True
        if self._earlier is not None:
            self._restarts = self._goes_on_from(*self._earlier, stamp_ns, now_ns)
        # Kept if the stream starts over: its first messages may be unusable, and more follow.
        if self._restarts or stamp_ns < newest_ns:
            self._earlier = stamp_ns, now_ns
        elif stamp_ns > newest_ns:
            self._earlier = None
        if self._restarts or stamp_ns > newest_ns:
            return True
        self._refused += 1
        self._refused_stamps = words.STAMPS[1 if stamp_ns == newest_ns else 2]
        return False

    def _goes_on_from(self, earlier_ns: int, came_ns: int, stamp_ns: int, now_ns: int) -> bool:
        """Return True if a stamp continues from an earlier stamp, as after a clock is set back."""
        if self._restarted_ns is not None and now_ns - self._restarted_ns < _RESTART_AGAIN_NS:
            return False
        after_newest_ns = (self._stamp_ns or 0) + now_ns - self._came_ns
        after_earlier_ns = earlier_ns + now_ns - came_ns
        is_nearer = abs(stamp_ns - after_earlier_ns) < abs(stamp_ns - after_newest_ns)
        return stamp_ns > earlier_ns and is_nearer

    def accept(self, now_ns: int, stamp_ns: int | None = None, ros_now_ns: int = 0) -> None:
        """Record a new, usable message.

        Args:
            now_ns: Time on the steady clock.
            stamp_ns: Header stamp; None for a message without one.
            ros_now_ns: Time on our clock for header stamps.
        """
        self.problem = ""
        self._refused = 0
        self._born_ns = self.measured_ns = now_ns
        if stamp_ns is not None:
            self._born_ns = now_ns - self._delay_ns(now_ns, stamp_ns, ros_now_ns - now_ns)
            self._stamp_ns, self._came_ns = stamp_ns, now_ns

    def _delay_ns(self, now_ns: int, stamp_ns: int, wall_ns: int) -> int:
        """Return the age of a message on arrival, and set `measured_ns`."""
        before_ns, since_ns, ahead_ns = self._stamp_ns, now_ns - self._came_ns, self._ahead_ns
        if before_ns is not None and abs(wall_ns - self._seen_wall_ns) > _NOTED_STEP_NS:
            self._note(words.OUR_CLOCK, wall_ns - self._seen_wall_ns)
        self._seen_wall_ns = wall_ns
        header_ns = self._header_age_ns(now_ns - stamp_ns, wall_ns)
        agrees = _SOONEST_NS <= header_ns <= _LATEST_NS
        if before_ns is None:
            since_ns, ahead_ns = 0, wall_ns if agrees else stamp_ns - now_ns
        elif self._restarts:
            ahead_ns = stamp_ns - now_ns
        ahead_ns -= since_ns >> (_DRIFT_SHIFT if header_ns >= _SOONEST_NS else _SLEW_SHIFT)
        late_ns = now_ns + ahead_ns - stamp_ns
        self._ahead_ns = max(ahead_ns, stamp_ns - now_ns)
        if before_ns is not None and (self._restarts or late_ns < -_NOTED_STEP_NS):
            self._note_step(stamp_ns - before_ns - since_ns, now_ns)
        self.measured_ns = now_ns - max(0, header_ns if agrees else late_ns)
        return max(0, min(late_ns, header_ns) if agrees else late_ns)

    def _header_age_ns(self, steady_age_ns: int, wall_ns: int) -> int:
        """Return a header's age on our clock as of the last synchronization, or as of now."""
        if self._wall_ns is not None:
            age_ns = steady_age_ns + self._wall_ns
            if _SOONEST_NS <= age_ns <= _LATEST_NS:
                return age_ns
        age_ns = steady_age_ns + wall_ns
        if _SOONEST_NS <= age_ns <= _LATEST_NS:
            self._wall_ns = wall_ns
        return age_ns

    def _note_step(self, jump_ns: int, now_ns: int) -> None:
        """Record a step of the sender's clock, unless it is a small step forward."""
        if self._restarts:
            self._restarted_ns, self._restarts = now_ns, False
        elif jump_ns <= _NOTED_STEP_NS:
            return
        self._note(words.SENDERS_CLOCK, jump_ns)

    def _note(self, whose: str, step_ns: int) -> None:
        self.clock_step = words.CLOCK_STEP.format(whose=whose, a=step_ns * 1e-6)

    def show(self, born_ns: int | None, measured_ns: int | None) -> None:
        """Set the times to those of another input, for display."""
        self._born_ns, self.measured_ns = born_ns, measured_ns

    def reject(self, problem: str) -> None:
        """Record why a message is unusable; the age keeps increasing."""
        self.problem = problem

    def age_ns(self, now_ns: int) -> int | None:
        """Return the age of the newest message, in ns; None before the first usable message."""
        return None if self._born_ns is None else now_ns - self._born_ns

    def is_stale(self, now_ns: int) -> bool:
        """Return True if the input is too old to act on."""
        if self.timeout_ns is None:
            return False
        return self._born_ns is None or now_ns - self._born_ns > self.timeout_ns

    def describe(self, now_ns: int) -> str:
        """Describe the input in a few words: age, time-out, problems."""
        return self.described(
            self.age_ns(now_ns), self.problem, self._refused, self._refused_stamps
        )

    def described(self, age_ns: int | None, problem: str, refused: int, stamps: str) -> str:
        """Describe an input as `describe` does, from the given values."""
        age = self.no_message if age_ns is None else words.AGE.format(a=age_ns * 1e-6)
        if age_ns is not None and self.timeout_ns is not None and age_ns > self.timeout_ns:
            age = words.AGE_LIMIT.format(age=age, limit=self.timeout_ns * 1e-6)
        rejected = words.REFUSED_STAMPS.format(count=refused, stamps=stamps) if refused else ""
        problems = "; ".join(filter(None, [problem, rejected]))
        text = words.INPUT_PROBLEM if problems else words.INPUT
        return text.format(name=self.name, age=age, problems=problems)
