# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""When a tick is due: by timer, at the arrival of an input, or on simulated time.

A pacer's `wait` returns the next tick, or None if nothing was due for a while, so that the loop can
check if it should stop.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

from rosgraph_msgs.msg import Clock

from policy_core.errors import RobotError
from policy_inference.nodes.sampling import Arrivals, Sampled

_SLICE_NS = 50_000_000


class DueTick(NamedTuple):
    """Time of a tick, all values in ns."""

    now_ns: int
    """Clock of ages and motions: steady, or simulated time."""
    next_deadline_ns: int
    """Time of the next tick, on the same clock."""
    ros_now_ns: int
    """Clock of header stamps."""
    missed: int
    """Deadlines before this one at which no tick could start."""
    late_ns: int = 0
    """Delay of the tick after its deadline, by the steady clock."""
    restarted: bool = False
    """True if simulated time ran backwards before this tick."""
    repeated: bool = False
    """True if the previous tick's time was published again: its command may have had no receiver.
    """


class Pacer(ABC):
    """Decides when to tick, by deadlines on the steady clock."""

    def __init__(self, period_ns: int) -> None:
        """Set the time between two ticks; `start` comes before the first `wait`."""
        self._period_ns, self._deadline_ns = period_ns, 0

    def start(self) -> None:
        """Set the first deadline to now."""
        self._deadline_ns = time.monotonic_ns()

    @abstractmethod
    def wait(self) -> DueTick | None:
        """Block until a tick is due, at most 50 ms; return None if none is due yet."""

    def clock(self) -> int:
        """Return the time on the clock of `DueTick.now_ns`."""
        return time.monotonic_ns()


class TimerPacer(Pacer):
    """Absolute deadlines on the steady clock; a missed deadline is skipped."""

    def wait(self) -> DueTick | None:
        left_ns = self._deadline_ns - time.monotonic_ns()
        if left_ns > _SLICE_NS:
            time.sleep(_SLICE_NS * 1e-9)
            return None
        if left_ns > 0:
            time.sleep(left_ns * 1e-9)
        return self._tick(time.monotonic_ns())

    def _tick(self, now_ns: int) -> DueTick:
        late_ns = max(0, now_ns - self._deadline_ns)
        missed = late_ns // self._period_ns
        self._deadline_ns += (missed + 1) * self._period_ns
        return DueTick(
            now_ns=now_ns,
            next_deadline_ns=self._deadline_ns,
            ros_now_ns=time.time_ns(),
            missed=missed,
            late_ns=late_ns,
        )


class TriggerPacer(Pacer):
    """Ticks at the first arrival on an input at or after each deadline.

    At the latest one period after the deadline, so that a dead input cannot stop the guard. If the
    input arrives at about the policy's rate, deadlines are moved to half a period before its
    arrivals, so that jitter does not make a tick wait for the next message.
    """

    def __init__(self, period_ns: int, trigger: Sampled[Any], arrivals: Arrivals) -> None:
        """Store the parts; `start` comes before the first `wait`.

        Args:
            period_ns: Time between two ticks.
            trigger: The input that starts a tick.
            arrivals: Monitors the trigger and the other inputs; their messages are read in advance,
                to relieve the tick.
        """
        super().__init__(period_ns)
        self.trigger, self._arrivals = trigger, arrivals

    def wait(self) -> DueTick | None:
        now_ns = time.monotonic_ns()
        if now_ns < self._deadline_ns:
            time.sleep(min(self._deadline_ns - now_ns, _SLICE_NS) * 1e-9)
            return None
        # An arrival before the deadline does not start the tick.
        ready: Sequence[Sampled[Any]] = self._arrivals.inputs
        latest_ns = self._deadline_ns + self._period_ns
        while time.monotonic_ns() < latest_ns:
            for sampled in ready:
                sampled.hold()
            ready = self._arrivals.wait(min(latest_ns - time.monotonic_ns(), _SLICE_NS))
            if self.trigger in ready:
                return self._tick(time.monotonic_ns(), arrived=True)
        return self._tick(time.monotonic_ns(), arrived=False)

    def _tick(self, now_ns: int, *, arrived: bool) -> DueTick:
        late_ns = now_ns - self._deadline_ns
        # A tick without an arrival happens one period late, and uses up that deadline only.
        missed = max(0, late_ns // self._period_ns - (0 if arrived else 1))
        if arrived and late_ns > self._period_ns // 2:
            self._deadline_ns = now_ns + self._period_ns // 2
        else:
            self._deadline_ns += (missed + 1) * self._period_ns
        return DueTick(
            now_ns=now_ns,
            next_deadline_ns=now_ns + self._period_ns,
            ros_now_ns=time.time_ns(),
            missed=missed,
            # Less than a period is the wait for the message.
            late_ns=missed * self._period_ns,
        )


class SimulatedPacer(Pacer):
    """Ticks on /clock only: at the first time at or after each deadline of simulated time.

    Ages and lateness are simulated time too, so that a paused simulator or a slow machine changes
    nothing.
    """

    def __init__(self, period_ns: int, clock: Sampled[Clock], arrivals: Arrivals) -> None:
        super().__init__(period_ns)
        self._messages, self._arrivals, self._now_ns, self._begins = clock, arrivals, -1, True

    def start(self) -> None:
        """Set the first deadline to the time of the next message."""
        self._begins = True

    def wait(self) -> DueTick | None:
        if not self._arrivals.wait(_SLICE_NS):
            return None
        now_ns = self._shown_ns()
        if now_ns is None:
            return None
        if now_ns == self._now_ns and not self._begins:
            return DueTick(
                now_ns=now_ns,
                next_deadline_ns=self._deadline_ns,
                ros_now_ns=now_ns,
                missed=0,
                repeated=True,
            )
        restarted = now_ns < self._now_ns
        deadline_ns = now_ns if restarted or self._begins else self._deadline_ns
        if now_ns < deadline_ns:
            return None
        self._now_ns, self._begins = now_ns, False
        missed = (now_ns - deadline_ns) // self._period_ns
        self._deadline_ns = deadline_ns + (missed + 1) * self._period_ns
        return DueTick(
            now_ns=now_ns,
            next_deadline_ns=self._deadline_ns,
            ros_now_ns=now_ns,
            missed=missed,
            restarted=restarted,
        )

    def _shown_ns(self) -> int | None:
        """Return the published time, or None.

        An unreadable message is not reported here: the simulator publishes the next time anyway.
        """
        try:
            message = self._messages.take()
        except RobotError:
            return None
        if message is None or message.clock.sec < 0:
            return None
        return int(message.clock.sec * 1_000_000_000 + message.clock.nanosec)

    def clock(self) -> int:
        return max(0, self._now_ns)
