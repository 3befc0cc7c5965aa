# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""How long to measure: until the figures are steady, or only to show that each part still runs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long to measure, and how busy the machine may be.

    Attributes:
        is_smoke: True if the figures are no results, since they come from too few repetitions.
        share: Share of the repetitions to make.
        jitter_s: Duration of each row of jitter.
        lost_share: Largest acceptable share of missing answers; with more, a figure would measure
            something else.
        late_s: Longest acceptable delay of the sensors.
    """

    is_smoke: bool
    share: float
    jitter_s: float
    lost_share: float
    late_s: float

    def count(self, full_count: int) -> int:
        """Return how many of these repetitions to make, at least one."""
        return max(1, round(self.share * full_count))


FULL = Effort(is_smoke=False, share=1.0, jitter_s=20.0, lost_share=0.05, late_s=0.1)
SMOKE = Effort(is_smoke=True, share=0.05, jitter_s=1.0, lost_share=0.5, late_s=10.0)
"""Tolerates a busy machine, such as that of CI, which changes figures but breaks nothing."""
