# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""LeRobot's lines for servo arms in docs/lerobot.md: this LeRobot takes each of them."""

import functools
import inspect
import shlex
from importlib.metadata import entry_points

import draccus
import pytest
from lerobot.robots.bi_so_follower import BiSOFollower
from lerobot.robots.lekiwi import LeKiwiClient
from lerobot.robots.so_follower import SOFollower
from lerobot.scripts.lerobot_calibrate import CalibrateConfig
from lerobot.scripts.lerobot_replay import ReplayConfig
from lerobot.scripts.lerobot_teleoperate import TeleoperateConfig

from lerobot_bridge.mapping_file import load_mapping, shipped

from .versions import GUIDE, as_this_version_has_it

SERVO_ARMS = GUIDE.split("\n## Servo arms\n")[1].partition("\n## ")[0]
BLOCKS = [block.partition("```")[0] for block in SERVO_ARMS.split("```bash\n")[1:]]
LINES = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines() if line]
ASKED_AT_THE_KEYBOARD = {"lerobot-find-port", "lerobot-find-cameras"}
"""They have no configuration."""
_source_of = functools.cache(inspect.getsource)


@pytest.fixture(autouse=True)
def _sources_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the parser's help texts nine tenths of the time: it reads a class once per option."""
    monkeypatch.setattr(inspect, "getsource", _source_of)


def lines_of(command: str) -> list[list[str]]:
    words = [shlex.split(line, comments=True) for line in LINES]
    return [as_this_version_has_it(arguments) for name, *arguments in words if name == command]


def test_each_line_begins_with_a_command_that_lerobot_installs() -> None:
    installed = {
        entry.name
        for entry in entry_points(group="console_scripts")
        if entry.value.startswith("lerobot.")
    }
    used = {shlex.split(line, comments=True)[0] for line in LINES}

    assert used <= installed
    assert used == ASKED_AT_THE_KEYBOARD | {
        "lerobot-setup-motors",
        "lerobot-calibrate",
        "lerobot-teleoperate",
        "lerobot-record",
        "lerobot-replay",
    }


def test_datasets_of_shipped_mappings_say_the_robot_that_lerobot_s_own_do() -> None:
    robots = dict.fromkeys(("so100", "so101", "so101_policy", "so101_reach"), SOFollower.name)
    robots |= {"so101_dual": BiSOFollower.name, "lekiwi": LeKiwiClient.name}

    assert {name: load_mapping(name).robot_type for name in shipped()} == robots


def test_each_arm_is_calibrated_under_the_name_that_leads_and_records_with_it() -> None:
    calibrated = {
        (config.device.type, config.device.id)
        for config in (
            draccus.parse(CalibrateConfig, args=arguments)
            for arguments in lines_of("lerobot-calibrate")
        )
    }
    led = [
        draccus.parse(TeleoperateConfig, args=arguments)
        for arguments in lines_of("lerobot-teleoperate")
    ]

    assert len(calibrated) == 4
    assert {
        (device.type, device.id) for config in led for device in (config.robot, config.teleop)
    } == calibrated
    for arguments in lines_of("lerobot-replay"):
        robot = draccus.parse(ReplayConfig, args=arguments).robot
        assert (robot.type, robot.id) in calibrated
