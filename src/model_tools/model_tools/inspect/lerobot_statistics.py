# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The statistics of a LeRobot checkpoint: in processor files, or until 0.3 inside the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from model_tools.errors import ToolError
from model_tools.inspect.json_file import read_json
from model_tools.inspect.lerobot_config import CONFIG_FILE, Feature
from model_tools.inspect.report import Report
from model_tools.inspect.safetensors_file import read_tensors
from model_tools.lerobot.processors import unsupported
from model_tools.node import Node
from policy_inference.interfaces import Tensor

PROCESSORS = {True: "policy_preprocessor.json", False: "policy_postprocessor.json"}
"""By whether it works on inputs."""
_BUFFERS = ("normalize_inputs.", "normalize_targets.", "unnormalize_outputs.")


def is_buffer(name: str) -> bool:
    """Return whether a tensor of the weights holds statistics."""
    return name.startswith(_BUFFERS)


def buffer_place(feature: Feature) -> str:
    """Return what the names of a feature's statistics inside the weights begin with.

    Names are looked up, never taken apart: dots became bars, so that `a.b` and `a_b` are one.
    """
    owner = "normalize_inputs" if feature.is_input else "unnormalize_outputs"
    return f"{owner}.buffer_{feature.name.replace('.', '_')}."


def suspect_statistics(
    folder: Path, features: Sequence[Feature], weights: Path, names: Sequence[str], report: Report
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
    buffers = {} if beside else read_tensors(weights, inside)
    for is_input, file in PROCESSORS.items():
        ours = [feature for feature in features if feature.is_input == is_input]
        found = (_of_processor(folder, file, report, is_input=is_input) if beside
                 else _of_buffers(buffers, ours))
        for feature in ours:
            _suspect(feature, found, report)


def _of_buffers(buffers: Mapping[str, Tensor], features: Sequence[Feature]) -> dict[str, Tensor]:
    """Return statistics as `feature.statistic`."""
    found = dict[str, Tensor]()
    for feature in features:
        place = buffer_place(feature)
        found |= {f"{feature.name}.{kind}": buffers[place + kind]
                  for kind in feature.statistics if place + kind in buffers}
    return found


def _of_processor(
    folder: Path, file: str, report: Report, *, is_input: bool
) -> dict[str, Tensor]:
    """Return what the state files of a pipeline hold; what cannot be read is noted."""
    found = dict[str, Tensor]()
    try:
        for step in read_json(_present(folder, file))["steps"].elements():
            _note_renamed(step, report)
            if error := unsupported(step, is_input=is_input):
                report.suspect(str(error))
            if (state := step.get("state_file")) is not None:
                found |= read_tensors(_present(folder, state.text()))
    except ToolError as error:
        report.suspect(str(error))
    return found


def _present(folder: Path, name: str) -> Path:
    if not (folder / name).is_file():
        raise ToolError(f"{name}: expected a file beside {CONFIG_FILE}, found none")
    return folder / name


def _note_renamed(step: Node, report: Report) -> None:
    config = step.get("config")
    renamed = config.get("rename_map") if config else None
    for old, new in renamed.items() if renamed else []:
        report.row("renamed", f"{old} -> {new.text()}")


def _suspect(feature: Feature, found: Mapping[str, Tensor], report: Report) -> None:
    values = {kind: found.get(f"{feature.name}.{kind}") for kind in feature.statistics}
    for kind, array in values.items():
        if array is None:
            report.suspect(f"{feature.name}: no {kind}, which {feature.mode} needs")
        elif array.size != feature.statistics_size:
            report.suspect(f"{feature.name}: {kind} has {array.size} values, the feature "
                           f"{feature.statistics_size}")
        elif not np.isfinite(array).all():
            report.suspect(f"{feature.name}: {kind} holds NaN or infinite values")
    if not values or any(array is None or array.size != feature.statistics_size
                         for array in values.values()):
        return
    low, high = (np.ravel(np.asarray(array, np.float64)) for array in values.values())
    still = np.flatnonzero((high if feature.mode == "MEAN_STD" else high - low) <= 0.0)
    if len(still):
        report.suspect(f"{feature.name}: no spread at {', '.join(map(str, still))}: it never moved "
                       "in the data, and any deviation becomes huge or vanishes")
