# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of ACT as LeRobot lays them out, with random weights of any configuration."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import save_file

from model_tools.files.lerobot.checkpoint import read_config
from model_tools.make.act.builder import PREFIX, Weights
from model_tools.make.act.graphs import check_act_config, write_graphs
from policy_core.interfaces import F32, F64

STATE, OUTSIDE, ACTION = "observation.state", "observation.environment_state", "action"
NORMALISER = "policy_preprocessor_step_3_normalizer_processor.safetensors"
UNNORMALISER = "policy_postprocessor_step_0_unnormalizer_processor.safetensors"
CAMERAS = {"front": (40, 64), "wrist": (40, 64)}
_ACT: dict[str, Any] = yaml.safe_load("""
{chunk_size: 7, n_action_steps: 4, temporal_ensemble_coeff: null, vision_backbone: resnet18,
 replace_final_stride_with_dilation: false, pre_norm: false, dim_model: 16, n_heads: 2,
 dim_feedforward: 24, feedforward_activation: relu, n_encoder_layers: 1, n_decoder_layers: 1,
 use_vae: true, latent_dim: 4, license: null,
 normalization_mapping: {VISUAL: MEAN_STD, STATE: MEAN_STD, ENV: MIN_MAX, ACTION: MEAN_STD}}
""")
_KINDS = {STATE: "STATE", OUTSIDE: "ENV", ACTION: "ACTION"}
Tensors = dict[str, F32]


def config_of(
    *,
    cameras: Mapping[str, tuple[int, int]] = CAMERAS,
    state: int | None = 6,
    outside: int | None = None,
    action: int = 6,
    **changed: Any,
) -> dict[str, Any]:
    """Return a `config.json`; cameras are heights and widths by name."""
    vectors = {STATE: state, OUTSIDE: outside}
    inputs = {
        name: {"type": _KINDS[name], "shape": [size]} for name, size in vectors.items() if size
    }
    inputs |= {
        f"observation.images.{name}": {"type": "VISUAL", "shape": [3, *size]}
        for name, size in cameras.items()
    }
    return {
        "type": "act",
        "n_obs_steps": 1,
        "input_features": inputs,
        "output_features": {ACTION: {"type": "ACTION", "shape": [action]}},
        **copy.deepcopy(_ACT),
        **changed,
    }


def write_checkpoint(
    folder: Path,
    config: dict[str, Any],
    *,
    tensors: Tensors | None = None,
    statistics: Tensors | None = None,
    is_old: bool = False,
) -> Path:
    """Write the files of a checkpoint, in the format up to 0.3 if `is_old`; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = random_tensors(config) if tensors is None else tensors
    statistics = random_statistics(config) if statistics is None else statistics
    (folder / "config.json").write_text(json.dumps(config))
    if is_old:
        tensors = {**tensors, **_buffers(statistics)}
    else:
        _write_processors(folder, config, statistics)
    save_file(tensors, folder / "model.safetensors")
    return folder


def random_statistics(config: dict[str, Any]) -> Tensors:
    """Return mean, std, min and max of all features, by `feature.statistic`."""
    random, found = np.random.default_rng(1), Tensors()
    for name, feature in {**config["input_features"], **config["output_features"]}.items():
        image = feature["type"] == "VISUAL"
        shape = (3, 1, 1) if image else tuple(feature["shape"])
        mean = random.uniform(0.3, 0.6, shape) if image else random.uniform(-9.0, 9.0, shape)
        std = random.uniform(0.2, 0.3, shape) if image else random.uniform(5.0, 20.0, shape)
        for kind, values in (
            ("mean", mean),
            ("std", std),
            ("min", mean - 2 * std),
            ("max", mean + 2 * std),
        ):
            found[f"{name}.{kind}"] = values.astype(np.float32)
    return found


class DrawnWeights(Weights):
    """Weights that are drawn as they are asked for, and kept for a file."""

    def __init__(self, prefix: str) -> None:
        super().__init__(Path("drawn"), {}, prefix)
        self.drawn = Tensors()
        self._prefix, self._random = prefix, np.random.default_rng(0)

    def take(self, name: str, *shape: int) -> F32:
        key = f"{self._prefix}{name}"
        if key not in self.drawn:
            self.drawn[key] = self._draw(name, shape).astype(np.float32)
        return self.drawn[key]

    def _draw(self, name: str, shape: tuple[int, ...]) -> F64:
        if len(shape) == 1:
            scales = name.endswith(("weight", "running_var"))
            return self._random.uniform(*((0.5, 1.5) if scales else (-0.2, 0.2)), shape)
        scale = (2.0 / np.prod(shape[1:])) ** 0.5 * (0.6 if len(shape) == 4 else 1.0)
        return self._random.normal(0.0, scale, shape)


def random_tensors(config: dict[str, Any]) -> Tensors:
    """Return the network's tensors: those that its graphs ask for, and one of the training."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config))
        read = check_act_config(read_config(Path(folder)))
    weights = DrawnWeights(PREFIX)
    write_graphs(read, weights, opset=17, how="two")
    return weights.drawn | {"model.vae_encoder_cls_embed.weight": np.zeros((1, 1), np.float32)}


def _buffers(statistics: Tensors) -> Tensors:
    """Return statistics as LeRobot until 0.3 kept them among the weights."""
    found = Tensors()
    for key, values in statistics.items():
        feature, _, kind = key.rpartition(".")
        owners = (
            ("normalize_targets", "unnormalize_outputs")
            if feature == ACTION
            else ("normalize_inputs",)
        )
        found |= {f"{owner}.buffer_{feature.replace('.', '_')}.{kind}": values for owner in owners}
    return found


def _write_processors(folder: Path, config: dict[str, Any], statistics: Tensors) -> None:
    for file, name, state in (
        ("policy_preprocessor.json", "normalizer_processor", NORMALISER),
        ("policy_postprocessor.json", "unnormalizer_processor", UNNORMALISER),
    ):
        steps = [
            {
                "registry_name": name,
                "state_file": state,
                "config": {"eps": 1e-8, "norm_map": config["normalization_mapping"]},
            },
            {"registry_name": "device_processor", "config": {"device": "cpu", "float_dtype": None}},
        ]
        if name == "normalizer_processor":
            steps.insert(
                0, {"registry_name": "rename_observations_processor", "config": {"rename_map": {}}}
            )
        (folder / file).write_text(json.dumps({"name": file.partition(".")[0], "steps": steps}))
        save_file(statistics, folder / state)
