# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The reach task: success criterion, and a scripted expert that knows the cube's position."""

from dataclasses import dataclass, field

import mujoco
import numpy as np
import numpy.typing as npt

from robot_sim.arm_figures import SO101
from robot_sim.arm_model import CUBE_HALF_M
from robot_sim.arm_world import JOINTS, ArmSensors, ArmWorld
from robot_sim.driven import NS_PER_S
from robot_sim.errors import SimError
from robot_sim.figures import Array

REACHED_M = 0.02
STAY_NS = NS_PER_S // 2
EPISODE_NS = 6 * NS_PER_S
"""Time limit for an episode; one that has not succeeded by then has failed."""
CLEARANCE_M = 0.012
"""Height above the cube at which the expert stops, since the jaws' ends are 6 mm below the tip."""
MEAN_SPEED_M_PER_S = 0.05
DURATION_S = (2.0, 4.0)
_ARM = slice(0, 4)  # pan, lift, elbow, wrist: all but roll and gripper
# Damping of the least squares: tip, m per rad; gripper direction, rad per rad.
_TIP_DAMPING, _LEAN_DAMPING = 0.005, 0.2
_ITERATIONS, _STEP_RAD, _ENOUGH_M = 300, 0.2, 1e-4


def cube_top(sensed: ArmSensors) -> Array:
    """Return the middle of the cube's top face [3], m, world; the cube stands on the table."""
    return np.asarray(sensed.cube_world + np.array([0.0, 0.0, CUBE_HALF_M]))


@dataclass(slots=True)
class ReachJudge:
    """Detects when the tip has stayed within `REACHED_M` of the cube's top for `STAY_NS`.

    Attributes:
        succeeded: True if the tip has stayed there for that long since the judge was created.
        closest_m: Smallest distance so far, m.
    """

    succeeded: bool = False
    closest_m: float = np.inf
    _since_ns: int | None = field(default=None, repr=False)

    def look(self, sensed: ArmSensors) -> bool:
        """Process the next moment; return `succeeded`."""
        distance_m = float(np.linalg.norm(sensed.tip_world - cube_top(sensed)))
        self.closest_m = min(self.closest_m, distance_m)
        if distance_m > REACHED_M:
            self._since_ns = None
        elif self._since_ns is None:
            self._since_ns = sensed.time_ns
        elif sensed.time_ns - self._since_ns >= STAY_NS:
            self.succeeded = True
        return self.succeeded


class JointMove:
    """A straight line in joint space, with a smooth time profile.

    The command leads the arm by as much as the servos sag under the arm's weight, as a person's
    hand on a leader arm does.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        *,
        start_rad: Array,
        goal_rad: Array,
        began_ns: int,
        duration_s: float,
    ) -> None:
        """Plan a move from one arm pose [6] to another."""
        self.goal_rad, self.duration_s = goal_rad, duration_s
        self._began_ns, self._from = began_ns, start_rad
        self._model, self._kinematics = model, mujoco.MjData(model)

    def target(self, time_ns: int) -> Array:
        """Return the joint positions to command [6], rad, at a given world time."""
        position = self._from + minimum_jerk(self._part(time_ns)) * (self.goal_rad - self._from)
        return np.clip(position + self._sag(position), SO101.lower_rad, SO101.upper_rad)

    def is_over(self, time_ns: int) -> bool:
        return self._part(time_ns) >= 1.0

    def _part(self, time_ns: int) -> float:
        return (time_ns - self._began_ns) / NS_PER_S / self.duration_s

    def _sag(self, position: Array) -> Array:
        """Return the sag of the servos at this pose under the arm's weight [6], rad."""
        data = self._kinematics
        data.qpos[:JOINTS] = position
        mujoco.mj_forward(self._model, data)
        return np.asarray(data.qfrc_bias[:JOINTS] / SO101.servo.stiffness)


