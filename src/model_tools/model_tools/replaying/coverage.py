# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""How much of a recording could be judged: nothing compared is nothing shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from model_tools.replaying.stages import COMMAND, STAGES, STATE
from model_tools.replaying.ticks import Tick
from policy_inference.interfaces import Mode, OnFault

_ENOUGH = 0.5
"""Share of the ticks in RUN that must be judged of those that could be in a whole recording."""


class Coverage:
    """Counts what was judged in RUN, and what could not be because it is missing.

    What is not known because it was before the recording's first tick is missing to nobody.

    Attributes:
        ticks, lost: Ticks in the recording, and those that are missing between them.
        run, lost_in_run: The same of those in RUN, or that may have been.
        judged: Ticks in RUN that were judged, by stage; the state where its sensors were.
        due, sent: Ticks that must have a command, and those of them that have one.
        unsensed: Ticks in RUN in which no message said a sensor's value, by field of the state.
    """

    def __init__(self, sensed: Collection[str], on_fault: OnFault) -> None:
        """Expect messages of these fields of the state in each tick."""
        self._sensed, self._on_fault = frozenset(sensed), on_fault
        self.ticks = self.lost = self.run = self.lost_in_run = self.due = self.sent = 0
        self.judged, self._lacking = Counter[str](), Counter[str]()
        self.unsensed = Counter[str]()

    def lose(self, count: int, before: Tick, after: Tick) -> None:
        """Count ticks that are missing between these."""
        self.lost += count
        # From READY it goes on to RUN, which may have begun and ended there.
        began = before.mode is Mode.READY and after.mode is not Mode.READY
        if began or {Mode.RUN, Mode.HOLD} & {before.mode, after.mode}:
            self.lost_in_run += count

    def add(self, tick: Tick, judged: Collection[str], unsensed: Iterable[str]) -> None:
        """Count a tick with the stages that were judged in it."""
        self.ticks += 1
        # Before a request nothing is commanded.
        may_rest = tick.mode is Mode.DAMP and self._on_fault is OnFault.HOLD_MEASURED
        if tick.command is not None or not may_rest:
            self.due += 1
            self.sent += tick.command is not None
        if tick.mode is not Mode.RUN:
            return
        self.run += 1
        unsensed = set(unsensed)
        self.unsensed.update(unsensed)
        whole = {*judged} - ({STATE} if unsensed & self._sensed else set())
        self.judged.update(whole)
        self._lacking.update({STATE} - whole)
        if tick.command is None:
            self._lacking[COMMAND] += 1
        if self.lost:
            self._lacking.update({*STAGES} - whole - {STATE, COMMAND})

    @property
    def never_sensed(self) -> list[str]:
        """Fields of the state that no message said in any tick in RUN."""
        return sorted(field for field, count in self.unsensed.items() if count == self.run)

    @property
    def problems(self) -> list[str]:
        """Why what was judged does not show anything, in words; empty where it does."""
        found = []
        if self.due and not self.sent:
            found.append(f"none of {self.due} ticks has a command of its stamp")
        elif self.sent < _ENOUGH * (self.due + self.lost):
            found.append(f"only {self.sent} of {self.due + self.lost} ticks are there with a "
                         "command of their stamp")
        if self.lost_in_run and not self.run:
            found.append(f"the policy may have run in the {self.lost_in_run} ticks that are "
                         "missing")
        for name in STAGES if self.run else ():
            judged = self.judged[name]
            due = judged + self._lacking[name] + self.lost_in_run
            if not judged:
                found.append(f"{name}: none of {self.run} ticks in RUN could be judged")
            elif judged < _ENOUGH * due:
                found.append(f"{name}: too little of it could be judged, {judged} of {due} ticks "
                             "in RUN")
        return found
