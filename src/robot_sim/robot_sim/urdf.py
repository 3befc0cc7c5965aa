# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Print a simulated legged robot as URDF, for robot_state_publisher, RViz and Foxglove.

    robot_urdf lite3 > lite3.urdf
    robot_urdf lite3 --ros2-control update_rate=500 faults="push:left@20+0.1=100" > lite3.urdf

The links are the simulation's bodies, with their masses and visible shapes. The base is `base_link`
and carries `imu_link`; the simulated robot's messages use these frames. URDF has no capsules: each
becomes a cylinder with a sphere at either end.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import mujoco
import numpy as np

from robot_sim.errors import SimError
from robot_sim.figures import ROBOTS, Array, LeggedRobot, figures_file, load_robot
from robot_sim.model import build_model
from robot_sim.rotation import roll_pitch_yaw, rotate

BASE, IMU = "base_link", "imu_link"
PLUGIN = "robot_sim/SimSystem"
_STATES = ("position", "velocity", "effort")
_SENSORS = {
    "joints": ("samples",),
    "imu": (
        *(f"orientation.{axis}" for axis in "xyzw"),
        *(
            f"{vector}.{axis}"
            for vector in ("angular_velocity", "linear_acceleration")
            for axis in "xyz"
        ),
        "samples",
    ),
}
"""Sensors of `PLUGIN` and their interfaces."""
_HIDDEN_GROUP = 3
_GEOM = mujoco.mjtGeom


def write_urdf(robot: LeggedRobot, hardware: Mapping[str, str] | None = None) -> str:
    """Return a robot as URDF; joint angles mean the same as in the simulation.

    Args:
        robot: The robot's data.
        hardware: Parameters of the simulated robot as ros2_control hardware, such as `robot` and
            `update_rate`; None if the URDF is not for ros2_control.
    """
    if taken := {BASE, IMU} & {body.name for body in robot.bodies[1:]}:
        raise SimError(
            f"{robot.name}: expected body names other than {BASE} and {IMU} (the messages use "
            f"them), found {', '.join(sorted(taken))}"
        )
    model = build_model(robot)
    root = Element("robot", name=robot.name.lower())
    names = {number: model.body(number).name for number in range(1, model.nbody)}
    names[1] = BASE
    for number, name in names.items():
        link = SubElement(root, "link", name=name)
        _add_inertial(link, model, number)
        for geom in _seen(model, number):
            _add_visuals(link, model, geom)
    speeds = {joint.name: joint.speed_radps for joint in robot.joints}
    for number, name in list(names.items())[1:]:
        _add_joint(root, model, number, (names[model.body_parentid[number]], name), speeds)
    SubElement(root, "link", name=IMU)
    fixed = SubElement(root, "joint", name="imu_joint", type="fixed")
    _add_ends(fixed, (BASE, IMU), model.site("imu").pos, model.site("imu").quat)
    if hardware is not None:
        _add_hardware(root, robot.joint_names, hardware)
    indent(root)
    return '<?xml version="1.0"?>\n' + tostring(root, encoding="unicode") + "\n"


def _add_hardware(root: Element, joints: Sequence[str], parameters: Mapping[str, str]) -> None:
    """Add the elements that a controller manager needs to drive the simulated robot."""
    system = SubElement(root, "ros2_control", name="simulated_robot", type="system")
    hardware = SubElement(system, "hardware")
    SubElement(hardware, "plugin").text = PLUGIN
    for name, value in parameters.items():
        SubElement(hardware, "param", name=name).text = value
    gains = parameters.get("gain_interfaces", "kp kd").split()
    for name in joints:
        joint = SubElement(system, "joint", name=name)
        # A target is the set point of a PD law, so no joint limit applies to it.
        SubElement(joint, "limits", enable="false")
        for interface in (*_STATES, *gains):
            SubElement(joint, "command_interface", name=interface)
        for interface in _STATES:
            SubElement(joint, "state_interface", name=interface)
    for name, interfaces in _SENSORS.items():
        sensor = SubElement(system, "sensor", name=name)
        for interface in interfaces:
            SubElement(sensor, "state_interface", name=interface)


def _add_joint(
    root: Element,
    model: mujoco.MjModel,
    body: int,
    ends: tuple[str, str],
    speeds: dict[str, float],
) -> None:
    """Add the joint between a body and its parent: the body's hinge, or a fixed joint."""
    place, quat = model.body_pos[body], model.body_quat[body]
    if model.body_jntnum[body] == 0:
        fixed = SubElement(root, "joint", name=f"{ends[1]}_fixed", type="fixed")
        _add_ends(fixed, ends, place, quat)
        return
    joint = model.joint(model.body_jntadr[body])
    element = SubElement(root, "joint", name=joint.name, type="revolute")
    _add_ends(element, ends, place, quat)
    SubElement(element, "axis", xyz=_text(joint.axis))
    lower, upper = joint.range
    SubElement(
        element,
        "limit",
        lower=_text([lower]),
        upper=_text([upper]),
        effort=_text([model.actuator(joint.name).forcerange[1]]),
        velocity=_text([speeds[joint.name]]),
    )


