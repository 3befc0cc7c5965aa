# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Cost of a dataset from a recording: joints, and two cameras of 640 x 480 at 30 Hz in JPEG.

The baseline of the time is LeRobot's own way for a script: each image becomes a PNG, and they
become a video when the episode is saved; the recording is read with rosbags' AnyReader. The videos
are identical. The baseline of the memory is a quarter of the recording; that of the whole command
is the duration of the recording. `python -m bench.convert <what> <recording>` is one run in a
process of its own, with LeRobot.
"""

import json
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from rosbags.highlevel import AnyReader

from bench.demonstration import RATE_HZ, mapping_content, write_demonstration
from bench.figures import Figure, Summary
from bench.processes import ROOT, BenchError, running
from lerobot_bridge.dataset_form import dataset_features
from lerobot_bridge.episode import Episode
from lerobot_bridge.frames import EpisodeFrames
from lerobot_bridge.mapping import RobotMapping
from lerobot_bridge.mapping_file import parse_mapping
from lerobot_bridge.values import SourceReader

_SIZE, _LONG_S, _SHARE, _REPETITIONS = (480, 640), 40.0, 4, 1
_PATIENCE_S = 3600.0
_PYTHON = ROOT / ".venv-lerobot" / "bin" / "python"


def measure() -> list[Figure]:
    """Measure a recording, and one of a quarter of its length in turns with the baseline."""
    if not _PYTHON.exists():
        raise BenchError(f"expected LeRobot's environment, found no {_PYTHON}; make setup-lerobot")
    with tempfile.TemporaryDirectory() as folder:
        long = write_demonstration(Path(folder, "long"), _LONG_S, size=_SIZE)
        short = write_demonstration(Path(folder, "short"), _LONG_S / _SHARE, size=_SIZE)
        turns = [(_run("ours", short), _run("lerobot", short)) for _ in range(_REPETITIONS)]
        whole, command = _run("ours", long), _run("command", long)
    ours, theirs = ([turn[side] for turn in turns] for side in (0, 1))
    return [
        Figure(
            name="convert_ratio",
            unit="s",
            wanted=1.0,
            ours=[Summary(value=seconds) for seconds, _ in ours],
            baseline=[Summary(value=seconds) for seconds, _ in theirs],
        ),
        Figure(
            name="convert_command_ratio",
            unit="s",
            wanted=1.0,
            ours=[Summary(value=command[0])],
            baseline=[Summary(value=_LONG_S)],
        ),
        Figure(
            name="convert_memory_ratio",
            unit="MB",
            wanted=1.1,
            ours=[Summary(value=whole[1])],
            baseline=[Summary(value=ours[0][1])],
        ),
    ]


def _run(what: str, bag: Path) -> tuple[float, float]:
    with running([str(_PYTHON), "-m", "bench.convert", what, str(bag)]) as child:
        seconds, megabytes = json.loads(child.wait(_PATIENCE_S).splitlines()[-1])
    return seconds, megabytes


def _mapping() -> RobotMapping:
    return parse_mapping(mapping_content(_SIZE), "demonstration")


def _ours(bag: Path, folder: Path) -> Callable[[], None]:
    from lerobot_bridge.dataset_form import DatasetForm
    from lerobot_bridge.writing.part import write_part

    def run() -> None:
        episode = Episode(bag=bag, task="reach")
        frames = EpisodeFrames(_mapping(), episode).frames()
        write_part(folder / "part", _mapping(), episode, frames, DatasetForm())

    return run


def _lerobot(bag: Path, folder: Path) -> Callable[[], None]:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    mapping = _mapping()

    def run() -> None:
        dataset = LeRobotDataset.create(
            "local/plain",
            RATE_HZ,
            dataset_features(mapping),
            root=folder / "plain",
            vcodec="h264",
            image_writer_threads=4,
        )
        for frame in _plain_frames(bag, mapping):
            dataset.add_frame({**frame, "task": "reach"})
        dataset.save_episode()
        dataset.finalize()

    return run


def _plain_frames(bag: Path, mapping: RobotMapping) -> Iterator[dict[str, Any]]:
    """Yield a frame for each image of the first camera, as a short script would."""
    values = {
        f"/{source.topic}": (feature, SourceReader(mapping, source))
        for feature, (source,) in mapping.vectors.items()
    }
    cameras = {
        f"/{camera.topic}": f"observation.images.{name}" for name, camera in mapping.cameras.items()
    }
    newest: dict[str, Any] = {}
    with AnyReader([bag]) as reader:
        for connection, _, data in reader.messages():
            message: Any = reader.deserialize(data, connection.msgtype)
            if connection.topic in values:
                feature, source = values[connection.topic]
                newest[feature] = source.read(message).astype(np.float32)
                continue
            decoded: Any = cv2.imdecode(message.data, cv2.IMREAD_COLOR)
            newest[cameras[connection.topic]] = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
            if cameras[connection.topic].endswith("wrist"):
                yield dict(newest)


def _command(bag: Path, folder: Path) -> Callable[[], None]:
    from lerobot_bridge.cli import main

    mapping = folder / "mapping.yaml"
    mapping.write_text(yaml.safe_dump(mapping_content(_SIZE), sort_keys=False), "utf-8")

    def run() -> None:
        words = [
            "convert",
            str(bag),
            "--mapping",
            str(mapping),
            "--task",
            "reach",
            "--output",
            str(folder / "dataset"),
        ]
        if main(words) != 0:
            raise BenchError("the conversion failed")

    return run


_WHAT = {"ours": _ours, "lerobot": _lerobot, "command": _command}


def _main(words: list[str]) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        run = _WHAT[words[0]](Path(words[1]), folder)
        began_s = time.perf_counter()
        run()
        seconds = time.perf_counter() - began_s
    finally:
        shutil.rmtree(folder)
    # ru_maxrss is in KiB on Linux.
    used = seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write("\n" + json.dumps(used) + "\n")


if __name__ == "__main__":
    _main(sys.argv[1:])
