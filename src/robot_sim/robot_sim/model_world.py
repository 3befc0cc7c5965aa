# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A robot from its vendor's model file (MJCF or URDF), on the ground or with a fixed base.

Bodies, shapes, joint limits and friction come from the file. Drives with torque limits
(`robot_sim.drives`) and an IMU replace the model's own actuators and sensors. Keyframes are left
out, and so are purely visual shapes, because their meshes are often missing.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from robot_sim.errors import SimError
from robot_sim.figures import FILE, Array
from robot_sim.world import Sensors, WalkingWorld

_LONGEST_STEP_S = 0.001
_IMU, _ACCELEROMETER, _BASE = "policy_inference imu", "policy_inference accelerometer", "base"
_FREE, _DRIVABLE = (
    mujoco.mjtJoint.mjJNT_FREE,
    (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE),
)
_GROUND = (mujoco.mjtGeom.mjGEOM_PLANE, mujoco.mjtGeom.mjGEOM_HFIELD)
_EVERY_BIT = 0x7FFFFFFF
_ABOVE_M, _SEARCH_M, _NEAR_M = 1e-3, 5e-3, 1e-5
"""Start height above the ground; step of the search for the ground; accuracy of the search."""
_FALLEN_SHARE = 0.5
"""Fraction of the base's standing height below which the robot has fallen."""
_log = logging.getLogger("robot_sim")
_Spec = Any


