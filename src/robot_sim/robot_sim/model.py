# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A MuJoCo model of a legged robot, built from its data.

**Numerics.** A real drive closes its PD loop at 20 kHz. A PD torque computed outside the simulator
and held for a step of dt is unstable when kd * dt * lambda exceeds 2, where lambda is the largest
eigenvalue of the inverse joint inertia. For a leg of the Lite3 in the air, with kd = 1 and no
armature, kd * dt * lambda reaches 3.25 at 200 Hz. So the PD law lives *inside* the integrator: each
motor is an affine actuator, torque = kp * ctrl + bias - kp * q - kd * dq, clipped to a torque
limit, and `implicitfast` treats its damping implicitly. That is stable for every kd. The stiffness
is treated explicitly; kp * dt^2 * lambda is 0.07 with kp = 100 and the step used here.

The step is 1 ms, so that the period of every sensor rate in use (50, 100, 200, 500 Hz) and every
latency in whole milliseconds are multiples of it.
"""

from typing import Any

import mujoco
import numpy as np

from robot_sim.errors import SimError
from robot_sim.figures import (
    LEVEL_QUAT,
    LITE3,
    MATERIALS,
    Array,
    BodyFigures,
    Foot,
    HingeFigures,
    LeggedRobot,
    Shape,
)
from robot_sim.ground import LEVEL, Ground, add_ground

HOIST = "hoist"
"""Name of the weld constraint that can hold the base; initially inactive."""
TIMESTEP_S = 0.001
# Time constant and damping ratio of contacts: rubber on a hard floor. A static load of a quarter of
# the robot sinks a foot by 0.1 mm; five steps per time constant keep it well resolved.
SOLREF = (0.005, 1.0)
# The joints' end stops are steel: stiffer than MuJoCo's default, which yields 0.1 rad under a leg's
# share of the robot's weight.
STOP_SOLIMP = (0.98, 0.999, 0.005, 0.5, 2.0)
_SKIN, _DARK, _METAL, _ACCENT, RUBBER = MATERIALS
COLOURS = {
    _SKIN: (0.90, 0.91, 0.93, 1.0),
    _DARK: (0.13, 0.14, 0.16, 1.0),
    _METAL: (0.42, 0.44, 0.48, 1.0),
    _ACCENT: (0.98, 0.45, 0.09, 1.0),
    RUBBER: (0.05, 0.05, 0.06, 1.0),
}
_GEOM = mujoco.mjtGeom
_KINDS = {
    "box": _GEOM.mjGEOM_BOX,
    "sphere": _GEOM.mjGEOM_SPHERE,
    "capsule": _GEOM.mjGEOM_CAPSULE,
    "cylinder": _GEOM.mjGEOM_CYLINDER,
}
_ABOVE_FLOOR_M = 0.36
"""Base height in the model; a world moves the base to the height of its start pose."""
Spec = Any
Element = Any


def build_model(
    robot: LeggedRobot = LITE3,
    *,
    friction: float = 1.0,
    ground: Ground = LEVEL,
    timestep_s: float = TIMESTEP_S,
) -> mujoco.MjModel:
    """Compile a robot standing on a floor.

    Args:
        robot: The robot's data.
        friction: Sliding friction between feet and floor.
        ground: Shape of the floor.
        timestep_s: Length of one physics step.

    Returns:
        A model whose n joints, actuators and degrees of freedom after the free base are in the
        order of `LeggedRobot.joint_names`.
    """
    try:
        spec = build_spec(robot, friction=friction, timestep_s=timestep_s)
        add_ground(spec, ground, friction=friction)
        return spec.compile()
    except ValueError as error:
        text = " ".join(str(error).split())
        raise SimError(
            f"{robot.name}: expected figures that MuJoCo can simulate, found: {text}"
        ) from error


def build_spec(
    robot: LeggedRobot = LITE3, *, friction: float = 1.0, timestep_s: float = TIMESTEP_S
) -> Spec:
    """Return the uncompiled model of `build_model`, on a flat floor, for callers that modify it."""
    spec = mujoco.MjSpec()
    spec.modelname = robot.name.lower()
    spec.compiler.degree = False
    option = spec.option
    option.timestep = timestep_s
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    option.impratio = 10.0  # stiff friction: loaded feet do not creep
    # Show a diverging state instead of silently replacing it with the initial one.
    option.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
    _add_scene(spec, friction)
    _add_robot(spec, robot, friction)
    _add_sensors(spec, robot)
    return spec


def _add_scene(spec: Spec, friction: float) -> None:
    texture, builtin = mujoco.mjtTexture, mujoco.mjtBuiltin
    spec.add_texture(
        name="sky",
        type=texture.mjTEXTURE_SKYBOX,
        builtin=builtin.mjBUILTIN_GRADIENT,
        rgb1=[0.62, 0.76, 0.92],
        rgb2=[0.94, 0.96, 0.98],
        width=512,
        height=3072,
    )
    spec.add_texture(
        name="tiles",
        type=texture.mjTEXTURE_2D,
        builtin=builtin.mjBUILTIN_CHECKER,
        mark=mujoco.mjtMark.mjMARK_EDGE,
        rgb1=[0.36, 0.42, 0.49],
        rgb2=[0.30, 0.36, 0.43],
        markrgb=[0.52, 0.58, 0.64],
        width=512,
        height=512,
    )
    textures = ["" for _ in range(mujoco.mjtTextureRole.mjNTEXROLE)]
    textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "tiles"
    spec.add_material(
        name="floor", textures=textures, texrepeat=[1, 1], texuniform=True, reflectance=0.0
    )
    for name, rgba in COLOURS.items():
        spec.add_material(name=name, rgba=rgba, specular=0.4, shininess=0.5)
    world = spec.worldbody
    world.add_geom(
        name="floor",
        type=_GEOM.mjGEOM_PLANE,
        size=[0, 0, 0.05],
        material="floor",
        contype=1,
        conaffinity=0,
        friction=[friction, 0.01, 0.01],
        solref=SOLREF,
    )
    head = spec.visual.headlight
    head.ambient, head.diffuse, head.specular = [0.38] * 3, [0.25] * 3, [0.0] * 3
    spec.visual.quality.shadowsize = 2048  # doubling it takes a third more time in software
    spec.visual.map.shadowclip = 3.0  # in units of extent; below this, the shadow map's edge shows
    spec.stat.extent = 0.8
    spec.visual.global_.offwidth, spec.visual.global_.offheight = 1920, 1080


def _add_robot(spec: Spec, robot: LeggedRobot, friction: float) -> None:
    """Add the free base with its IMU and everything attached to it."""
    mirrored = _mirrored(robot)
    for body in robot.bodies:
        free = body is robot.base
        parent = spec.worldbody if free else spec.body(body.parent)
        pos = (0, 0, _ABOVE_FLOOR_M) if free else body.pos
        added = parent.add_body(name=body.name, pos=pos, quat=body.quat_wxyz)
        _set_inertial(added, body)
        if free:
            added.add_freejoint(name="base")
            added.add_site(name="imu", pos=robot.imu)
        if body.joint is not None:
            _add_joint(spec, added, body.joint)
        _add_shapes(added, robot, *mirrored[body.name])
        if free:
            _add_sun(added)
            spec.add_equality(
                name=HOIST,
                type=mujoco.mjtEq.mjEQ_WELD,
                objtype=mujoco.mjtObj.mjOBJ_BODY,
                name1=body.name,
                active=False,
            )
    for foot in robot.feet:
        _add_foot(spec.body(foot.body), foot, friction)


def _mirrored(robot: LeggedRobot) -> dict[str, tuple[float, float]]:
    """Return x and y signs for each body: -1 behind the base and on its right, otherwise 1."""
    found = dict[str, tuple[float, float]]()
    frames = dict[str, tuple[Array, Array]]()
    for body in robot.bodies:
        origin, turned = frames.get(body.parent, (np.zeros(3), np.array(LEVEL_QUAT)))
        place, quat = np.zeros(3), np.zeros(4)
        mujoco.mju_rotVecQuat(place, np.array(body.pos), turned)
        mujoco.mju_mulQuat(quat, turned, np.array(body.quat_wxyz))
        frames[body.name] = origin + place, quat
        x, y, _ = origin + place
        found[body.name] = (-1.0 if x < 0.0 else 1.0, -1.0 if y < 0.0 else 1.0)
    return found


def _add_sun(base: Element) -> None:
    """Add a light that moves with the robot, so that the floor around it always shows shadows."""
    base.add_light(
        name="sun",
        mode=mujoco.mjtCamLight.mjCAMLIGHT_TRACKCOM,
        pos=[0.5, -0.6, 1.6],
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        dir=[-0.3, 0.4, -1.0],
        diffuse=[0.70, 0.69, 0.66],
        specular=[0.3] * 3,
        castshadow=True,
    )


def _add_joint(spec: Spec, body: Element, joint: HingeFigures) -> None:
    body.add_joint(
        name=joint.name,
        type=mujoco.mjtJoint.mjJNT_HINGE,
        axis=joint.axis,
        limited=True,
        range=[joint.lower, joint.upper],
        armature=joint.armature_kgm2,
        solref_limit=SOLREF,
        solimp_limit=STOP_SOLIMP,
    )
    spec.add_actuator(
        name=joint.name,
        target=joint.name,
        trntype=mujoco.mjtTrn.mjTRN_JOINT,
        gaintype=mujoco.mjtGain.mjGAIN_FIXED,
        biastype=mujoco.mjtBias.mjBIAS_AFFINE,
        gainprm=[0.0] * mujoco.mjNGAIN,
        biasprm=[0.0] * mujoco.mjNBIAS,
        forcelimited=True,
        forcerange=[-joint.effort_nm, joint.effort_nm],
    )


def _add_foot(body: Element, foot: Foot, friction: float) -> None:
    """Add a foot to its body; a single sphere has the foot's name, several are numbered."""
    added = body.add_body(name=foot.name, pos=foot.pos)
    for number, centre in enumerate(foot.spheres):
        added.add_geom(
            name=f"{foot.name}{number or ''}",
            type=_GEOM.mjGEOM_SPHERE,
            pos=centre,
            size=[foot.radius_m, 0, 0],
            material=RUBBER,
            mass=foot.mass_kg / len(foot.spheres),
            contype=0,
            conaffinity=1,
            friction=[friction, 0.01, 0.01],
            solref=SOLREF,
            group=0,
        )


