# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The gait clock of a policy: sin and cos of a phase per foot, counted in ticks since RUN began."""

from __future__ import annotations

import math

from policy_core.bundle.contract import Term
from policy_core.control_state import Stateful
from policy_core.interfaces import F64


def phase_name(term: Term) -> str:
    """Return the state field of a phase: one for all terms with the same clock and feet."""
    name = f"phase:{term.period_s}"
    if term.offsets not in (None, (0.0,)):
        name += f",offsets={term.offsets}"
    if term.standing is not None:
        stand = term.standing
        name += f",standing={stand.below, stand.phase, stand.clock}"
    return name


class Phase(Stateful):
    """Writes sin of all feet, then cos of all feet.

    A tick with a command whose norm is below that of `standing` is one in which the robot stands.
    Published policies differ in what they were shown then: sin and cos of 0 on a clock that runs
    (Unitree's G1 and Go2 in mjlab), of 0 on one that stops (Booster), pi for both feet on one that
    runs (MuJoCo Playground) or begins again (Holosoma), or a phase that goes on (unitree_rl_gym).

    Attributes:
        is_commanded: Whether it depends on the velocity command.
    """

    STATE = ("_tick",)

    def __init__(self, term: Term, out: F64, rate_hz: float, command: F64 | None) -> None:
        """Count from 0.

        Args:
            term: A valid term `phase`.
            out: Field of the state [2 x feet] that is written.
            rate_hz: Ticks per second.
            command: Velocity command [3] that is read where the term has `standing`.
        """
        assert term.period_s is not None
        self._rate, self._period_s = 2.0 * math.pi / term.period_s, 1.0 / rate_hz
        self._offsets = [2.0 * math.pi * offset for offset in term.offsets or (0.0,)]
        self._out, self._command, self._standing = out, command, term.standing
        self.is_commanded = term.standing is not None
        self.restart()

    def restart(self) -> None:
        """Begin at 0, where RUN begins."""
        self._tick = 0
        self.write()

    def advance(self) -> None:
        """Go on to the next tick, as far as the command of this one lets the clock run."""
        clock = self._standing.clock if self._standing and self._stands() else "runs"
        if clock == "runs":
            self._tick += 1
        elif clock == "restarts":
            self._tick = 0
        self.write()

    def write(self) -> None:
        """Write the phase of this tick, under the command of now."""
        phase = self._standing.phase if self._standing and self._stands() else None
        if phase == "zero":
            self._out[:] = 0.0
            return
        feet, now = len(self._offsets), self._rate * self._tick * self._period_s
        for foot, offset in enumerate(self._offsets):
            angle = now + offset if phase is None else 2.0 * math.pi * float(phase)
            self._out[foot], self._out[feet + foot] = math.sin(angle), math.cos(angle)

    def _stands(self) -> bool:
        assert self._standing is not None
        assert self._command is not None
        return math.sqrt(self._command.dot(self._command)) < self._standing.below