class ModelWorld(WalkingWorld):
    """A robot of any shape, in its standing pose.

    A robot with a free base stands on the ground, which is added if the model has none. The IMU has
    the frame in which the policy observes the body: z is up when the robot stands.
    """

    def __init__(
        self,
        file: Path,
        joint_names: Sequence[str],
        standing_rad: Array,
        effort_limit_nm: Array,
        *,
        free_base: bool,
        rate_hz: float,
        imu: str = "",
    ) -> None:
        """Load a model and put the robot in its standing pose.

        Args:
            file: MJCF (.xml) or URDF; MuJoCo's own loader reads both.
            joint_names: The driven joints, in the order of all joint arrays. All other joints are
                fixed at their positions in the model.
            standing_rad: Standing positions of the driven joints [n], rad or m.
            effort_limit_nm: Torque limits of the drives [n], N m or N; the model's own limits also
                apply.
            free_base: True if the base moves freely; used only if the file does not say, as in any
                URDF.
            rate_hz: Control rate; each period is a whole number of physics steps.
            imu: Site or body whose frame is the IMU's; the base if empty.
        """
        self._file, self._standing = file, np.array(standing_rad, float)
        spec = _loaded(file)
        free = _prepare(spec, file, joint_names, effort_limit_nm, free_base, imu)
        spec.option.timestep = 1.0 / rate_hz / ceil(1.0 / rate_hz / _LONGEST_STEP_S - 1e-9)
        super().__init__(self._without_own_contacts(spec, joint_names))
        model, joints = self.model, [self.model.joint(name) for name in joint_names]
        self._qpos, self._dofs = (
            np.array([getattr(joint, key)[0] for joint in joints]) for key in ("qposadr", "dofadr")
        )
        self._site = model.site(_IMU).id
        self._base = int(model.body_rootid[model.jnt_bodyid[joints[0].id]])
        self.effort_limit_nm = model.actuator_forcerange[:, 1].copy()
        self.fallen_height_m, self._ground_m = -np.inf, 0.0
        self._data.qpos[self._qpos] = self._standing
        if free:
            self._stand_on_the_ground(int(model.jnt_qposadr[model.body_jntadr[self._base]]) + 2)
        mujoco.mj_forward(model, self._data)
        if free:
            self.fallen_height_m = self._ground_m + _FALLEN_SHARE * self._height_m()
        self.reset_saturated_share()

    @property
    def fallen(self) -> bool:
        """True if the robot is tilted by at least 60 degrees, or its base is below half height."""
        low = self._data.xpos[self._base, 2] < self.fallen_height_m
        return bool(np.isfinite(self.fallen_height_m) and (low or not self.upright))

    def sense(self) -> Sensors:
        """Return the current sensor readings, without foot forces."""
        data, velocity = self._data, np.zeros(6)
        site = mujoco.mjtObj.mjOBJ_SITE
        mujoco.mj_objectVelocity(self.model, data, site, self._site, velocity, 1)
        return Sensors(
            time_ns=self.time_ns,
            joint_names=self.joint_names,
            joint_pos=data.qpos[self._qpos].copy(),
            joint_vel=data.qvel[self._dofs].copy(),
            joint_effort=data.qfrc_actuator[self._dofs].copy(),
            quat_xyzw=self._quat_xyzw(),
            ang_vel_body=velocity[:3].copy(),
            lin_acc_body=data.sensor(_ACCELEROMETER).data.copy(),
            lin_vel_body=velocity[3:].copy(),
            pos_world=data.xpos[self._base].copy(),
            foot_force_world=np.zeros((0, 3)),
        )

    def _quat_xyzw(self) -> Array:
        quat_wxyz = np.zeros(4)
        mujoco.mju_mat2Quat(quat_wxyz, self._data.site_xmat[self._site])
        return np.roll(quat_wxyz, -1)

    def _height_m(self) -> float:
        return float(self._data.xpos[self._base, 2]) - self._ground_m

    def _without_own_contacts(self, spec: _Spec, joint_names: Sequence[str]) -> mujoco.MjModel:
        """Compile with no contact between links that overlap when standing, as in most training."""
        model = _compiled(spec, self._file)
        data = mujoco.MjData(model)
        for name, value in zip(joint_names, self._standing, strict=True):
            data.joint(name).qpos[0] = value
        mujoco.mj_forward(model, data)
        pairs = sorted(
            {
                tuple(sorted(int(model.geom_bodyid[geom]) for geom in contact.geom))
                for contact in data.contact
                if contact.dist < 0.0 and model.body_weldid[model.geom_bodyid[contact.geom]].all()
            }
        )
        names = [(model.body(first).name, model.body(second).name) for first, second in pairs]
        for first, second in names:
            spec.add_exclude(bodyname1=first, bodyname2=second)
        if names:
            _log.info(
                "%s: no contact between links that overlap in the standing pose: %s",
                self._file,
                ", ".join(" and ".join(pair) for pair in names),
            )
        return _compiled(spec, self._file) if names else model

    def _stand_on_the_ground(self, place: int) -> None:
        """Lower the robot until it touches the ground, then lift it slightly.

        Args:
            place: Index of the base's height in the model's positions.
        """
        mujoco.mj_kinematics(self.model, self._data)
        size_m = 2.0 * float(np.linalg.norm(np.ptp(self._data.xpos[1:], axis=0))) + 2.0
        top_m = size_m
        while not self._touches(place, top_m - _SEARCH_M):
            top_m -= _SEARCH_M
            if top_m < -size_m:
                raise SimError(
                    f"{self._file}: expected shapes that collide with the ground, found "
                    "none; give the feet a <collision> (URDF), or a geom with contype "
                    "and conaffinity (MJCF)"
                )
        low_m, high_m = top_m - _SEARCH_M, top_m
        while high_m - low_m > _NEAR_M:
            middle_m = (low_m + high_m) / 2.0
            low_m, high_m = (
                (middle_m, high_m) if self._touches(place, middle_m) else (low_m, middle_m)
            )
        self._touches(place, low_m)
        self._ground_m = min(float(contact.pos[2]) for contact in self._data.contact)
        self._data.qpos[place] = high_m + _ABOVE_M

    def _touches(self, place: int, height_m: float) -> bool:
        """Put the base at a height; return whether the robot penetrates the ground there."""
        model, data = self.model, self._data
        data.qpos[place] = height_m
        mujoco.mj_fwdPosition(model, data)
        fixed = model.body_weldid[model.geom_bodyid] == 0
        return any(contact.dist < 0.0 and fixed[contact.geom].any() for contact in data.contact)


def _loaded(file: Path) -> _Spec:
    instead = f"a folder without {FILE}" if file.is_dir() else "nothing"
    if file.name == FILE:
        instead = f"a robot's figures; give their folder: {file.absolute().parent}"
    if not file.is_file() or file.name == FILE:
        raise SimError(f"{file}: expected a robot model (MJCF or URDF), found {instead}")
    try:
        return mujoco.MjSpec.from_file(str(file))
    except ValueError as error:
        raise SimError(
            f"{file}: expected a robot model (MJCF or URDF), found {' '.join(str(error).split())}"
        ) from error


def _compiled(spec: _Spec, file: Path) -> mujoco.MjModel:
    try:
        return spec.compile()
    except ValueError as error:
        text = " ".join(str(error).split())
        remedy = (
            "; put the meshes of the collision shapes where the model looks for them, as STL or "
            "OBJ, or use shapes without meshes"
            if "file" in text.lower()
            else ""
        )
        raise SimError(
            f"{file}: expected a model that MuJoCo can simulate, found: {text}{remedy}"
        ) from error


