# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Writes a dataset's episodes as a session of recordings, like the episode recorder's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from lerobot_bridge.dataset_form import INTERVENTION, SUCCESS
from lerobot_bridge.episode import SIDECAR, EpisodeSidecar, write_sidecar
from lerobot_bridge.mapping import IMAGES, RobotMapping
from lerobot_bridge.recording.folder import MAPPING
from lerobot_bridge.to_bag.messages import FrameMessages, TopicMessage, make_typestore
from model_tools.errors import ToolError
from model_tools.files.bags.bag import METADATA
from model_tools.files.lerobot.dataset import Dataset, DatasetEpisode
from policy_core.errors import RobotError
from policy_core.interfaces import F64, Tensor
from policy_inference.bag_file import BagFile

OWNED = (MAPPING, *(f"episode_*/{name}" for name in (SIDECAR, METADATA, "*.mcap")))
"""Patterns for a session's files."""
_log = logging.getLogger("lerobot_bridge")
_OWN = ("timestamp", "frame_index", "episode_index", "index", "task_index", SUCCESS, INTERVENTION)
"""Features that have no message."""
_OF_A_POSITION = ".pos"
_FIRST_S = 1.0
"""Approximate start time of an episode; not 0, since nodes treat a stamp of 0 as missing."""


class SessionWriter:
    """Writes episodes into a folder, each as a rosbag2 recording with its sidecar file.

    Frame times are multiples of the period, so that they match the reader's ticks.
    """

    def __init__(self, dataset: Dataset, mapping: RobotMapping) -> None:
        """Check that the dataset comes from the robot that the mapping describes.

        Args:
            dataset: Dataset that contains the episodes.
            mapping: Mapping that defines the topic of each value and image.
        """
        self._dataset, self._mapping = dataset, mapping
        self._places, self._types = _find_places(dataset, mapping), make_typestore(mapping)
        self._messages = FrameMessages(mapping, self._types)
        self._first_ns = -(-round(_FIRST_S * 1e9) // mapping.period_ns) * mapping.period_ns

    def write(
        self, episode: DatasetEpisode, folder: Path, progress: Callable[[], object] = lambda: None
    ) -> None:
        """Write an episode into a new folder.

        Args:
            episode: The dataset's episode.
            folder: Folder of the recording; it must not exist yet.
            progress: Called after each frame.
        """
        bag = BagFile(folder, self._types, compressed=False)
        try:
            for time_ns, messages in self._frames(episode):
                for topic, kind, message in messages:
                    bag.write(topic, kind, time_ns, self._types.serialize_cdr(message, kind))
                progress()
        except BaseException:
            bag.abort()
            raise
        bag.finish()
        write_sidecar(folder, self._sidecar(episode))

    def _frames(self, episode: DatasetEpisode) -> Iterator[tuple[int, Iterable[TopicMessage]]]:
        rows = self._dataset.rows(episode, list(self._places))
        cameras = {
            name: self._dataset.images(IMAGES + name, episode) for name in self._mapping.cameras
        }
        for frame in range(episode.length):
            vectors = {
                name: _ordered(rows[name][frame], places) for name, places in self._places.items()
            }
            images = {name: next(each) for name, each in cameras.items()}
            try:
                yield (
                    self._time_ns(frame),
                    list(self._messages.of(vectors, images, self._time_ns(frame))),
                )
            except RobotError as error:
                raise ToolError(
                    f"{episode.data}: episode {episode.index}, frame {frame}: {error}"
                ) from error

    def _time_ns(self, frame: int) -> int:
        return self._first_ns + frame * self._mapping.period_ns

    def _sidecar(self, episode: DatasetEpisode) -> EpisodeSidecar:
        flags = [name for name in (SUCCESS, INTERVENTION) if name in self._dataset.info.features]
        rows = self._dataset.rows(episode, flags)
        return EpisodeSidecar(
            number=episode.index,
            task="; ".join(episode.tasks),
            rate_hz=self._mapping.rate_hz,
            success=bool(rows[SUCCESS][-1]) if SUCCESS in rows else None,
            interventions=self._spans(rows[INTERVENTION]) if INTERVENTION in rows else None,
        )

    def _spans(self, flags: Tensor) -> tuple[tuple[int, int], ...]:
        """Return the time spans, ns, in which a flag is set."""
        edges = np.flatnonzero(np.diff(flags.reshape(-1).astype(np.int8), prepend=0, append=0))
        times = [self._time_ns(int(edge)) for edge in edges]
        return tuple(zip(times[::2], times[1::2], strict=True))


def _ordered(row: Tensor, places: Sequence[int]) -> F64:
    values: F64 = row.reshape(-1).astype(np.float64)[list(places)]
    return values


def _find_places(dataset: Dataset, mapping: RobotMapping) -> Mapping[str, list[int]]:
    """Check that a dataset fits a mapping.

    Returns:
        For each feature, the index of each of the mapping's names in the dataset's vector.
    """
    info = dataset.info
    if info.fps != mapping.rate_hz:
        raise ToolError(
            f"{info.file}: expected {mapping.rate_hz} frames per second (the mapping's "
            f"rate_hz), found {info.fps:g}"
        )
    for name, camera in mapping.cameras.items():
        height, width = dataset.feature(IMAGES + name, camera=True).shape[:2]
        if (height, width) != (camera.height, camera.width) and not camera.resize:
            raise ToolError(
                f"{info.file}: {IMAGES}{name}: expected images of {camera.width} x "
                f"{camera.height} pixels (as in the mapping), found {width} x {height}"
            )
    found = {
        feature: _find_indices(dataset, feature, mapping.names(feature))
        for feature in mapping.vectors
    }
    known = (*_OWN, *found, *(IMAGES + name for name in mapping.cameras))
    if others := [name for name in info.features if name not in known]:
        _log.warning(
            "%s: features for which the mapping has no topic are left out: %s",
            info.file,
            ", ".join(others),
        )
    return found


def _find_indices(dataset: Dataset, feature: str, names: tuple[str, ...]) -> list[int]:
    """Return the index of each name; older datasets name a position after the joint alone."""
    one = dataset.feature(feature)
    plain = [name.removesuffix(_OF_A_POSITION) for name in one.names]
    wanted = [name.removesuffix(_OF_A_POSITION) for name in names]
    if one.shape != (len(names),) or sorted(plain) != sorted(wanted):
        raise ToolError(
            f"{dataset.info.file}: {feature}: expected the mapping's values ({', '.join(names)}), "
            f"found shape {list(one.shape)} ({', '.join(one.names) or 'without names'})"
        )
    return [plain.index(name) for name in wanted]
