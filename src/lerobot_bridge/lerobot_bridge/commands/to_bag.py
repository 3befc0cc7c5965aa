# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Write a dataset's episodes as rosbag2 recordings, to play through a robot's nodes.

    lerobot_bridge to-bag my_dataset --mapping so101 --output session --episodes 0,2
    ros2 bag play session/episode_0000 --clock

Each value and image is written to the topic from which the mapping reads it, in ROS units; all
messages of a frame have the frame's stamp. A topic that ends in /compressed gets JPEG images, other
topics get raw images. The folder is a session like those of the episode recorder: `convert` makes
the same dataset from it. The command does not need LeRobot.
"""
# run: lerobot_bridge to-bag: {swap: {so101: so101_reach}}
# run: ros2 bag play: {needs: ros2}

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from lerobot_bridge.commands.arguments import add_episodes, chosen_episodes
from policy_store.command_line import CommandResult


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenSession:
    """The recordings written by one run of the command.

    Attributes:
        session: Folder of the recordings.
        episodes: Number of recordings.
        frames: Total number of frames.
    """

    session: Path
    episodes: int
    frames: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", type=Path, help="folder of a LeRobot dataset, version v3.0")
    parser.add_argument(
        "--mapping", required=True, help="mapping file, or the name of an included mapping"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to make")
    add_episodes(parser)
    parser.add_argument("--force", action="store_true", help="replace an existing session")


def run(given: argparse.Namespace) -> CommandResult[WrittenSession]:
    from lerobot_bridge.mapping_file import load_mapping, shipped
    from lerobot_bridge.recording.folder import MAPPING
    from lerobot_bridge.to_bag.session import OWNED, SessionWriter
    from model_tools.commands.arguments import progress_bar
    from model_tools.files.lerobot.dataset import Dataset
    from model_tools.files.outputs import new_folder

    mapping, dataset = load_mapping(given.mapping), Dataset(given.dataset)
    episodes = chosen_episodes(dataset, given.episodes)
    writer = SessionWriter(dataset, mapping)
    total, done = sum(episode.length for episode in episodes), count(1)
    with (
        new_folder(given.output, marker=MAPPING, owned=OWNED, force=given.force) as folder,
        progress_bar("frames") as bar,
    ):
        file = shipped().get(given.mapping, Path(given.mapping))
        (folder / MAPPING).write_bytes(file.read_bytes())
        for episode in episodes:
            writer.write(
                episode, folder / f"episode_{episode.index:04d}", lambda: bar(next(done), total)
            )
    return CommandResult(
        document=WrittenSession(session=given.output, episodes=len(episodes), frames=total),
        text=[f"{len(episodes)} episodes, {total} frames in {given.output}"],
    )