class ReachExpert(JointMove):
    """Moves the arm from its current pose to a point above the cube."""

    def __init__(self, world: ArmWorld, began_ns: int | None = None) -> None:
        """Plan from the current state of the world.

        Args:
            world: The arm and the cube.
            began_ns: Start time of the move; the world's current time by default.
        """
        sensed, model = world.sense(), world.model
        goal = cube_top(sensed) + np.array([0.0, 0.0, CLEARANCE_M])
        distance_m = float(np.linalg.norm(goal - sensed.tip_world))
        super().__init__(
            model,
            start_rad=sensed.joint_pos,
            began_ns=sensed.time_ns if began_ns is None else began_ns,
            goal_rad=solve(model, goal, start_rad=sensed.joint_pos),
            duration_s=float(np.clip(distance_m / MEAN_SPEED_M_PER_S, *DURATION_S)),
        )


def minimum_jerk(part: float) -> float:
    """Return the fraction of the path covered after a fraction of the time; both 0 to 1.

    Source: Flash and Hogan 1985, 10 s^3 - 15 s^4 + 6 s^5.
    """
    s = min(max(part, 0.0), 1.0)
    return s**3 * (10.0 + s * (6.0 * s - 15.0))


def solve(model: mujoco.MjModel, tip_world: Array, *, start_rad: Array) -> Array:
    """Return joint positions [6] that put the tip at a point, with the gripper down if possible.

    Uses damped least squares on the tip's position; the remaining freedom turns the gripper down.
    The roll and jaw joints keep their positions.

    Args:
        model: The arm.
        tip_world: Desired tip position [3], m.
        start_rad: Initial joint positions [6].
    """
    data, tip = mujoco.MjData(model), model.site("tip").id
    data.qpos[:JOINTS] = start_rad
    moves, turns = np.zeros((3, model.nv)), np.zeros((3, model.nv))
    for _ in range(_ITERATIONS):
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_jacSite(model, data, moves, turns, tip)
        miss = tip_world - data.site_xpos[tip]
        points = -data.site_xmat[tip].reshape(3, 3)[:, 2]  # the gripper points along its -z
        lean = np.cross(points, [0.0, 0.0, -1.0])
        step = _prioritised(moves[:, _ARM], miss, turns[:, _ARM], lean)
        free = _free(data.qpos[_ARM], step)
        if not free.all():  # leave out joints at a limit that would move further into it
            step = _prioritised(moves[:, _ARM] * free, miss, turns[:, _ARM] * free, lean) * free
        if np.linalg.norm(miss) < _ENOUGH_M and np.abs(step).max() < 1e-4:
            break
        step *= min(1.0, _STEP_RAD / max(float(np.abs(step).max()), 1e-12))
        data.qpos[_ARM] = np.clip(
            data.qpos[_ARM] + step, SO101.lower_rad[_ARM], SO101.upper_rad[_ARM]
        )
    found = np.array(data.qpos[:JOINTS])
    if np.linalg.norm(miss) > 1e-3:
        raise SimError(
            f"reach: expected a point within the arm's reach, found {tip_world.round(3)}, which is "
            f"{1e3 * float(np.linalg.norm(miss)):.0f} mm out of reach"
        )
    return found


def _free(position: Array, step: Array) -> npt.NDArray[np.bool_]:
    """Return a mask [4] of the joints that the step would not push beyond a limit."""
    low = (position <= SO101.lower_rad[_ARM]) & (step < 0.0)
    high = (position >= SO101.upper_rad[_ARM]) & (step > 0.0)
    return ~(low | high)


def _prioritised(moves: Array, miss: Array, turns: Array, lean: Array) -> Array:
    """Return the joint step that corrects `miss` and, as far as that leaves freedom, `lean`."""
    inverse = _damped_inverse(moves, _TIP_DAMPING)
    step = inverse @ miss
    free = np.eye(moves.shape[1]) - inverse @ moves
    rest = lean - turns @ step
    return np.asarray(step + free @ _damped_inverse(turns @ free, _LEAN_DAMPING) @ rest)


def _damped_inverse(jacobian: Array, damping: float) -> Array:
    """Return J^T (J J^T + damping^2 I)^-1."""
    square = jacobian @ jacobian.T + damping**2 * np.eye(len(jacobian))
    return np.asarray(np.linalg.solve(square, jacobian).T)
