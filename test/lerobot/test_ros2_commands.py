# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""LeRobot's own commands see and move a simulated SO-101 over its topics."""

from __future__ import annotations

import functools
import inspect
import json
import logging
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.factory import dataset_to_policy_features, make_pre_post_processors
from lerobot.robots import make_robot_from_config
from lerobot.scripts import lerobot_record, lerobot_replay, lerobot_teleoperate
from lerobot.utils.errors import DeviceNotConnectedError
from lerobot.utils.import_utils import register_third_party_plugins
from policy_msgs.msg import JointCommand

from examples.demos.runner import own_domain
from lerobot_bridge.dataset_form import dataset_features
from lerobot_bridge.mapping_file import load_mapping
from lerobot_robot_ros2 import Ros2RobotConfig
from policy_core.members.chunk.normalise import Units
from policy_inference.testing.domains import claimed_domain_id
from robot_sim.arm_figures import SO101

from .ros2_arm import RATE_HZ, Arm, small_mapping
from .versions import RECORDS_POLICIES, as_this_version_has_it

register_third_party_plugins()
logging.getLogger("draccus").setLevel(logging.WARNING)  # it logs each field of each policy
EPISODES, EPISODE_S = 2, 3
TASK = "Reach the cube."


@pytest.fixture(scope="module", autouse=True)
def _parsed_soon() -> Iterator[None]:
    """Read each source once: LeRobot's parser does for each field of each class, 10 s a command."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inspect, "getsource", functools.cache(inspect.getsource))
        yield


@pytest.fixture(scope="module")
def mapping_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_mapping(tmp_path_factory.mktemp("mapping"))


@pytest.fixture(scope="module")
def ros2_so101(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arm]:
    """An arm and its leader, in a domain of their own."""
    with claimed_domain_id() as domain_id, pytest.MonkeyPatch.context() as patch:
        for name, value in own_domain({}, seed=domain_id - 1).items():
            patch.setenv(name, value)
        with Arm(tmp_path_factory.mktemp("arm")) as started:
            yield started


@pytest.fixture
def run_lerobot(monkeypatch: pytest.MonkeyPatch, mapping_file: Path) -> Callable[..., None]:
    """Return what runs a command of LeRobot's on the arm."""

    def run_lerobot(main: Callable[[], None], *words: str) -> None:
        monkeypatch.setattr(
            sys,
            "argv",
            [main.__module__, "--robot.type=ros2", f"--robot.mapping={mapping_file}", *words],
        )
        main()

    return run_lerobot


@pytest.fixture
def led(mapping_file: Path) -> list[str]:
    return ["--teleop.type=ros2", f"--teleop.mapping={mapping_file}"]


def recording(folder: Path, name: str, episodes: int = EPISODES) -> list[str]:
    words = [
        f"--dataset.repo_id=test/{name}",
        f"--dataset.root={folder}",
        f"--dataset.single_task={TASK}",
        f"--dataset.fps={RATE_HZ}",
        f"--dataset.num_episodes={episodes}",
        f"--dataset.episode_time_s={EPISODE_S}",
        "--dataset.reset_time_s=0.5",
        "--dataset.push_to_hub=false",
        "--dataset.vcodec=h264",
        "--dataset.streaming_encoding=true",
        "--play_sounds=false",
    ]
    return as_this_version_has_it(words)


def test_teleoperate_leads_the_arm(
    ros2_so101: Arm, run_lerobot: Callable[..., None], led: list[str]
) -> None:
    ros2_so101.count_from_here()
    run_lerobot(lerobot_teleoperate.main, *led, f"--fps={RATE_HZ}", "--teleop_time_s=3")
    assert ros2_so101.farthest_rad > 0.1, "the arm was not led"
    assert ros2_so101.commands[-1].mode == JointCommand.MODE_HOLD_MEASURED
    assert [command.sequence for command in ros2_so101.commands] == list(
        range(len(ros2_so101.commands))
    )


@pytest.fixture(scope="module")
def led_dataset(
    ros2_so101: Arm, mapping_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[LeRobotDataset, Any]:
    """What `lerobot-record` makes of a led arm, and the actions that the arm was sent meanwhile."""
    ros2_so101.commands.clear()
    root = tmp_path_factory.mktemp("recorded") / "dataset"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            sys,
            "argv",
            [
                "lerobot-record",
                "--robot.type=ros2",
                f"--robot.mapping={mapping_file}",
                "--teleop.type=ros2",
                f"--teleop.mapping={mapping_file}",
                *recording(root, "reach"),
            ],
        )
        lerobot_record.main()
    return LeRobotDataset("test/reach", root=root), ros2_so101.sent(load_mapping(mapping_file))


