# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A LeRobotDataset v3 on disk: episodes, rows of vectors, and images, without LeRobot.

    dataset = Dataset(Path("my_dataset"))
    for episode in dataset.episodes:
        state = dataset.rows(episode, ["observation.state"])["observation.state"]
        for image in dataset.images("observation.images.front", episode): ...

Nothing is cached, so a dataset may be larger than memory. The format is that of LeRobot 0.4 to 0.6
(codebase version v3.0): Parquet files with the rows of all episodes in order, and, per camera,
videos with several episodes each; an episode begins at its `from_timestamp` in the video, and the
image of a row is the one at that time plus the row's `timestamp`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.lerobot.dataset_files import (
    ImageArray,
    images_at,
    numbers,
    read_columns,
    read_each,
)
from model_tools.files.lerobot.dataset_info import (
    DatasetFeature,
    DatasetInfo,
    file_in,
    inside,
    read_info,
)
from policy_core.bundle.chunk_contract import Camera, Scaling
from policy_core.bundle.schema import Found
from policy_core.errors import RobotError
from policy_core.interfaces import F64, Tensor
from policy_core.observation.images import decode, read_frame
from policy_core.safe_files import read_at_most

_EPISODES = Path("meta", "episodes")
_PLACE = ("data/chunk_index", "data/file_index")
_LARGEST_IMAGE_BYTES = 1 << 28
_FRAME_COLUMNS = ("timestamp", "frame_index", "episode_index", "index")
_COLUMNS = ("episode_index", "length", "dataset_from_index", "dataset_to_index", *_PLACE)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeVideo:
    """Part of a video that shows an episode.

    Attributes:
        file: The video.
        begin_s: Time at which the episode begins in it, s.
        end_s: Time at which the next episode begins in it, s; infinite for the last one.
    """

    file: Path
    begin_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetEpisode:
    """Location of an episode in the files of a dataset.

    Attributes:
        index: Number of the episode in the dataset.
        length: Number of frames.
        first_frame: Number of the episode's first frame in the dataset.
        tasks: Tasks performed in the episode.
        data: File with the episode's rows.
        first_row: The episode's first row in that file.
        videos: By camera, the video file with the episode.
    """

    index: int
    length: int
    first_frame: int
    tasks: tuple[str, ...]
    data: Path
    first_row: int
    videos: Mapping[str, EpisodeVideo]


