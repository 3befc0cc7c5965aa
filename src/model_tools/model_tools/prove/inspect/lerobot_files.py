# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""LeRobot checkpoints and datasets: contents and completeness."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.arrays import read_shapes, read_tensors
from model_tools.files.foreign import Node, read_json
from model_tools.files.lerobot.checkpoint import (
    CONFIG_FILE,
    PROCESSORS,
    WEIGHTS_FILE,
    Config,
    PolicyFeature,
    buffer_place,
    is_buffer,
    read_config,
    unsupported,
)
from model_tools.files.lerobot.dataset_info import (
    INFO,
    VERSION,
    conversion_command,
    recorded_pairing,
)
from model_tools.prove.inspect.data_files import suspect_values
from model_tools.prove.inspect.inspection import InspectionReport
from policy_core.errors import PolicyError
from policy_core.interfaces import F64, Tensor

_SHOWN = (
    "type",
    "n_obs_steps",
    "chunk_size",
    "n_action_steps",
    "temporal_ensemble_coeff",
    "vision_backbone",
    "dim_model",
    "n_heads",
    "dim_feedforward",
    "n_encoder_layers",
    "n_decoder_layers",
    "use_vae",
)
_ROLES = {"STATE": "state", "ENV": "environment state", "VISUAL": "camera", "ACTION": "action"}
Shapes = Mapping[str, tuple[int, ...]]
_PARQUET_END = b"PAR1"


def inspect_lerobot_checkpoint(path: Path) -> InspectionReport:
    config, report = read_config(path), InspectionReport(kind="LeRobot checkpoint", path=path)
    report.values["config"] = config.root.value
    for key in _SHOWN:
        if (node := config.root.get(key)) is not None:
            report.row(key, node.value)
    for feature in config.features:
        report.row(_ROLES.get(feature.kind, feature.kind), feature)
    shapes: Shapes = {}
    if (weights := path / WEIGHTS_FILE).is_file():
        try:
            shapes = read_shapes(weights)
        except PolicyError as error:
            report.refuse(str(error))
    else:
        report.refuse(f"{WEIGHTS_FILE} is not there")
    if shapes:
        network = [shape for name, shape in shapes.items() if not is_buffer(name)]
        report.values["parameters"] = parameters = sum(map(math.prod, network))
        report.row("parameters", f"{parameters:,} in {len(network)} tensors")
    _suspect_statistics(path, config.features, any(map(is_buffer, shapes)), report)
    _suspect_steps(config, report)
    return report


def _suspect_steps(config: Config, report: InspectionReport) -> None:
    chunk, steps = (config.root.get(key) for key in ("chunk_size", "n_action_steps"))
    if chunk and steps and steps.whole() > chunk.whole():
        report.suspect(f"n_action_steps {steps.value} of a chunk of {chunk.value}")
    if config.root.get("temporal_ensemble_coeff") and steps and steps.whole() != 1:
        report.suspect(f"temporal ensembling needs n_action_steps 1, found {steps.value}")
    if not any(feature.kind == "ACTION" for feature in config.features):
        report.suspect("no feature is an action")


def _suspect_statistics(
    folder: Path, features: Sequence[PolicyFeature], inside: bool, report: InspectionReport
) -> None:
    """Show the location of the statistics, and note missing or impossible ones.

    Args:
        folder: The checkpoint.
        features: Inputs and outputs of the policy.
        inside: The weights file contains statistics.
        report: Receives rows and suspicions.
    """
    beside = [file for file in PROCESSORS.values() if (folder / file).is_file()]
    if inside and beside:
        report.suspect("statistics inside the weights and in processor files: which were used?")
    if not inside and not beside:
        report.row("statistics", "none")
        report.suspect("no statistics, neither inside the weights nor in processor files")
        return
    report.row("statistics", ", ".join(beside) or f"inside {WEIGHTS_FILE} (LeRobot up to 0.3)")
    buffers = {} if beside else read_tensors(folder / WEIGHTS_FILE)
    for is_input, file in PROCESSORS.items():
        found = _of_processor(folder, file, report, is_input=is_input) if beside else {}
        for feature in features:
            if feature.is_input == is_input:
                values = {
                    kind: found.get(f"{feature.name}.{kind}")
                    if beside
                    else buffers.get(buffer_place(feature) + kind)
                    for kind in feature.statistics
                }
                _suspect(feature, values, report)


