# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The control thread, in Python or C++, and work done between its ticks.

A pacer decides when a tick is due: by timer, on the arrival of an input, or in simulated time. Its
`wait` returns the next tick, or None if nothing was due for a while, so that the loop can check
whether it should stop.

The C++ loop samples, ticks and sends commands without the GIL. A Python thread shows each tick to
its observers a little later; ticks do not wait for it.
"""

from __future__ import annotations

import gc
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any, NamedTuple

from rclpy.publisher import Publisher
from rosgraph_msgs.msg import Clock

from policy_core.control.controller import RESTART, TICK_HANGS
from policy_core.errors import PolicyError, RefusedError, RobotError
from policy_core.native_controller import NativeController, TickRecord
from policy_core.plan import plan_bytes
from policy_inference.kinds.opening import NATIVE, PYTHON
from policy_inference.nodes.rclpy_gaps import MessageWaitSet, rcl_functions
from policy_inference.nodes.sampler import Sampler
from policy_inference.nodes.sampling import Arrivals, Sampled

_SLICE_NS = 50_000_000


class DueTick(NamedTuple):
    """Time of a tick; all values in ns."""

    now_ns: int
    """Time on the clock used for ages and motions: the steady clock, or simulated time."""
    next_deadline_ns: int
    """Time of the next tick, on the same clock."""
    ros_now_ns: int
    """Time on the clock used for header stamps."""
    missed: int
    """Number of deadlines missed since the previous tick."""
    late_ns: int = 0
    """Delay of the tick relative to its deadline, on the steady clock."""
    restarted: bool = False
    """True if simulated time ran backward before this tick."""
    repeated: bool = False
    """True if the previous tick's time was published again: that tick's command may have been lost.
    """


class Pacer(ABC):
    """Decides when to tick, by deadlines on the steady clock."""

    def __init__(self, period_ns: int) -> None:
        """Set the time between two ticks; call `start` before the first `wait`."""
        self._period_ns, self._deadline_ns = period_ns, 0

    def start(self) -> None:
        """Set the first deadline to now."""
        self._deadline_ns = time.monotonic_ns()

    @abstractmethod
    def wait(self) -> DueTick | None:
        """Block until a tick is due, for at most 50 ms; return None if none is due by then."""

    def clock(self) -> int:
        """Return the current time (ns) on the clock that `DueTick.now_ns` uses."""
        return time.monotonic_ns()


class TimerPacer(Pacer):
    """Ticks at absolute deadlines on the steady clock; skips missed deadlines."""

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
    """Ticks on an input's first arrival at or after each deadline.

    The tick starts at most one period after the deadline, so a dead input cannot stop the guard. If
    the input arrives at about the policy's rate, deadlines move to half a period before its
    arrivals, so jitter does not make a tick wait for the next message.
    """

    def __init__(self, period_ns: int, trigger: Sampled[Any], arrivals: Arrivals) -> None:
        """Store the parts; call `start` before the first `wait`.

        Args:
            period_ns: Time between two ticks.
            trigger: The input that starts a tick.
            arrivals: Monitors the trigger and the other inputs; their messages are read in advance,
                to shorten the tick.
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
            # A delay of less than a period is the wait for the message.
            late_ns=missed * self._period_ns,
        )