class Dataset:
    """A LeRobot dataset in a folder.

    Attributes:
        path: The folder.
        info: The dataset's features and rate, as stated in `meta/info.json`.
        episodes: Episodes in order.
    """

    def __init__(self, path: Path) -> None:
        """Read the dataset's description and its list of episodes."""
        self.path, self.info = path, read_info(path)
        self.episodes = _episodes(path, self.info)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the features that are images."""
        return tuple(name for name, one in self.info.features.items() if one.is_camera)

    @property
    def frames(self) -> int:
        """Total number of frames in all episodes."""
        return sum(episode.length for episode in self.episodes)

    def feature(self, name: str, *, camera: bool = False) -> DatasetFeature:
        """Return the vector (with `camera`, the camera) of this name; raise if there is none."""
        alike = {n: f for n, f in self.info.features.items() if f.is_camera is camera}
        if name not in alike:
            kind = "camera" if camera else "vector"
            raise ToolError(
                f"{self.info.file}: expected the {kind} {name}, found "
                f"{'only ' if alike else ''}{', '.join(alike) or 'none'}"
            )
        return alike[name]

    def rows(self, episode: DatasetEpisode, names: Sequence[str]) -> dict[str, Tensor]:
        """Return vectors from an episode.

        Args:
            episode: One of `episodes`.
            names: Names of features other than cameras, including `timestamp` and indices.

        Returns:
            Arrays [length, *shape] by name, in the dataset's own units and types.

        Raises:
            ToolError: The file has other rows, such as those of another episode.
        """
        features = [self.feature(name) for name in names]
        columns = self._columns(episode, names)
        return {one.name: _checked(episode.data, one, columns[one.name]) for one in features}

    def _columns(self, episode: DatasetEpisode, names: Sequence[str]) -> Mapping[str, Any]:
        """Return columns from an episode after comparing its index columns."""
        file, end = episode.data, episode.first_row + episode.length
        columns = read_columns(
            file, list(dict.fromkeys((*names, *_FRAME_COLUMNS))), episode.first_row, end
        )
        times_s, frames, episodes, indices = (
            _checked(file, DatasetFeature(name=name, dtype="", shape=(1,)), columns[name]).ravel()
            for name in _FRAME_COLUMNS
        )
        for name, problem in (
            ("episode_index", _other_value(episodes, np.full(episode.length, episode.index))),
            ("index", _other_value(indices, episode.first_frame + np.arange(episode.length))),
            ("frame_index", _not_increasing(frames)),
            ("timestamp", _not_increasing(times_s)),
        ):
            if problem:
                raise ToolError(
                    f"{file}: episode {episode.index}: {name}: expected {problem}; the list of "
                    f"episodes (meta/episodes) belongs to other rows: copy the dataset again"
                )
        return columns

    def _image_times_s(self, camera: str, episode: DatasetEpisode) -> F64:
        """Return the times of an episode's images in its video, s."""
        video = episode.videos[camera]
        column = self._columns(episode, ())["timestamp"]
        times_s: F64 = video.begin_s + column.to_numpy().astype(np.float64)
        if times_s.size and times_s[-1] > video.end_s - 0.5 / self.info.fps:
            raise ToolError(
                f"{video.file}: episode {episode.index}: expected its last image before "
                f"{video.end_s:.4f} s, where another episode begins, found it at "
                f"{times_s[-1]:.4f} s; copy the dataset again"
            )
        return times_s

    def images(
        self, camera: str, episode: DatasetEpisode, frames: Sequence[int] | None = None
    ) -> Iterator[ImageArray]:
        """Yield an episode's images, uint8 [height, width, 3] in RGB, one in memory at a time.

        Args:
            camera: Image feature, stored as a video or as files.
            episode: One of `episodes`.
            frames: Increasing frame numbers in the episode; None for all.
        """
        feature = self.feature(camera, camera=True)
        wanted = range(episode.length) if frames is None else frames
        if feature.dtype == "image":
            self._columns(episode, ())
            found = self._stored_images(feature, episode, wanted)
            file = episode.data
        else:
            file = episode.videos[camera].file
            times_s = self._image_times_s(camera, episode)[list(wanted)].tolist()
            found = images_at(file, episode.index, times_s, 1.0 / self.info.fps, feature.shape[:2])
        for image in found:
            if image.shape != (*feature.shape[:2], 3):
                raise ToolError(
                    f"{file}: expected images from {camera} with shape {list(feature.shape)} "
                    f"(stated in {self.info.file.name}), found shape {list(image.shape)}"
                )
            yield image

    def _stored_images(
        self, feature: DatasetFeature, episode: DatasetEpisode, frames: Sequence[int]
    ) -> Iterator[ImageArray]:
        """Yield images from a column; each is the bytes or the path of a PNG or JPEG."""
        rows = [episode.first_row + frame for frame in frames]
        camera = Camera(
            feature=feature.name,
            height=feature.shape[0],
            width=feature.shape[1],
            normalisation=Scaling(mode="identity"),
            tensor="image",
        )
        for frame, entry in zip(frames, read_each(episode.data, feature.name, rows), strict=True):
            where = f"{episode.data}: {feature.name} of episode {episode.index}, frame {frame}"
            try:
                message = SimpleNamespace(format="", data=self._content(entry))
                yield decode(read_frame(message, camera))
            except (RobotError, OSError, TypeError, ValueError) as error:
                raise ToolError(f"{where}: {error}") from error

    def _content(self, entry: Any) -> bytes:
        content = entry.get("bytes") if isinstance(entry, dict) else None
        if isinstance(content, bytes):
            return content
        path = entry.get("path") if isinstance(entry, dict) else entry
        if not isinstance(path, str):
            raise TypeError("expected an image's bytes or path, found neither")
        return read_at_most(self.path / inside(path), _LARGEST_IMAGE_BYTES)


def _episodes(path: Path, info: DatasetInfo) -> tuple[DatasetEpisode, ...]:
    """Read the list of episodes from one or more files."""
    files = sorted((path / _EPISODES).rglob("*.parquet"))
    if not files:
        raise ToolError(
            f"{path / _EPISODES}: expected the list of episodes, found no .parquet file; copy the "
            "dataset again if the copy is incomplete, or call the dataset's finalize() after "
            "recording"
        )
    videos = [name for name, one in info.features.items() if one.dtype == "video"]
    columns = [
        *_COLUMNS,
        *(
            f"videos/{name}/{key}"
            for name in videos
            for key in ("chunk_index", "file_index", "from_timestamp")
        ),
    ]
    entries = list[dict[str, Any]]()
    for file in files:
        found = {
            name: column.to_pylist()
            for name, column in read_columns(file, [*columns, "tasks"]).items()
        }
        entries += [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]
    for entry in entries:
        _check_entry(path, entry)
    entries.sort(key=lambda entry: int(entry["episode_index"]))
    if len(entries) != info.episodes or not entries:
        raise ToolError(
            f"{path / _EPISODES}: expected {info.episodes or 'some'} episodes (from "
            f"{info.file.name}), found {len(entries)}"
        )
    # Rows are counted across all files; a file begins with its first episode.
    begins = dict[tuple[int, ...], int]()
    for entry in entries:
        begins.setdefault(_place(entry), entry["dataset_from_index"])
    parts = {name: _episode_videos(path, info, entries, name) for name in videos}
    return tuple(
        _episode(
            path,
            info,
            entry,
            begins[_place(entry)],
            {name: of_episodes[i] for name, of_episodes in parts.items()},
        )
        for i, entry in enumerate(entries)
    )


