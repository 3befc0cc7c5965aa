# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Open the user's source of observations: a LeRobot dataset or a recording."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.bags.bag import is_bag
from model_tools.files.bags.chunk_bag import ChunkBagSource
from model_tools.files.lerobot.dataset import Dataset, DatasetEpisode
from model_tools.files.lerobot.dataset_info import INFO, DatasetFeature, recorded_pairing
from model_tools.files.rows import ObservationSource, RecordedObservation, successive
from policy_core.bundle.chunk_contract import Camera, ChunkContract

_SAME_RATE = 1e-3
_OF_A_POSITION = ".pos"
_log = logging.getLogger("model_tools")


def open_source(
    contract: ChunkContract, path: Path, topics: Mapping[str, str] | None = None
) -> ObservationSource:
    """Open a LeRobot dataset or a rosbag2 recording.

    Args:
        contract: Contract that states the policy's inputs.
        path: Folder of the dataset or of the recording, or the recording's only file.
        topics: The recording's topics, by input, where they were renamed.
    """
    if (path / INFO).is_file() or not is_bag(path):
        if topics:
            raise ToolError(f"--topic: expected a recording, found {path}")
        if path.exists() and not path.is_dir():
            raise ToolError(
                f"{path}: expected a LeRobot dataset or a rosbag2 recording, found a file that is "
                "neither; pass the folder"
            )
        return DatasetSource(contract, path)
    return ChunkBagSource(contract, path, topics or {})


class DatasetSource:
    """Observations from the frames of a dataset, numbered across all episodes.

    Attributes:
        name: Name of the dataset's folder.
        count: Number of frames.
        contract: Contract that states the policy's inputs.
        dataset: Source of the frames.
    """

    def __init__(self, contract: ChunkContract, path: Path) -> None:
        """Check that the dataset has all of the policy's inputs."""
        self.contract, self.dataset = contract, Dataset(path)
        self.name, self.count = path.resolve().name, self.dataset.frames
        info = self.dataset.info
        if abs(info.fps / contract.rate_hz - 1.0) > _SAME_RATE:
            raise ToolError(
                f"{info.file}: expected {contract.rate_hz:g} frames per second (rate_hz of "
                f"{contract.name}), found {info.fps:g}"
            )
        for name, camera in contract.cameras.items():
            self._check_camera(name, camera)
        made_by = recorded_pairing(path)
        if made_by is not None and made_by.rule != contract.pairing.rule:
            _log.warning(
                "%s: frames were paired by the rule %s, but the pairing.rule of %s is %s: on the "
                "robot, the policy sees different pairs of images and positions",
                path,
                made_by.rule,
                contract.name,
                contract.pairing.rule,
            )
        self._vectors = dict(self._found_vectors())
        ends = np.cumsum([episode.length for episode in self.dataset.episodes])
        self._begins: list[int] = [0, *ends.tolist()]

    def observations(self, wanted: Sequence[int]) -> Iterator[RecordedObservation]:
        """Yield observations; see `ObservationSource.observations`."""
        chosen = dict[int, list[int]]()
        for number in wanted:
            episode = bisect_right(self._begins, number) - 1
            chosen.setdefault(episode, []).append(number - self._begins[episode])
        for episode, frames in chosen.items():
            yield from self.of_episode(self.dataset.episodes[episode], frames)

    def of_episode(
        self, episode: DatasetEpisode, frames: Sequence[int]
    ) -> Iterator[RecordedObservation]:
        """Yield observations from one episode of the dataset, in frame order."""
        return successive(
            frames,
            lambda frame: 0,
            self.contract.observation_steps,
            lambda needed: self._single(episode, needed),
        )

    def _single(
        self, episode: DatasetEpisode, frames: Sequence[int]
    ) -> Iterator[RecordedObservation]:
        rows = self.dataset.rows(episode, [feature for feature, _ in self._vectors.values()])
        cameras = self.contract.cameras
        images = [
            self.dataset.images(camera.feature, episode, frames) for camera in cameras.values()
        ]
        for frame in frames:
            vectors = {
                name: rows[feature][frame].astype(np.float64)[list(order)]
                for name, (feature, order) in self._vectors.items()
            }
            yield RecordedObservation(
                number=episode.first_frame + frame,
                images={name: next(one) for name, one in zip(cameras, images, strict=True)},
                state=vectors.get("state"),
                environment_state=vectors.get("environment_state"),
            )

    def _check_camera(self, name: str, camera: Camera) -> None:
        feature = self.dataset.feature(camera.feature, camera=True)
        wanted, found = (camera.height, camera.width), feature.shape[:2]
        if found != wanted and not camera.resize:
            raise ToolError(
                f"{self.dataset.info.file}: {camera.feature}: expected images of {wanted[1]} x "
                f"{wanted[0]} pixels (camera {name} of {self.contract.name}), found {found[1]} x "
                f"{found[0]}; use the training dataset, or set `resize: true` in the contract "
                "(export act --resize)"
            )

    def _found_vectors(self) -> Iterator[tuple[str, tuple[str, list[int]]]]:
        """Yield each feature other than images, with the indices of the values the policy uses."""
        contract = self.contract
        if contract.state is not None:
            feature = self._sized(contract.state.feature, len(contract.state.joints))
            yield "state", (feature.name, joint_places(feature, contract.state.joints))
        if contract.environment_state is not None:
            outside = contract.environment_state
            feature = self._sized(outside.feature, outside.size)
            yield "environment_state", (feature.name, list(range(outside.size)))

    def _sized(self, name: str, size: int) -> DatasetFeature:
        feature = self.dataset.feature(name)
        if feature.shape != (size,):
            raise ToolError(
                f"{self.dataset.info.file}: {name}: expected the {size} values that "
                f"{self.contract.name} observes, found shape {list(feature.shape)} "
                f"({', '.join(feature.names) or 'without names'})"
            )
        return feature


def joint_places(feature: DatasetFeature, joints: Sequence[str]) -> list[int]:
    """Return the index of each joint: by name if the names match, otherwise in order.

    A policy lists its joints in training order; a robot may use different names.
    """
    places: Mapping[str, int] = {
        name.removesuffix(_OF_A_POSITION): place for place, name in enumerate(feature.names)
    }
    return (
        [places[joint] for joint in joints]
        if places.keys() == set(joints)
        else list(range(len(joints)))
    )
