# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The network between the actors: it loses, delays, duplicates, reorders and alters messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from tools.chaos.steps import ChaosStep
from tools.chaos.timeline import NS_PER_S, VirtualTimeline

_USUAL_NS, _JITTER_NS = 200_000, 100_000


class VirtualChannel:
    """One direction between two actors; first in, first out, unless a fault reorders messages."""

    def __init__(
        self,
        timeline: VirtualTimeline,
        faults: Sequence[ChaosStep],
        ends: str,
        chance: Random,
        deliver: Callable[[Any], object],
    ) -> None:
        """Start without messages.

        Args:
            timeline: Timeline on which messages arrive.
            faults: Current faults of all channels.
            ends: The two actors, as in `steps.PAIRS`.
            chance: Decides which messages faults affect.
            deliver: Receives each message that arrives.
        """
        self._timeline, self._faults, self._ends = timeline, faults, ends
        self._chance, self._deliver = chance, deliver
        self._last_ns = 0

    def send(self, message: Any) -> None:
        timeline, random = self._timeline, self._chance.random
        copies, in_order = 1, True
        due_ns = timeline.now_ns + _USUAL_NS + round(_JITTER_NS * random())
        for fault in self._faults:
            if fault.target != self._ends:
                continue
            if fault.kind == "partition" or (fault.kind == "loss" and random() < fault.value):
                return
            if fault.kind == "delay":
                due_ns += round(fault.value * NS_PER_S * random())
            elif fault.kind == "slow":
                period_ns = round(fault.value * NS_PER_S)
                due_ns += -due_ns % period_ns
            elif fault.kind == "duplicate":
                copies += random() < fault.value
            elif fault.kind == "corrupt" and random() < fault.value:
                message = self._corrupted(message)
            elif fault.kind == "reorder" and random() < fault.value:
                due_ns, in_order = due_ns + round(30e6 * random()), False
        if in_order:
            due_ns = self._last_ns = max(due_ns, self._last_ns)
        for _ in range(copies):
            timeline.at(due_ns, lambda: self._deliver(message))

    def _corrupted(self, message: Any) -> Any:
        """Return a serialized message with some bytes changed; return other messages unchanged."""
        if isinstance(message, tuple) and isinstance(message[-1], bytes):
            return (*message[:-1], self._corrupted(message[-1]))
        if not isinstance(message, bytes):
            return message
        data = bytearray(message)
        for _ in range(self._chance.choice([1, 1, 8])):
            data[self._chance.randrange(len(data))] = self._chance.randrange(256)
        return bytes(data)
