# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Writes episodes of a dataset as a session of recordings, as the episode recorder leaves it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from lerobot_bridge.episode import SIDECAR
from lerobot_bridge.features import INTERVENTION, SUCCESS
from lerobot_bridge.mapping import IMAGES, RobotMapping
from lerobot_bridge.recording.folder import MAPPING
from lerobot_bridge.sidecar import Sidecar, write_sidecar
from lerobot_bridge.to_bag.fitting import places_of
from lerobot_bridge.to_bag.messages import FrameMessages, Said, types_of
from model_tools.errors import ToolError
from model_tools.files.bags.bag import METADATA
from model_tools.files.lerobot.dataset import Dataset, DatasetEpisode
from policy_inference.bag_file import BagFile, Storage
from policy_inference.errors import RobotError
from policy_inference.interfaces import F64, Tensor

OWNED = (MAPPING, *(f"episode_*/{name}" for name in (SIDECAR, METADATA, "*.mcap", "*.db3")))
"""Patterns of a session's files."""
_FIRST_S = 1.0
"""About when an episode begins: nodes take a stamp of 0 for none."""


class SessionWriter:
    """Writes episodes into a folder, each a rosbag2 recording with its sidecar.

    Frames are a period apart from a multiple of the period on, so that they are at the ticks of
    whoever reads them.
    """

    def __init__(
        self,
        dataset: Dataset,
        mapping: RobotMapping,
        *,
        storage: Storage = "mcap",
        compressed: bool = False,
    ) -> None:
        """Check that the dataset is one of the mapping's robot.

        Args:
            dataset: The episodes are of it.
            mapping: Says which value and picture is said on which topic.
            storage: Kind of the files.
            compressed: Whether messages are compressed, which costs time.

        Raises:
            ToolError: It lacks something, or has it otherwise.
        """
        self._dataset, self._mapping = dataset, mapping
        self._storage, self._compressed = storage, compressed
        self._places, self._types = places_of(dataset, mapping), types_of(mapping)
        self._messages = FrameMessages(mapping, self._types)
        self._first_ns = -(-round(_FIRST_S * 1e9) // mapping.period_ns) * mapping.period_ns

    def write(
        self, episode: DatasetEpisode, folder: Path, progress: Callable[[], object] = lambda: None
    ) -> None:
        """Write an episode into a folder, which is not there yet.

        Args:
            episode: Of the dataset.
            folder: Of the recording.
            progress: Is called after each frame.

        Raises:
            ToolError: A file of the dataset is damaged, or values do not fit the messages.
            OSError: The folder cannot be written, or is full.
        """
        bag = BagFile(folder, self._types, storage=self._storage, compressed=self._compressed)
        try:
            for time_ns, said in self._said(episode):
                for topic, kind, message in said:
                    bag.write(topic, kind, time_ns, self._types.serialize_cdr(message, kind))
                progress()
        except BaseException:
            bag.abort()
            raise
        bag.finish()
        write_sidecar(folder, self._sidecar(episode))

    def _said(self, episode: DatasetEpisode) -> Iterator[tuple[int, Iterable[Said]]]:
        """Yield the time of each frame, and its messages."""
        rows = self._dataset.rows(episode, list(self._places))
        cameras = {
            name: self._dataset.images(IMAGES + name, episode) for name in self._mapping.cameras
        }
        for frame in range(episode.length):
            vectors = {
                name: _ordered(rows[name][frame], places) for name, places in self._places.items()
            }
            pictures = {name: next(each) for name, each in cameras.items()}
            try:
                yield (
                    self._time_ns(frame),
                    list(self._messages.of(vectors, pictures, self._time_ns(frame))),
                )
            except RobotError as error:
                raise ToolError(
                    f"{episode.data}: episode {episode.index}, frame {frame}: {error}"
                ) from error

    def _time_ns(self, frame: int) -> int:
        return self._first_ns + frame * self._mapping.period_ns

    def _sidecar(self, episode: DatasetEpisode) -> Sidecar:
        flags = [name for name in (SUCCESS, INTERVENTION) if name in self._dataset.info.features]
        rows = self._dataset.rows(episode, flags)
        return Sidecar(
            number=episode.index,
            task="; ".join(episode.tasks),
            rate_hz=self._mapping.rate_hz,
            success=bool(rows[SUCCESS][-1]) if SUCCESS in rows else None,
            interventions=self._spans(rows[INTERVENTION]) if INTERVENTION in rows else None,
        )

    def _spans(self, flags: Tensor) -> tuple[tuple[int, int], ...]:
        """Return from when to when a flag is set, ns."""
        edges = np.flatnonzero(np.diff(flags.reshape(-1).astype(np.int8), prepend=0, append=0))
        times = [self._time_ns(int(edge)) for edge in edges]
        return tuple(zip(times[::2], times[1::2], strict=True))


def _ordered(row: Tensor, places: Sequence[int]) -> F64:
    values: F64 = row.reshape(-1).astype(np.float64)[list(places)]
    return values
