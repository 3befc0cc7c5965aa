# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A legged robot on the ground: deterministic, without ROS, stepped by the caller."""

import math
from dataclasses import dataclass

import mujoco
import numpy as np
import numpy.typing as npt

from robot_sim.driven import NS_PER_S, DrivenWorld
from robot_sim.drives import DriveCommand, position_command
from robot_sim.errors import SimError
from robot_sim.figures import LITE3, Array, LeggedRobot, Pose, StartPose
from robot_sim.ground import LEVEL, Ground
from robot_sim.model import HOIST, build_model
from robot_sim.rotation import tilt_rad, yaw_rad

__all__ = [
    "NS_PER_S",
    "DriveCommand",
    "Pose",
    "Sensors",
    "WalkingWorld",
    "World",
    "position_command",
]

_XYZW = [4, 5, 6, 3]  # indices in MuJoCo's positions
_WELD = 11  # number of values that MuJoCo stores for any constraint
UPRIGHT_TILT_RAD = np.pi / 3
# Gains of a hand on the base's heading, N m/rad and N m s/rad: far above the belly's friction.
_HAND_STIFFNESS, _HAND_DAMPING = 1000.0, 50.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensors:
    """Readings of all sensors, and ground truth, at one time. The arrays are copies.

    Attributes:
        time_ns: Simulated time.
        joint_names: Order of the joint arrays.
        joint_pos: Positions [n], rad; n is 12 in a quadruped.
        joint_vel: Velocities [n], rad/s.
        joint_effort: Torques of the drives [n], N m.
        quat_xyzw: Orientation [4], body to world.
        ang_vel_body: Angular velocity [3], rad/s, body frame.
        lin_acc_body: Specific force [3], m/s^2, body frame: +9.81 along z for a level robot at
            rest.
        lin_vel_body: Velocity of the base [3], m/s, body frame, as odometry reports it.
        pos_world: Position of the base [3], m.
        foot_force_world: Force of the floor on each foot [feet, 3], N, in the order of
            `World.foot_names`; [0, 3] if the feet are unknown.
    """

    time_ns: int
    joint_names: tuple[str, ...]
    joint_pos: Array
    joint_vel: Array
    joint_effort: Array
    quat_xyzw: Array
    ang_vel_body: Array
    lin_acc_body: Array
    lin_vel_body: Array
    pos_world: Array
    foot_force_world: Array


class WalkingWorld(DrivenWorld):
    """A robot that a policy drives and whose walk is measured; arrays are [n], one per joint.

    Attributes:
        effort_limit_nm: Rated torques of the drives [n], N m.
        fallen_height_m: Height of the base below which the robot has fallen.
    """

    effort_limit_nm: Array
    fallen_height_m: float

    @property
    def tilt_rad(self) -> float:
        """Angle between the body's z axis and the vertical."""
        return float(tilt_rad(self._quat_xyzw()))

    @property
    def upright(self) -> bool:
        """True if the body is tilted by less than 60 degrees."""
        return self.tilt_rad < UPRIGHT_TILT_RAD

    @property
    def fallen(self) -> bool:
        raise NotImplementedError

    @property
    def saturated_share(self) -> float:
        """Share of samples (joint x physics step) at the torque limit since the count restarted."""
        return self._saturated / max(1, (self._steps - self._judged_from) * len(self.joint_names))

    def reset_saturated_share(self) -> None:
        """Restart the count of samples at the torque limit; each start of the world does so too."""
        self._saturated, self._judged_from = 0, self._steps

    def sense(self) -> Sensors:
        raise NotImplementedError

    def _after_step(self) -> None:
        limit_nm = self.model.actuator_forcerange[:, 1]
        self._saturated += int(np.count_nonzero(np.abs(self._data.actuator_force) >= limit_nm))

    def _quat_xyzw(self) -> Array:
        raise NotImplementedError


