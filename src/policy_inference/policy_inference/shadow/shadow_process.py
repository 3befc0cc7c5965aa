# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A shadow policy in its own process, which cannot affect the control thread.

The process opens the bundle as `~/load` does, verifies it on its golden rows, and then runs only
when no other process needs the core (SCHED_IDLE): see `shadow_main`.
"""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

from policy_core.bundle.bundle import AnyBundle
from policy_core.errors import RefusedError
from policy_core.interfaces import ShadowMode
from policy_core.members.chunk.settings import ChunkSettings
from policy_core.observation.state import StateVector
from policy_inference.backends.child import OPEN_TIMEOUT_S
from policy_inference.flight.ring import ShadowAnswer, ShadowOutcome
from policy_inference.kinds.opening import OpenRequest
from policy_inference.shadow.shadowed_member import ShadowQuestion
from policy_inference.shadow.slots import SLOTS, ObservationSlots, TickSlots
from policy_inference.worker_process import PrivateWorker

_MOST_ANSWERS = 4
"""Maximum number of answers taken per tick, so that a backlog does not arrive all at once."""
_LOOK_S = 0.1
"""Interval at which the process is checked while it opens the policy."""
_LAST_WORDS_S = 0.5
_SILENT_S = 2.0
"""Time after which a pending answer is reported."""
_MODULE = "policy_inference.shadow.shadow_main"
ABOUT = "shadow.json"
"""File in the process's folder with the details determined when the bundle was opened."""


class ChunkExecution(NamedTuple):
    """How an active chunk policy is executed: its settings, and whether time is simulated."""

    settings: ChunkSettings
    simulated_time: bool


class ShadowFacts(NamedTuple):
    """Description of the shadow's process, with the fields of policy_msgs/ShadowStatus."""

    bundle: str
    bundle_name: str
    bundle_version: str
    bundle_sha256: str
    backend: str
    runs_on: str
    mode: str