def _episode_videos(
    path: Path, info: DatasetInfo, entries: Sequence[Mapping[str, Any]], camera: str
) -> list[EpisodeVideo]:
    """Return the parts of a camera's videos that show the episodes, in their order."""
    key = f"videos/{camera}"
    files = [
        file_in(
            info,
            info.video_path,
            video_key=camera,
            chunk_index=entry[f"{key}/chunk_index"],
            file_index=entry[f"{key}/file_index"],
        )
        for entry in entries
    ]
    begins_s = [float(entry[f"{key}/from_timestamp"]) for entry in entries]
    ends_s, following = [math.inf] * len(entries), dict[str, float]()
    for i in sorted(range(len(entries)), key=lambda i: begins_s[i], reverse=True):
        ends_s[i] = following.get(files[i], math.inf)
        following[files[i]] = begins_s[i]
    return [
        EpisodeVideo(file=path / file, begin_s=begin_s, end_s=end_s)
        for file, begin_s, end_s in zip(files, begins_s, ends_s, strict=True)
    ]


def _check_entry(path: Path, entry: Mapping[str, Any]) -> None:
    """Check indices, times and task names in an entry of the episode list."""
    for key, value in entry.items():
        if key == "tasks":
            expected = "a list of strings"
            fits = isinstance(value, list) and all(isinstance(task, str) for task in value)
        elif key.endswith("timestamp"):
            expected = "a finite time >= 0 s"
            fits = isinstance(value, (int, float)) and 0 <= value < math.inf
        else:
            expected = "a whole number >= 0"
            fits = isinstance(value, int) and value >= 0
        if not fits:
            raise ToolError(
                f"{path / _EPISODES}: {key}: expected {expected}, found {Found.of(value)}; copy "
                "the dataset again"
            )


def _episode(
    path: Path,
    info: DatasetInfo,
    entry: Mapping[str, Any],
    begin: int,
    videos: Mapping[str, EpisodeVideo],
) -> DatasetEpisode:
    first, length = entry["dataset_from_index"], entry["length"]
    if entry["dataset_to_index"] - first != length:
        raise ToolError(
            f"{path / _EPISODES}: episode {entry['episode_index']}: expected {length} "
            f"rows, found {first} to {entry['dataset_to_index']}"
        )
    chunk, number = _place(entry)
    return DatasetEpisode(
        index=entry["episode_index"],
        length=length,
        first_frame=first,
        tasks=tuple(entry["tasks"]),
        first_row=first - begin,
        videos=videos,
        data=path / file_in(info, info.data_path, chunk_index=chunk, file_index=number),
    )


def _place(entry: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(entry[key] for key in _PLACE)


def _checked(file: Path, feature: DatasetFeature, column: Any) -> Tensor:
    found = numbers(column, feature.shape)
    if found is None:
        raise ToolError(
            f"{file}: {feature.name}: expected numbers {list(feature.shape)} in each "
            f"row, found {column.type}, {column.null_count} of them empty"
        )
    if np.issubdtype(found.dtype, np.floating) and not np.isfinite(found).all():
        row = int(np.argmin(np.isfinite(found.reshape(len(found), -1)).all(axis=1)))
        raise ToolError(
            f"{file}: {feature.name}: expected finite values, found NaN or infinity in row "
            f"{row} of the episode"
        )
    return found


def _other_value(found: Tensor, expected: Tensor) -> str:
    """Describe the first value that differs; "" if none does."""
    differences = np.flatnonzero(found != expected)
    if not differences.size:
        return ""
    row = differences[0]
    return f"{expected[row]} in row {row}, found {found[row]}"


def _not_increasing(found: Tensor) -> str:
    """Describe the first value that is not above the one before it; "" if there is none."""
    rows = np.flatnonzero(np.diff(found, prepend=-1) <= 0)
    if not rows.size:
        return ""
    row = rows[0]
    return f"increasing values from 0, found {found[row]:g} in row {row}"
