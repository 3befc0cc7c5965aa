# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints and datasets of LeRobot: what they say of themselves, and whether they are whole."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

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
from model_tools.files.lerobot.dataset_info import INFO, VERSION, conversion_of, recorded_pairing
from model_tools.prove.inspect.inspection import InspectionReport
from policy_core.errors import PolicyError
from policy_core.interfaces import Tensor

LEROBOT_CHECKPOINT = "LeRobot checkpoint"
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
LEROBOT_DATASET = "LeRobot dataset"
_PARQUET_END = b"PAR1"


def is_lerobot_checkpoint(path: Path) -> bool:
    """Return whether it is a folder with a policy's configuration."""
    return path.is_dir() and (path / CONFIG_FILE).is_file()


def inspect_lerobot_checkpoint(path: Path) -> InspectionReport:
    """Return what is in the checkpoint."""
    config, report = read_config(path), InspectionReport(kind=LEROBOT_CHECKPOINT, path=path)
    report.values["config"] = config.root.value
    for key in _SHOWN:
        if (node := config.root.get(key)) is not None:
            report.row(key, node.value)
    for feature in config.features:
        report.row(_ROLES.get(feature.kind, feature.kind), feature)
    shapes = _shapes(path, report)
    if shapes:
        network = [shape for name, shape in shapes.items() if not is_buffer(name)]
        report.values["parameters"] = parameters = sum(map(math.prod, network))
        report.row("parameters", f"{parameters:,} in {len(network)} tensors")
        _suspect_sizes(config, shapes, report)
    suspect_statistics(path, config.features, path / WEIGHTS_FILE, list(shapes), report)
    _suspect_steps(config, report)
    return report


def _shapes(path: Path, report: InspectionReport) -> Shapes:
    if not (path / WEIGHTS_FILE).is_file():
        report.refuse(f"{WEIGHTS_FILE} is not there")
        return {}
    try:
        return read_shapes(path / WEIGHTS_FILE)
    except PolicyError as error:
        report.refuse(str(error))
        return {}


def _suspect_sizes(config: Config, shapes: Shapes, report: InspectionReport) -> None:
    """Note weights of ACT that are of other sizes than the configuration says."""
    if config.root["type"].value != "act":
        return
    chunk = config.root.get("chunk_size")
    for name, axis, expected in (
        ("model.encoder_robot_state_input_proj.weight", 1, config.size("STATE")),
        ("model.encoder_env_state_input_proj.weight", 1, config.size("ENV")),
        ("model.action_head.weight", 0, config.size("ACTION")),
        ("model.decoder_pos_embed.weight", 0, chunk.whole() if chunk else None),
    ):
        shape = shapes.get(name)
        if (shape is None) != (expected is None) or (shape and shape[axis] != expected):
            report.suspect(
                f"{name} is {list(shape) if shape else 'not there'}, the configuration "
                f"says {expected or 'nothing'}"
            )


def _suspect_steps(config: Config, report: InspectionReport) -> None:
    chunk, steps = (config.root.get(key) for key in ("chunk_size", "n_action_steps"))
    if chunk and steps and steps.whole() > chunk.whole():
        report.suspect(f"n_action_steps {steps.value} of a chunk of {chunk.value}")
    if config.root.get("temporal_ensemble_coeff") and steps and steps.whole() != 1:
        report.suspect(f"temporal ensembling needs n_action_steps 1, found {steps.value}")
    if not any(feature.kind == "ACTION" for feature in config.features):
        report.suspect("no feature is an action")


def suspect_statistics(
    folder: Path,
    features: Sequence[PolicyFeature],
    weights: Path,
    names: Sequence[str],
    report: InspectionReport,
) -> None:
    """Show where the statistics are, and note those that are missing or cannot be right.

    Args:
        folder: The checkpoint.
        features: Inputs and outputs of the policy.
        weights: File with the weights.
        names: Of the tensors in it.
        report: Gets rows and suspicions.
    """
    inside = [name for name in names if is_buffer(name)]
    beside = [file for file in PROCESSORS.values() if (folder / file).is_file()]
    if inside and beside:
        report.suspect("statistics inside the weights and in processor files: which were used?")
    if not inside and not beside:
        report.row("statistics", "none")
        report.suspect("no statistics, neither inside the weights nor in processor files")
        return
    report.row("statistics", ", ".join(beside) or f"inside {weights.name} (LeRobot up to 0.3)")
    buffers = {} if beside else read_tensors(weights)
    for is_input, file in PROCESSORS.items():
        ours = [feature for feature in features if feature.is_input == is_input]
        found = (
            _of_processor(folder, file, report, is_input=is_input)
            if beside
            else _of_buffers(buffers, ours)
        )
        for feature in ours:
            _suspect(feature, found, report)


