# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Looks at a client's observations now and then, and says when they are not those of training."""

from __future__ import annotations

import numpy as np

from policy_inference.core.misfit import Misfit
from policy_inference.interfaces import F32, F64

_LOOKS, _EVERY_NS = 64, 31_250_000
"""Looks of a judgement, and the least time between two: 2 s or more."""


class ObservationWatch:
    """Of one client: keeps a look every 31 ms, and judges every 64 of them."""

    def __init__(self, misfit: Misfit) -> None:
        """Compare with what `misfit` knows; it may be shared by clients."""
        self._misfit, self._due_ns, self._count, self._odd = misfit, 0, 0, False
        self._looks: F64 | None = None

    def look(self, observation: F32, now_ns: int) -> str | None:
        """Look at an observation; nearly always that costs nothing.

        Args:
            observation: Of the client's robots [rows, size], scales applied, not normalised;
                all finite. One robot is looked at each time, in turn.
            now_ns: Steady clock, ns.

        Returns:
            What is odd where that begins, "" where it ends, else None.
        """
        if now_ns < self._due_ns:
            return None
        self._due_ns = now_ns + _EVERY_NS
        if self._looks is None:  # a client that asks for nothing needs no memory
            self._looks = np.empty((_LOOKS, observation.shape[1]))
        self._looks[self._count] = observation[self._count % observation.shape[0]]
        self._count += 1
        if self._count < _LOOKS:
            return None
        self._count = 0
        text = self._misfit.describe(self._looks)
        began, ended = bool(text) and not self._odd, self._odd and not text
        self._odd = bool(text)
        return text if began or ended else None