def _add_ends(joint: Element, ends: tuple[str, str], place: Array, quat_wxyz: Array) -> None:
    _add_origin(joint, place, quat_wxyz)
    SubElement(joint, "parent", link=ends[0])
    SubElement(joint, "child", link=ends[1])


def _add_origin(element: Element, place: Array, quat_wxyz: Array) -> None:
    rpy = roll_pitch_yaw(np.roll(quat_wxyz, -1))
    SubElement(element, "origin", xyz=_text(place), rpy=_text(rpy))


def _add_inertial(link: Element, model: mujoco.MjModel, body: int) -> None:
    if model.body_mass[body] == 0.0:
        return
    inertial = SubElement(link, "inertial")
    _add_origin(inertial, model.body_ipos[body], model.body_iquat[body])
    SubElement(inertial, "mass", value=_text([model.body_mass[body]]))
    ixx, iyy, izz = (_text([value]) for value in model.body_inertia[body])
    SubElement(inertial, "inertia", ixx=ixx, iyy=iyy, izz=izz, ixy="0", ixz="0", iyz="0")


def _seen(model: mujoco.MjModel, body: int) -> Iterator[int]:
    first = model.body_geomadr[body]
    for geom in range(first, first + model.body_geomnum[body]):
        if model.geom_group[geom] != _HIDDEN_GROUP:
            yield geom


def _add_visuals(link: Element, model: mujoco.MjModel, geom: int) -> None:
    place, quat = model.geom_pos[geom], model.geom_quat[geom]
    radius, half, _ = size = model.geom_size[geom]
    kind = model.geom_type[geom]
    forms: list[tuple[str, dict[str, str], Array]]
    if kind == _GEOM.mjGEOM_BOX:
        forms = [("box", {"size": _text(2.0 * size)}, place)]
    elif kind == _GEOM.mjGEOM_SPHERE:
        forms = [("sphere", {"radius": _text([radius])}, place)]
    else:
        cylinder = {"radius": _text([radius]), "length": _text([2.0 * half])}
        forms = [("cylinder", cylinder, place)]
    if kind == _GEOM.mjGEOM_CAPSULE:
        end = rotate(np.roll(quat, -1), np.array([0.0, 0.0, half]))
        ball = {"radius": _text([radius])}
        forms += [("sphere", ball, place + end), ("sphere", ball, place - end)]
    colour = model.mat_rgba[model.geom_matid[geom]]
    for form, sizes, at in forms:
        visual = SubElement(link, "visual")
        _add_origin(visual, at, quat)
        SubElement(SubElement(visual, "geometry"), form, sizes)
        material = SubElement(visual, "material", name=model.material(model.geom_matid[geom]).name)
        SubElement(material, "color", rgba=_text(colour))


def _text(values: Sequence[float] | Array) -> str:
    """Format numbers for URDF; zero has no sign."""
    return " ".join(f"{float(value) + 0.0:.9g}" for value in values)


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of `robot_urdf`.

    Returns:
        0, or 2 if there is no such robot.
    """
    parser = argparse.ArgumentParser(
        "robot_urdf",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('robot-sim')}")
    parser.add_argument("robot", help="lite3, go2, g1, or a folder of figures")
    parser.add_argument(
        "--ros2-control",
        nargs="*",
        metavar="NAME=VALUE",
        help="add the simulated robot as hardware of ros2_control, with these parameters: "
        "update_rate, gain_interfaces, stiffness, damping, python, and the options of "
        "robot_sim.sim_server with _ for -",
    )
    given = parser.parse_args(args)
    try:
        hardware = None if given.ros2_control is None else _hardware(given)
        sys.stdout.write(write_urdf(load_robot(given.robot), hardware))
    except SimError as error:
        parser.error(str(error))
    return 0


def _hardware(given: argparse.Namespace) -> dict[str, str]:
    """Return the hardware parameters, leaving out those without a value."""
    folder = figures_file(given.robot).parent
    pairs = {"robot": folder.name if folder.parent == ROBOTS else str(folder)}
    for text in given.ros2_control:
        name, equals, value = text.partition("=")
        if not (name.isidentifier() and equals):
            raise SimError(f"--ros2-control: expected NAME=VALUE, found {text!r}")
        pairs[name] = value
    return {name: value for name, value in pairs.items() if value}


if __name__ == "__main__":
    sys.exit(main())
