# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A LeRobot dataset: what it says about itself, and whether its files are whole."""

from __future__ import annotations

import os
from pathlib import Path

from model_tools.inspect.json_file import read_json
from model_tools.inspect.report import Report
from model_tools.lerobot.dataset_info import INFO, VERSION, conversion_of
from model_tools.node import Node

KIND = "LeRobot dataset"
_PARQUET_END = b"PAR1"


def recognise(path: Path) -> bool:
    """Return whether it is a folder with a dataset's description."""
    return path.is_dir() and (path / INFO).is_file()


def inspect(path: Path) -> Report:
    """Return version, size and features.

    Raises:
        ToolError: Its description is no JSON, or lacks what every dataset states.
    """
    info, report = read_json(path / INFO), Report(kind=KIND, path=path)
    version = info["codebase_version"].text()
    report.row("version", version)
    report.row("robot", info["robot_type"].value)
    report.row("rate", f"{info['fps'].positive():g} Hz")
    for name in ("episodes", "frames", "tasks"):
        report.row(name, info[f"total_{name}"].whole())
    for name, feature in info["features"].items():
        report.row(name, _words(feature))
    if version != VERSION:
        report.suspect(f"version {version}; tools here read {VERSION}; "
                       f"{conversion_of(path, version)}")
    else:
        _suspect_files(path, info, report)
    return report


def _words(feature: Node) -> str:
    names = feature.get("names")
    shown = f": {', '.join(map(str, names.value))}" if names and isinstance(
        names.value, list) else ""
    return f"{feature['dtype'].text()}{feature['shape'].value}{shown}"


def _suspect_files(path: Path, info: Node, report: Report) -> None:
    videos = [Path("videos", name) for name, feature in info["features"].items()
              if feature["dtype"].value == "video"]
    for folder in (Path("data"), Path("meta", "episodes"), *videos):
        suffix = ".mp4" if folder in videos else ".parquet"
        files = sorted((path / folder).rglob(f"*{suffix}"))
        if not files:
            report.suspect(f"{folder} holds no {suffix} file")
        for file in files:
            _suspect_cut_off(path, file, report)
    if not (path / "meta" / "stats.json").is_file():
        report.suspect("meta/stats.json is not there; a policy trained on this needs it")
    if (path / "images").is_dir():
        report.suspect("a folder images is there: a recording was not finished")


def _suspect_cut_off(path: Path, file: Path, report: Report) -> None:
    size = file.stat().st_size
    with file.open("rb") as stream:
        stream.seek(-min(size, len(_PARQUET_END)), os.SEEK_END)
        end = stream.read()
    if not size or (file.suffix == ".parquet" and end != _PARQUET_END):
        report.suspect(f"{file.relative_to(path)} is cut off, or its recording was not finished")
