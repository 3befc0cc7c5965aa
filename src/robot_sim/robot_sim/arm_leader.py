# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Move a leader arm as a person would: home, to the cube, then wait above it."""

import dataclasses
from enum import Enum

from robot_sim.arm_expert import EPISODE_NS, JointMove, ReachExpert, ReachJudge
from robot_sim.arm_figures import SO101
from robot_sim.arm_world import ArmWorld
from robot_sim.figures import Array

HOME_S = 2.0
"""Duration of the move home."""
_AT_ONCE_S = 1e-3


class LeaderMoment(Enum):
    """A demonstration event that has just happened."""

    BEGAN, SUCCEEDED, FAILED = range(3)


class Leader:
    """Leads an arm to a cube, given the positions of the joints and the cube.

    Attributes:
        demonstrating: True while the leader reaches for the cube.
    """

    def __init__(self) -> None:
        """Prepare to go home at the first `look`."""
        self._world = ArmWorld()  # never stepped: used for kinematics only
        self._move: JointMove | None = None
        self._judge: ReachJudge | None = None
        self._wanted = False
        self._now_ns = self._began_ns = 0

    @property
    def demonstrating(self) -> bool:
        return self._judge is not None

    def demonstrate(self) -> None:
        """Go home, then reach for the cube; abandon any current motion."""
        self.go_home()
        self.reach()

    def go_home(self) -> None:
        """Go home and wait there; abandon any current motion."""
        self._move, self._judge, self._wanted = None, None, False

    def reach(self) -> None:
        """Reach for the cube as soon as the current motion, such as going home, ends."""
        self._judge, self._wanted = None, True

    def reach_from(self, now_ns: int, joint_pos: Array) -> None:
        """Reach for the cube from the arm's current pose, without going home first.

        Args:
            now_ns: Current time.
            joint_pos: Positions of the arm [6], rad.
        """
        self._move = JointMove(
            self._world.model,
            start_rad=joint_pos,
            goal_rad=joint_pos,
            began_ns=now_ns,
            duration_s=_AT_ONCE_S,
        )
        self._now_ns = now_ns
        self.reach()

    def look(self, now_ns: int, joint_pos: Array, cube_world: Array | None) -> LeaderMoment | None:
        """Advance to this time; a second call with the same time changes nothing.

        Args:
            now_ns: Current time; if time jumps back, the leader goes home.
            joint_pos: Positions of the follower arm [6], rad.
            cube_world: Center of the cube [3], m; None if it is unknown.

        Returns:
            The event of the demonstration that has just happened, if any.
        """
        if self._move is None or now_ns < self._now_ns:
            self._judge = None
            self._move = JointMove(
                self._world.model,
                start_rad=joint_pos,
                goal_rad=SO101.home_rad,
                began_ns=now_ns,
                duration_s=HOME_S,
            )
        self._now_ns = now_ns
        if cube_world is None:
            return None
        self._world.show([*joint_pos, *cube_world, 1.0, 0.0, 0.0, 0.0])
        if self._judge is not None:
            return self._judged(self._judge)
        if not self._wanted or not self._move.is_over(now_ns):
            return None
        self._wanted = False
        self._move = ReachExpert(self._world, began_ns=now_ns)
        self._judge, self._began_ns = ReachJudge(), now_ns
        return LeaderMoment.BEGAN

    def target(self) -> Array:
        """Return the leader arm's positions at the last `look` [6], rad."""
        assert self._move is not None  # `look` was called
        return self._move.target(self._now_ns)

    def _judged(self, judge: ReachJudge) -> LeaderMoment | None:
        sensed = dataclasses.replace(self._world.sense(), time_ns=self._now_ns)
        if not judge.look(sensed) and self._now_ns - self._began_ns < EPISODE_NS:
            return None
        self._judge = None
        return LeaderMoment.SUCCEEDED if judge.succeeded else LeaderMoment.FAILED
