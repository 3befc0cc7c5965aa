# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Validate a mapping, and report what recordings would add to a dataset.

    lerobot_bridge check --mapping my_robot.yaml
    lerobot_bridge check session/ --mapping my_robot.yaml --json > check.json

Prints the features that the mapping defines and the number of frames in each episode. For each
source and camera, it prints the topic, the rate, the age of the messages at the frames, the frames
without a message, and the difference between the clocks of topic and log. Values are always read;
images are decoded only with --decode-images. The exit status is 1 if `convert` would leave an
episode out. The command needs neither ROS nor LeRobot.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lerobot_bridge.commands.arguments import add_mapping, add_reading, read_mapping
from policy_store.command_line import CommandResult

if TYPE_CHECKING:
    from lerobot_bridge.checking import EpisodeCheck
    from lerobot_bridge.episode import Skipped
    from lerobot_bridge.mapping import RobotMapping

_ROW = "  {:<24} {:<34} {:>8} {:>8} {:>17} {:>8} {:>9}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The check of a mapping, and of what recordings would add to a dataset.

    Attributes:
        mapping: The mapping argument; empty if the mapping stored with the session is used.
        problems: Reasons to refuse the mapping.
        skipped: Parts of recordings that are not episodes, with the reason for each.
        episodes: Result for each episode.
    """

    mapping: str
    problems: Sequence[str]
    skipped: Sequence[Skipped]
    episodes: Sequence[EpisodeCheck]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recordings",
        nargs="*",
        type=Path,
        metavar="PATH",
        help="rosbag2 recording, or folder of recordings",
    )
    add_mapping(parser)
    add_reading(parser)
    parser.add_argument(
        "--images", action="store_true", help="for `convert --images`: accept odd image sizes"
    )
    parser.add_argument(
        "--decode-images",
        action="store_true",
        help="decode each image, as `convert` does; takes longer",
    )


def run(given: argparse.Namespace) -> CommandResult[CheckResult]:
    """Run the check; the exit status is 1 if `convert` would leave an episode out."""
    from lerobot_bridge.checking import EpisodeCheck, check_episode
    from lerobot_bridge.dataset_form import not_for_videos
    from lerobot_bridge.episode import FoundEpisodes
    from lerobot_bridge.episodes import find_episodes
    from model_tools.commands.arguments import progress_bar

    mapping = read_mapping(given)
    odd = [] if given.images else list(not_for_videos(mapping))
    text = [*_features(mapping), *(f"refused: {problem}" for problem in odd)]
    # the task does not matter here
    found = (
        find_episodes(given.recordings, given.episodes, task="checked")
        if given.recordings
        else FoundEpisodes()
    )
    text += [f"{skipped.name}: no episode: {skipped.why}" for skipped in found.skipped]
    checks = list[EpisodeCheck]()
    with progress_bar("checking") as tell:
        for done, episode in enumerate(found.episodes):
            tell(done, len(found.episodes))
            checks.append(
                check_episode(
                    mapping,
                    episode,
                    dict(given.topic),
                    pixels=given.decode_images,
                    split=given.gaps == "split",
                )
            )
            text += _lines(checks[-1])
    refused = sum(bool(check.problems) for check in checks)
    if given.recordings:
        text.append(f"{len(checks) - refused} of {len(checks)} episodes fit the mapping")
    return CommandResult(
        document=CheckResult(
            mapping=given.mapping or "", problems=odd, skipped=found.skipped, episodes=checks
        ),
        text=text,
        status=1 if refused or odd else 0,
    )


def _features(mapping: RobotMapping) -> Iterator[str]:
    from lerobot_bridge.dataset_form import dataset_features

    yield f"{mapping.robot_type}: {mapping.rate_hz} frames per second"
    for name, feature in dataset_features(mapping).items():
        shape = " x ".join(map(str, feature["shape"]))
        yield f"  {name:<28} {feature['dtype']} [{shape}] {', '.join(feature['names'])}"


def _lines(check: EpisodeCheck) -> Iterator[str]:
    parts = " + ".join(map(str, check.frames)) or "no"
    closed = f", {check.closed_up} left out between them" if check.closed_up else ""
    yield f"{check.name}: {parts} frames{closed}"
    if check.inputs:
        yield _ROW.format("", "topic", "messages", "Hz", "age mean/max ms", "left out", "clock s")
    for each in check.inputs:
        ages = f"{1e3 * each.age_mean_s:.1f} / {1e3 * each.age_max_s:.1f}"
        yield _ROW.format(
            each.name,
            each.topic,
            each.messages,
            f"{each.rate_hz:.1f}",
            ages,
            each.left_out,
            f"{each.clock_offset_s:+.3f}",
        )
    yield from (f"  warning: {warning}" for warning in check.warnings)
    lines = (line for problem in check.problems for line in problem.split("\n"))
    yield from (f"  refused: {line}" for line in lines)
