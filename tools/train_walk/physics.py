# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Many robots stepped together: `robot_sim`'s model, with different dynamics for each robot."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt
from mujoco import rollout

from robot_sim.drives import write_pd_law
from robot_sim.figures import Array
from robot_sim.ground import LEVEL, TERRAINS, Ground, Terrain, add_ground
from robot_sim.model import build_spec
from tools.train_walk.definition import LEG_JOINTS, LEGS, TrainedRobot

PHYSICS_DT_S, DECIMATION = 0.004, 5
POLICY_DT_S = PHYSICS_DT_S * DECIMATION
NOMINAL_FRICTION = 0.8
# Robots that leave their period of tiles are moved back by a period; a margin keeps feet off the
# edge.
_MARGIN_M = 0.8
# After the accelerometer's three values: three per foot of robot_sim's contact sensors, then those
# that `training_model` adds.
_FORCE, _POSITION, _VELOCITY = (
    slice(first, first + 3 * LEGS) for first in range(3, 3 + 9 * LEGS, 3 * LEGS)
)
# Feet are read 4 ms after the period began: sensors have the values from before a step.
_LOOKED_AT = 1
Model = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Dynamics:
    """Random dynamics of each robot; arrays [robots, ...].

    Attributes:
        friction: Sliding friction between feet and floor.
        payload_kg: Mass added to the base; removed if negative.
        com_offset_m: Shift of the base's center of mass [robots, 3].
        stiffness, damping: Factors for the gains.
        armature_kgm2: Rotor inertia at the joints, in addition to the robot's own.
        joint_friction_nm, joint_damping: Dry and viscous (N m s/rad) friction of every joint.
        gravity_unit: Direction of gravity [robots, 3] in the frame of the floor, which simulates a
            slope.
    """

    friction: Array
    payload_kg: Array
    com_offset_m: Array
    stiffness: Array
    damping: Array
    armature_kgm2: Array
    joint_friction_nm: Array
    joint_damping: Array
    gravity_unit: Array


def training_model(robot: TrainedRobot, ground: Ground = LEVEL) -> Model:
    """Compile a robot of `robot_sim` for training: coarser steps, no visuals, sensors on the feet.

    Only feet and base collide with the ground, since a robot on its knees counts as fallen anyway.
    On stairs, shanks collide too.
    """
    spec = build_spec(robot.body, friction=NOMINAL_FRICTION, timestep_s=PHYSICS_DT_S)
    # takes half the time of elliptic cones, which the acceptance uses
    spec.option.cone, spec.option.impratio = mujoco.mjtCone.mjCONE_PYRAMIDAL, 1.0
    touching, hulls = {"floor", *robot.body.foot_names}, [robot.body.base.name]
    if ground.terrain == "stairs":
        hulls += [body.name for body in robot.body.bodies[LEG_JOINTS::LEG_JOINTS]]
    for geom in list(spec.geoms):
        geom.material = ""
        if geom.name not in touching and not geom.name.startswith(
            tuple(f"{name}_hull" for name in hulls)
        ):
            spec.delete(geom)
    for item in [*spec.materials, *spec.textures, *spec.lights]:
        spec.delete(item)
    sensor, obj = mujoco.mjtSensor, mujoco.mjtObj
    for kind in (sensor.mjSENS_FRAMEPOS, sensor.mjSENS_FRAMELINVEL):
        for name in robot.body.foot_names:
            spec.add_sensor(type=kind, objtype=obj.mjOBJ_XBODY, objname=name)
    add_ground(spec, ground, friction=NOMINAL_FRICTION)
    return spec.compile()


class _Patches:
    """The grounds of one terrain, and the robots on them."""

    def __init__(self, terrain: Terrain, rows: slice, grounds: int) -> None:
        """Distribute the robots of these rows over this many grounds."""
        self.rows = rows
        self.ground = np.arange(rows.stop - rows.start) % grounds
        self.tile_m, self._count = TERRAINS[terrain]
        self.period_m = self.tile_m * self._count
        self._heights: Array = np.zeros((grounds, self._count, self._count))

    def lay(self, grounds: Sequence[Ground]) -> None:
        self._heights = np.stack([ground.heights_m() for ground in grounds])

    def height_m(self, xy: Array) -> Array:
        """Return the height of the ground [rows, points] under `xy` [rows, points, 2]."""
        i, j = np.moveaxis(np.round(xy / self.tile_m).astype(int) % self._count, -1, 0)
        return np.asarray(self._heights[self.ground[:, None], i, j])


