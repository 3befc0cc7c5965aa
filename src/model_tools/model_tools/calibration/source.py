# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Where rows to calibrate with come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from policy_inference.interfaces import F64, Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Row:
    """What a policy got and gave in one tick.

    Attributes:
        number: Of the tick in its source.
        time_s: Since the source's first tick.
        begins: Whether the policy started clean here: a new episode, or the end of a gap.
        tensors: Inputs and outputs of the model by name, without batch axis; they may be views
            that hold until the next row.
        sensed: What was measured, as far as the source knows it, by field of
            `policy_inference.core.state.RobotState`: joint_pos, joint_vel [joints], and
            velocity_command [3] if the contract has it.
    """

    number: int
    time_s: float
    begins: bool
    tensors: Mapping[str, Tensor]
    sensed: Mapping[str, F64]


class Source(Protocol):
    """Gives rows, once.

    Attributes:
        name: Of a file, of a recording, of an environment, or "live topics".
        count: Ticks that there will be at most, where that is known beforehand.
    """

    name: str
    count: int | None

    def rows(self, wanted: Sequence[int] | None) -> Iterator[Row]:
        """Yield rows in the order of time.

        Args:
            wanted: Numbers of the ticks to yield, sorted, only where `count` is known; None for
                all of them.

        Raises:
            PolicyError: What it reads does not fit the bundle, or the model does not run.
            OSError: A file cannot be read.
        """
