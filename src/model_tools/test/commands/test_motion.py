# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`model_tools motion`: clips of motion files, with and without names."""

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest

from model_tools import cli
from model_tools.files.arrays import write_arrays
from policy_core.interfaces import F64
from robot_sim.figures import load_robot
from robot_sim.model import build_model
from testkit.wording import check_wording

FRAMES, FPS = 31, 30
TIMES = np.arange(FRAMES) / FPS
JOINTS = ("hip", "knee")


def one_motion() -> dict[str, Any]:
    """Return a second of a motion as a training writes it: without names."""
    half, zero = 0.5 * TIMES, np.zeros(FRAMES)
    quat = np.stack([np.cos(half), zero, zero, np.sin(half)], axis=1)
    # The same rotations, of which every second one has the other sign.
    quat[::2] *= -1.0
    return {
        "fps": np.array([FPS]),
        "joint_pos": np.outer(TIMES, [1.0, -2.0]),
        "joint_vel": np.tile([1.0, -2.0], (FRAMES, 1)),
        "body_pos_w": np.stack([np.outer(TIMES, [0.5, 0.0, 0.0])] * 2, axis=1),
        "body_quat_w": np.stack([quat, quat], axis=1),
    }


def npz(file: Path, **changes: Any) -> Path:
    arrays = {**one_motion(), **changes}
    write_arrays(file, {name: array for name, array in arrays.items() if array is not None})
    return file


def csv_rows() -> F64:
    found = one_motion()
    quat = np.roll(found["body_quat_w"][:, 0], -1, axis=1)
    return np.hstack([found["body_pos_w"][:, 0], quat, found["joint_pos"]])


def csv(file: Path, header: str = "") -> Path:
    np.savetxt(file, csv_rows(), delimiter=",", header=header, comments="")
    return file


def clip_of(source: Path, *options: str) -> dict[str, Any]:
    output = source.with_name("clip.npz")
    args = ["motion", str(source), "--output", str(output), "--rate-hz", "50", "--force", *options]
    assert cli.main(args) == 0
    return dict(np.load(output))


def check_clip(clip: dict[str, Any]) -> None:
    times = np.arange(51) / 50
    assert clip["fps"].item() == 50
    assert clip["joint_names"].tolist() == [*JOINTS]
    np.testing.assert_allclose(clip["joint_pos"], np.outer(times, [1.0, -2.0]), atol=1e-9)
    np.testing.assert_allclose(clip["joint_vel"], np.tile([1.0, -2.0], (51, 1)), atol=1e-9)
    np.testing.assert_allclose(clip["body_pos_w"][:, 0, 0], 0.5 * times, atol=1e-9)
    w, z = np.abs(clip["body_quat_w"][:, 0, [0, 3]].T)
    np.testing.assert_allclose(2.0 * np.arctan2(z, w), times, atol=1e-4)


NAMES = ("--joints", "hip,knee", "--bodies", "trunk,foot")


def test_a_training_s_motion_gets_names_and_the_policy_s_rate(tmp_path: Path) -> None:
    clip = clip_of(npz(tmp_path / "walk.npz"), *NAMES)
    check_clip(clip)
    assert clip["body_names"].tolist() == ["trunk", "foot"]


@pytest.mark.parametrize("header", ["", "x,y,z,qx,qy,qz,qw,hip,knee"])
def test_a_csv_has_the_base_then_the_joints(tmp_path: Path, header: str) -> None:
    names = () if header else ("--joints", "hip,knee")
    options = ("--fps", "30", "--bodies", "trunk", *names)
    check_clip(clip_of(csv(tmp_path / "walk.csv", header), *options))


def test_velocities_that_a_file_lacks_are_those_of_its_positions(tmp_path: Path) -> None:
    check_clip(clip_of(npz(tmp_path / "walk.npz", joint_vel=None), *NAMES))


