# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Positions and velocities of all foot points, in the base frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from policy_core.bundle.contract import ChainLink, Leg
from policy_core.interfaces import F64

_NEXT, _AFTER = np.array([1, 2, 0]), np.array([2, 0, 1])


def cross(a: F64, b: F64) -> F64:
    """Return a x b of arrays [..., 3]; for small ones faster than `numpy.cross`."""
    return a.take(_NEXT, -1) * b.take(_AFTER, -1) - a.take(_AFTER, -1) * b.take(_NEXT, -1)


class LegChains:
    """The kinematic chains of all legs, computed together; all have equally many joints and points.

    A point p of the last link moves at `turn` x p - `moment`, seen from the base.

    Attributes:
        points: Positions of the points [legs, points, 3], m.
        radius: Radius of the foot about each point [legs, points, 1], m.
        turn: Angular velocity of each last link [legs, 3], rad/s.
        moment: Sum over the joints of their rate about their axis, x their position [legs, 3], m/s.
    """

    def __init__(self, legs: Sequence[Leg], joint_names: Sequence[str]) -> None:
        """Resolve names into indices.

        Args:
            legs: Legs of a valid contract.
            joint_names: Order of the joint arrays.
        """
        chains = [_list_joints(leg.chain) for leg in legs]
        joints = [[joint_names.index(joint) for joint, *_ in chain] for chain in chains]
        self._index = np.array(joints).T
        # The rotation of a joint is F (1 + sin K + (1 - cos) K K), where K x = axis x x
        # (Rodrigues).
        self._constant, self._sine, self._cosine = (
            np.array([[part(*link[1:]) for link in chain] for chain in chains]).swapaxes(0, 1)
            for part in (_constant, _sine, _cosine)
        )
        axes = np.array([[link[3] for link in chain] for chain in chains])
        self._axes = axes.swapaxes(0, 1)[..., None]
        tails = [_tail(leg.chain) for leg in legs]
        self._tips = np.array(
            [
                [tail @ (*point.position_m, 1.0) for point in leg.points]
                for leg, tail in zip(legs, tails, strict=True)
            ]
        ).swapaxes(1, 2)
        self.radius = np.array([[[each.radius_m] for each in leg.points] for leg in legs])
        self.points: F64 = np.zeros((len(legs), self._tips.shape[2], 3))
        self.turn: F64 = np.zeros((len(legs), 3))
        self.moment: F64 = np.zeros((len(legs), 3))

    def update(self, joint_pos: F64, joint_vel: F64) -> None:
        """Compute all attributes for these joints [joints], rad and rad/s."""
        angle = joint_pos.take(self._index)[..., None, None]
        links = self._constant + np.sin(angle) * self._sine + np.cos(angle) * self._cosine
        for number in range(1, len(links)):
            np.matmul(links[number - 1], links[number], links[number])
        rates = (links[..., :3, :3] @ self._axes)[..., 0] * joint_vel.take(self._index)[..., None]
        self.turn = rates.sum(0)
        self.moment = cross(rates, links[..., :3, 3]).sum(0)
        self.points = (links[-1] @ self._tips)[:, :3].swapaxes(1, 2)


_Joint = tuple[str, F64, F64, F64]
"""Name, offset [3], rotation of the offset [3, 3], axis [3] of length 1."""


def _list_joints(chain: Sequence[ChainLink]) -> list[_Joint]:
    """Return the joints of a chain; a fixed link is merged into the offset of the next."""
    joints, before = list[_Joint](), np.eye(4)
    for link in chain:
        before = before @ _offset(link)
        if link.joint is not None:
            axis = np.array(link.axis) / np.linalg.norm(link.axis)
            joints.append((link.joint, before[:3, 3], before[:3, :3], axis))
            before = np.eye(4)
    return joints


def _tail(chain: Sequence[ChainLink]) -> F64:
    """Return the fixed transform after the last joint [4, 4]."""
    tail = np.eye(4)
    for link in chain:
        tail = np.eye(4) if link.joint is not None else tail @ _offset(link)
    return tail


def _offset(link: ChainLink) -> F64:
    """Return the fixed transform of a link [4, 4]."""
    x, y, z, w = np.array(link.quat_xyzw) / np.linalg.norm(link.quat_xyzw)
    made = np.eye(4)
    made[:3, :3] += 2.0 * (w * _skew(np.array([x, y, z])) + _squared(np.array([x, y, z])))
    made[:3, 3] = link.position_m
    return made


def _skew(v: F64) -> F64:
    x, y, z = v
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def _squared(v: F64) -> F64:
    return _skew(v) @ _skew(v)


def _constant(offset: F64, rotation: F64, axis: F64) -> F64:
    made = np.eye(4)
    made[:3, :3] = rotation @ (np.eye(3) + _squared(axis))
    made[:3, 3] = offset
    return made


def _sine(_: F64, rotation: F64, axis: F64) -> F64:
    return np.pad(rotation @ _skew(axis), (0, 1))


def _cosine(_: F64, rotation: F64, axis: F64) -> F64:
    return np.pad(-rotation @ _squared(axis), (0, 1))