def _of_buffers(
    buffers: Mapping[str, Tensor], features: Sequence[PolicyFeature]
) -> dict[str, Tensor]:
    """Return statistics as `feature.statistic`."""
    found = dict[str, Tensor]()
    for feature in features:
        place = buffer_place(feature)
        found |= {
            f"{feature.name}.{kind}": buffers[place + kind]
            for kind in feature.statistics
            if place + kind in buffers
        }
    return found


def _of_processor(
    folder: Path, file: str, report: InspectionReport, *, is_input: bool
) -> dict[str, Tensor]:
    """Return what the state files of a pipeline hold; what cannot be read is noted."""
    found = dict[str, Tensor]()
    try:
        for step in read_json(_present(folder, file))["steps"].elements():
            _note_renamed(step, report)
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


def _note_renamed(step: Node, report: InspectionReport) -> None:
    config = step.get("config")
    renamed = config.get("rename_map") if config else None
    for old, new in renamed.items() if renamed else []:
        report.row("renamed", f"{old} -> {new.text()}")


def _suspect(feature: PolicyFeature, found: Mapping[str, Tensor], report: InspectionReport) -> None:
    values = {kind: found.get(f"{feature.name}.{kind}") for kind in feature.statistics}
    for kind, array in values.items():
        if array is None:
            report.suspect(f"{feature.name}: no {kind}, which {feature.mode} needs")
        elif array.size != feature.statistics_size:
            report.suspect(
                f"{feature.name}: {kind} has {array.size} values, the feature "
                f"{feature.statistics_size}"
            )
        elif not np.isfinite(array).all():
            report.suspect(f"{feature.name}: {kind} holds NaN or infinite values")
    if not values or any(
        array is None or array.size != feature.statistics_size for array in values.values()
    ):
        return
    low, high = (np.ravel(np.asarray(array, np.float64)) for array in values.values())
    still = np.flatnonzero((high if feature.mode == "MEAN_STD" else high - low) <= 0.0)
    if len(still):
        report.suspect(
            f"{feature.name}: no spread at {', '.join(map(str, still))}: it never moved "
            "in the data, and any deviation becomes huge or vanishes"
        )


def is_lerobot_dataset(path: Path) -> bool:
    """Return whether it is a folder with a dataset's description."""
    return path.is_dir() and (path / INFO).is_file()


def inspect_lerobot_dataset(path: Path) -> InspectionReport:
    """Return version, size and features."""
    info, report = read_json(path / INFO), InspectionReport(kind=LEROBOT_DATASET, path=path)
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
        report.row(name, _words(feature))
    if version != VERSION:
        report.suspect(
            f"version {version}; tools here read {VERSION}; {conversion_of(path, version)}"
        )
    else:
        _suspect_files(path, info, report)
    return report


def _words(feature: Node) -> str:
    names = feature.get("names")
    shown = (
        f": {', '.join(map(str, names.value))}" if names and isinstance(names.value, list) else ""
    )
    return f"{feature['dtype'].text()}{feature['shape'].value}{shown}"


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
            _suspect_cut_off(path, file, report)
    if not (path / "meta" / "stats.json").is_file():
        report.suspect("meta/stats.json is not there; a policy trained on this needs it")
    if (path / "images").is_dir():
        report.suspect("a folder images is there: a recording was not finished")


def _suspect_cut_off(path: Path, file: Path, report: InspectionReport) -> None:
    size = file.stat().st_size
    with file.open("rb") as stream:
        stream.seek(-min(size, len(_PARQUET_END)), os.SEEK_END)
        end = stream.read()
    if not size or (file.suffix == ".parquet" and end != _PARQUET_END):
        report.suspect(f"{file.relative_to(path)} is cut off, or its recording was not finished")
