# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A MuJoCo model of the Lite3, built from its published figures with shapes of our own.

**Numerics.** The real drive closes its PD loop at 20 kHz. A PD torque computed outside the
simulator and held for a step of dt is unstable when kd * dt * lambda exceeds 2, lambda being the
largest eigenvalue of the inverse joint inertia: for a Lite3 leg in the air, with kd 1 and no
armature, kd * dt * lambda reaches 3.25 at 200 Hz. So the PD law lives *inside* the integrator: each
motor is an affine actuator, torque = kp * ctrl + bias - kp * q - kd * dq, clipped to a torque
limit, and `implicitfast` treats its damping implicitly. That is stable for every kd; the stiffness
stays explicit, and kp * dt^2 * lambda is 0.07 at kp 100 and the step used here.

The step is 1 ms so that every sensor rate in use (50, 100, 200, 500 Hz) and every latency in whole
milliseconds is a multiple of it.
"""

from typing import Any

import mujoco
import numpy as np

from robot_sim.figures import (
    FOOT_MASS_KG,
    FOOT_NAMES,
    FOOT_RADIUS,
    JOINTS,
    LEGS,
    SHANK,
    SHANK_LENGTH,
    THIGH_LENGTH,
    TORSO,
    Inertial,
    Leg,
    Vec3,
)
from robot_sim.ground import LEVEL, Ground, add_ground

TIMESTEP_S = 0.001
TORSO_NAME = "torso"
# Time constant and damping ratio of contacts: rubber on a hard floor. A static load of a quarter of
# the robot sinks a foot by 0.1 mm; five steps per time constant keep it well resolved.
SOLREF = (0.005, 1.0)
# End stops of the joints are steel: stiffer than MuJoCo's default, which yields 0.1 rad under a
# leg's share of the robot's weight.
STOP_SOLIMP = (0.98, 0.999, 0.005, 0.5, 2.0)
SKIN, DARK, METAL, ACCENT, RUBBER = "skin", "dark", "metal", "accent", "rubber"
COLOURS = {
    SKIN: (0.90, 0.91, 0.93, 1.0),
    DARK: (0.13, 0.14, 0.16, 1.0),
    METAL: (0.42, 0.44, 0.48, 1.0),
    ACCENT: (0.98, 0.45, 0.09, 1.0),
    RUBBER: (0.05, 0.05, 0.06, 1.0),
}
_GEOM = mujoco.mjtGeom
Spec = Any
Body = Any


def build_model(
    *, friction: float = 1.0, ground: Ground = LEVEL, timestep_s: float = TIMESTEP_S
) -> mujoco.MjModel:
    """Compile a Lite3 standing on a floor.

    Args:
        friction: Sliding friction between feet and floor.
        ground: Shape of the floor.
        timestep_s: Length of one physics step.

    Returns:
        A model whose 12 joints, actuators and degrees of freedom after the free base are in the
        order FL, FR, HL, HR x HipX, HipY, Knee.
    """
    spec = build_spec(friction=friction, timestep_s=timestep_s)
    add_ground(spec, ground, friction=friction)
    return spec.compile()


def build_spec(*, friction: float = 1.0, timestep_s: float = TIMESTEP_S) -> Spec:
    """Return what `build_model` compiles, on a flat floor, for a caller that changes it first."""
    spec = mujoco.MjSpec()
    spec.modelname = "lite3"
    spec.compiler.degree = False
    option = spec.option
    option.timestep = timestep_s
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    option.impratio = 10.0  # stiff friction: feet that carry load do not creep
    # A state that diverges shall be seen as such, not silently replaced by the initial one.
    option.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
    _add_scene(spec, friction)
    torso = _add_torso(spec)
    for leg in LEGS:
        _add_leg(spec, torso, leg, friction)
    _add_sensors(spec)
    return spec


def _add_scene(spec: Spec, friction: float) -> None:
    """Add materials, sky and floor."""
    texture, builtin = mujoco.mjtTexture, mujoco.mjtBuiltin
    spec.add_texture(
        name="sky", type=texture.mjTEXTURE_SKYBOX, builtin=builtin.mjBUILTIN_GRADIENT,
        rgb1=[0.62, 0.76, 0.92], rgb2=[0.94, 0.96, 0.98], width=512, height=3072,
    )  # fmt: skip
    spec.add_texture(
        name="tiles", type=texture.mjTEXTURE_2D, builtin=builtin.mjBUILTIN_CHECKER,
        mark=mujoco.mjtMark.mjMARK_EDGE, rgb1=[0.36, 0.42, 0.49], rgb2=[0.30, 0.36, 0.43],
        markrgb=[0.52, 0.58, 0.64], width=512, height=512,
    )  # fmt: skip
    textures = ["" for _ in range(mujoco.mjtTextureRole.mjNTEXROLE)]
    textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "tiles"
    spec.add_material(
        name="floor", textures=textures, texrepeat=[1, 1], texuniform=True, reflectance=0.0
    )
    for name, rgba in COLOURS.items():
        spec.add_material(name=name, rgba=rgba, specular=0.4, shininess=0.5)
    world = spec.worldbody
    world.add_geom(
        name="floor", type=_GEOM.mjGEOM_PLANE, size=[0, 0, 0.05], material="floor",
        contype=1, conaffinity=0, friction=[friction, 0.01, 0.01], solref=SOLREF,
    )  # fmt: skip
    head = spec.visual.headlight
    head.ambient, head.diffuse, head.specular = [0.38] * 3, [0.25] * 3, [0.0] * 3
    spec.visual.quality.shadowsize = 2048  # twice that costs a third more time in software
    spec.visual.map.shadowclip = 3.0  # in extents; less leaves the shadow map's rim in view
    spec.stat.extent = 0.8
    spec.visual.global_.offwidth, spec.visual.global_.offheight = 1920, 1080


def _add_torso(spec: Spec) -> Body:
    """Add the free base with its IMU at the origin."""
    torso = spec.worldbody.add_body(name=TORSO_NAME, pos=[0, 0, 0.36])
    torso.add_freejoint(name="base")
    torso.add_site(name="imu")
    _set_inertial(torso, TORSO)
    _solid(torso, "torso_hull", _GEOM.mjGEOM_BOX, pos=(0.0, 0, 0.005), size=(0.20, 0.09, 0.055))
    _add_torso_looks(torso)
    # The sun travels with the robot, and so does the part of the floor that can show shadows.
    torso.add_light(
        name="sun", mode=mujoco.mjtCamLight.mjCAMLIGHT_TRACKCOM, pos=[0.5, -0.6, 1.6],
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, dir=[-0.3, 0.4, -1.0],
        diffuse=[0.70, 0.69, 0.66], specular=[0.3] * 3, castshadow=True,
    )  # fmt: skip
    return torso


def _add_torso_looks(torso: Body) -> None:
    """Dress the torso: white hull with round ends, dark belly, deck and face, orange marks."""
    box, cylinder = _GEOM.mjGEOM_BOX, _GEOM.mjGEOM_CYLINDER
    _look(torso, SKIN, box, pos=(0, 0, 0.012), size=(0.155, 0.074, 0.046))
    for end in (-1, 1):
        x = end * 0.155
        _look(torso, SKIN, cylinder, (x, -0.0732, 0.012), (x, 0.0732, 0.012), size=(0.046, 0, 0))
        _look(torso, ACCENT, box, pos=(0, end * 0.0742, 0.034), size=(0.11, 0.001, 0.004))
        _look(torso, ACCENT, _GEOM.mjGEOM_SPHERE, pos=(0.222, end * 0.026, 0.014),
              size=(0.0085, 0, 0))  # fmt: skip
    _look(torso, DARK, box, pos=(0, 0, -0.032), size=(0.17, 0.060, 0.018))
    _look(torso, DARK, box, pos=(-0.025, 0, 0.060), size=(0.105, 0.052, 0.010))
    _look(torso, ACCENT, box, pos=(-0.025, 0, 0.0605), size=(0.09, 0.005, 0.0102))
    face = _GEOM.mjGEOM_CAPSULE
    _look(torso, DARK, face, (0.198, -0.034, 0.012), (0.198, 0.034, 0.012), size=(0.030, 0, 0))


def _add_leg(spec: Spec, torso: Body, leg: Leg, friction: float) -> None:
    """Add the links, joints and motors of one leg."""
    side, name = float(np.sign(leg.thigh_offset[1])), leg.name
    hip = _link(torso, f"{name}_hip", leg.mount, leg.hip)
    thigh = _link(hip, f"{name}_thigh", leg.thigh_offset, leg.thigh)
    shank = _link(thigh, f"{name}_shank", (0, 0, -THIGH_LENGTH), SHANK)
    foot = shank.add_body(name=f"{name}_foot", pos=[0, 0, -SHANK_LENGTH])

    capsule, cylinder = _GEOM.mjGEOM_CAPSULE, _GEOM.mjGEOM_CYLINDER
    _solid(hip, f"{name}_hip_hull", capsule, (0, -0.01, 0), (0, 0.01, 0), size=(0.040, 0, 0))
    _solid(thigh, f"{name}_thigh_hull", capsule, (0, 0, -0.03), (0, 0, -0.18), size=(0.024, 0, 0))
    _solid(shank, f"{name}_shank_hull", capsule, (0, 0, 0), (0, 0, -0.18), size=(0.014, 0, 0))
    foot.add_geom(
        name=f"{name}_foot", type=_GEOM.mjGEOM_SPHERE, size=[FOOT_RADIUS, 0, 0], material=RUBBER,
        mass=FOOT_MASS_KG, contype=0, conaffinity=1, friction=[friction, 0.01, 0.01],
        solref=SOLREF, group=0,
    )  # fmt: skip
    end = float(np.sign(leg.mount[0]))
    _look(hip, METAL, cylinder, (-end * 0.052, 0, 0), (end * 0.034, 0, 0), size=(0.041, 0, 0))
    _look(hip, DARK, cylinder, (0, side * 0.03, 0), (0, side * 0.062, 0), size=(0.044, 0, 0))
    _look(thigh, SKIN, cylinder, (0, -side * 0.030, 0), (0, side * 0.022, 0), size=(0.046, 0, 0))
    _look(thigh, ACCENT, cylinder, (0, side * 0.022, 0), (0, side * 0.024, 0), size=(0.026, 0, 0))
    _look(thigh, SKIN, capsule, (0.004, 0, -0.02), (0, 0, -0.19), size=(0.025, 0, 0))
    _look(thigh, DARK, cylinder, (0, -0.027, -0.2), (0, 0.027, -0.2), size=(0.026, 0, 0))
    _look(shank, METAL, capsule, (0.004, 0, 0), (0.012, 0, -0.09), size=(0.0145, 0, 0))
    _look(shank, DARK, capsule, (0.012, 0, -0.09), (0, 0, -0.205), size=(0.012, 0, 0))
    for body, joint in zip((hip, thigh, shank), JOINTS, strict=True):
        joint_name = f"{name}_{joint.part}_joint"
        body.add_joint(
            name=joint_name, type=mujoco.mjtJoint.mjJNT_HINGE, axis=joint.axis,
            limited=True, range=[joint.lower, joint.upper], solref_limit=SOLREF,
            solimp_limit=STOP_SOLIMP,
        )  # fmt: skip
        spec.add_actuator(
            name=joint_name, target=joint_name, trntype=mujoco.mjtTrn.mjTRN_JOINT,
            gaintype=mujoco.mjtGain.mjGAIN_FIXED, biastype=mujoco.mjtBias.mjBIAS_AFFINE,
            gainprm=[0.0] * mujoco.mjNGAIN, biasprm=[0.0] * mujoco.mjNBIAS,
            forcelimited=True, forcerange=[-joint.effort_nm, joint.effort_nm],
        )  # fmt: skip


def _add_sensors(spec: Spec) -> None:
    """Add the IMU's accelerometer and the force of the floor on each foot, in the world frame."""
    sensor, obj = mujoco.mjtSensor, mujoco.mjtObj
    spec.add_sensor(
        name="lin_acc", type=sensor.mjSENS_ACCELEROMETER, objtype=obj.mjOBJ_SITE, objname="imu"
    )
    net_force = 3  # the sum of all contacts of the pair, in the world frame
    for name in FOOT_NAMES:
        spec.add_sensor(
            name=name, type=sensor.mjSENS_CONTACT, objtype=obj.mjOBJ_BODY, objname="world",
            reftype=obj.mjOBJ_GEOM, refname=name,
            intprm=[1 << int(mujoco.mjtConDataField.mjCONDATA_FORCE), net_force, 1],
        )  # fmt: skip