def _of_processor(
    folder: Path, file: str, report: InspectionReport, *, is_input: bool
) -> dict[str, Tensor]:
    """Return the contents of a pipeline's state files; note unreadable ones."""
    found = dict[str, Tensor]()
    try:
        for step in read_json(_present(folder, file))["steps"].elements():
            config = step.get("config")
            renamed = config.get("rename_map") if config else None
            for old, new in renamed.items() if renamed else []:
                report.row("renamed", f"{old} -> {new.text()}")
            if error := unsupported(step, is_input=is_input):
                report.refuse(str(error))
            if (state := step.get("state_file")) is not None:
                found |= read_tensors(_present(folder, state.text()))
    except ToolError as error:
        report.refuse(str(error))
    return found


def _present(folder: Path, name: str) -> Path:
    if not (folder / name).is_file():
        raise ToolError(f"{name}: expected a file beside {CONFIG_FILE}, found none")
    return folder / name


def _suspect(
    feature: PolicyFeature, values: Mapping[str, Tensor | None], report: InspectionReport
) -> None:
    known = list[F64]()
    for kind, array in values.items():
        if array is None:
            report.suspect(f"{feature.name}: no {kind}, which {feature.mode} needs")
        elif array.size != feature.statistics_size:
            report.suspect(
                f"{feature.name}: {kind} has {array.size} values, the feature "
                f"{feature.statistics_size}"
            )
        else:
            suspect_values(f"{feature.name}: {kind}", array, report)
            known.append(np.asarray(array, np.float64).ravel())
    if not known or len(known) < len(values):
        return
    low, high = known
    still = np.flatnonzero((high if feature.mode == "MEAN_STD" else high - low) <= 0.0)
    if len(still):
        report.suspect(
            f"{feature.name}: no spread at {', '.join(map(str, still))}: it never moved "
            "in the data, and any deviation becomes huge or vanishes"
        )


def inspect_lerobot_dataset(path: Path) -> InspectionReport:
    info, report = read_json(path / INFO), InspectionReport(kind="LeRobot dataset", path=path)
    report.values["info"] = info.value
    version = info["codebase_version"].text()
    report.row("version", version)
    report.row("robot", info["robot_type"].value)
    report.row("rate", f"{info['fps'].positive():g} Hz")
    if pairing := recorded_pairing(path):
        report.row("pairing", pairing.rule)
    for name in ("episodes", "frames", "tasks"):
        report.row(name, info[f"total_{name}"].whole())
    for name, feature in info["features"].items():
        names: Any = feature.get("names")
        listed = names and isinstance(names.value, list)
        shown = f": {', '.join(map(str, names.value))}" if listed else ""
        report.row(name, f"{feature['dtype'].text()}{feature['shape'].value}{shown}")
    if version == VERSION:
        _suspect_files(path, info, report)
    else:
        report.suspect(
            f"version {version}; tools here read {VERSION}; {conversion_command(path, version)}"
        )
    return report


def _suspect_files(path: Path, info: Node, report: InspectionReport) -> None:
    videos = [
        Path("videos", name)
        for name, feature in info["features"].items()
        if feature["dtype"].value == "video"
    ]
    for folder in (Path("data"), Path("meta", "episodes"), *videos):
        suffix = ".mp4" if folder in videos else ".parquet"
        files = sorted((path / folder).rglob(f"*{suffix}"))
        if not files:
            report.suspect(f"{folder} holds no {suffix} file")
        for file in files:
            end = _end(file)
            if not end or (suffix == ".parquet" and end != _PARQUET_END):
                report.suspect(
                    f"{file.relative_to(path)} is cut off, or its recording was not finished"
                )
    if not (path / "meta" / "stats.json").is_file():
        report.suspect("meta/stats.json is not there; a policy trained on this needs it")
    if (path / "images").is_dir():
        report.suspect("a folder images is there: a recording was not finished")


def _end(file: Path) -> bytes:
    with file.open("rb") as stream:
        stream.seek(-min(file.stat().st_size, len(_PARQUET_END)), os.SEEK_END)
        return stream.read()
