# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A robot is read from a folder of figures; an unsuitable folder is refused with the reason."""

import re
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest

from robot_sim.errors import SimError
from robot_sim.faults import FaultPlan
from robot_sim.figures import LeggedRobot, load_robot
from robot_sim.model import build_spec
from robot_sim.world import World, position_command
from testkit.wording import refusal

from .other_quadruped import STANDING_M, write_other_quadruped

GUIDE = (Path(__file__).parents[3] / "docs" / "simulation.md").read_text("utf-8")
BASE = {"name": "base", "mass_kg": 1.0, "com": [0, 0, 0], "inertia": [1, 1, 1]}
FEW = {"height_m": 0.1, "joints": [[0, 0]]}


def test_another_quadruped_stands(tmp_path: Path) -> None:
    robot = load_robot(write_other_quadruped(tmp_path))
    world = World(robot, pose="standing")
    assert world.joint_names[:3] == ("LF_hip_joint", "LF_thigh_joint", "LF_calf_joint")
    assert world.foot_names == ("LF_foot", "RF_foot", "LH_foot", "RH_foot")
    for _ in range(100):
        world.apply(
            position_command(
                robot.standing_rad, stiffness=150.0, damping=3.0, joint_names=robot.joint_names
            )
        )
        world.step(20_000_000)
    sensed = world.sense()
    assert not world.fallen
    assert sensed.pos_world[2] == pytest.approx(STANDING_M, abs=0.03)
    weight_n = 9.81 * float(world.model.body_mass.sum())
    assert sensed.foot_force_world[:, 2].sum() == pytest.approx(weight_n, rel=0.02)


def test_faults_know_the_joints_of_the_robot(tmp_path: Path) -> None:
    world = World(load_robot(write_other_quadruped(tmp_path)), pose="standing")
    names = world.joint_names
    plan = FaultPlan.parse(["motor_off:RH_calf_joint", "order:joint_states"], joint_names=names)
    plan.act(world)
    shown = plan.apply(world.sense()).joint_states
    assert shown is not None
    assert np.array_equal(shown.joint_pos[:4], world.sense().joint_pos[::3])
    with refusal(SimError):
        FaultPlan.parse(["motor_off:FL_Knee_joint"], joint_names=names)


@pytest.mark.parametrize(
    "changes",
    [
        {"feet": None},
        {"name": "a\x1b[2J"},
        {"tail": 1.0},
        {"fallen_height_m": float("nan")},
        {"feet": [{"name": "FL_foot"}]},
        {"bodies": [BASE | {"parent": "hip"}]},
        {"bodies": [BASE, BASE | {"name": "tail"}]},
        {"poses": {"lying": {"height_m": 0.1, "joints": [[0, 0]]}}},
        {"poses": {"lying": FEW, "standing": FEW}},
        {"hulls": [{"body": "tail", "kind": "box", "places": [[0, 0, 0]], "size": [1]}]},
        {"hulls": [{"body": "torso", "kind": "cone", "places": [[0, 0, 0]], "size": [1]}]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_figures_of_no_robot_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = write_other_quadruped(tmp_path, **changes)
    with refusal(SimError) as caught:
        load_robot(folder)
    assert str(caught.value).startswith(f"{folder}/figures.yaml:")


@pytest.mark.parametrize("robot", ["so101", "nowhere", "empty", "dog/figures.yaml", "dog.xml"])
def test_what_is_no_folder_of_figures_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, robot: str
) -> None:
    for name in ("dog", "empty"):
        (tmp_path / name).mkdir()
    write_other_quadruped(tmp_path / "dog")
    (tmp_path / "dog.xml").write_text("<mujoco/>", "utf-8")
    monkeypatch.chdir(tmp_path)
    with refusal(SimError):
        load_robot(robot)


def test_the_guide_has_every_key_and_says_which_are_needed() -> None:
    rows = re.findall(r"^\| `([\w.\[\]]+)` \| (yes)? ?\| ", GUIDE, re.MULTILINE)
    as_others = ("poses.standing.", "looks[].")
    expected = {
        key: needed
        for key, needed in keys_of(LeggedRobot)
        if not key.startswith(as_others)  # "keys as for ..."
    }
    assert {key: needed == "yes" for key, needed in rows} == expected


def keys_of(kind: Any, place: str = "") -> Iterator[tuple[str, bool]]:
    """Yield each key of the file, and whether its parent requires it."""
    types = get_type_hints(kind)
    for each in fields(kind):
        form = types[each.name]
        inner = next((part for part in (form, *get_args(form)) if is_dataclass(part)), None)
        is_list = inner is not None and get_origin(form) is tuple
        key = f"{place}{each.name}{'[]' if is_list else ''}"
        yield key, each.default is MISSING
        if inner is not None:
            yield from keys_of(inner, f"{key}.")


def test_the_lines_of_the_guide_give_the_figures_of_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = build_spec(load_robot("go2"))
    spec.compile()
    (tmp_path / "robot.xml").write_text(spec.to_xml(), "utf-8")
    monkeypatch.chdir(tmp_path)
    printed: dict[str, list[Any]] = {}
    code = GUIDE.partition("```python\n")[2].partition("```")[0]
    exec(code, {"print": lambda name, *values: printed.update({name: values})})
    for body in load_robot("go2").bodies:
        mass_kg, com, inertia = printed[body.name]
        assert mass_kg == pytest.approx(body.mass_kg, rel=1e-4)
        np.testing.assert_allclose(com, body.com, atol=1e-6)
        np.testing.assert_allclose(inertia, body.inertia, rtol=1e-3, atol=1e-8)