def test_a_part_is_cut_out_in_the_frames_of_the_source(tmp_path: Path) -> None:
    clip = clip_of(npz(tmp_path / "walk.npz"), *NAMES, "--frames", "10:20")
    assert len(clip["joint_pos"]) == 16
    np.testing.assert_allclose(clip["joint_pos"][0], np.array([1.0, -2.0]) * 10 / FPS)


def test_the_pose_of_an_anchor_follows_from_the_base_and_the_joints(tmp_path: Path) -> None:
    robot, random = load_robot("g1"), np.random.default_rng(4)
    joints = random.uniform(-0.4, 0.4, (3, len(robot.joint_names)))
    pos, quat = random.normal(size=(3, 3)), random.normal(size=(3, 4))
    quat /= np.linalg.norm(quat, axis=1, keepdims=True)
    source = npz(
        tmp_path / "walk.npz",
        fps=np.array(50.0),
        joint_names=np.array(robot.joint_names),
        joint_pos=joints,
        joint_vel=np.zeros_like(joints),
        body_names=np.array(["pelvis"]),
        body_pos_w=pos[:, None],
        body_quat_w=quat[:, None],
    )
    clip = clip_of(source, "--robot", "g1", "--anchor", "torso_link")
    assert clip["body_names"].tolist() == ["pelvis", "torso_link"]
    model = build_model(robot)
    for frame in range(3):
        data = mujoco.MjData(model)
        data.qpos[:7] = [*pos[frame], *quat[frame]]
        for name, angle in zip(robot.joint_names, joints[frame], strict=True):
            data.qpos[model.joint(name).qposadr[0]] = angle
        mujoco.mj_kinematics(model, data)
        torso = data.body("torso_link")
        np.testing.assert_allclose(clip["body_pos_w"][frame, 1], torso.xpos, atol=1e-9)
        np.testing.assert_allclose(
            np.abs(clip["body_quat_w"][frame, 1] @ torso.xquat), 1.0, atol=1e-9
        )


def with_nan() -> F64:
    values: F64 = one_motion()["joint_pos"].astype(np.float64)
    values[7, 0] = np.nan
    return values


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({}, ()),
        ({}, NAMES[:2]),
        ({}, ("--joints", "hip", *NAMES[2:])),
        ({"joint_names": np.array(JOINTS)}, NAMES),
        ({"fps": None}, NAMES),
        ({}, (*NAMES, "--fps", "30")),
        ({"fps": np.array(0)}, NAMES),
        ({"joint_pos": with_nan()}, NAMES),
        ({"joint_pos": None}, NAMES),
        ({"joint_vel": np.zeros((5, 2))}, NAMES),
        ({}, (*NAMES, "--frames", "3:4")),
        ({}, (*NAMES, "--frames", "4")),
        ({}, (*NAMES, "--anchor", "torso_link")),
        ({}, (*NAMES, "--anchor", "torso_link", "--robot", "g1")),
    ],
)
def test_a_motion_that_is_not_whole_is_refused(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, Any],
    options: tuple[str, ...],
) -> None:
    source, output = npz(tmp_path / "walk.npz", **changes), tmp_path / "clip.npz"
    args = ["motion", str(source), "--output", str(output), "--rate-hz", "50", *options]
    assert cli.main(args) == 4
    check_wording(caplog.messages[-1])
    assert not output.exists()


@pytest.mark.parametrize(
    "text", ["", "a,b\n1,2\n", "x,y,z,qx,qy,qz,qw,hip\n1,2\n", "1,2,3,0,0,0,1,0.5\n"]
)
def test_a_csv_that_is_none_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    source = tmp_path / "walk.csv"
    source.write_text(text, "utf-8")
    args = ["motion", str(source), "--output", str(tmp_path / "clip.npz"), "--rate-hz", "50"]
    assert cli.main([*args, "--fps", "30"]) == 4
    check_wording(caplog.messages[-1])
