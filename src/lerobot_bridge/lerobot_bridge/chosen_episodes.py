# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which episodes of a dataset a command is about."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from model_tools.errors import ToolError

if TYPE_CHECKING:  # commands import this for `add_episodes`, and a dataset needs pyarrow and more
    from model_tools.files.lerobot.dataset import Dataset, DatasetEpisode

ALL = "all"
_PART = re.compile(r"(\d+)(?:-(\d+))?")


def add_episodes(parser: argparse.ArgumentParser) -> None:
    """Declare `--episodes`."""
    parser.add_argument(
        "--episodes",
        default=ALL,
        metavar="0,2,5-8",
        help="their numbers, by comma, or `all` (default)",
    )


def chosen_episodes(dataset: Dataset, text: str) -> Sequence[DatasetEpisode]:
    """Return the episodes that `--episodes` names, in the order of the dataset.

    Raises:
        ToolError: The text is none of numbers and ranges, or names an episode that is not there.
    """
    if text == ALL:
        return dataset.episodes
    wanted = set[int]()
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise ToolError(
                f"--episodes: expected numbers or ranges by comma, such as 0,2,5-8, or "
                f"{ALL}, found {text!r}"
            )
        wanted.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    known = {episode.index: episode for episode in dataset.episodes}
    strangers = sorted(wanted - known.keys())
    if strangers or not wanted:
        raise ToolError(
            f"{dataset.path}: expected episodes from {min(known)} to {max(known)}, "
            f"found --episodes {text}"
        )
    return [known[index] for index in sorted(wanted)]
