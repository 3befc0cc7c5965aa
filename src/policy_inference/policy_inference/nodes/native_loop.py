# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The control loop in C++: sampling, ticks and commands without the GIL.

A Python thread shows each tick to its observers a little later; ticks do not wait for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from rclpy.publisher import Publisher

from policy_core.control.controller import RESTART, TICK_HANGS
from policy_core.errors import PolicyError, RefusedError
from policy_core.native_controller import NativeController, TickRecord
from policy_core.plan import plan_bytes
from policy_inference.kinds.opening import NATIVE
from policy_inference.nodes.control_loop import Loop
from policy_inference.nodes.rclpy_gaps import MessageWaitSet, rcl_functions
from policy_inference.nodes.sampler import Sampler
from policy_inference.nodes.sampling import Sampled

_LOCK_TIMEOUT_NS = 500_000_000
_WAIT_NS = 50_000_000
_hanging = list[Any]()
"""Loops whose thread hangs in a backend: their objects must stay alive."""


class NativeLoop(Loop):
    """Ticks a native controller by timer or trigger; as `ControlLoop`, but in real time only."""

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
    ) -> None:
        """Create a stopped loop; call `host` before the first tick.

        Args:
            topics: Subscriptions whose newest messages are taken at each tick.
            publisher: Publisher of the commands.
            encoder: Plan of their messages, see `outputs.encoder_plan`.
            joints: Number of joints.
            period_ns: Time between two ticks.
            trigger: One of the topics, whose messages start ticks as for `TriggerPacer`, and a wait
                set for its messages; None to start ticks at deadlines.
            ticked: Shows the tick in the controller's `latest_tick`; on one Python thread.
            failed: Called there with an error of `ticked`; must not raise.
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
        self._controller: NativeController | None = None
        self._sampler: Sampler | None = None
        # Acquired before the loop's lock: one thread at a time shows ticks.
        self._showing = threading.RLock()
        self._thread: threading.Thread | None = None
        self._hangs = False

    def host(self, controller: NativeController, sampler: Sampler) -> None:
        """Tick this controller from now on; call between two ticks, or before the first.

        Args:
            controller: The controller.
            sampler: Passes messages to it, by its plan.

        Raises:
            ValueError: One of them cannot be read in C++.
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
        assert self._controller is not None
        self._begin()
        self._controller.runs_ahead = True
        self._loop.start()
        self._thread = threading.Thread(target=self._serve, name="ticks", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> bool:
        has_ended = bool(self._loop.stop(round(timeout_s * 1e9)))
        self._stop.set()
        self._ticked.set()  # for a waiter on a tick that will not come
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)
        self._hangs = not has_ended
        if not has_ended:
            _hanging.append((self._loop, self._controller, self._entities))
        elif self._controller is not None:
            self._show_all()
            self._controller.runs_ahead = False
        return has_ended

    def close(self) -> None:
        """Release subscriptions and publisher; after `stop`."""
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
        """Delay the next tick, after all earlier ones have been shown."""
        with self._showing, self.between_ticks():
            self._show_all()
            assert self._controller is not None
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
        assert controller is not None
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
            assert self._sampler is not None
            if record.doubted >> place & 1:
                entry.say(controller.words.joint_problem(doubted))
            else:
                entry.say(self._sampler.why_refused(entry.name, data))