class Robots:
    """The physics of many robots. Each row is a robot; arrays are views that a step overwrites.

    Attributes:
        qpos: Positions [robots, 19]: base x, y, z, quaternion w, x, y, z, joints.
        qvel: Velocities [robots, 18]: base linear (world) and angular (body), joints.
        gravity_unit: Direction of gravity [robots, 3].
    """

    def __init__(
        self,
        robot: TrainedRobot,
        count: int,
        *,
        rough: Mapping[Terrain, int],
        grounds: int = 8,
        threads: int = 1,
    ) -> None:
        """Allocate robots; `randomise` sets their bodies.

        Args:
            robot: The robot.
            count: Number of robots.
            rough: Number of robots on each terrain; these robots are the last rows.
            grounds: Number of different grounds for each terrain.
            threads: Number of threads that step the robots; the result does not depend on this
                number.
        """
        self.robot = robot
        self.count, self._flat, self._threads = count, count - sum(rough.values()), threads
        self._grounds, self._patches = grounds, dict[Terrain, _Patches]()
        first = self._flat
        for terrain, robots in rough.items():
            rows = slice(first, first + robots)
            self._patches[terrain] = _Patches(terrain, rows, grounds)
            first += robots
        self._nominal = training_model(robot)
        self._base = self._nominal.body(robot.body.base.name).id
        self._pool = rollout.Rollout(nthread=threads)
        width = mujoco.mj_stateSize(self._nominal, mujoco.mjtState.mjSTATE_FULLPHYSICS)
        self._state: Array = np.zeros((count, width))
        self.qpos, self.qvel = self._state[:, 1:20], self._state[:, 20:38]
        self._trajectory: Array = np.zeros((count, DECIMATION, width))
        self._sensors: Array = np.zeros((count, DECIMATION, self._nominal.nsensordata))

    def randomise(
        self, dynamics: Dynamics, *, steps_m: Mapping[Terrain, tuple[float, float]], seed: int
    ) -> None:
        """Give each robot its dynamics, and each terrain new steps with heights in this range."""
        models = [copy.copy(self._nominal) for _ in range(self._flat)]
        for terrain, patches in self._patches.items():
            grounds = [
                Ground(
                    terrain=terrain,
                    step_m=float(step_m),
                    seed=seed + number,
                    reach_m=patches.period_m / 2.0 + _MARGIN_M,
                )
                for number, step_m in enumerate(np.linspace(*steps_m[terrain], self._grounds))
            ]
            patches.lay(grounds)
            bases = [training_model(self.robot, ground) for ground in grounds]
            models += [copy.copy(bases[number]) for number in patches.ground]
        for row, model in enumerate(models):
            self._set_dynamics(model, dynamics, row)
        self.gravity_unit = dynamics.gravity_unit
        # robots that are stepped together need models of one size
        self._groups = [
            (rows, models[rows], [mujoco.MjData(models[rows][0]) for _ in range(self._threads)])
            for rows in (
                slice(0, self._flat),
                *(patches.rows for patches in self._patches.values()),
            )
            if models[rows]
        ]

    def _set_dynamics(self, model: Model, dynamics: Dynamics, row: int) -> None:
        nominal, base, robot = self._nominal, self._base, self.robot
        model.geom_friction[:, 0] = dynamics.friction[row]
        model.body_mass[base] = nominal.body_mass[base] + dynamics.payload_kg[row]
        model.body_ipos[base] = nominal.body_ipos[base] + dynamics.com_offset_m[row]
        model.dof_armature[6:] = nominal.dof_armature[6:] + dynamics.armature_kgm2[row]
        model.dof_frictionloss[6:] = nominal.dof_frictionloss[6:] + dynamics.joint_friction_nm[row]
        model.dof_damping[6:] = nominal.dof_damping[6:] + dynamics.joint_damping[row]
        model.opt.gravity = np.linalg.norm(nominal.opt.gravity) * dynamics.gravity_unit[row]
        ones = np.ones(len(robot.body.joint_names))
        write_pd_law(
            model,
            bias=0.0 * ones,
            stiffness=robot.stiffness * dynamics.stiffness[row] * ones,
            damping=robot.damping * dynamics.damping[row] * ones,
            effort_limit_nm=robot.body.effort_limit_nm,
        )
        mujoco.mj_setConst(model, mujoco.MjData(model))

    def step(self, targets: Array) -> None:
        """Advance by one policy period.

        Args:
            targets: Joint position targets for each physics step [robots, DECIMATION, 12], rad.
        """
        for rows, models, datas in self._groups:
            self._pool.rollout(
                models,
                datas,
                self._state[rows],
                targets[rows],
                skip_checks=True,
                nstep=DECIMATION,
                state=self._trajectory[rows],
                sensordata=self._sensors[rows],
            )
        self._joint_path = np.concatenate([self._state[:, None], self._trajectory[:, :-1]], axis=1)
        self._state[:] = self._trajectory[:, -1]

    def place(self, rows: npt.NDArray[np.int_], qpos: Array, qvel: Array) -> None:
        """Put robots in their start states: `qpos` [rows, 19], `qvel` [rows, 18]."""
        self._state[rows] = 0.0
        self.qpos[rows], self.qvel[rows] = qpos, qvel

    def wrap(self) -> None:
        """Move robots that have left the central period of the tiles back by whole periods."""
        for patches in self._patches.values():
            xy = self.qpos[patches.rows, :2]
            xy -= patches.period_m * np.round(xy / patches.period_m)

    def ground_m(self, xy: Array) -> Array:
        """Return the height of the ground [robots, points] under `xy` [robots, points, 2]."""
        height = np.zeros(xy.shape[:-1])
        for patches in self._patches.values():
            height[patches.rows] = patches.height_m(xy[patches.rows])
        return height

    @property
    def joint_path(self) -> tuple[Array, Array]:
        """Joint positions and velocities before each physics step, [robots, DECIMATION, 12]."""
        return self._joint_path[:, :, 8:20], self._joint_path[:, :, 26:38]

    @property
    def foot_force_n(self) -> Array:
        """Vertical force of the ground on each foot during the period, [robots, DECIMATION, 4]."""
        return self._sensors[:, :, _FORCE].reshape(self.count, DECIMATION, LEGS, 3)[..., 2]

    @property
    def foot_pos_world(self) -> Array:
        """Positions of the feet [robots, 4, 3], m."""
        return self._sensors[:, _LOOKED_AT, _POSITION].reshape(self.count, LEGS, 3)

    @property
    def foot_vel_world(self) -> Array:
        """Velocities of the feet [robots, 4, 3], m/s."""
        return self._sensors[:, _LOOKED_AT, _VELOCITY].reshape(self.count, LEGS, 3)
