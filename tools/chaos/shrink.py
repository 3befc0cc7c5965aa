# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The shortest schedule that still breaks an invariant."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tools.chaos.steps import ChaosStep


def shrunk(
    steps: Sequence[ChaosStep], still_breaks: Callable[[Sequence[ChaosStep]], bool]
) -> tuple[ChaosStep, ...]:
    """Return steps of which none can be left out.

    Args:
        steps: Those that break an invariant.
        still_breaks: Runs steps; returns whether they break the same one.
    """
    kept, size = tuple(steps), max(1, len(steps) // 2)
    while True:
        at, before = len(kept), len(kept)
        while at > 0:
            fewer = kept[: max(0, at - size)] + kept[at:]
            if still_breaks(fewer):
                kept = fewer
            at -= size
        if size == 1 and len(kept) == before:
            return kept
        size = max(1, size // 2)
