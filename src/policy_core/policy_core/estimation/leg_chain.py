# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Positions and velocities of a leg's contact points, in the base frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from policy_core.bundle.contract import ChainLink, Leg
from policy_core.interfaces import F64

Vector = tuple[float, float, float]


def cross(a: Vector, b: Vector) -> Vector:
    """Return the cross product a x b."""
    ax, ay, az = a
    bx, by, bz = b
    return ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx


class LegChain:
    """A leg's kinematic chain, computed in scalars so that C++ rounds the same way.

    A point p on the last link moves at `turn` x p - `moment`, as seen from the base.

    Attributes:
        points: Positions of the contact points in the base frame, m.
        radii: Radius of the foot around each point, m.
        turn: Angular velocity of the last link relative to the base, rad/s.
        moment: Sum, over all joints, of (the joint's angular velocity x its position), m/s.
    """

    def __init__(self, leg: Leg, joint_names: Sequence[str]) -> None:
        """Prepare the chain's constants, with joint names resolved to indices.

        Args:
            leg: Leg from a valid contract.
            joint_names: Order of the joint arrays.
        """
        self._joints = _list_joints(leg.chain, joint_names)
        tail = _tail(leg.chain)
        self._tips = [_vector(tail @ (*point.position_m, 1.0)) for point in leg.points]
        self.radii = [point.radius_m for point in leg.points]
        self.points = self._tips
        self.turn: Vector = (0.0, 0.0, 0.0)
        self.moment: Vector = (0.0, 0.0, 0.0)

    def plan(self) -> dict[str, Any]:
        """Return the leg's configuration for the native core, with joints from foot to base."""
        joints = dict(zip(_Joint._fields, zip(*self._joints, strict=True), strict=True))
        return {**joints, "tips": self._tips, "radii": self.radii}

    def update(self, joint_pos: Sequence[float], joint_vel: Sequence[float]) -> None:
        """Update the attributes from joint positions (rad) and velocities (rad/s)."""
        points = self._tips
        # From the foot to the base; all vectors are in the frame of the current link.
        u = v = w = p = q = r = 0.0
        for place, (ax, ay, az), (ox, oy, oz), constant, sine, cosine in self._joints:
            angle, rate = joint_pos[place], joint_vel[place]
            sin, cos = math.sin(angle), math.cos(angle)
            xx, xy, xz, yx, yy, yz, zx, zy, zz = [
                a + sin * b + cos * c for a, b, c in zip(constant, sine, cosine, strict=True)
            ]
            a, b, c = u + rate * ax, v + rate * ay, w + rate * az
            u, v, w = xx * a + xy * b + xz * c, yx * a + yy * b + yz * c, zx * a + zy * b + zz * c
            p, q, r = (
                xx * p + xy * q + xz * r + (v * oz - w * oy),
                yx * p + yy * q + yz * r + (w * ox - u * oz),
                zx * p + zy * q + zz * r + (u * oy - v * ox),
            )
            points = [
                (
                    xx * x + xy * y + xz * z + ox,
                    yx * x + yy * y + yz * z + oy,
                    zx * x + zy * y + zz * z + oz,
                )
                for x, y, z in points
            ]
        self.points, self.turn, self.moment = points, (u, v, w), (p, q, r)


class _Joint(NamedTuple):
    """A joint and the fixed links before it.

    The rotation is F (1 + sin K + (1 - cos) K K), where F is the fixed links' rotation and K the
    cross-product matrix of the axis (Rodrigues). It equals `constant` + sin `sine` + cos `cosine`,
    each a 3 x 3 matrix, row by row [9].
    """

    place: int
    axis: Vector
    offset: Vector
    constant: tuple[float, ...]
    sine: tuple[float, ...]
    cosine: tuple[float, ...]


def _list_joints(chain: Sequence[ChainLink], joint_names: Sequence[str]) -> list[_Joint]:
    """Return a chain's joints, last joint first."""
    joints, before = list[_Joint](), np.eye(4)
    for link in chain:
        before = before @ _offset(link)
        if link.joint is None:
            continue
        axis, fixed = np.array(link.axis) / np.linalg.norm(link.axis), before[:3, :3]
        rotation = (np.eye(3) + _squared(axis), _skew(axis), -_squared(axis))
        joints.append(
            _Joint(
                joint_names.index(link.joint),
                _vector(axis),
                _vector(before[:3, 3]),
                *(tuple((fixed @ part).ravel().tolist()) for part in rotation),
            )
        )
        before = np.eye(4)
    return joints[::-1]


def _tail(chain: Sequence[ChainLink]) -> F64:
    """Return the fixed transform after the last joint [4, 4]."""
    tail = np.eye(4)
    for link in chain:
        tail = np.eye(4) if link.joint is not None else tail @ _offset(link)
    return tail


def _offset(link: ChainLink) -> F64:
    """Return a link's fixed transform, which precedes the joint's rotation [4, 4]."""
    x, y, z, w = np.array(link.quat_xyzw) / np.linalg.norm(link.quat_xyzw)
    made = np.eye(4)
    made[:3, :3] += 2.0 * (w * _skew(np.array([x, y, z])) + _squared(np.array([x, y, z])))
    made[:3, 3] = link.position_m
    return made


def _vector(values: F64) -> Vector:
    x, y, z = values[:3].tolist()
    return x, y, z


def _skew(v: F64) -> F64:
    x, y, z = v
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def _squared(v: F64) -> F64:
    return _skew(v) @ _skew(v)
