# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""MuJoCo model of the SO-101 on a table, from published data, with simplified shapes.

A physics step is 1/480 s, so that a control period at 60, 30, 20, 15 or 10 Hz is a whole number of
steps.
"""

from typing import Any

import mujoco

from robot_sim.arm_figures import SO101, ArmLink
from robot_sim.figures import Vec3

STEPS_PER_S = 480
CUBE_HALF_M = 0.015
CUBE_MASS_KG = 0.03
POLICY_CAMERAS = ("front", "wrist")
CAMERAS = (*POLICY_CAMERAS, "outside")
"""Cameras: two for the policy, one for viewers."""
SHELL, SERVO, TABLE, CUBE, FLOOR = "shell", "servo", "table", "cube", "floor"
COLOURS = {
    SHELL: (0.96, 0.78, 0.16, 1.0),
    SERVO: (0.12, 0.12, 0.13, 1.0),
    TABLE: (0.80, 0.81, 0.82, 1.0),
    CUBE: (0.85, 0.08, 0.06, 1.0),
    FLOOR: (0.36, 0.40, 0.45, 1.0),
}
# Contact bits: table and cube, table and arm, cube and arm; the arm never touches itself.
_TABLE_BIT, _CUBE_BIT = 1, 2
_GEOM = mujoco.mjtGeom
Spec = Any
Body = Any


def build_arm_model() -> mujoco.MjModel:
    """Compile an arm at the edge of a table, with its base at the world origin, and a cube.

    Returns:
        A model whose first 6 joints and degrees of freedom, and whose actuators, are in the order
        of `SO101.joint_names`; the cube's free joint follows. x points away from the arm's base.
    """
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    option = spec.option
    option.timestep = 1.0 / STEPS_PER_S
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    _add_scene(spec)
    add_arm(spec, spec.worldbody)
    _add_cube(spec)
    _add_cameras(spec)
    return spec.compile()


def add_arm(spec: Spec, carrier: Body, pos: Vec3 = (0.0, 0.0, 0.0)) -> None:
    """Add the arm, with a massless base, to a body that carries it.

    Args:
        spec: Model that contains the carrier and has the materials of `COLOURS`.
        carrier: The body.
        pos: Position of the arm's base in the carrier's frame, m.
    """
    parent = carrier.add_body(name="base", pos=pos)
    _add_shapes(parent)
    for link in SO101.links:
        parent = _add_link(spec, parent, link)
    spec.body("gripper").add_site(name="tip", pos=SO101.tip)


def _add_scene(spec: Spec) -> None:
    texture = mujoco.mjtTexture
    spec.add_texture(
        name="sky",
        type=texture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.55, 0.64, 0.74],
        rgb2=[0.88, 0.90, 0.93],
        width=64,
        height=384,
    )
    for name, rgba in COLOURS.items():
        spec.add_material(name=name, rgba=rgba, specular=0.2, shininess=0.3)
    world, box = spec.worldbody, _GEOM.mjGEOM_BOX
    world.add_geom(
        name="floor",
        type=_GEOM.mjGEOM_PLANE,
        pos=[0, 0, -0.70],
        size=[4, 4, 0.1],
        material=FLOOR,
        contype=0,
        conaffinity=0,
    )
    world.add_geom(
        name="table",
        type=box,
        pos=[0.20, 0, -0.02],
        size=[0.32, 0.42, 0.02],
        material=TABLE,
        contype=_TABLE_BIT,
        conaffinity=0,
        friction=[0.8, 0.01, 0.001],
    )
    world.add_light(
        name="lamp",
        pos=[0.3, -0.5, 1.2],
        dir=[-0.1, 0.4, -1.0],
        castshadow=False,
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        diffuse=[0.6] * 3,
        specular=[0.1] * 3,
    )
    head = spec.visual.headlight
    head.ambient, head.diffuse, head.specular = [0.40] * 3, [0.25] * 3, [0.0] * 3
    spec.visual.quality.offsamples = 0  # software multisampling costs more than everything else
    spec.stat.extent, spec.stat.center = 0.8, [0.2, 0.0, 0.1]
    spec.visual.map.znear, spec.visual.map.zfar = 0.01, 10.0
    spec.visual.global_.offwidth, spec.visual.global_.offheight = 1280, 960


def _add_link(spec: Spec, parent: Body, link: ArmLink) -> Body:
    """Add a link with its joint and drive."""
    body = parent.add_body(name=link.name, pos=link.pos, quat=link.quat_wxyz)
    body.explicitinertial = True
    body.mass, body.ipos, body.fullinertia = link.mass_kg, link.com, link.inertia
    _add_shapes(body)
    body.add_joint(
        name=link.joint,
        type=mujoco.mjtJoint.mjJNT_HINGE,
        axis=[0, 0, 1],
        limited=True,
        range=[link.lower, link.upper],
        armature=SO101.servo.rotor_inertia,
        damping=SO101.servo.back_drive_nms,
        frictionloss=SO101.servo.friction_nm,
    )
    spec.add_actuator(
        name=link.joint,
        target=link.joint,
        trntype=mujoco.mjtTrn.mjTRN_JOINT,
        gaintype=mujoco.mjtGain.mjGAIN_FIXED,
        biastype=mujoco.mjtBias.mjBIAS_AFFINE,
        gainprm=[0.0] * mujoco.mjNGAIN,
        biasprm=[0.0] * mujoco.mjNBIAS,
        forcelimited=True,
        forcerange=[-SO101.servo.stall_nm, SO101.servo.stall_nm],
    )
    return body


def _add_shapes(body: Body) -> None:
    """Add a link's visible shapes, and the shapes that touch the table and the cube."""
    for box in SO101.boxes:
        if box.body == body.name:
            body.add_geom(
                type=_GEOM.mjGEOM_BOX,
                pos=box.at,
                size=box.half_size,
                material=box.material,
                mass=0.0,
                contype=0,
                conaffinity=0 if body.name == "base" else _TABLE_BIT | _CUBE_BIT,
                friction=[1.0, 0.01, 0.001],
            )


def _add_cube(spec: Spec) -> None:
    cube = spec.worldbody.add_body(name="cube", pos=[0.22, 0, CUBE_HALF_M])
    cube.add_freejoint(name="cube")
    cube.add_geom(
        name="cube",
        type=_GEOM.mjGEOM_BOX,
        size=[CUBE_HALF_M] * 3,
        mass=CUBE_MASS_KG,
        material=CUBE,
        contype=_CUBE_BIT,
        conaffinity=_TABLE_BIT,
        friction=[1.0, 0.01, 0.001],
    )


def _add_cameras(spec: Spec) -> None:
    """Add the policy's two cameras and one overview camera for people."""

    def add(parent: Body, name: str, pos: Vec3, right: Vec3, up: Vec3, fovy_deg: float) -> None:
        camera = parent.add_camera(name=name, pos=pos, fovy=fovy_deg)
        camera.alt.type = mujoco.mjtOrientation.mjORIENTATION_XYAXES
        camera.alt.xyaxes = [*right, *up]

    add(spec.worldbody, "front", (0.58, 0.0, 0.42), (0, 1, 0), (-0.707, 0, 0.707), 46.0)
    add(spec.worldbody, "outside", (0.50, -0.50, 0.36), (0.77, 0.64, 0), (-0.30, 0.36, 0.88), 42.0)
    for own in SO101.cameras:
        add(spec.body(own.body), own.name, own.at, own.right, own.up, own.fovy_deg)
