# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy's reference motion, frame by frame, in the form that the observation terms need.

The frames come from a clip, or the newest frame comes from a topic. At the first tick of RUN, the
motion is translated, and rotated about the vertical, so that the anchor in its first frame
coincides with the robot's anchor in position and heading; the motion's roll and pitch are kept.
BeyondMimic's deployment (HybridRobotics/motion_tracking_controller, `MotionCommandTerm`) does the
same, and the terms match those in its training (`motion_anchor_pos_b`, `motion_anchor_ori_b`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from policy_core.bundle.clip import MotionClip
from policy_core.bundle.contract import Anchor, ReferenceMotion
from policy_core.control_state import Stateful
from policy_core.interfaces import F64
from policy_core.observation.quaternion import (
    Quat,
    Vector,
    conjugate,
    normalized,
    product,
    rotated,
    yaw_rad,
)

_ORIGIN: Vector = (0.0, 0.0, 0.0)


class ClipPlayer(Stateful):
    """Plays a clip: writes each tick's frames to fields of the state.

    `restart` and `advance` write the fields that depend only on the clip; `write` writes the fields
    that also depend on the robot's pose, which are NaN while the pose is unknown.
    """

    STATE = ("_tick", "_cycle", "_is_placed", "_placement")

    def __init__(
        self,
        clip: MotionClip,
        motion: ReferenceMotion,
        joint_names: Sequence[str],
        state: Mapping[str, F64],
        outputs: Mapping[tuple[str, int], F64],
    ) -> None:
        """Connect the fields, and begin at the first frame.

        Args:
            clip: The frames.
            motion: The contract's `motion` section.
            joint_names: Joint names, in contract order.
            state: Fields to read: `joint_pos`; with an anchor also `quat_xyzw`, and `pos_world` if
                measured.
            outputs: Fields to write, by field name in `TERMS` and number of ticks ahead.
        """
        self._clip, self._loops, self._last = clip, motion.at_end == "loop", len(clip.joint_pos) - 1
        self._joints = [
            (clip.joint_pos if field == "motion_joint_pos" else clip.joint_vel, ahead, out)
            for (field, ahead), out in outputs.items()
            if field in ("motion_joint_pos", "motion_joint_vel")
        ]
        self._anchors = [
            (field == "motion_anchor_pos", ahead, out)
            for (field, ahead), out in outputs.items()
            if field in ("motion_anchor_pos", "motion_anchor_ori")
        ]
        self._measured, self._chain = state, _Chain(motion.anchor, joint_names)
        self._cycle_step = self._step_of_cycle() if self._loops and self._anchors else _Placement()
        self.restart()

    def plan(self) -> dict[str, Any]:
        """Return the configuration for the native core: the frames and the chain to the anchor."""
        return {
            **dataclasses.asdict(self._clip),
            "loops": self._loops,
            "chain": self._chain.plan(),
        }

    @property
    def first_pose(self) -> F64:
        """Joint positions of the first frame [joints], rad."""
        first: F64 = self._clip.joint_pos[0]
        return first

    @property
    def has_ended(self) -> bool:
        """True if every frame has been played; always False for a clip that loops."""
        return not self._loops and self._tick > self._last

    def restart(self) -> None:
        """Begin at the first frame; the next `write` places it at the robot's pose."""
        self._tick, self._placement, self._cycle = 0, _Placement(), 0
        self._is_placed = False
        self._write_joints()

    def advance(self) -> None:
        """Advance to the frame of the next tick."""
        self._tick += 1
        self._write_joints()

    def write(self) -> None:
        """Write the anchor terms for the current measurements."""
        if not self._anchors:
            return
        robot_quat, robot_pos = _anchor_of_robot(self._measured, self._chain)
        if not self._is_placed:
            self._place(robot_quat, robot_pos)
        inverse = conjugate(robot_quat)
        for is_position, ahead, out in self._anchors:
            frame, cycle = self._frame(ahead)
            placement = self._find_placement(cycle)
            if is_position:
                there = placement.position(self._clip.anchor_pos[frame].tolist())
                out[:] = rotated(inverse, _difference(there, robot_pos))
            else:
                there_quat = placement.orientation(self._clip.anchor_quat_xyzw[frame].tolist())
                out[:] = _two_columns(product(inverse, there_quat))

    def _frame(self, ahead: int) -> tuple[int, int]:
        """Return the index of the frame some ticks ahead, and the loops completed before it."""
        place = self._tick + ahead
        if self._loops:
            cycle, frame = divmod(place, self._last + 1)
            return frame, cycle
        return min(place, self._last), 0

    def _write_joints(self) -> None:
        for frames, ahead, out in self._joints:
            frame, _ = self._frame(ahead)
            is_over = not self._loops and self._tick + ahead > self._last
            out[:] = 0.0 if is_over and frames is self._clip.joint_vel else frames[frame]

    def _place(self, robot_quat: Quat, robot_pos: Vector) -> None:
        """Place the motion's first frame at the robot's pose, if that pose is known."""
        first_quat, first_pos = self._anchor_pose(0)
        found = _Placement.between(first_quat, first_pos, robot_quat, robot_pos)
        if found.is_finite():
            self._placement, self._is_placed = found, True

    def _anchor_pose(self, frame: int) -> tuple[Quat, Vector]:
        clip = self._clip
        return normalized(clip.anchor_quat_xyzw[frame].tolist()), tuple(
            clip.anchor_pos[frame].tolist()
        )

    def _step_of_cycle(self) -> _Placement:
        """Return a cycle's placement relative to the previous cycle, at the same height."""
        first_quat, first_pos = self._anchor_pose(0)
        last_quat, (x, y, _) = self._anchor_pose(self._last)
        return _Placement.between(first_quat, first_pos, last_quat, (x, y, first_pos[2]))

    def _find_placement(self, cycle: int) -> _Placement:
        """Return the placement of the current or a later cycle."""
        present = self._tick // (self._last + 1) if self._loops else 0
        while self._cycle < present:
            self._placement = self._placement.after(self._cycle_step)
            self._cycle += 1
        placement = self._placement
        for _ in range(cycle - present):
            placement = placement.after(self._cycle_step)
        return placement


class LivePlayer(Stateful):
    """Plays a live motion: writes the newest frame to fields of the state; see `ClipPlayer`.

    The frame at the first RUN tick is placed at the robot's pose, like the first frame of a clip.
    """

    STATE = ("_is_placed", "_placement")

    def __init__(
        self,
        motion: ReferenceMotion,
        joint_names: Sequence[str],
        state: Mapping[str, F64],
        outputs: Mapping[tuple[str, int], F64],
    ) -> None:
        """Connect the fields, as in `ClipPlayer`; the `live_` fields hold the newest frame."""
        self._measured, self._chain = state, _Chain(motion.anchor, joint_names)
        self._joints = [
            (state[field.replace("motion_", "live_")], out)
            for (field, _), out in outputs.items()
            if field in ("motion_joint_pos", "motion_joint_vel")
        ]
        self._pos, self._ori = (
            outputs.get((field, 0)) for field in ("motion_anchor_pos", "motion_anchor_ori")
        )
        self.restart()

    def plan(self) -> dict[str, Any]:
        """Return the configuration for the native core, which is the chain to the anchor."""
        return {"chain": self._chain.plan()}

    def restart(self) -> None:
        """Make the next `write` place the motion at the robot's pose again."""
        self._placement, self._is_placed = _Placement(), False

    def advance(self) -> None:
        """Do nothing, since every `write` uses the newest frame."""

    def write(self) -> None:
        """Write the newest frame's fields for the current measurements."""
        for newest, out in self._joints:
            out[:] = newest
        if self._pos is None and self._ori is None:
            return
        measured = self._measured
        robot_quat, robot_pos = _anchor_of_robot(measured, self._chain)
        quat = normalized(measured["live_anchor_quat_xyzw"].tolist())
        pos = measured["live_anchor_pos"].tolist()
        if not self._is_placed:
            self._placement = _Placement.between(quat, pos, robot_quat, robot_pos)
            self._is_placed = self._placement.is_finite()
        placement = self._placement
        inverse = conjugate(robot_quat)
        if self._pos is not None:
            self._pos[:] = rotated(inverse, _difference(placement.position(pos), robot_pos))
        if self._ori is not None:
            self._ori[:] = _two_columns(product(inverse, placement.orientation(quat)))


class _Placement(Stateful):
    """Transform from the motion's world to the robot's: rotation about the vertical, then shift."""

    STATE = ("_yaw", "_shift")

    def __init__(self, yaw: float = 0.0, shift: Vector = _ORIGIN) -> None:
        self._yaw, self._shift = yaw, shift

    @property
    def _turn(self) -> Quat:
        return 0.0, 0.0, math.sin(0.5 * self._yaw), math.cos(0.5 * self._yaw)

    @staticmethod
    def between(quat: Quat, pos: Vector, to_quat: Quat, to_pos: Vector) -> _Placement:
        """Return the placement that moves a pose to another pose's position and heading."""
        turn = _Placement(yaw_rad(to_quat) - yaw_rad(quat))
        return _Placement(turn._yaw, _difference(to_pos, turn.position(pos)))

    def after(self, first: _Placement) -> _Placement:
        """Return the placement that applies `first`, and then this placement."""
        return _Placement(self._yaw + first._yaw, self.position(first._shift))

    def position(self, pos: Sequence[float]) -> Vector:
        """Return a position of the motion in the robot's world."""
        return _sum(rotated(self._turn, pos), self._shift)

    def orientation(self, quat: Sequence[float]) -> Quat:
        """Return an orientation of the motion in the robot's world."""
        return product(self._turn, quat)

    def is_finite(self) -> bool:
        """Return True if the placement is known, which requires known poses."""
        return all(map(math.isfinite, (self._yaw, *self._shift)))


class _Chain:
    """The kinematic chain from the base to the anchor, with joint indices."""

    def __init__(self, anchor: Anchor | None, joint_names: Sequence[str]) -> None:
        self._links: list[tuple[int | None, Vector, Quat, Vector]] = []
        for link in anchor.chain if anchor else ():
            x, y, z = link.position_m
            axis_length = math.sqrt(sum(value * value for value in link.axis))
            u, v, w = (value / axis_length for value in link.axis)
            joint = None if link.joint is None else joint_names.index(link.joint)
            self._links.append((joint, (x, y, z), normalized(link.quat_xyzw), (u, v, w)))

    def plan(self) -> list[dict[str, Any]]:
        """Return the configuration for the native core: the links; joint -1 marks a fixed link."""
        return [
            {
                "joint": -1 if joint is None else joint,
                "position": position,
                "quat_xyzw": quat,
                "axis": axis,
            }
            for joint, position, quat, axis in self._links
        ]

    def pose(self, base: Quat, joint_pos: F64) -> tuple[Quat, Vector]:
        """Return the anchor's orientation and its offset from the base, in the world frame.

        Args:
            base: Orientation of the base in the world frame.
            joint_pos: Measured positions [joints], rad.
        """
        quat, offset = base, _ORIGIN
        for joint, position, fixed, (u, v, w) in self._links:
            offset = _sum(offset, rotated(quat, position))
            quat = product(quat, fixed)
            if joint is not None:
                half = 0.5 * float(joint_pos[joint])
                sine = math.sin(half) if math.isfinite(half) else math.nan
                cosine = math.cos(half) if math.isfinite(half) else math.nan
                quat = product(quat, (u * sine, v * sine, w * sine, cosine))
        return quat, offset


def _anchor_of_robot(measured: Mapping[str, F64], chain: _Chain) -> tuple[Quat, Vector]:
    """Return the robot's anchor: orientation, and position (0 if position is not measured)."""
    base = measured.get("pos_world")
    quat, offset = chain.pose(normalized(measured["quat_xyzw"].tolist()), measured["joint_pos"])
    return quat, _ORIGIN if base is None else _sum(base.tolist(), offset)


def _sum(first: Sequence[float], second: Sequence[float]) -> Vector:
    return first[0] + second[0], first[1] + second[1], first[2] + second[2]


def _difference(first: Sequence[float], second: Sequence[float]) -> Vector:
    return first[0] - second[0], first[1] - second[1], first[2] - second[2]


def _two_columns(quat: Quat) -> tuple[float, ...]:
    """Return the first two columns of a quaternion's rotation matrix, row by row [6]."""
    x, y, z, w = quat
    return (
        1.0 - 2.0 * (y * y + z * z),
        2.0 * (x * y - z * w),
        2.0 * (x * y + z * w),
        1.0 - 2.0 * (x * x + z * z),
        2.0 * (x * z - y * w),
        2.0 * (y * z + x * w),
    )