def _prepare(
    spec: _Spec, file: Path, names: Sequence[str], effort_limit_nm: Array, free_base: bool, imu: str
) -> bool:
    """Add drives, IMU and ground to the model; return whether its base is free."""
    _keep_what_acts(spec)
    joints = {joint.name: joint for joint in spec.joints}
    _check_joints(file, joints, names)
    base = joints[names[0]].parent
    while base.parent is not None and base.parent.name != "world":
        base = base.parent
    free = any(joint.type == _FREE for joint in base.joints)
    if not free and free_base:
        base.add_freejoint(name=_BASE)
        free = True
    _fix_the_others(spec, file, names)
    for name, limit_nm in zip(names, effort_limit_nm, strict=True):
        _add_drive(spec, name, float(limit_nm))
    _add_imu(spec, file, base, imu)
    if free and not any(geom.type in _GROUND for geom in spec.worldbody.geoms):
        spec.worldbody.add_geom(
            name="policy_inference floor",
            type=mujoco.mjtGeom.mjGEOM_PLANE,
            size=[0, 0, 0.05],
            pos=[0, 0, 0],
            contype=_EVERY_BIT,
            conaffinity=_EVERY_BIT,
            friction=[1.0, 0.01, 0.01],
        )
    option = spec.option
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    option.cone, option.impratio = mujoco.mjtCone.mjCONE_ELLIPTIC, 10.0
    option.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
    spec.compiler.fusestatic = False
    return free


def _keep_what_acts(spec: _Spec) -> None:
    """Remove actuators, sensors, keyframes, and purely visual meshes."""
    for part in (*spec.sensors, *spec.actuators, *spec.keys):
        spec.delete(part)
    mesh = mujoco.mjtGeom.mjGEOM_MESH
    for geom in list(spec.geoms):
        seen_only = not geom.contype and not geom.conaffinity
        if geom.type == mesh and seen_only and geom.parent.explicitinertial:
            spec.delete(geom)
    used = {geom.meshname for geom in spec.geoms}
    for each in list(spec.meshes):
        if each.name not in used:
            spec.delete(each)


def _check_joints(file: Path, joints: dict[str, Any], names: Sequence[str]) -> None:
    missing = [name for name in names if name not in joints]
    if missing:
        there = ", ".join(name for name, joint in joints.items() if joint.type in _DRIVABLE)
        raise SimError(
            f"{file}: expected the policy's joints, missing {', '.join(missing)}; the model has "
            f"{there or 'none'}; state the robot's names in `joints.robot_names` of the contract"
        )
    others = [name for name in names if joints[name].type not in _DRIVABLE]
    if others:
        raise SimError(f"{file}: expected hinge or slide joints, found others: {', '.join(others)}")


def _fix_the_others(spec: _Spec, file: Path, names: Sequence[str]) -> None:
    """Fix the joints without a drive at their positions in the model."""
    others = [joint for joint in spec.joints if joint.type != _FREE and joint.name not in names]
    names_of_others = [str(joint.name) for joint in others]
    for joint in others:
        spec.delete(joint)
    if others:
        _log.info(
            "%s: joints that the policy does not drive are fixed: %s",
            file,
            ", ".join(names_of_others),
        )


def _add_drive(spec: _Spec, name: str, limit_nm: float) -> None:
    """Add an affine actuator named after its joint, without the model's defaults."""
    spec.add_actuator(
        name=name,
        target=name,
        trntype=mujoco.mjtTrn.mjTRN_JOINT,
        dyntype=mujoco.mjtDyn.mjDYN_NONE,
        gaintype=mujoco.mjtGain.mjGAIN_FIXED,
        biastype=mujoco.mjtBias.mjBIAS_AFFINE,
        gainprm=[0.0] * mujoco.mjNGAIN,
        biasprm=[0.0] * mujoco.mjNBIAS,
        gear=[1.0, 0, 0, 0, 0, 0],
        ctrllimited=False,
        forcelimited=True,
        forcerange=[-limit_nm, limit_nm],
    )


def _add_imu(spec: _Spec, file: Path, base: Any, name: str) -> None:
    """Add the IMU in the frame of the base, or of a given site or body."""
    sites = {site.name: site for site in spec.sites}
    bodies = {body.name: body for body in spec.bodies}
    if name and name not in sites and name not in bodies:
        raise SimError(
            f"{file}: expected a site or body {name!r} for the IMU, found the sites "
            f"{', '.join(filter(None, sites)) or 'none'} and the bodies "
            f"{', '.join(filter(None, bodies))}"
        )
    if name in sites:
        site = sites[name]
        site.parent.add_site(name=_IMU, pos=site.pos, quat=site.quat)
    else:
        bodies.get(name, base).add_site(name=_IMU)
    spec.add_sensor(
        name=_ACCELEROMETER,
        type=mujoco.mjtSensor.mjSENS_ACCELEROMETER,
        objtype=mujoco.mjtObj.mjOBJ_SITE,
        objname=_IMU,
    )