class World(WalkingWorld):
    """A simulated legged robot. The same calls give bit-identical results on one machine.

    The drives damp until the first command arrives and whenever the latest one has expired.
    """

    def __init__(
        self,
        robot: LeggedRobot = LITE3,
        *,
        friction: float = 1.0,
        ground: Ground = LEVEL,
        payload_kg: float = 0.0,
        joint_friction_nm: float = 0.0,
        seed: int = 0,
        pose: Pose | None = None,
    ) -> None:
        """Put the robot on the floor.

        Args:
            robot: The robot's data.
            friction: Sliding friction between feet and floor.
            ground: Shape of the floor.
            payload_kg: Mass added to the base at its center; if negative, removed from it.
            joint_friction_nm: Torque added to the dry friction of each joint.
            seed: Varies the start pose, each joint by up to 10 mrad; 0 is the exact pose.
            pose: Start pose: lying, or the default stance; None for the one in the robot's data.
        """
        for name, value in (("friction", friction), ("joint_friction_nm", joint_friction_nm)):
            if value < 0.0:
                raise SimError(f"{name}: expected a number >= 0, found {value}")
        least_kg = -robot.base.mass_kg / 2.0
        if payload_kg < least_kg:
            raise SimError(f"payload_kg: expected at least {least_kg:.1f}, found {payload_kg}")
        self._ground, self._robot = ground, robot
        super().__init__(self._build_model(robot, friction, ground))
        self.foot_names = robot.foot_names
        self.effort_limit_nm = robot.effort_limit_nm
        self.fallen_height_m = robot.fallen_height_m
        self._base = self.model.body(robot.base.name).id
        self.model.dof_frictionloss[6:] += joint_friction_nm
        if payload_kg:
            self.model.body_mass[self._base] += payload_kg
            mujoco.mj_setConst(self.model, self._data)
        self.reset(pose=pose, seed=seed)

    def _build_model(self, robot: LeggedRobot, friction: float, ground: Ground) -> mujoco.MjModel:
        """Return the model; the robot's joints come first."""
        return build_model(robot, friction=friction, ground=ground)

    @property
    def fallen(self) -> bool:
        """True if the robot is tilted by 60 degrees or more, or its base is near the ground."""
        above_m = self._ground.over_m(self._data.qpos[:3])
        return not self.upright or above_m < self.fallen_height_m

    def reset(self, *, pose: Pose | None = None, seed: int = 0) -> None:
        """Restart at time 0: pushes and commands are dropped, and all motors are switched on."""
        self._start = self._robot.start(pose or self._robot.starts)
        self._start_again()
        self._place(self._start, np.zeros(3), 0.0)
        joints = self._data.qpos[7 : 7 + len(self._start.joint_pos)]
        joints += np.random.default_rng(seed).uniform(-0.01, 0.01, len(joints)) if seed else 0.0
        self.reset_saturated_share()
        self._push_n, self._push_ends_ns = np.zeros(3), 0.0
        self._turn: _Turn | None = None
        self.motors_on()
        mujoco.mj_forward(self.model, self._data)

    def distances(self, begin: Array, rays: Array, farthest_m: float) -> Array:
        """Return the distances [n], m, at which rays meet something; infinity if out of range.

        Args:
            begin: Origin of the rays in the frame of the base [3], m; they ignore the base itself.
            rays: Unit vectors [n, 3] in the frame of the base.
            farthest_m: Range.
        """
        turn = self._data.xmat[self._base].reshape(3, 3)
        count = len(rays)
        met, found = np.zeros(count, np.int32), np.zeros(count)
        mujoco.mj_multiRay(
            self.model,
            self._data,
            self._data.xpos[self._base] + turn @ begin,
            np.ascontiguousarray(rays @ turn.T).ravel(),
            None,
            True,
            self._base,
            met,
            found,
            None,
            count,
            farthest_m,
        )
        return np.where(met >= 0, found, np.inf)

    def set_upright(self) -> None:
        """Set the robot upright where it is, in its start pose, keeping its heading.

        This is what a person would do with a fallen robot. Time continues, and the command stays in
        force. A robot whose simulation has diverged is set down at the origin.
        """
        place_m, heading_rad = self._data.qpos[:3].copy(), float(yaw_rad(self._quat_xyzw()))
        if not np.isfinite([*self._data.qpos, *self._data.qvel]).all():
            place_m[:], heading_rad, self._turn = 0.0, 0.0, None
        self._data.qvel[:] = self._data.qacc_warmstart[:] = 0.0
        self._place(self._start, place_m, heading_rad)
        mujoco.mj_forward(self.model, self._data)

    def _place(self, start: StartPose, place_m: Array, heading_rad: float) -> None:
        """Put the robot in a start pose on the ground, at a point [3] moved along the normal."""
        normal, heading, quat_wxyz = self._ground.normal, np.zeros(4), np.zeros(4)
        mujoco.mju_axisAngle2Quat(heading, np.array([0.0, 0.0, 1.0]), heading_rad)
        mujoco.mju_mulQuat(quat_wxyz, heading, np.array(start.quat_wxyz))
        mujoco.mju_mulQuat(quat_wxyz, np.array(self._ground.quat_wxyz), quat_wxyz.copy())
        over_m = self._ground.over_m(place_m)
        self._data.qpos[:3] = place_m + (start.height_m - over_m) * normal
        self._data.qpos[3:7] = quat_wxyz
        self._data.qpos[7 : 7 + len(start.joint_pos)] = start.joint_pos

    def sense(self) -> Sensors:
        data, quat = self._data, self._quat_xyzw()
        measured = data.sensordata.reshape(-1, 3)
        return Sensors(
            time_ns=self.time_ns,
            joint_names=self.joint_names,
            joint_pos=data.qpos[7:].copy(),
            joint_vel=data.qvel[6:].copy(),
            joint_effort=data.qfrc_actuator[6:].copy(),
            quat_xyzw=quat,
            ang_vel_body=data.qvel[3:6].copy(),
            lin_acc_body=measured[0].copy(),
            lin_vel_body=self._base_frame().T @ data.qvel[:3],
            pos_world=data.qpos[:3].copy(),
            foot_force_world=measured[1:].copy(),
        )

    def sense_body(self, name: str) -> tuple[Array, Array, Array]:
        """Return the readings of an IMU in the frame of a body, with the conventions of `Sensors`.

        Returns:
            Orientation [4], x y z w; angular velocity [3], rad/s; acceleration [3], m/s^2.
        """
        body, kind = self.model.body(name).id, mujoco.mjtObj.mjOBJ_XBODY
        velocity, acceleration = np.zeros(6), np.zeros(6)
        mujoco.mj_objectVelocity(self.model, self._data, kind, body, velocity, 1)
        mujoco.mj_objectAcceleration(self.model, self._data, kind, body, acceleration, 1)
        return np.roll(self._data.xquat[body], -1), velocity[:3], acceleration[3:]

    def push(self, force_world_n: npt.ArrayLike, duration_s: float) -> None:
        """Start pushing the base's center; a new push replaces the previous one.

        Args:
            force_world_n: Force [3], N, world frame.
            duration_s: Duration; may be infinite.
        """
        self._push_n = np.array(force_world_n, dtype=np.float64)
        self._push_ends_ns = self.time_ns + (
            duration_s if math.isinf(duration_s) else round(duration_s * NS_PER_S)
        )

    def turn(self, angle_rad: float, duration_s: float) -> None:
        """Start turning the base about the vertical, as a strong hand would.

        Args:
            angle_rad: Angle, counterclockwise.
            duration_s: Duration of the turn, at a constant rate.
        """
        now_ns = self.time_ns
        self._turn = _Turn(
            rate_radps=angle_rad / duration_s,
            began_ns=now_ns,
            ends_ns=now_ns + round(duration_s * NS_PER_S),
        )

    def hang(self) -> None:
        """Hold the base in place, as a hoist holds a humanoid, until `let_down`."""
        held, turned_back_wxyz = self.model.equality(HOIST), np.zeros(4)
        base_m, base_wxyz = self._data.qpos[:3], self._data.qpos[3:7]
        mujoco.mju_negQuat(turned_back_wxyz, base_wxyz)
        # A weld's data: its anchor in the world and in the base, the world's pose in the base, and
        # a torque scale. The anchor is in the base: with a distant anchor, rotation would become
        # sinking.
        held.data[:_WELD] = [*base_m, *np.zeros(3), *turned_back_wxyz, 1.0]
        self._data.eq_active[held.id] = True

    def let_down(self) -> None:
        """Release the base from `hang`."""
        self._data.eq_active[self.model.equality(HOIST).id] = False

    def motor_off(self, joint_name: str) -> None:
        """Switch one motor off: it neither drives nor brakes."""
        self._drives.set_motor(joint_name, on=False)

    def motor_on(self, joint_name: str) -> None:
        self._drives.set_motor(joint_name, on=True)

    def motors_on(self) -> None:
        for name in self.joint_names:
            self._drives.set_motor(name, on=True)

    def _before_step(self) -> None:
        pushed = self.time_ns < self._push_ends_ns
        self._data.xfrc_applied[self._base, :3] = self._push_n if pushed else 0.0
        self._data.xfrc_applied[self._base, 5] = self._hand_nm() if self._turn else 0.0

    def _hand_nm(self) -> float:
        """Return the torque that the hand exerts; remove the hand when the turn is over."""
        assert self._turn is not None
        if self.time_ns >= self._turn.ends_ns:
            self._turn = None
            return 0.0
        rate = float(self._data.cvel[self._base, 2])
        self._turn.turned_rad += rate / self.steps_per_s
        ahead_s = (self.time_ns - self._turn.began_ns) / NS_PER_S
        behind_rad = self._turn.rate_radps * ahead_s - self._turn.turned_rad
        return _HAND_STIFFNESS * behind_rad + _HAND_DAMPING * (self._turn.rate_radps - rate)

    def _base_frame(self) -> Array:
        """Return the base's axes [3, 3] in the world, as columns."""
        return np.asarray(self._data.xmat[self._base].reshape(3, 3))

    def _quat_xyzw(self) -> Array:
        return np.asarray(self._data.qpos[_XYZW])


@dataclass(slots=True, kw_only=True)
class _Turn:
    """A turn in progress."""

    rate_radps: float
    began_ns: int
    ends_ns: int
    turned_rad: float = 0.0