def _link(parent: Body, name: str, pos: Vec3, inertial: Inertial) -> Body:
    """Add a body with published mass properties."""
    body = parent.add_body(name=name, pos=pos)
    _set_inertial(body, inertial)
    return body


def _set_inertial(body: Body, inertial: Inertial) -> None:
    """Give the body its published mass properties, whatever its shapes weigh."""
    body.explicitinertial = True
    body.mass, body.ipos, body.inertia = inertial.mass_kg, inertial.com, inertial.inertia


def _solid(
    body: Body, name: str, kind: Any, *ends: Vec3, size: Vec3, pos: Vec3 = (0, 0, 0)
) -> None:
    """Add an invisible shape that collides with the floor (group 3), never with the robot."""
    shape: dict[str, Any] = {"fromto": [*ends[0], *ends[1]]} if ends else {"pos": pos}
    body.add_geom(
        name=name, type=kind, size=size, mass=0.0, contype=0, conaffinity=1, group=3,
        solref=SOLREF, rgba=[0.2, 0.5, 0.9, 0.3], **shape,
    )  # fmt: skip


def _look(
    body: Body, material: str, kind: Any, *ends: Vec3, size: Vec3, pos: Vec3 = (0, 0, 0)
) -> None:
    """Add a shape that is seen (group 2) and touches nothing."""
    shape: dict[str, Any] = {"fromto": [*ends[0], *ends[1]]} if ends else {"pos": pos}
    body.add_geom(
        type=kind, size=size, mass=0.0, contype=0, conaffinity=0, group=2, material=material,
        **shape,
    )  # fmt: skip
