# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""From the model's raw output to one command per joint."""

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from policy_core.bundle.contract import ActionTerm, JointContract
from policy_core.control_state import Stateful
from policy_core.guard.bounds import Rule, healthy_of
from policy_core.interfaces import F64, JointTargets, Kind, Tensor


class RawAction(Stateful):
    """The output of a model, one after another the values of terms, inside their clips.

    `raw` [actions] is the output that was read last; `clipped` names the rule of its clip where
    that changed it.
    """

    STATE: ClassVar[tuple[str, ...]] = ("clipped",)
    STATE_IN_PLACE: ClassVar[tuple[str, ...]] = ("raw",)

    def __init__(self, output: Tensor, terms: Sequence[ActionTerm] = ()) -> None:
        """Keep the array that is read by each `read`, and the clips; no terms bound nothing."""
        self._source_tensor = output.reshape(-1)
        self.raw: F64 = np.zeros(self._source_tensor.size)
        self.clipped: tuple[str, ...] = ()
        self._clipped = self.raw.copy()
        self._low, self._high = np.full((2, self.raw.size), np.inf)
        self._low *= -1.0
        start = 0
        for term in terms:
            end = start + len(term.joints)
            if term.clip is not None:
                self._low[start:end], self._high[start:end] = term.clip
            start = end
        self._clips = bool(np.isfinite([self._low, self._high]).any())

    def read(self) -> bool:
        """Take the raw output up into `raw`; return whether all of it is finite."""
        self.raw[...] = self._source_tensor
        return math.isfinite(self.raw.dot(self.raw))

    def bounded(self) -> F64:
        """Return `raw` inside the clips; it is overwritten by the next call."""
        if not self._clips:
            return self.raw
        np.clip(self.raw, self._low, self._high, out=self._clipped)
        self.clipped = (Rule.ACTION_CLIP.value,) if (self._clipped != self.raw).any() else ()
        return self._clipped


class JointRows(Stateful):
    """The arrays of a `Command`: a value per joint, of its kind, and gains that fit the kinds."""

    STATE: ClassVar[tuple[str, ...]] = ("is_rescaled", "clipped")
    STATE_IN_PLACE: ClassVar[tuple[str, ...]] = ("command", "gains", "healthy")

    def __init__(self, kinds: Sequence[Kind], stiffness: F64, damping: F64, healthy: F64) -> None:
        """Make the arrays; nothing is commanded yet.

        Args:
            kinds: What the value of each joint is.
            stiffness: Gain of a position [joints], N·m/rad.
            damping: Gain of a position or a velocity [joints], N·m·s/rad.
            healthy: As of `Command` [2, joints]; copied.
        """
        self.kinds = tuple(kinds)
        kind = np.array([kind.value for kind in kinds])
        is_kind = [
            (kind == value.value).astype(np.float64)
            for value in (Kind.POSITION, Kind.VELOCITY, Kind.EFFORT)
        ]
        # As `JointTargets.block`, less the effort limits.
        self._rows: F64 = np.zeros((5, len(kinds)))
        self.gains: F64 = self._rows[3:]
        self.gains[0] = stiffness * is_kind[0]
        self.gains[1] = damping * (1.0 - is_kind[2])
        self.healthy: F64 = healthy.copy()
        self.is_rescaled = False
        self.clipped: tuple[str, ...] = ()
        # A policy of positions alone, as nearly all are, is written with one copy.
        self._is_kind = None if is_kind[0].all() else np.stack(is_kind)
        self.command: F64 = self._rows[0] if self._is_kind is None else np.zeros(len(kinds))

    def fill(self, targets: JointTargets) -> None:
        """Write the command and the gains of its kinds into the targets."""
        if self._is_kind is not None:
            np.multiply(self._is_kind, self.command, out=self._rows[:3])
        targets.block[:5] = self._rows


class ActionDecoder(RawAction, JointRows):
    """Computes `command` [joints] = offset + scale x clip(output), in contract order.

    A joint that no term drives keeps its default position.
    """

    STATE = JointRows.STATE
    STATE_IN_PLACE = ("command", "raw")

    def __init__(self, contract: JointContract, output: Tensor) -> None:
        """Turn names into indices, once; `output` is read by each `decode`."""
        joints, names = contract.joints, contract.joints.names
        driven = {joint: Kind(each.kind) for each in contract.action.terms for joint in each.joints}
        kinds = [driven.get(name, Kind.POSITION) for name in names]
        RawAction.__init__(self, output, contract.action.terms)
        JointRows.__init__(self, kinds, joints.stiffness, joints.damping, healthy_of(contract))
        default = joints.default_position
        self._source = np.zeros(len(names), dtype=np.intp)
        self._scale, self._offset = np.zeros(len(names)), default.copy()
        start = 0
        for term in contract.action.terms:
            self._add(term, start, contract)
            start += len(term.joints)
        self._per_scale = np.zeros(len(names))
        np.divide(1.0, self._scale, self._per_scale, where=self._scale != 0.0)
        self._inverse = np.zeros(len(names))
        self._driven = np.array([names.index(joint) for joint in driven])
        in_order = np.array_equal(self._source, np.arange(self.raw.size))
        self._gather = None if in_order else self._source
        self.command[:] = default

    def _add(self, term: ActionTerm, start: int, contract: JointContract) -> None:
        joints = [contract.joints.names.index(name) for name in term.joints]
        self._source[joints] = np.arange(start, start + len(joints))
        self._scale[joints] = term.scale
        self._offset[joints] = term.offset

    def decode(self) -> F64:
        """Return `command` for `raw`; it is overwritten by the next call."""
        raw, command = self.bounded(), self.command
        if self._gather is not None:
            raw = raw.take(self._gather, None, command, "clip")
        np.multiply(raw, self._scale, command)
        return np.add(command, self._offset, command)

    def raw_of(self, command: F64, into: F64) -> None:
        """Write the raw output [actions] that would have made this command [joints] of it.

        A value without effect, since its scale is 0, is 0.
        """
        np.subtract(command, self._offset, self._inverse)
        np.multiply(self._inverse, self._per_scale, self._inverse)
        self._inverse.take(self._driven, None, into, "clip")
