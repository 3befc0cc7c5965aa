# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Commands that are run, and what they print and write, without what differs between machines."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tools.digests.digest import Array, Case

ROOT = Path(__file__).resolve().parents[2]
BUNDLES, EXAMPLES = ROOT / "config" / "bundles", ROOT / "examples"
_FRAME = re.compile("[\u2500-\u257f]+")
_RECORDED = re.compile(r"-\d{8}T\d{6}Z-([a-z_]+)(-\d+)?")
"""Of the name of a flight recording: when it was written, and a number where there were two."""
_OF_THE_MACHINE = r"host:|figures\.duration_s|settings\.(system|version)|(replayed\.)?bundle_sha256"
_VERSIONED = ("numpy", "onnx", "onnxruntime", "rosbags", "mujoco")


def run_command(*words: str | Path, folder: Path, **folders: Path) -> list[str]:
    """Run a command to its end; return its exit status and what it printed, as `plain_lines`.

    Args:
        words: The command, on the PATH, and its arguments.
        folder: To run in.
        folders: As for `plain_lines`.
    """
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    printed = plain_lines(done.stdout, work=folder, **folders)
    warned = plain_lines(done.stderr, work=folder, **folders)
    return [f"status {done.returncode}", *printed, *(f"stderr: {line}" for line in warned)]


def plain_lines(text: str, **folders: Path) -> list[str]:
    """Return the lines of a text without what differs from run to run and between machines.

    Args:
        text: What a command printed or wrote.
        folders: Places that are named by their key in the result.
    """
    for name, folder in sorted(folders.items(), key=lambda item: -len(str(item[1]))):
        text = text.replace(str(folder), f"<{name}>")
    text = text.replace(str(ROOT), "<checkout>")
    for package in _VERSIONED:
        version = importlib.metadata.version(package)
        text = re.sub(rf"(?<![\d.]){re.escape(version)}(?![\d.])", f"<{package}>", text)
    text = _RECORDED.sub(r"-<time>-\1", text.replace(f"({platform.node()})", "(<host>)"))
    # Frames of tables are as wide as the paths in them.
    lines = [" ".join(_FRAME.sub(" ", line).split()) for line in text.splitlines()]
    return [line for line in lines if line]


def text_stages(lines: Sequence[str]) -> dict[str, Any]:
    """Return the stages of a text: its numbers, which other words leave alone, and all of it."""
    numbers = [
        " ".join(re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e-?\d+)?", line)) for line in lines
    ]
    return {"numbers": [line for line in numbers if line], "text": list(lines)}


def file_stages(path: Path, *, drop: str = "(?!)", **folders: Path) -> dict[str, Any]:
    """Return the stages of a file that a command wrote, or of all files of a folder.

    Args:
        path: JSON, arrays or text.
        drop: As for `json_lines`.
        folders: As for `plain_lines`.
    """
    if path.is_dir():
        stages = dict[str, Any]()
        for file in sorted(path.rglob("*")):
            if file.is_file():
                found = file_stages(file, drop=drop, **folders)
                place = file.relative_to(path).with_suffix("").as_posix().replace("/", ".")
                stages.update({f"{place}:{name}": value for name, value in found.items()})
        return _few_stages(stages)
    if not path.is_file():
        return {f"{path.stem} is missing": []}
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return {
                name: array if array.dtype.kind in "biuf" else plain_lines(str(array), **folders)
                for name, array in sorted(arrays.items())
            }
    if path.suffix == ".npy":
        return {"array": np.load(path)}
    if path.suffix == ".json":
        text = "\n".join(json_lines(json.loads(path.read_text("utf-8")), drop))
        return {path.stem: plain_lines(text, **folders)}
    if path.suffix in (".yaml", ".txt", ".csv", ".sh"):
        lines = text_stages(plain_lines(path.read_text("utf-8"), **folders))
        return {f"{path.name}.{name}": value for name, value in lines.items()}
    return {"sha256": [hashlib.sha256(path.read_bytes()).hexdigest()]}


def _few_stages(stages: dict[str, Any]) -> dict[str, Any]:
    """Put arrays of one shape that are numbered files into one stage each, a row per file."""
    together, rest = dict[str, list[Array]](), dict[str, Any]()
    for name, value in stages.items():
        if isinstance(value, np.ndarray):
            kind = f"{re.sub(r'[0-9]+', '#', name)} {list(value.shape)}"
            together.setdefault(kind, []).append(value.ravel())
        else:
            rest[name] = value
    return {**{kind: np.array(rows) for kind, rows in together.items()}, **rest}


def json_lines(document: Any, drop: str = "(?!)") -> list[str]:
    """Return a line for each leaf of a JSON document, `a.b[2]: value`.

    Keys are sorted, so that their order does not count.

    Args:
        document: What was read from JSON.
        drop: Pattern of places that are left out, as in the lines.
    """
    return [line for line in _leaves("", document) if not re.match(drop, line)]


def _leaves(place: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key in sorted(value):
            yield from _leaves(f"{place}.{key}" if place else str(key), value[key])
    elif isinstance(value, list):
        for number, entry in enumerate(value):
            yield from _leaves(f"{place}[{number}]", entry)
    else:
        # Sums of many numbers differ in their last digits between processors.
        text = f"{round(value, 12):.9g}" if isinstance(value, float) else json.dumps(value)
        yield f"{place}: {text}"


def inspections(
    folder: Path, paths: dict[str, Path], **folders: Path
) -> Iterator[tuple[str, Case]]:
    """Return a case for each path that is inspected.

    Args:
        folder: To run in.
        paths: By name.
        folders: Places whose names are not digested.
    """
    for name, path in paths.items():
        # Titles wrap by the length of the path, so that of the checkout is left out.
        in_checkout = path.is_relative_to(ROOT)
        where, named = (ROOT, path.relative_to(ROOT)) if in_checkout else (folder, path)
        lines = run_command("model_tools", "inspect", named, folder=where, **folders)
        yield f"inspect/{name}", text_stages(lines)


def replayed(folder: Path, recording: Path) -> Case:
    """Return the verdict of `replay`, and its figures of a flight recording."""
    command: list[str | Path] = [
        "model_tools",
        "replay",
        recording,
        "--output",
        f"replay_{recording.name}",
    ]
    lines = run_command(*command, folder=folder)
    document = folder / f"replay_{recording.name}" / "replay.json"
    return {**text_stages(lines), **file_stages(document, drop=_OF_THE_MACHINE, work=folder)}
