# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Arguments shared by several verbs."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from model_tools.commands.arguments import pair
from model_tools.errors import ToolError

if TYPE_CHECKING:  # imports in `run`: modules are loaded only by the command that needs them
    from lerobot_bridge.mapping import RobotMapping
    from model_tools.files.lerobot.dataset import Dataset, DatasetEpisode

SHORTEST_S = 0.1
"""Minimum length of an episode, s: two frames at 20 Hz."""
ALL = "all"
_PART = re.compile(r"(\d+)(?:-(\d+))?")


def add_mapping(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mapping",
        metavar="FILE|NAME",
        help="file that maps topics to features, or the name of an included mapping (default: the "
        "recorded session's mapping)",
    )


def read_mapping(given: argparse.Namespace) -> RobotMapping:
    """Return the given mapping; if none was given, the one stored with the sessions."""
    from lerobot_bridge.mapping_file import load_mapping
    from lerobot_bridge.recording.folder import MAPPING

    if given.mapping is not None:
        return load_mapping(given.mapping)
    places = [path / MAPPING for path in given.recordings]
    found = {file.read_bytes(): file for file in places if file.is_file()}
    if len(found) != 1:
        several = ", ".join(map(str, found.values()))
        raise ToolError(
            f"--mapping: expected a file or a name (the sessions have "
            f"{f'different mappings: {several}' if found else f'no {MAPPING}'}), found none"
        )
    file: Path = next(iter(found.values()))
    return load_mapping(file)


def add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--episodes",
        type=_how,
        default="bag",
        metavar="bag|marks|SECONDS",
        help="what becomes an episode: each recording, each part between marks, or each part of "
        "the given length",
    )
    parser.add_argument(
        "--topic",
        type=pair,
        action="append",
        default=[],
        metavar="TOPIC=TOPIC",
        help="topic of the mapping and its name in the recordings; may be repeated",
    )
    parser.add_argument(
        "--gaps",
        choices=("leave-out", "split"),
        default="leave-out",
        help="what to do with an episode that has a gap: leave it out, or make each part an "
        "episode",
    )


def _how(text: str) -> str | float:
    if text in ("bag", "marks"):
        return text
    try:
        length_s = float(text)
    except ValueError:
        length_s = math.nan
    if not (math.isfinite(length_s) and length_s >= SHORTEST_S):
        raise argparse.ArgumentTypeError(
            f"expected bag, marks, or a length of at least {SHORTEST_S} s, found {text!r}"
        )
    return length_s


def add_episodes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--episodes",
        type=_numbers,
        metavar="0,2,5-8",
        help=f"comma-separated episode numbers, or `{ALL}` (default)",
    )


def _numbers(text: str) -> Sequence[range] | None:
    """Return the episode numbers; None for all episodes."""
    if text == ALL:
        return None
    parts = [_PART.fullmatch(part.strip()) for part in text.split(",")]
    numbers = [range(int(part[1]), int(part[2] or part[1]) + 1) for part in parts if part]
    if len(numbers) < len(parts) or not all(numbers):
        raise argparse.ArgumentTypeError(
            f"expected comma-separated numbers or ranges (0,2,5-8), or {ALL}, found {text!r}"
        )
    return numbers


def chosen_episodes(dataset: Dataset, wanted: Sequence[range] | None) -> Sequence[DatasetEpisode]:
    if wanted is None:
        return dataset.episodes
    known = {episode.index: episode for episode in dataset.episodes}
    for numbers in wanted:
        there = sum(index in numbers for index in known)
        if there < numbers.stop - numbers.start:
            raise ToolError(
                f"{dataset.path}: expected --episodes from {min(known)} to {max(known)}, found "
                f"{numbers[0]}{f'-{numbers[-1]}' if numbers[1:] else ''}"
            )
    return [known[index] for index in sorted(known) if any(index in each for each in wanted)]
