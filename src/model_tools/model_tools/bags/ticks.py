# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""When a policy ticks on what arrives, and what is the newest of each input then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from model_tools.bags.streams import Arrival
from policy_inference.bundle.contract import JointContract
from policy_inference.core.freshness import Input
from policy_inference.core.limits import Tightening, input_timeouts_ns, limits_in_force
from policy_inference.core.messages import COMMAND
from policy_inference.core.state import RobotState


class Ticks:
    """The ticks of a policy: at multiples of its period, while every input is fresh.

    Attributes:
        newest: What of each input has arrived since the tick before; who takes it removes it.
        begins: Whether the tick of now follows a gap, or is the first.
        dropped: Number of ticks left out so far.
        stale: How many of them each input was too old for.
    """

    def __init__(self, contract: JointContract) -> None:
        """Begin without messages."""
        limits, timeouts_ns = limits_in_force(contract, Tightening()), input_timeouts_ns(contract)
        self._period_ns = contract.period_ns
        self._inputs = {name: Input(name, timeouts_ns.get(name, limits.state_timeout_ns))
                        for name in RobotState(contract).inputs if name != COMMAND}  # fmt: skip
        self._next_ns: int | None = None
        self.newest: dict[str, Arrival] = {}
        self.begins = True
        self.dropped, self.stale = 0, Counter[str]()

    def times_ns(self, arrivals: Iterable[Arrival]) -> Iterator[int]:
        """Yield the times of the ticks, each when the messages of its time are in `newest`.

        From the first at which each input is there, to the last message.
        """
        time_ns = 0
        for arrival in arrivals:
            time_ns = arrival.time_ns
            yield from self._before(time_ns)
            self.newest[arrival.name] = arrival
            if arrival.name in self._inputs:
                self._inputs[arrival.name].accept(time_ns)
            if self._next_ns is None and not self._waiting(time_ns):
                self._next_ns = -(-time_ns // self._period_ns) * self._period_ns
        yield from self._before(time_ns + 1)

    def _before(self, end_ns: int) -> Iterator[int]:
        while self._next_ns is not None and self._next_ns < end_ns:
            count, now_ns = 1, self._next_ns
            if stale := [name for name, e in self._inputs.items() if e.is_stale(now_ns)]:
                # Nothing but a message ends the gap, however long it is.
                count = -((now_ns - end_ns) // self._period_ns)
                self.dropped += count
                self.stale.update(dict.fromkeys(stale, count))
                self.begins = True
            else:
                yield now_ns
                self.begins = False
            self._next_ns += count * self._period_ns

    def _waiting(self, now_ns: int) -> bool:
        return any(entry.age_ns(now_ns) is None for entry in self._inputs.values())