def actions_of(led_dataset: LeRobotDataset) -> Any:
    return np.array(led_dataset.hf_dataset.with_format("numpy")["action"], np.float64)


def test_record_writes_a_dataset_of_what_was_sent(
    led_dataset: tuple[LeRobotDataset, Any], mapping_file: Path
) -> None:
    written, sent = led_dataset
    assert written.num_episodes == EPISODES
    assert written.num_frames >= 0.8 * EPISODES * EPISODE_S * RATE_HZ
    assert written.meta.robot_type == "so_follower"
    mapping = load_mapping(mapping_file)
    for key, feature in dataset_features(mapping).items():
        found = {name: written.meta.features[key][name] for name in feature}
        assert {**found, "shape": tuple(found["shape"])} == feature
    frame = written[0]
    assert frame["observation.images.front"].shape == (3, 48, 64)
    assert frame["task"] == TASK
    # LeRobot keeps what was asked for; nothing was clipped, so that is what was sent.
    place = 0
    for action in actions_of(written):
        places = np.flatnonzero(np.abs(sent[place:] - action).max(axis=1) < 1e-4)
        assert places.size, f"{action} was not sent after the {place}th command"
        place += int(places[0])


def test_replay_sends_an_episode_again(
    led_dataset: tuple[LeRobotDataset, Any],
    ros2_so101: Arm,
    run_lerobot: Callable[..., None],
    mapping_file: Path,
) -> None:
    written, _ = led_dataset
    ros2_so101.commands.clear()
    run_lerobot(
        lerobot_replay.main,
        "--dataset.repo_id=test/reach",
        f"--dataset.root={written.root}",
        "--dataset.episode=1",
        "--play_sounds=false",
    )
    first = written.meta.episodes[1]["dataset_from_index"]
    last = actions_of(written)[first:][-1]
    sent = ros2_so101.sent(load_mapping(mapping_file))
    np.testing.assert_allclose(sent[-1], last, atol=1e-4)


def test_a_policy_drives_the_arm_and_is_recorded(
    led_dataset: tuple[LeRobotDataset, Any],
    ros2_so101: Arm,
    run_lerobot: Callable[..., None],
    tmp_path: Path,
) -> None:
    written, _ = led_dataset
    ros2_so101.commands.clear()
    words = [
        f"--policy.path={untrained_policy(written, tmp_path)}",
        *recording(tmp_path / "dataset", "eval_reach" if RECORDS_POLICIES else "rollout_reach", 1),
    ]
    if RECORDS_POLICIES:
        run_lerobot(lerobot_record.main, *words)
    else:
        rollout = import_module("lerobot.scripts.lerobot_rollout")
        run_lerobot(rollout.main, "--strategy.type=episodic", f"--fps={RATE_HZ}", *words)
    rolled_out = LeRobotDataset("test/rolled_out", root=tmp_path / "dataset")
    assert rolled_out.num_episodes == 1
    assert rolled_out.num_frames > RATE_HZ
    assert len(ros2_so101.commands) > RATE_HZ


class Typist(logging.Handler):
    """Types keys into the terminal of LeRobot's `dagger`.

    Each is due so many commands to the arm after a line of LeRobot's log.
    """

    def __init__(
        self, terminal: int, ros2_so101: Arm, course: Sequence[tuple[str, int, bytes]]
    ) -> None:
        super().__init__()
        self._terminal, self._arm, self._course = terminal, ros2_so101, list(course)
        self._typing: list[Thread] = []

    def emit(self, record: logging.LogRecord) -> None:
        if self._course and self._course[0][0] in record.getMessage():
            _, after, key = self._course.pop(0)
            due = len(self._arm.commands) + after
            self._typing.append(Thread(target=self._type, args=(key, due)))
            self._typing[-1].start()

    def _type(self, key: bytes, due: int) -> None:
        self._arm.wait_until(lambda: len(self._arm.commands) > due, "commands")
        os.write(self._terminal, key)

    def join(self) -> None:
        for thread in self._typing:
            thread.join()


