# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What ticks hold on to: nothing."""

import tracemalloc
from pathlib import Path

import policy_core
import policy_inference

ALLOWED_BYTES = 512
"""Integers of counters and times, which take the place of others; far below a byte per tick."""


def held_bytes() -> int:
    """Return what code of the kernel and of its host holds."""
    folders = [Path(package.__path__[0]) for package in (policy_core, policy_inference)]
    ours = tracemalloc.take_snapshot().filter_traces(
        [tracemalloc.Filter(True, f"{folder}/*") for folder in folders]
    )
    return sum(statistic.size for statistic in ours.statistics("filename"))
