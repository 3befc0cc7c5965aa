# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Run a robot's host in real time, with faults and a network; log events and record a trace."""

import json
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

from robot_sim.driven import NS_PER_S, RealTimePacer
from robot_sim.errors import SimError
from robot_sim.host_faults import AnyPlan
from robot_sim.robot_host import HostEvent, RobotHost
from robot_sim.trace import WalkRecord


class Log(Protocol):
    """An emulator's log: a node's logger, or Python's own."""

    def info(self, message: str) -> object:
        """Log a normal event."""

    def warning(self, message: str) -> object:
        """Log an abnormal event."""


class Emulator:
    """Runs an emulated robot; a subclass provides its network.

    Attributes:
        host: The robot's computer.
        record: The trace of the walk.
        stopped: True once `run` must return or has returned.
    """

    def __init__(
        self,
        host: RobotHost,
        planned: Callable[[Sequence[str], int], AnyPlan],
        *,
        faults: Sequence[str],
        latency_s: float,
        period_s: float,
        duration_s: float,
        event_file: str,
        trace_file: str,
        log: Log,
    ) -> None:
        """Prepare the emulator; simulated time stands still until `run`.

        Args:
            host: The robot's computer.
            planned: Returns the plan for faults given as strings, at a simulated time (ns).
            faults: Initial faults.
            latency_s: Time for a command to reach the drives, unless a fault changes it.
            period_s: Time between rows of the trace.
            duration_s: Simulated time after which `run` returns; 0 for never.
            event_file: File to which events are appended as lines of JSON; empty for none.
            trace_file: File to which `save` writes the trace; empty for none.
            log: Receives events and warnings.
        """
        world = host.world
        world.latency_ns = self._latency_ns = round(latency_s * NS_PER_S)
        self.host, self._planned, self._log = host, planned, log
        host.on_event = self._on_event
        host.adopt(planned(faults, 0))
        self._row_steps = world.whole_steps(round(period_s * NS_PER_S), "period_s")
        self._ends_ns = round(duration_s * NS_PER_S) or math.inf
        self._events = _opened(event_file)
        self.record = WalkRecord(trace_file)
        # Requests from other threads are served between two steps.
        self._asked: deque[Callable[[], None]] = deque()
        self.stopped = False

    def arrived(self) -> Sequence[Any]:
        """Return the messages from the network, each as arguments for `host.receive`."""
        raise NotImplementedError

    def step(self, now_ns: int) -> None:
        """Advance the host by one step and send its output, as modified by the faults."""
        raise NotImplementedError

    def run(self) -> None:
        clock, world = RealTimePacer(self._log.warning), self.host.world
        while not self.stopped and world.time_ns < self._ends_ns:
            while self._asked:
                self._asked.popleft()()
            now_ns = world.time_ns
            self.host.act()
            for arguments in self.host.plan.command.carry(self.arrived(), now_ns):
                self.host.receive(*arguments)
            if world.steps % self._row_steps == 0:
                self.record.target = self.host.target
                self.record.append(world.sense())
            self.step(now_ns)
            clock.wait(world.time_ns)

    def stop(self) -> None:
        self.stopped = True

    def save(self) -> None:
        """Write the trace if a file was given and the trace has rows."""
        self.record.save()

    def close(self) -> None:
        if self._events is not None:
            self._events.close()

    def ask(self, action: Callable[[], None]) -> None:
        """Have the thread that executes `run` call a function between two steps."""
        self._asked.append(action)

    def change_faults(self, texts: Sequence[str]) -> None:
        """Replace the planned faults, and log this as an event; motors and latency are reset."""
        plan = self._planned(texts, self.host.world.time_ns)

        def change() -> None:
            self.host.adopt(plan)
            self.host.world.motors_on()
            self.host.world.latency_ns = self._latency_ns
            who = ", ".join(text for text in texts if text.strip()) or "none"
            self._on_event(HostEvent(time_ns=self.host.world.time_ns, what="faults", who=who))

        self.ask(change)

    def _on_event(self, event: HostEvent) -> None:
        what = event.what.replace("_", " ")
        self._log.info(f"{what}: {event.who}" if event.who else what)
        if self._events is not None:
            line = {
                "time_s": event.time_ns / NS_PER_S,
                "unix_ns": time.time_ns(),
                "event": event.what,
                "who": event.who,
            }
            self._events.write(json.dumps(line) + "\n")
            self._events.flush()


def _opened(path: str) -> TextIO | None:
    try:
        return Path(path).open("a", encoding="utf-8") if path else None
    except OSError as error:
        raise SimError(f"event_file: expected a writable file, found: {error}") from None
