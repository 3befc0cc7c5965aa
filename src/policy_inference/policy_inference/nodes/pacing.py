# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""When a tick is due: by timer, at the arrival of an input, or on simulated time.

A pacer's `wait` returns the next tick, or None when nothing was due for a while, so that the
loop can look whether it should stop.
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
    """When a tick is due, all times in ns."""

    now_ns: int
    """The clock of ages and motions: steady, or simulated time."""
    next_deadline_ns: int
    """When the next tick is due, on the same clock."""
    ros_now_ns: int
    """The clock of header stamps."""
    missed: int
    """Deadlines before this one at which no tick could start."""
    late_ns: int = 0
    """How long after its deadline the tick began, by the steady clock."""
    restarted: bool = False
    """Whether simulated time ran backwards before this tick."""
    repeated: bool = False
    """Whether this is the time of the tick before, shown again: it may have met no one."""


class Pacer(ABC):
    """Says when to tick, by deadlines on the steady clock."""

    def __init__(self, period_ns: int) -> None:
        """Keep the time between two ticks; `start` comes before the first `wait`."""
        self._period_ns, self._deadline_ns = period_ns, 0

    def start(self) -> None:
        """Make now the first deadline."""
        self._deadline_ns = time.monotonic_ns()

    @abstractmethod
    def wait(self) -> DueTick | None:
        """Block until a tick is due, at most 50 ms; None: not yet."""

    def clock(self) -> int:
        """Return the time on the clock of `DueTick.now_ns`."""
        return time.monotonic_ns()


class TimerPacer(Pacer):
    """Absolute deadlines on the steady clock; a deadline that cannot be kept is left out."""

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

    At the latest one period after the deadline, so that a dead input cannot stop the guard.
    Where the input comes at about the policy's rate, deadlines are moved to half a period before
    its arrivals, so that jitter does not make a tick wait for the message after.
    """

    def __init__(self, period_ns: int, trigger: Sampled[Any], arrivals: Arrivals) -> None:
        """Keep the parts; `start` comes before the first `wait`.

        Args:
            period_ns: Time between two ticks.
            trigger: The input that starts a tick.
            arrivals: Watches the trigger and the other inputs, whose messages are read while
                there is time, so that a tick need not.
        """
        super().__init__(period_ns)
        self.trigger, self._arrivals = trigger, arrivals

    def wait(self) -> DueTick | None:
        now_ns = time.monotonic_ns()
        if now_ns < self._deadline_ns:
            time.sleep(min(self._deadline_ns - now_ns, _SLICE_NS) * 1e-9)
            return None
        # What came before the deadline is not the arrival that is waited for.
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
            # What is less than a period is the wait for the message.
            late_ns=missed * self._period_ns,
        )


class SimulatedPacer(Pacer):
    """Ticks on /clock only: at the first time at or after each deadline of simulated time.

    Ages and lateness are simulated time too, so that a simulator that pauses, or a machine that
    is slow, changes nothing.
    """

    def __init__(self, period_ns: int, clock: Sampled[Clock], arrivals: Arrivals) -> None:
        super().__init__(period_ns)
        self._messages, self._arrivals, self._now_ns, self._begins = clock, arrivals, -1, True

    def start(self) -> None:
        """Make the next message's time the first deadline."""
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
        """Return the time that was shown; None where there is none, or no valid one.

        A message that cannot be read is not reported here: the simulator shows the next time.
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
