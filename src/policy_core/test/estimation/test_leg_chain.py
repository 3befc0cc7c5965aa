# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Chains of legs that hold more than joints; robot_sim's tests have those of whole robots."""

from __future__ import annotations

import numpy as np

from policy_core.bundle.contract import ChainLink, ContactPoint, Leg
from policy_core.estimation.leg_chain import LegChain

HALF = 0.5**0.5


def test_a_link_that_does_not_move_belongs_to_the_next_or_to_the_foot() -> None:
    turned = (0.0, 0.0, HALF, HALF)  # by 90 degrees about z
    leg = Leg(
        name="L",
        chain=(
            ChainLink(position_m=(1.0, 0.0, 0.0), quat_xyzw=turned),
            ChainLink(joint="hip", position_m=(0.5, 0.0, 0.0), axis=(0.0, 0.0, 3.0)),
            ChainLink(position_m=(0.0, 0.0, -1.0), quat_xyzw=turned),
        ),
        points=(ContactPoint(position_m=(0.25, 0.0, 0.0), radius_m=0.02),),
    )
    chain = LegChain(leg, ["hip"])

    chain.update([0.0], [2.0])

    # Twice turned by 90 degrees, x points back.
    np.testing.assert_allclose(chain.points[0], [0.75, 0.5, -1.0], atol=1e-12)
    np.testing.assert_allclose(chain.turn, [0.0, 0.0, 2.0], atol=1e-12)
    assert chain.radii == [0.02]