def _add_sensors(spec: Spec, robot: LeggedRobot) -> None:
    sensor, obj = mujoco.mjtSensor, mujoco.mjtObj
    spec.add_sensor(
        name="lin_acc", type=sensor.mjSENS_ACCELEROMETER, objtype=obj.mjOBJ_SITE, objname="imu"
    )
    net_force = 3  # the sum of all contacts of the pair, in the world frame
    for name in robot.foot_names:
        spec.add_sensor(
            name=name,
            type=sensor.mjSENS_CONTACT,
            objtype=obj.mjOBJ_BODY,
            objname="world",
            reftype=obj.mjOBJ_BODY,
            refname=name,
            intprm=[1 << int(mujoco.mjtConDataField.mjCONDATA_FORCE), net_force, 1],
        )


def _set_inertial(added: Element, body: BodyFigures) -> None:
    """Give a body its published mass properties; its shapes do not affect them."""
    added.explicitinertial = True
    added.mass, added.ipos = body.mass_kg, body.com
    if len(body.inertia) == 3:
        added.inertia = body.inertia
    else:
        added.fullinertia = body.inertia


def _add_shapes(body: Element, robot: LeggedRobot, end: float, side: float) -> None:
    """Add a body's collision shapes and visible shapes, all massless.

    Args:
        body: Body to which the shapes are added.
        robot: The robot's data.
        end: 1 in front of the base, -1 behind it.
        side: 1 on the left of the base, -1 on its right.
    """
    for number, hull in enumerate(shape for shape in robot.hulls if shape.covers(body.name)):
        body.add_geom(
            name=f"{body.name}_hull{number or ''}",
            conaffinity=1,  # collides with the floor (group 3), never with the robot
            group=3,
            solref=SOLREF,
            rgba=[0.2, 0.5, 0.9, 0.3],
            **_form(hull, end, side),
        )
    for look in robot.looks:
        if look.covers(body.name):
            form = _form(look, end, side)
            body.add_geom(conaffinity=0, group=2, material=look.material, **form)


def _form(shape: Shape, end: float, side: float) -> dict[str, Any]:
    """Return the geom arguments for a shape's form and position, mirrored by end and side."""
    signs = (end if "x" in shape.mirror else 1.0, side if "y" in shape.mirror else 1.0, 1.0)
    places = [[sign * value for sign, value in zip(signs, at, strict=True)] for at in shape.places]
    where = {"pos": places[0]} if len(places) == 1 else {"fromto": [*places[0], *places[1]]}
    size = (*shape.size, 0.0, 0.0)[:3]
    return {"type": _KINDS[shape.kind], "size": size, "mass": 0.0, "contype": 0, **where}
