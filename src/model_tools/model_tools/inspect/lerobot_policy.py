# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A LeRobot checkpoint: its policy, features and statistics; the weights are not read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from model_tools.inspect.lerobot_config import CONFIG_FILE, Config, read_config
from model_tools.inspect.lerobot_statistics import is_buffer, suspect_statistics
from model_tools.inspect.report import Report
from model_tools.inspect.safetensors_file import read_shapes
from policy_inference.errors import PolicyError

KIND = "LeRobot checkpoint"
_WEIGHTS = "model.safetensors"
_SHOWN = ("type", "n_obs_steps", "chunk_size", "n_action_steps", "temporal_ensemble_coeff",
          "vision_backbone", "dim_model", "n_heads", "dim_feedforward", "n_encoder_layers",
          "n_decoder_layers", "use_vae")  # fmt: skip
_ROLES = {"STATE": "state", "ENV": "environment state", "VISUAL": "camera", "ACTION": "action"}
Shapes = Mapping[str, tuple[int, ...]]


def recognise(path: Path) -> bool:
    """Return whether it is a folder with a policy's configuration."""
    return path.is_dir() and (path / CONFIG_FILE).is_file()


def inspect(path: Path) -> Report:
    """Return what is in the checkpoint.

    Raises:
        ToolError: Its configuration is no JSON, or of no LeRobot policy of 2025 or later.
    """
    config, report = read_config(path), Report(kind=KIND, path=path)
    for key in _SHOWN:
        if (node := config.root.get(key)) is not None:
            report.row(key, node.value)
    for feature in config.features:
        report.row(_ROLES.get(feature.kind, feature.kind), feature)
    shapes = _shapes(path, report)
    if shapes:
        network = [shape for name, shape in shapes.items() if not is_buffer(name)]
        report.row("parameters", f"{sum(map(math.prod, network)):,} in {len(network)} tensors")
        _suspect_sizes(config, shapes, report)
    suspect_statistics(path, config.features, path / _WEIGHTS, list(shapes), report)
    _suspect_steps(config, report)
    return report


def _shapes(path: Path, report: Report) -> Shapes:
    if not (path / _WEIGHTS).is_file():
        report.suspect(f"{_WEIGHTS} is not there")
        return {}
    try:
        return read_shapes(path / _WEIGHTS)
    except PolicyError as error:
        report.suspect(str(error))
        return {}


def _suspect_sizes(config: Config, shapes: Shapes, report: Report) -> None:
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
            report.suspect(f"{name} is {list(shape) if shape else 'not there'}, the configuration "
                           f"says {expected or 'nothing'}")


def _suspect_steps(config: Config, report: Report) -> None:
    chunk, steps = (config.root.get(key) for key in ("chunk_size", "n_action_steps"))
    if chunk and steps and steps.whole() > chunk.whole():
        report.suspect(f"n_action_steps {steps.value} of a chunk of {chunk.value}")
    if config.root.get("temporal_ensemble_coeff") and steps and steps.whole() != 1:
        report.suspect(f"temporal ensembling needs n_action_steps 1, found {steps.value}")
    if not any(feature.kind == "ACTION" for feature in config.features):
        report.suspect("no feature is an action")
