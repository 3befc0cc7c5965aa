# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from model_tools.errors import ToolError
from model_tools.importers.robot_file import JointFigures, read_robot

MJCF = """<mujoco>
  <default><joint limited="true"/></default>
  <worldbody><body><freejoint/><geom size="1"/>
    <body><joint name="hip" range="-90 90"/><geom size="1"/></body>
    <body><joint name="knee" range="-45 0" actuatorfrcrange="-40 40"/><geom size="1"/></body>
    <body><joint name="toe" limited="false"/><geom size="1"/></body>
  </body></worldbody>
  <actuator>
    <motor joint="hip" gear="2" ctrllimited="true" ctrlrange="-15 15"/>
    <position joint="knee" kp="10" ctrllimited="true" ctrlrange="-1 1"/>
  </actuator>
</mujoco>"""


def write(folder: Path, text: str) -> Path:
    file = folder / "robot.xml"
    file.write_text(text, encoding="utf-8")
    return file


def test_mujoco_s_defaults_units_and_gears_count(tmp_path: Path) -> None:
    joints = read_robot(write(tmp_path, MJCF))
    assert list(joints) == ["hip", "knee", "toe"]
    assert joints["hip"].position_max == pytest.approx(1.5708, abs=1e-4)
    assert joints["hip"].effort_limit == 30.0
    # The control of a position drive is an angle, which bounds no torque.
    assert joints["knee"].effort_limit == 40.0
    assert joints["toe"] == JointFigures()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<robot", "expected a URDF or MJCF file"),
        ("<svg/>", "found the element svg"),
        ("<robot/>", "expected joints with one degree of freedom, found none"),
        ("<mujoco><worldbody><body/></worldbody><wrong/></mujoco>", "that MuJoCo loads, found"),
        ('<robot><joint name="hip" type="revolute"><limit lower="low"/></joint></robot>',
         "joint hip: expected numbers as limits"),
    ],
)
def test_another_file_is_refused_with_the_reason(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ToolError, match=message):
        read_robot(write(tmp_path, text))