class SimulatedPacer(Pacer):
    """Ticks on /clock only: at the first published time at or after each simulated deadline.

    Ages and lateness are also in simulated time, so a paused simulator or a slow machine makes no
    difference.
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

        An unreadable message is not reported here, since the simulator publishes the next time
        anyway.
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


_WATCH_S = 0.05
_TICK_WITHIN_S = 0.5
_AFTER_FAILURE_S = 0.02
"""Pause after a failure, so that repeated failures do not keep a core busy."""
_LATENESS_KEPT_NS = 2_000_000_000
_FULL_COLLECTION_CALLS = 300


class Loop(ABC):
    """Common parts of the Python and C++ loops: lateness, waiting for a tick."""

    @abstractmethod
    def tick_s(self) -> float:
        """Return for how long the tick in progress has been running, s; 0 between ticks."""

    def __init__(self) -> None:
        self._stop, self._ticked = threading.Event(), threading.Event()
        self._ended_ns = self._worst_late_ns = self._worst_ns = 0

    @property
    def late_s(self) -> float:
        """Return the largest recent start delay of a tick (in s), less the last tick's duration.

        This is how long the machine kept the control thread waiting.
        """
        return self._worst_late_ns * 1e-9

    def await_tick(self, timeout_s: float) -> bool:
        """Wait until the next tick ends, the loop stops or `timeout_s` has passed.

        Return False only on a time-out.
        """
        self._ticked.clear()
        return self._stop.is_set() or self._ticked.wait(timeout_s)

    def _begin(self) -> None:
        self._stop.clear()
        self._worst_late_ns = self._worst_ns = 0
        self._ended_ns = time.monotonic_ns()

    def _note_lateness(self, now_ns: int, late_ns: int) -> None:
        late_ns = min(late_ns, max(0, now_ns - self._ended_ns))
        if late_ns >= self._worst_late_ns or now_ns - self._worst_ns > _LATENESS_KEPT_NS:
            self._worst_late_ns, self._worst_ns = late_ns, now_ns


class ControlLoop(Loop):
    """Runs `tick`, on a thread of its own, whenever the pacer reports that a tick is due."""

    name = PYTHON
    """The value of `realtime.loop` that selects this loop."""

    def __init__(
        self, pacer: Pacer, tick: Callable[[DueTick], None], failed: Callable[[BaseException], None]
    ) -> None:
        """Create a stopped loop.

        Args:
            pacer: Decides when to tick.
            tick: Function that executes a tick.
            failed: Called on the control thread with an error from `pacer` or `tick`; must not
                raise.
        """
        super().__init__()
        self._pacer, self._tick, self._failed = pacer, tick, failed
        self._thread: threading.Thread | None = None
        # The outermost of three locks, see "Locks" in docs/architecture.md.
        self._at_work = threading.RLock()
        self._began_ns: int | None = None
        self.ticks = self.missed = 0

    def start(self) -> None:
        """Start ticking, and count ticks and missed deadlines from zero."""
        if self._thread is not None and self._thread.is_alive():
            raise PolicyError(RESTART)
        self.ticks = self.missed = 0
        self._begin()
        self._pacer.start()
        # Present objects live as long as the node, so the collector need not scan them. Later ones
        # are collected between ticks.
        gc.collect()
        gc.freeze()
        gc.disable()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> bool:
        """Stop ticking; return False if a tick hangs, so that its thread cannot be stopped."""
        self._stop.set()
        self._ticked.set()  # for threads that wait for a tick: none will follow
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        gc.enable()
        gc.unfreeze()
        return not self._thread.is_alive()

    @contextmanager
    def between_ticks(self) -> Iterator[None]:
        """Hold off ticks while the context is open; keep it open for microseconds only."""
        if not self._at_work.acquire(timeout=_TICK_WITHIN_S):
            raise RefusedError(TICK_HANGS)
        try:
            yield
        finally:
            self._at_work.release()

    exchanging = between_ticks
    """Hold off ticks while a different policy takes over."""

    def silent_s(self) -> float:
        """Return the time since the last tick, in s, on the steady clock.

        This time also increases while simulated time stands still, or while a tick hangs.
        """
        return (time.monotonic_ns() - self._ended_ns) * 1e-9

    def tick_s(self) -> float:
        began_ns = self._began_ns
        return 0.0 if began_ns is None else (time.monotonic_ns() - began_ns) * 1e-9

    @property
    def thread_id(self) -> int:
        """Kernel ID of the control thread, once it has been started."""
        return (self._thread and self._thread.native_id) or 0

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._run_once()
            except BaseException as error:  # noqa: BLE001  # after any error the robot must be safe
                with self._at_work:
                    self._failed(error)
                self._stop.wait(_AFTER_FAILURE_S)

    def _run_once(self) -> None:
        tick = self._pacer.wait()
        if tick is not None:
            self.ticks += not tick.repeated
            self.missed += tick.missed
            self._note_lateness(tick.now_ns, tick.late_ns)
            self._began_ns = time.monotonic_ns()
            try:
                with self._at_work:
                    self._tick(tick)
            finally:
                self._began_ns = None
            self._ended_ns = time.monotonic_ns()
            self._ticked.set()


class BetweenTicks:
    """Does work and collects garbage at a fixed rate, always right after a tick, on its own thread.

    A busy Python thread keeps the GIL from the control thread. A timer whose period is a multiple
    of the tick's, and that fires just before a tick, would do so every time.
    """

    def __init__(
        self, loop: Loop, tick_s: float, period_s: float, work: Callable[[], None]
    ) -> None:
        """Create a stopped worker.

        Args:
            loop: The loop with the ticks.
            tick_s: Time between two ticks.
            period_s: Time between two calls of `work`, on the steady clock. If no tick ends for
                this long, `work` is called anyway.
            work: Function to call; must not raise.
        """
        self._loop, self._work = loop, work
        self._tick_s, self._period_s = tick_s, period_s
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._stop.clear()
        self._thread = threading.Thread(target=self._serve, name="between ticks", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> bool:
        self._stop.set()
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _serve(self) -> None:
        # Wake up half-way between two ticks, since even waking up takes the GIL.
        wait_s, calls = self._period_s - self._tick_s / 2.0, count(1)
        while not self._stop.wait(max(0.0, wait_s)):
            ticked = self._loop.await_tick(self._period_s)
            ended_s = time.monotonic()
            if self._stop.is_set():
                return
            self._work()
            # All generations only occasionally: that takes 1 ms, during which no other thread runs.
            gc.collect(2 if next(calls) % _FULL_COLLECTION_CALLS == 0 else 1)
            wait_s = ended_s - time.monotonic()
            if ticked:
                wait_s += self._period_s - self._tick_s / 2.0


class TickWatch:
    """Looks at the tick in progress 20 times a second, on its own thread, since a tick may hang."""

    def __init__(self, loop: Loop, look: Callable[[float], None]) -> None:
        """Create a stopped watch.

        Args:
            loop: The loop with the ticks.
            look: Called with the duration so far of a tick in progress, s; must not raise.
        """
        self._loop, self._look = loop, look
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._stop.clear()
        self._thread = threading.Thread(target=self._serve, name="tick watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _serve(self) -> None:
        while not self._stop.wait(_WATCH_S):
            if (tick_s := self._loop.tick_s()) > 0.0:
                self._look(tick_s)


_LOCK_TIMEOUT_NS = 500_000_000
_WAIT_NS = 50_000_000
_hanging = list[Any]()
"""Loops whose thread is hung in a back end; their objects must stay alive."""


class NativeLoop(Loop):
    """Ticks a native controller by timer or trigger, like `ControlLoop`, but only in real time."""

    name = NATIVE

    def __init__(
        self,
        topics: Sequence[Sampled[Any]],
        publisher: Publisher,
        encoder: Any,
        joints: int,
        period_ns: int,
        trigger: tuple[Sampled[Any], MessageWaitSet] | None,
        ticked: Callable[[], None],
        failed: Callable[[BaseException], None],
        controller: NativeController,
        sampler: Sampler,
    ) -> None:
        """Create a stopped loop.

        Args:
            topics: Subscriptions whose newest messages are taken at each tick.
            publisher: Publisher for the commands.
            encoder: Plan for the command messages; see `outputs.encoder_plan`.
            joints: Number of joints.
            period_ns: Time between two ticks.
            trigger: One of the topics, whose messages start ticks as for `TriggerPacer`, and a wait
                set for its messages; None to start ticks at deadlines.
            ticked: Called on one Python thread after each tick; see the controller's `latest_tick`.
            failed: Called on the same thread with an error from `ticked`; must not raise.
            controller: Same as for `host`.
            sampler: Same as for `host`.
        """
        from policy_core_native import NativeLoop as CppLoop

        super().__init__()
        self._topics, self._show, self._failed = topics, ticked, failed
        # rclpy must not destroy objects that the thread uses.
        self._entities = ExitStack()
        for handle in (*(sampled.handle for sampled in topics), publisher.handle):
            self._entities.enter_context(handle)
        place, wait_set = 0, 0
        if trigger is not None:
            place = self._topics.index(trigger[0])
            wait_set = self._entities.enter_context(trigger[1].address())
        self._loop = CppLoop(
            rcl_functions(),
            [sampled.handle.pointer for sampled in topics],
            publisher.handle.pointer,
            plan_bytes(encoder, bytes(32)),
            joints,
            period_ns,
            place,
            wait_set,
        )
        # Acquired before the loop's lock: one thread at a time shows ticks.
        self._showing = threading.RLock()
        self._thread: threading.Thread | None = None
        self._hangs = False
        self.host(controller, sampler)

    def host(self, controller: NativeController, sampler: Sampler) -> None:
        """Tick this controller from now on; call between two ticks.

        Args:
            controller: The controller.
            sampler: Passes messages to the controller, according to its plan.

        Raises:
            ValueError: C++ cannot use the controller or the sampler.
        """
        inputs = sampler.plan()
        places = {sampled.topic: place for place, sampled in enumerate(self._topics)}
        entries = [controller.live[each["input"]] for each in inputs]
        self._loop.host(
            controller.native,
            plan_bytes({"messages": inputs}, bytes(32)),
            [(places[entry.name], entry.number) for entry in entries],
        )
        controller.native.use_steady_clock()
        self._controller, self._sampler, self._entries = controller, sampler, entries

    def start(self) -> None:
        if self._hangs:
            raise PolicyError(RESTART)
        self._begin()
        self._controller.runs_ahead = True
        self._loop.start()
        self._thread = threading.Thread(target=self._serve, name="ticks", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> bool:
        has_ended = bool(self._loop.stop(round(timeout_s * 1e9)))
        self._stop.set()
        self._ticked.set()  # for threads that wait for a tick: none will follow
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)
        self._hangs = not has_ended
        if not has_ended:
            _hanging.append((self._loop, self._controller, self._entities))
        else:
            self._show_all()
            self._controller.runs_ahead = False
        return has_ended

    def close(self) -> None:
        """Release the subscriptions and the publisher; call after `stop`."""
        if not self._hangs:
            del self._loop
            self._entities.close()

    @contextmanager
    def between_ticks(self) -> Iterator[None]:
        if not self._loop.lock(_LOCK_TIMEOUT_NS):
            raise RefusedError(TICK_HANGS)
        try:
            yield
        finally:
            self._loop.unlock()

    @contextmanager
    def exchanging(self) -> Iterator[None]:
        """Pass earlier ticks to the observers, then hold off ticks while the context is open."""
        with self._showing, self.between_ticks():
            self._show_all()
            self._controller.runs_ahead = False
            try:
                yield
            finally:
                self._controller.runs_ahead = True

    def send_safe(self, stamp_ns: int) -> int | None:
        """Send the fault command, from any thread; return the command's number."""
        number = int(self._loop.send_safe(stamp_ns))
        return number if number >= 0 else None

    def silent_s(self) -> float:
        return (time.monotonic_ns() - int(self._loop.ticked_ns)) * 1e-9

    def tick_s(self) -> float:
        began_ns = int(self._loop.began_ns)
        return (time.monotonic_ns() - began_ns) * 1e-9 if began_ns else 0.0

    @property
    def thread_id(self) -> int:
        return int(self._loop.thread_id)

    @property
    def ticks(self) -> int:
        return int(self._loop.ticks)

    @property
    def missed(self) -> int:
        return int(self._loop.missed)

    def _serve(self) -> None:
        while not self._stop.is_set():
            if self._loop.wait(_WAIT_NS):
                with self._showing:
                    self._show_all()

    def _show_all(self) -> None:
        while True:
            try:
                if not self._show_next():
                    return
            except BaseException as error:  # noqa: BLE001  # after any error the robot must be safe
                self._failed(error)

    def _show_next(self) -> bool:
        controller = self._controller
        record = controller.show_next()
        if record is None:
            return False
        if record.refused or record.doubted:
            self._note_problems(controller, record)
        for sampled, wire in zip(self._topics, record.wire, strict=False):
            sampled.wire = wire
        self._note_lateness(record.now_ns, record.late_ns)
        self._ended_ns = record.now_ns + record.duration_ns
        controller.latest_tick.send(
            controller.latest_tick.targets if record.sequence >= 0 else None,
            record.sequence if record.sequence >= 0 else None,
            stamp_ns=record.stamp_ns,
            duration_ns=record.duration_ns,
            missed=record.missed,
        )
        self._show()
        self._ticked.set()
        return True

    def _note_problems(self, controller: NativeController, record: TickRecord) -> None:
        for place, entry in enumerate(self._entries):
            if not (record.refused | record.doubted) >> place & 1:
                continue
            with self.between_ticks():
                data, doubted = self._loop.problem(place)
            if record.doubted >> place & 1:
                entry.say(controller.words.joint_problem(doubted))
            else:
                entry.say(self._sampler.why_refused(entry.name, data))
