# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""MuJoCo reads the written URDF as the same robot."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import mujoco
import numpy as np
import pytest

from robot_sim.figures import FILE, ROBOTS, Array, load_robot
from robot_sim.model import build_model
from robot_sim.urdf import BASE, IMU, main, write_urdf
from testkit.wording import check_wording, lines_with

AS_IT_IS = '<mujoco><compiler discardvisual="false" fusestatic="false"/></mujoco>'
"""MuJoCo's own element in a URDF: keep what is only seen, and links that do not move."""


@pytest.mark.parametrize("name", ["lite3", "go2", "g1"])
def test_joint_angles_put_every_link_where_the_simulation_has_it(name: str) -> None:
    robot = load_robot(name)
    ours, text = build_model(robot), write_urdf(robot)
    theirs = mujoco.MjModel.from_xml_string(text.replace("<link", f"{AS_IT_IS}<link", 1))
    assert {theirs.joint(number).name for number in range(theirs.njnt)} == set(robot.joint_names)
    left, right = mujoco.MjData(ours), mujoco.MjData(theirs)
    angles = np.random.default_rng(7).uniform(robot.range_rad[:, 0], robot.range_rad[:, 1])
    left.qpos[:7] = [0, 0, 0, 1, 0, 0, 0]
    for joint, angle in zip(robot.joint_names, angles, strict=True):
        left.joint(joint).qpos[0] = right.joint(joint).qpos[0] = angle
        assert theirs.joint(joint).range == pytest.approx(ours.joint(joint).range)
    mujoco.mj_forward(ours, left)
    mujoco.mj_forward(theirs, right)
    for number in range(1, ours.nbody):
        link = BASE if number == 1 else ours.body(number).name
        assert right.body(link).xpos == pytest.approx(left.body(number).xpos, abs=1e-6), link
        assert right.body(link).xmat == pytest.approx(left.body(number).xmat, abs=1e-6), link
        assert theirs.body(link).mass == pytest.approx(ours.body(number).mass, abs=1e-6), link
        shapes = list(boxes_and_cylinders(ours, left, number))
        found = list(boxes_and_cylinders(theirs, right, link))
        for (place, axes), (there, turned) in zip(shapes, found, strict=True):
            assert there == pytest.approx(place, abs=1e-6), link
            assert turned == pytest.approx(axes, abs=1e-5), link


def boxes_and_cylinders(
    model: mujoco.MjModel, data: mujoco.MjData, body: int | str
) -> Iterator[tuple[Array, Array]]:
    """Yield the position of each box and cylinder, with a box's axes or the cylinder's axis."""
    first, kinds = model.body(body).geomadr[0], mujoco.mjtGeom
    for geom in range(first, first + model.body(body).geomnum[0]):
        axes = data.geom_xmat[geom].reshape(3, 3)
        if model.geom_group[geom] == 3 or model.geom_type[geom] == kinds.mjGEOM_SPHERE:
            continue
        yield (
            data.geom_xpos[geom],
            axes if model.geom_type[geom] == kinds.mjGEOM_BOX else axes[:, 2],
        )


def test_frames_of_the_messages_are_links() -> None:
    root = ElementTree.fromstring(write_urdf(load_robot("lite3")))
    links = [link.attrib["name"] for link in root.iter("link")]
    parents = {joint[2].attrib["link"]: joint[1].attrib["link"] for joint in root.iter("joint")}
    assert parents[IMU] == BASE
    assert set(links) - set(parents) == {BASE}


def test_a_robot_that_there_is_not_is_refused_with_those_that_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["spot"])
    check_wording(*lines_with(capsys.readouterr().err, "folder"))


def test_the_simulated_robot_is_hardware_of_ros2_control(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["lite3", "--ros2-control", "faults=drop:imu@2 nan:imu.orientation@3"]) == 0
    system = ElementTree.fromstring(capsys.readouterr().out).find("ros2_control")
    assert system is not None
    parameters = {each.get("name"): each.text for each in system.iter("param")}
    assert parameters == {"robot": "lite3", "faults": "drop:imu@2 nan:imu.orientation@3"}
    assert {each.get("name") for each in system.iter("joint")} == {*load_robot("lite3").joint_names}
    interfaces = {
        each.get("name"): len(each.findall("state_interface")) for each in system.iter("sensor")
    }
    assert interfaces == {"imu": 11, "joints": 1}


def test_a_parameter_of_the_hardware_without_a_value_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["lite3", "--ros2-control", "faults"])
    check_wording(*lines_with(capsys.readouterr().err, "expected"))


def test_gains_have_the_names_that_the_hardware_is_to_use_and_joints_no_limits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["go2", "--ros2-control", "gain_interfaces=p d", "faults="]) == 0
    system = ElementTree.fromstring(capsys.readouterr().out).find("ros2_control")
    assert system is not None
    assert [param.get("name") for param in system.iter("param")] == ["robot", "gain_interfaces"]
    for joint in system.iter("joint"):
        commands = [one.get("name") for one in joint.iter("command_interface")]
        assert commands == ["position", "velocity", "effort", "p", "d"]
        assert [one.get("enable") for one in joint.iter("limits")] == ["false"]


def test_the_folder_of_a_robot_is_found_from_anywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROBOTS / "lite3" / FILE, tmp_path)
    monkeypatch.chdir(tmp_path.parent)
    assert main([tmp_path.name, "--ros2-control"]) == 0
    assert f'<param name="robot">{tmp_path}</param>' in capsys.readouterr().out