class ShadowProcess:
    """A shadow's process, as seen by the node with the active policy.

    Call `give` and `take` on the control thread, between `start` and the end of its loop.

    Attributes:
        facts: Description of the shadow.
        differences: Descriptions of the contract keys in which the shadow differs from the active
            policy.
    """

    def __init__(
        self,
        request: OpenRequest,
        active: AnyBundle,
        state: StateVector,
        mode: ShadowMode,
        chunks: ChunkExecution | None = None,
    ) -> None:
        """Start the process; wait until its policy is open and verified.

        Args:
            request: Request for the shadow.
            active: Bundle of the policy with which the shadow is compared.
            state: State of that policy, with its fields; not read yet.
            mode: Source of the shadow's memory.
            chunks: Chunk execution of the active policy; None for a joint policy.
        """
        sizes = {name: state[name].size for name in state.slices}
        contract: Any = active.contract
        joints = len(contract.joints.names)
        self._slots = TickSlots(state.flat.size, joints)
        self._observation_slots: ObservationSlots | None = None
        chunk_fds = list[int]()
        if chunks is not None:
            self._observation_slots = ObservationSlots(contract, sizes)
            chunk_fds.append(self._observation_slots.fd)
        order = {
            "request": dataclasses.asdict(request),
            "folder": str(Path.cwd()),
            "active": str(active.path.resolve()),
            "active_sha256": active.sha256,
            "state_sizes": sizes,
            "joints": joints,
            "mode": mode.value,
            "fds": self._slots.fds,
            "chunk_fds": chunk_fds,
            "settings": None if chunks is None else dataclasses.asdict(chunks.settings),
            "simulated_time": chunks is not None and chunks.simulated_time,
        }
        fds = [*self._slots.fds, *chunk_fds]
        try:
            self._process = PrivateWorker(_MODULE, [json.dumps(order)], fds=fds)
        except BaseException:
            self._close_slots()
            raise
        try:
            self._await_opening(request.bundle)
            about = json.loads((self._process.folder / ABOUT).read_text("utf-8"))
        except BaseException:
            self.close()
            raise
        self.differences: list[str] = about.pop("differences")
        self.facts = ShadowFacts(**about, mode=mode.value)
        self._given = self._taken = self._first = self._answered = 0
        self._numbers = [0] * SLOTS
        self._lost, self._lost_before, self._begins = list[ShadowAnswer](), 0, False
        self._owed_since_s = 0.0
        self._over = ""

    def _await_opening(self, bundle: str) -> None:
        ends_s = time.monotonic() + OPEN_TIMEOUT_S
        while not self._slots.answered(_LOOK_S):
            if self._process.status is not None:
                raise RefusedError(self._ended(f"{bundle}: expected the shadow policy to load"))
            if time.monotonic() > ends_s:
                raise RefusedError(
                    f"{bundle}: expected the shadow policy to load within {OPEN_TIMEOUT_S:g} s, "
                    "found no answer"
                )
        if text := self._slots.text:
            raise RefusedError(f"shadow: {text}")

    def start(self) -> None:
        """Drop earlier answers, and begin with the next tick; no tick must be running."""
        self._first, self._begins = self._given, False
        self._lost.clear()
        self._lost_before, self._slots.text = 0, ""
        self._owed_since_s = time.monotonic()

    def give(self, tick: int, question: ShadowQuestion) -> None:
        """Send a tick in which the active policy commanded the robot; never waits.

        Does nothing if the process is known to have ended.

        Args:
            tick: Tick number.
            question: The tick's data; the arrays are copied.
        """
        if self._over:
            return
        if question.begins:
            self._begins, self._lost_before = True, 0
        self._lost_before += question.lost
        if self._given - self._taken == SLOTS:
            self._lost_before += 1
            self._lost.append(ShadowAnswer(tick, ShadowOutcome.LOST))
            return
        if self._given == self._taken:
            self._owed_since_s = time.monotonic()
        slot = self._given % SLOTS
        slots = self._slots
        slots.ticks[slot] = tick, self._lost_before, self._begins
        self._numbers[slot] = tick
        slots.states[slot] = question.state
        slots.commands[slot] = question.command
        if self._observation_slots is not None and question.chunk is not None:
            self._observation_slots.give(slot, question.chunk)
        self._given += 1
        self._lost_before, self._begins = 0, False
        slots.give()

    def take(self) -> tuple[ShadowAnswer, ...]:
        """Return the answers that have arrived, and the lost ticks; never waits."""
        self._answered += self._slots.answered()
        if self._taken == self._answered and not self._lost:
            return ()
        if self._answered > self._given:
            raise ValueError(f"{self._answered - self._given} answers without a request")
        found, self._lost = self._lost, []
        for _ in range(min(_MOST_ANSWERS, self._answered - self._taken)):
            slot = self._taken % SLOTS
            answer = self._slots.read(slot)
            if self._observation_slots is not None:
                inferences = self._observation_slots.answered(slot)
                answer = answer._replace(inferences=inferences)
            if self._taken >= self._first:
                if answer.tick != self._numbers[slot] or answer.duration_ns < 0:
                    raise ValueError(f"an answer for tick {answer.tick}, which was not requested")
                found.append(answer)
            self._taken += 1
            self._owed_since_s = time.monotonic()
        return tuple(found)

    @property
    def pending(self) -> int:
        """Number of unanswered ticks."""
        return self._given - self._taken

    def problem(self) -> str:
        """Return why the shadow is not running or answering; "" if it is. Do not call in ticks."""
        if not self._over and self._process.status is not None:
            self._over = self._ended("shadow")
        silent_s = time.monotonic() - self._owed_since_s if self.pending else 0.0
        if not self._over and silent_s > _SILENT_S:
            return f"shadow: no answer for {silent_s:.0f} s; it hangs, or gets no processor time"
        failed = self._slots.text
        return self._over or (failed and f"shadow: {failed}")

    def _ended(self, what: str) -> str:
        said = self._process.said(_LAST_WORDS_S)[-300:]
        text = f"{what}: its process exited with status {self._process.status}"
        return f"{text}; it said: {said}" if said else text

    def close(self) -> None:
        self._process.kill()
        self._process.end()
        self._close_slots()

    def _close_slots(self) -> None:
        self._slots.close()
        if self._observation_slots is not None:
            self._observation_slots.close()
