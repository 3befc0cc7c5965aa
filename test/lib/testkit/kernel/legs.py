# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Random legged robots for the estimator of base velocity."""

from __future__ import annotations

import random

from policy_core.bundle.contract import ChainLink, ContactPoint, Estimation, Leg


def random_legs(draw: random.Random) -> tuple[Estimation, list[str]]:
    """Return 1 to 6 legs of 2 to 4 joints and 1 to 4 points, and the names of all joints."""
    counts = [(draw.randint(2, 4), draw.choice([1, 1, 4])) for _ in range(draw.randint(1, 6))]

    def vector(largest: float, size: int = 3) -> tuple[float, ...]:
        return tuple(draw.uniform(-largest, largest) for _ in range(size))

    def link(joint: str | None) -> ChainLink:
        turned = {"quat_xyzw": vector(1.0, 4)} if draw.random() < 0.3 else {}
        axis = draw.choice([(1.0, 0.0, 0.0), (0.0, -1.0, 0.0), vector(1.0)])
        return ChainLink(joint=joint, position_m=vector(0.3), axis=axis, **turned)

    def leg(name: int, joints: int, points: int) -> Leg:
        chain = [link(f"{name}_{joint}") for joint in range(joints)]
        if draw.random() < 0.5:
            chain.insert(draw.randint(0, joints), link(None))
        feet = [
            ContactPoint(position_m=vector(0.2), radius_m=draw.choice([0.0, 0.02]))
            for _ in range(points)
        ]
        return Leg(name=str(name), chain=tuple(chain), points=tuple(feet))

    names = [f"{leg}_{joint}" for leg, (count, _) in enumerate(counts) for joint in range(count)]
    names += [f"arm_{joint}" for joint in range(draw.randint(0, 3))]
    draw.shuffle(names)
    made = tuple(leg(each, *count) for each, count in enumerate(counts))
    return Estimation(error_mps=0.05, legs=made, imu_m=vector(0.1)), names
