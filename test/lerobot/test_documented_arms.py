# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""LeRobot's lines for servo arms in docs/lerobot.md: this LeRobot takes each of them."""

import functools
import inspect
import shlex
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import draccus
import pytest
from lerobot.configs import parser
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.robots.bi_so_follower import BiSOFollower
from lerobot.robots.lekiwi import LeKiwiClient
from lerobot.robots.so_follower import SOFollower
from lerobot.scripts.lerobot_calibrate import CalibrateConfig
from lerobot.scripts.lerobot_record import RecordConfig
from lerobot.scripts.lerobot_replay import ReplayConfig
from lerobot.scripts.lerobot_teleoperate import TeleoperateConfig

from lerobot_bridge.mapping_file import load_mapping, shipped

from .versions import GUIDE, RECORDS_POLICIES, as_this_version_has_it

SERVO_ARMS = GUIDE.split("\n## Servo arms\n")[1].partition("\n## ")[0]
BLOCKS = [block.partition("```")[0] for block in SERVO_ARMS.split("```bash\n")[1:]]
LINES = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines() if line]
_source_of = functools.cache(inspect.getsource)


@pytest.fixture(autouse=True)
def _sources_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the parser's help texts nine tenths of the time: it reads a class once per option."""
    monkeypatch.setattr(inspect, "getsource", _source_of)


def lines_of(command: str) -> list[list[str]]:
    words = [shlex.split(line, comments=True) for line in LINES]
    return [as_this_version_has_it(arguments) for name, *arguments in words if name == command]


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


def test_a_policy_is_recorded_in_ten_episodes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # a checkpoint where the guide has one
    checkpoint = Path("outputs/train/so101_pick/checkpoints/last/pretrained_model")
    checkpoint.mkdir(parents=True)
    ACTConfig(device="cpu", push_to_hub=False).save_pretrained(checkpoint)
    (arguments,) = filter(runs_a_policy, lines_of("lerobot-record"))
    kind: Any = RecordConfig
    if not RECORDS_POLICIES:
        kind = import_module("lerobot.rollout").RolloutConfig
        arguments = ["--strategy.type=episodic", *arguments]
        arguments = [word.replace("me/eval_", "me/rollout_") for word in arguments]

    evaluation = parsed_recording(monkeypatch, arguments, kind)

    assert (evaluation.dataset.num_episodes, evaluation.dataset.episode_time_s) == (10, 180)
    assert evaluation.policy.type == "act"


def runs_a_policy(arguments: list[str]) -> bool:
    return any(word.startswith("--policy.path=") for word in arguments)


def parsed_recording(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], kind: type[Any] = RecordConfig
) -> Any:
    """Parse as the command does, which looks at the process's arguments twice."""

    def same(config: Any) -> Any:
        return config

    same.__annotations__["config"] = kind
    monkeypatch.setattr(sys, "argv", ["lerobot-record", *arguments])
    wrapped: Callable[[], Any] = parser.wrap()(same)
    return wrapped()
