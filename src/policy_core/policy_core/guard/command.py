# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The operator's command: clipped to the trained range, and faded out if too old."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from policy_core.bundle.contract import Term, VelocityCommand
from policy_core.control_state import Stateful, Tree
from policy_core.guard.bounds import Rule
from policy_core.guard.limits import Limits
from policy_core.interfaces import F64
from policy_core.observation.freshness import Input
from policy_core.observation.state import EXTERNAL, StateVector


class CommandedVector(Stateful):
    """The newest commanded values from a topic, each within its limits.

    Values older than the time-out fade linearly to their defaults. A message with values that are
    not finite is ignored.
    """

    STATE = ("_taken_ns", "_fading")
    STATE_IN_PLACE = ("_wanted",)
    PLAN = ("topic", "field", "_low", "_high", "_default", "_timeout_ns")

    def __init__(self, term: Term, field: str, out: F64, source: Input, limits: Limits) -> None:
        """Start from the default values.

        Args:
            term: Term that names the commanded values and their topic.
            field: Name of the state field.
            out: Array of that field; messages are written to it, and `update` overwrites it.
            source: Age of the newest message.
            limits: Limits in force.
        """
        assert term.topic is not None
        assert term.commanded is not None
        self.topic, self.field, self._out, self._source = term.topic, field, out, source
        values = [(value.min, value.max, value.default) for value in term.commanded]
        self._low, self._high, self._default = np.array(values).T.copy()
        own_ns = None if term.timeout_s is None else round(term.timeout_s * 1e9)
        self._timeout_ns = limits.command_timeout_ns if own_ns is None else own_ns
        self._ramp_ns = limits.command_ramp_ns
        self._wanted: F64 = self._default.copy()
        self._taken_ns: int | None = None
        self._fading = False
        self._out[:] = self._default

    def update(self, now_ns: int) -> tuple[Rule, ...]:
        """Write this tick's values to the state field; return the guard rules that acted."""
        bad = self._take()
        age_ns = self._source.age_ns(now_ns)
        late_ns = -1 if age_ns is None else age_ns - self._timeout_ns
        began, self._fading = late_ns > 0 and not self._fading, late_ns > 0
        if age_ns is None or late_ns >= max(self._ramp_ns, 1):
            self._out[:] = self._default
        elif late_ns <= 0:
            self._out[:] = self._wanted
        else:
            share = 1.0 - late_ns / self._ramp_ns
            self._out[:] = self._default + (self._wanted - self._default) * share
        return (*bad, Rule.STALE_COMMAND) if began else bad

    def _take(self) -> tuple[Rule, ...]:
        """Apply a message that arrived since the last call, or return the rule that rejects it."""
        if self._source.measured_ns == self._taken_ns:
            return ()
        self._taken_ns = self._source.measured_ns
        if self._taken_ns is None:
            return ()
        if not math.isfinite(self._out.dot(self._out)):
            return (Rule.BAD_COMMAND,)
        np.clip(self._out, self._low, self._high, out=self._wanted)
        return ()


def commanded_vectors(
    terms: Mapping[str, Term],
    state: StateVector,
    inputs: Mapping[str, Input],
    limits: Limits,
) -> list[CommandedVector]:
    """Return the vectors that write the values of `terms` (by topic) to their state fields."""
    return [
        CommandedVector(term, name := f"{EXTERNAL}{topic}", state[name], inputs[topic], limits)
        for topic, term in terms.items()
    ]


class CommandFader(Stateful):
    """The newest velocity command: vx, vy, yaw rate in m/s, m/s, rad/s, body frame.

    A command older than the time-out fades linearly to zero, which causes neither HOLD nor DAMP.

    Attributes:
        vectors: Commanded vectors other than the velocity.
    """

    STATE = ("_wanted", "_born_ns", "fading", "_closed", "vectors")
    PLAN = ("_low", "_high", "vectors")

    def __init__(
        self,
        out: F64 | None,
        trained: VelocityCommand | None,
        limits: Limits,
        vectors: Sequence[CommandedVector] = (),
    ) -> None:
        """Start from zero.

        Args:
            out: State field [3] that each `update` writes; None if the policy accepts no velocity
                command.
            trained: Range to which commands are clipped; None for no limits.
            limits: Limits in force.
            vectors: See the attribute.
        """
        self.vectors = list(vectors)
        self._out = out
        self._low, self._high = (
            (trained.min, trained.max) if trained else ((-math.inf,) * 3, (math.inf,) * 3)
        )
        self._limits = limits
        self._closed = False
        self.reset()

    def reset(self) -> None:
        """Set the command to zero until a new command arrives."""
        self._wanted: F64 = np.zeros(3)
        self._born_ns: int | None = None
        self.fading = False
        if self._out is not None:
            self._out[:] = 0.0

    def set(self, velocity: tuple[float, float, float], born_ns: int) -> bool:
        """Accept a new command, received at `born_ns`; return False if it is not finite."""
        if not all(map(math.isfinite, velocity)):
            return False
        if self._closed:
            return True
        self._born_ns = born_ns
        for i, value in enumerate(velocity):
            self._wanted[i] = min(max(value, self._low[i]), self._high[i])
        return True

    def narrow(self, within: VelocityCommand) -> None:
        """Narrow the range to which commands are clipped: intersect it with `within`."""
        self._low = tuple(map(max, self._low, within.min))
        self._high = tuple(map(min, self._high, within.max))

    def close(self, now_ns: int) -> None:
        """Start to fade the command to zero now, as if the command were too old.

        New commands are ignored until a new run calls `open`. `update` does not report this fade.
        """
        self._closed = self.fading = True
        if self._born_ns is not None:
            self._born_ns = min(self._born_ns, now_ns - self._limits.command_timeout_ns)

    def open(self) -> None:
        """Accept commands again."""
        self._closed = False

    def restore(self, saved: Tree) -> None:
        """Restore a saved state, with its command clipped to this policy's trained range."""
        super().restore(saved)
        self._wanted = np.clip(self._wanted, self._low, self._high)

    def update(self, now_ns: int) -> tuple[Rule, ...]:
        """Write this tick's commands to the state; return the guard rules that acted on them."""
        acted: tuple[Rule, ...] = ()
        if self._update_velocity(now_ns):
            acted = (Rule.STALE_COMMAND,)
        for vector in self.vectors:
            acted += vector.update(now_ns)
        return acted

    def _update_velocity(self, now_ns: int) -> bool:
        """Write the velocity; return True in the tick in which it starts to fade."""
        if self._out is None or self._born_ns is None:
            return False
        if now_ns < self._born_ns:
            # The clock was reset: the command's age is unknown, and it would not fade for long.
            self.reset()
            return True
        late_ns = now_ns - self._born_ns - self._limits.command_timeout_ns
        began = late_ns > 0 and not self.fading
        self.fading = late_ns > 0
        if not self.fading:
            self._out[...] = self._wanted
        elif late_ns >= self._limits.command_ramp_ns:
            self._out[:] = 0.0
        else:
            np.multiply(self._wanted, 1.0 - late_ns / self._limits.command_ramp_ns, out=self._out)
        return began