@pytest.mark.skipif(RECORDS_POLICIES, reason="lerobot-rollout is there since LeRobot 0.6")
def test_a_person_corrects_a_policy_by_the_strategy_dagger(
    led_dataset: tuple[LeRobotDataset, Any],
    ros2_so101: Arm,
    run_lerobot: Callable[..., None],
    led: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written, _ = led_dataset
    for display in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(display, raising=False)
    keys, terminal = pty.openpty()
    log = logging.getLogger("lerobot.rollout.strategies.dagger")
    slide = 31  # commands of LeRobot's way to the leader, which are not recorded
    typist = Typist(
        keys,
        ros2_so101,
        [
            ("started", RATE_HZ, b" "),
            ("-> paused", 1, b"\t"),
            ("-> correcting", slide + 2 * RATE_HZ, b"\t"),
        ],
    )
    monkeypatch.setattr(log, "level", logging.INFO)
    log.addHandler(typist)
    try:
        with os.fdopen(terminal) as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            run_lerobot(
                import_module("lerobot.scripts.lerobot_rollout").main,
                "--strategy.type=dagger",
                f"--policy.path={untrained_policy(written, tmp_path)}",
                f"--fps={RATE_HZ}",
                "--return_to_initial_position=false",
                *led,
                *recording(tmp_path / "dataset", "rollout_corrections", 1),
            )
    finally:
        log.removeHandler(typist)
        typist.join()
        os.close(keys)
    corrected = LeRobotDataset("test/corrected", root=tmp_path / "dataset")
    assert corrected.num_episodes == 1
    assert corrected.num_frames > RATE_HZ
    rows = corrected.hf_dataset.with_format("numpy")
    assert np.asarray(rows["intervention"]).all()
    steps = np.abs(np.diff(np.asarray(rows["observation.state"], float), axis=0))
    assert steps.max(axis=0).max() > 0.5, "the arm was not led"


def untrained_policy(written: LeRobotDataset, folder: Path) -> Path:
    """Save a small ACT that has learnt nothing, with the dataset's statistics."""
    features = dataset_to_policy_features(written.meta.features)
    outputs = {
        key: feature for key, feature in features.items() if feature.type is FeatureType.ACTION
    }
    inputs: dict[str, PolicyFeature] = {
        key: feature for key, feature in features.items() if key not in outputs
    }
    config = ACTConfig(
        input_features=inputs,
        output_features=outputs,
        chunk_size=10,
        n_action_steps=10,
        dim_model=64,
        n_heads=2,
        dim_feedforward=64,
        n_encoder_layers=1,
        use_vae=False,
        pretrained_backbone_weights=None,
        device="cpu",
        push_to_hub=False,
    )
    path = folder / "checkpoint"
    ACTPolicy(config).save_pretrained(path)
    for processor in make_pre_post_processors(config, dataset_stats=written.meta.stats):
        processor.save_pretrained(path)
    return path


def test_what_send_action_returns_is_what_the_arm_hears(ros2_so101: Arm, tmp_path: Path) -> None:
    file = small_mapping(tmp_path, max_relative_target=0.2)
    robot = make_robot_from_config(Ros2RobotConfig(mapping=str(file)))
    assert set(robot.observation_features) == {*robot.action_features, "front", "wrist"}
    with robot:
        ros2_so101.commands.clear()
        state = robot.get_observation()
        asked = {name: state[name] + 1.0 for name in robot.action_features}
        asked["shoulder_pan.pos"] = 90.0
        sent = robot.send_action(asked)
        ros2_so101.wait_until(lambda: bool(ros2_so101.commands), "the command")
    assert sent["shoulder_pan.pos"] == pytest.approx(
        state["shoulder_pan.pos"] + np.rad2deg(0.2), abs=2.0
    )
    np.testing.assert_allclose(
        ros2_so101.sent(load_mapping(file))[0],
        [sent[name] for name in robot.action_features],
        atol=1e-9,
    )
    with pytest.raises(DeviceNotConnectedError):
        robot.get_observation()


LEROBOT_AT_WORK = """
import json
import sys

from lerobot_robot_ros2 import Ros2Robot, Ros2RobotConfig

with Ros2Robot(Ros2RobotConfig(mapping=sys.argv[1])) as robot:
    while True:
        robot.send_action(json.loads(sys.argv[2]))
"""


def test_the_arm_damps_when_lerobot_is_killed(ros2_so101: Arm, mapping_file: Path) -> None:
    ros2_so101.commands.clear()
    units = Units(load_mapping(mapping_file).joints, SO101.joint_names)
    home = zip(SO101.joint_names, units.of_rad(np.array(SO101.home_rad)).tolist(), strict=True)
    action = json.dumps({f"{joint}.pos": value for joint, value in home})
    lerobot = subprocess.Popen([sys.executable, "-c", LEROBOT_AT_WORK, str(mapping_file), action])

    def away() -> float:
        """Return how far the joint that is farthest from home is away from it, rad."""
        return float(
            np.abs(
                [ros2_so101.positions[name] for name in SO101.joint_names] - SO101.home_rad
            ).max()
        )

    try:
        ros2_so101.wait_until(lambda: bool(ros2_so101.commands) and away() < 0.1, "an arm at home")
    finally:
        lerobot.send_signal(signal.SIGKILL)
        lerobot.wait()
    ros2_so101.wait_until(lambda: away() > 0.3, "an arm that sinks")
    assert ros2_so101.commands[-1].mode == JointCommand.MODE_RUN, "it said good-bye"
