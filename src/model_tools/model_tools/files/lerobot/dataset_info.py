# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Description of a LeRobotDataset v3 in `meta/info.json`: features, rate and files."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from model_tools.errors import ToolError
from model_tools.files.foreign import Node, read_json
from policy_core.bundle.chunk_contract import Pairing
from policy_core.bundle.schema import Found, Reader
from policy_core.errors import BundleError

VERSION = "v3.0"
INFO = Path("meta", "info.json")
CONVERSION_REPORT = "conversion_report.json"
"""Report that `lerobot_bridge convert` writes next to the data."""
CONVERTIBLE = "v2.1"
_CONVERTER = "convert_dataset_v21_to_v30"
_IN_0_4, _IN_0_6 = f"lerobot.datasets.v30.{_CONVERTER}", f"lerobot.scripts.{_CONVERTER}"
_CAMERA_TYPES = ("video", "image")
_SLOWEST_FPS, _FASTEST_FPS = 1e-3, 1e5
_PATTERN = re.compile(r"(?:[^{}]|\{\w+(?::0?\d?\dd)?\})*")
"""Pattern for a file name: keys in braces, with a width of at most two digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFeature:
    """A column in the dataset.

    Attributes:
        name: Name used in training, such as `observation.state`, `observation.images.NAME` or
            `action`.
        dtype: NumPy type name of the elements; `video` or `image` for a camera.
        shape: Shape of one row; for a camera, always (height, width, channels), whatever the order
            in the dataset.
        names: Names of a vector's elements, such as `shoulder_pan.pos`; may be empty.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...] = ()

    @property
    def is_camera(self) -> bool:
        """True if the feature's values are images."""
        return self.dtype in _CAMERA_TYPES


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInfo:
    """Description of a dataset.

    Attributes:
        file: File that contains the description, for messages.
        fps: Frames per second.
        robot: Type of the robot; empty if not stated.
        episodes, frames: Number of episodes and of frames.
        features: Features by name, in the order of the file.
        data_path, video_path: File name patterns; video_path is empty if there are no videos.
    """

    file: Path
    fps: float
    robot: str
    episodes: int
    frames: int
    features: dict[str, DatasetFeature]
    data_path: str
    video_path: str


def conversion_command(folder: Path, version: str) -> str:
    """Return instructions for converting a dataset from this version to a readable one."""
    if version != CONVERTIBLE:
        return (
            f"convert it to {CONVERTIBLE} with LeRobot 0.3 or older, then to v3.0 with "
            f"{_CONVERTER} from LeRobot 0.4"
        )
    place = folder.resolve()
    since_0_6, in_0_4 = (
        shlex.join(
            (
                ".venv-lerobot/bin/python",
                "-m",
                module,
                f"--repo-id={place.name}",
                f"--root={root}",
                "--push-to-hub=false",
            )
        )
        for module, root in ((_IN_0_6, place), (_IN_0_4, place.parent))
    )
    return (
        "run `make setup-lerobot`, then convert it in place (the old dataset is kept as "
        f"{place.name}_old) with LeRobot 0.6: {since_0_6}, or with LeRobot 0.4: {in_0_4}"
    )


def read_info(folder: Path) -> DatasetInfo:
    file = folder / INFO
    if not file.is_file():
        raise ToolError(
            f"{folder}: expected the folder of a LeRobot dataset, found no {INFO} in it"
        )
    info = read_json(file)
    version = info["codebase_version"].text()
    if version != VERSION:
        raise ToolError(
            f"{file}: expected a dataset of version {VERSION}, found {version}; "
            f"{conversion_command(folder, version)}"
        )
    robot, features = info.get("robot_type"), info["features"].items()
    has_videos = any(node["dtype"].value == "video" for _, node in features)
    return DatasetInfo(
        file=file,
        fps=_fps(info["fps"]),
        robot=robot.text() if robot else "",
        episodes=info["total_episodes"].whole(),
        frames=info["total_frames"].whole(),
        features={name: _feature(name, node) for name, node in features},
        data_path=info["data_path"].text(),
        video_path=info["video_path"].text() if has_videos else "",
    )


def file_in(info: DatasetInfo, pattern: str, **values: object) -> str:
    """Fill in a file name pattern from `info`; return the path relative to the dataset."""
    try:
        # `format` would look up attributes and pad a number to any width.
        if not _PATTERN.fullmatch(pattern):
            raise ValueError(pattern)
        return inside(pattern.format(**values))
    except (LookupError, ValueError, TypeError) as error:
        raise ToolError(
            f"{info.file}: expected a pattern for file names in the dataset that "
            f"contains {', '.join(values)}, found {Found.of(pattern)}"
        ) from error


def inside(path: str) -> str:
    """Return the path; raise an error if it is outside the dataset, but allow links to a cache."""
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\0" in path:
        raise ValueError(f"expected a path in the dataset, found {Found.of(path)}")
    return path


def recorded_pairing(folder: Path) -> Pairing | None:
    """Return a converted dataset's pairing rule; None if LeRobot recorded the frames."""
    file = folder / CONVERSION_REPORT
    if not file.is_file():
        return None
    reader = Reader(str(file))
    found: Pairing | None = reader.section(Pairing, read_json(file)["pairing"].value, "pairing")
    if reader.problems:
        raise BundleError(*reader.problems)
    return found


def _fps(node: Node) -> float:
    # Otherwise the period and frame times could be infinite or NaN.
    if not _SLOWEST_FPS <= node.number() <= _FASTEST_FPS:
        raise node.wrong(f"{_SLOWEST_FPS:g} to {_FASTEST_FPS:g} frames per second")
    return node.number()


def _feature(name: str, node: Node) -> DatasetFeature:
    dtype = node["dtype"].text()
    shape = tuple(size.whole() for size in node["shape"].elements())
    names = _names(node.get("names"))
    if dtype in _CAMERA_TYPES:
        if len(shape) != len(("height", "width", "channels")):
            raise node["shape"].wrong("height, width and channels of an image")
        if names[:1] == ("channels",) or names[:1] == ("channel",):
            shape = (*shape[1:], shape[0])
    return DatasetFeature(name=name, dtype=dtype, shape=shape, names=names)


def _names(node: Node | None) -> tuple[str, ...]:
    """Return a feature's names; some datasets nest the list in a mapping, such as `motors`."""
    if node is None:
        return ()
    if isinstance(node.value, dict):
        return tuple(name for _, part in node.items() for name in _names(part))
    return tuple(node.texts()) if isinstance(node.value, list) else ()
