# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What calibration rows come from: one protocol, and the row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from policy_inference.interfaces import F64, Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Row:
    """One tick of a policy.

    Attributes:
        number: Of the tick in the source, from 0.
        time_s: Since the first tick.
        begins: Whether the policy started clean here, as after a gap or at an episode's beginning.
        tensors: Inputs and outputs of the model by name, without batch axis; may be views that
            live until the next row.
        sensed: `joint_pos` and `joint_vel` [joints] in contract order, rad and rad/s;
            `velocity_command` [3] (m/s, m/s, rad/s) if the contract has it; may be views, too.
    """

    number: int
    time_s: float
    begins: bool
    tensors: Mapping[str, Tensor]
    sensed: Mapping[str, F64]


class Source(Protocol):
    """Gives rows in the order of time.

    Attributes:
        name: Of file or recording, or "live topics".
        count: Number of ticks that there will be at most, where that is known beforehand.
    """

    name: str

    @property
    def count(self) -> int | None:
        """See the class."""

    def rows(self, wanted: Sequence[int] | None = None) -> Iterator[Row]:
        """Yield all rows, or those with the sorted numbers `wanted`, where `count` is known."""
