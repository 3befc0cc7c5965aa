# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of ACT as LeRobot lays them out, with random weights of any configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from policy_core.interfaces import F32

STATE, OUTSIDE, ACTION = "observation.state", "observation.environment_state", "action"
NORMALISER = "policy_preprocessor_step_3_normalizer_processor.safetensors"
UNNORMALISER = "policy_postprocessor_step_0_unnormalizer_processor.safetensors"
CAMERAS = {"front": (40, 64), "wrist": (40, 64)}
BLOCKS = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
}
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
        "chunk_size": 7,
        "n_action_steps": 4,
        "temporal_ensemble_coeff": None,
        "normalization_mapping": {
            "VISUAL": "MEAN_STD",
            "STATE": "MEAN_STD",
            "ENV": "MIN_MAX",
            "ACTION": "MEAN_STD",
        },
        "vision_backbone": "resnet18",
        "replace_final_stride_with_dilation": False,
        "pre_norm": False,
        "dim_model": 16,
        "n_heads": 2,
        "dim_feedforward": 24,
        "feedforward_activation": "relu",
        "n_encoder_layers": 1,
        "n_decoder_layers": 1,
        "use_vae": True,
        "latent_dim": 4,
        "license": None,
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


def random_tensors(config: dict[str, Any]) -> Tensors:
    """Return the network's tensors."""
    random, tensors = np.random.default_rng(0), Tensors()
    for name, shape in shapes(config).items():
        if name.endswith(
            ("norm1.weight", "norm2.weight", "norm3.weight", "norm.weight", "running_var")
        ) or (len(shape) == 1 and name.endswith("weight")):
            tensors[name] = random.uniform(0.5, 1.5, shape).astype(np.float32)
        elif len(shape) == 1:
            tensors[name] = random.uniform(-0.2, 0.2, shape).astype(np.float32)
        else:
            scale = (2.0 / np.prod(shape[1:])) ** 0.5 * (0.6 if len(shape) == 4 else 1.0)
            tensors[name] = random.standard_normal(shape, np.float32) * np.float32(scale)
    return tensors


def shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the network's tensors by name, as LeRobot has them."""
    dim, wide, found = config["dim_model"], config["dim_feedforward"], dict[str, tuple[int, ...]]()
    inputs = config["input_features"]
    images = [one for one in inputs.values() if one["type"] == "VISUAL"]

    def linear(name: str, out: int, given: int) -> None:
        found[f"model.{name}.weight"], found[f"model.{name}.bias"] = (out, given), (out,)

    def norm(name: str) -> None:
        found[f"model.{name}.weight"] = found[f"model.{name}.bias"] = (dim,)

    def layer(name: str, attentions: tuple[str, ...]) -> None:
        for attention in attentions:
            found[f"model.{name}.{attention}.in_proj_weight"] = (3 * dim, dim)
            found[f"model.{name}.{attention}.in_proj_bias"] = (3 * dim,)
            linear(f"{name}.{attention}.out_proj", dim, dim)
        linear(f"{name}.linear1", wide, dim)
        linear(
            f"{name}.linear2", dim, wide // 2 if config["feedforward_activation"] == "glu" else wide
        )
        for number in range(1, len(attentions) + 2):
            norm(f"{name}.norm{number}")

    tokens = 1
    linear("encoder_latent_input_proj", dim, config["latent_dim"])
    for name, owner in ((STATE, "robot_state"), (OUTSIDE, "env_state")):
        if name in inputs:
            linear(f"encoder_{owner}_input_proj", dim, inputs[name]["shape"][0])
            tokens += 1
    found["model.encoder_1d_feature_pos_embed.weight"] = (tokens, dim)
    found["model.decoder_pos_embed.weight"] = (config["chunk_size"], dim)
    for i in range(config["n_encoder_layers"]):
        layer(f"encoder.layers.{i}", ("self_attn",))
    for i in range(config["n_decoder_layers"]):
        layer(f"decoder.layers.{i}", ("self_attn", "multihead_attn"))
    if config["pre_norm"]:
        norm("encoder.norm")
    norm("decoder.norm")
    linear("action_head", config["output_features"][ACTION]["shape"][0], dim)
    found["model.vae_encoder_cls_embed.weight"] = (1, dim)
    if images:
        last = 2048 if config["vision_backbone"] in ("resnet50", "resnet101", "resnet152") else 512
        found["model.encoder_img_feat_input_proj.weight"] = (dim, last, 1, 1)
        found["model.encoder_img_feat_input_proj.bias"] = (dim,)
        found |= _backbone(config["vision_backbone"])
    return found


def _backbone(name: str) -> dict[str, tuple[int, ...]]:
    found, given, deep = (
        dict[str, tuple[int, ...]](),
        64,
        BLOCKS[name] not in (BLOCKS["resnet18"],) and name != "resnet34",
    )

    def conv(conv: str, norm: str, out: int, given: int, size: int) -> None:
        found[f"model.backbone.{conv}.weight"] = (out, given, size, size)
        for kind in ("weight", "bias", "running_mean", "running_var"):
            found[f"model.backbone.{norm}.{kind}"] = (out,)

    conv("conv1", "bn1", 64, 3, 7)
    for stage, (channels, blocks) in enumerate(zip((64, 128, 256, 512), BLOCKS[name], strict=True)):
        out = 4 * channels if deep else channels
        for block in range(blocks):
            place = f"layer{stage + 1}.{block}"
            sizes = (
                [(channels, given, 1), (channels, channels, 3), (out, channels, 1)]
                if deep
                else [(channels, given, 3), (channels, channels, 3)]
            )
            for number, size in enumerate(sizes, 1):
                conv(f"{place}.conv{number}", f"{place}.bn{number}", *size)
            if block == 0 and (stage or deep):
                conv(f"{place}.downsample.0", f"{place}.downsample.1", out, given, 1)
            given = out
    return found


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
