# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Nominal figures from the simulation of a robot model of the user's."""

from pathlib import Path

import numpy as np
import pytest

from model_tools import cli
from model_tools.errors import ToolError
from model_tools.make.unrecorded import figure_source, walks
from model_tools.simulation.robot import LITE3, SimulatedRobot
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from testkit.edits import reword
from testkit.wording import check_wording, refusal

from ..tiny_bundle import ROBOT, make_bundle

OURS = Path(__file__).resolve().parents[4] / "config" / "bundles" / "lite3_walk"


@pytest.fixture
def tiny_robot(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.urdf"
    file.write_text(ROBOT, "utf-8")
    return file


@pytest.fixture
def gentle_contract(tmp_path: Path) -> Path:
    """Return a folder with a policy that moves gently, and names of its own for the joints."""
    file = make_bundle(tmp_path / "contract") / "policy.yaml"
    changed = reword(
        file,
        ("names: [hip, knee]", "names: [upper, lower], robot_names: {upper: hip, lower: knee}"),
        ("joints: [hip, knee], kind: position", "joints: [.*], kind: position, scale: 0.2"),
        ("{names", "\n  {names"),
        ("rate_hz: 50", "rate_hz: 20"),
    )
    return changed.parent


@pytest.mark.acceptance
def test_a_robot_on_its_base_gives_the_figures_of_its_own_drives(
    gentle_contract: Path, tiny_robot: Path
) -> None:
    status, output = completed(gentle_contract, tiny_robot)
    assert status == 0
    bundle = load_bundle(output, kind=JointBundle)
    nominal = bundle.contract.nominal
    assert nominal is not None
    assert "tiny.urdf" in nominal.source
    assert bundle.contract.joints.names == ("upper", "lower")
    # Two runs of the walks on every axis and one of mixed commands, after standing up for 1 s.
    assert nominal.ticks == pytest.approx(20 * (84 - 1 + 84 - 1 + 120 - 1), abs=10)
    # A gain of 1 N·m/rad on a target that moves by 0.2 rad or less holds a link of 0.1 N·m.
    assert 0.01 < nominal.effort_demand[1] < 0.5
    assert np.abs(nominal.observation["obs"].max).max() < 1.0


def test_a_robot_s_policy_names_its_source_and_no_other_robot_takes_it() -> None:
    gentle_contract = load_bundle(OURS, kind=JointBundle).contract
    given = SimulatedRobot(model=Path("other.xml"))
    (_, first), *_ = walks(gentle_contract, given)[0].schedule
    trained = gentle_contract.velocity_command
    assert trained is not None
    assert first == (0.5 * trained.max[0], 0.0, 0.0)
    assert walks(gentle_contract)[0].schedule[1][1] == (0.8, 0.0, 0.0)
    go2, g1 = (SimulatedRobot(figures=name) for name in ("go2", "g1"))
    check_wording(*(figure_source(tiny_robot) for tiny_robot in (LITE3, go2, g1)))
    with refusal(ToolError):
        go2.require(gentle_contract)


def completed(gentle_contract: Path, tiny_robot: Path) -> tuple[int, Path]:
    output = gentle_contract.with_name("whole")
    words = f"complete {gentle_contract} --simulate --robot-model {tiny_robot} --output {output}"
    return cli.main(words.split()), output


def test_a_model_that_lacks_a_joint_is_refused_by_name(
    gentle_contract: Path, tiny_robot: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny_robot.write_text(ROBOT.replace('"knee"', '"ankle"'), "utf-8")
    status, output = completed(gentle_contract, tiny_robot)
    assert status == 4
    check_wording(caplog.messages[-1])
    assert not output.exists()


STATUE = """
<mujoco><worldbody><body name="base" pos="0 0 0.1"><freejoint/>
  <geom type="box" size="0.2 0.2 0.1" mass="5"/>
  <body pos="0 0 0.2"><joint name="hip" axis="0 1 0"/>
    <geom type="sphere" size="0.02" mass="0.1" pos="0 0 0.1"/>
    <body pos="0 0 0.2"><joint name="knee" axis="0 1 0"/>
      <geom type="sphere" size="0.02" mass="0.1" pos="0 0 0.1"/></body></body>
</body></worldbody></mujoco>
"""


@pytest.mark.slow
@pytest.mark.parametrize("trained", ["[0, 0, 1]", "[1, 0, 0]"])
def test_a_robot_that_stands_whatever_is_commanded_is_refused(
    trained: str, gentle_contract: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "statue.xml").write_text(STATUE, "utf-8")
    lowest = trained.replace("1", "-1")
    reword(
        gentle_contract / "policy.yaml",
        ("{term: joint_vel}", "{term: velocity_command, parts: [vx, wz]}"),
        ("\nsafety:", f"\nvelocity_command: {{min: {lowest}, max: {trained}}}\nsafety:"),
    )
    status, output = completed(gentle_contract, tmp_path / "statue.xml")
    assert status == 1
    check_wording(caplog.messages[-1])
    assert not output.exists()
