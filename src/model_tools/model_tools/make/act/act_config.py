# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The network that the configuration of an ACT checkpoint describes, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from model_tools.files.foreign import Node
from model_tools.files.lerobot.checkpoint import Config
from model_tools.make.act.checkpoint_config import (
    CheckpointConfig,
    common_fields,
    count,
    flag,
)
from model_tools.make.act.resnet import RESNETS, ResNet, feature_size
from model_tools.make.act.transformer import ACTIVATIONS

_KEYS = """
    chunk_size vision_backbone pretrained_backbone_weights replace_final_stride_with_dilation
    pre_norm dim_model n_heads dim_feedforward feedforward_activation n_encoder_layers
    n_decoder_layers use_vae latent_dim n_vae_encoder_layers temporal_ensemble_coeff dropout
    kl_weight optimizer_lr_backbone
"""
"""What LeRobot saves for this policy alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActConfig(CheckpointConfig):
    """Sizes and kinds of an ACT network."""

    backbone: ResNet
    dilated: bool
    dim: int
    heads: int
    feedforward: int
    activation: str
    pre_norm: bool
    encoder_layers: int
    decoder_layers: int
    latent_dim: int

    def tokens(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of the features of images of a size."""
        height, width = (feature_size(pixels, dilated=self.dilated) for pixels in size)
        return height, width


def check_act_config(config: Config) -> ActConfig:
    """Return the checked configuration of an ACT policy."""
    root = config.root
    if root["n_obs_steps"].whole() != 1:
        raise root["n_obs_steps"].wrong("1, since ACT sees one moment")
    return ActConfig(**common_fields(config, _KEYS), **_network(root))


def _network(root: Node) -> dict[str, Any]:
    chunk, steps = root["chunk_size"], root["n_action_steps"]
    if steps.whole() > chunk.whole():
        raise steps.wrong(f"at most chunk_size, {chunk.value}")
    backbone, activation = root["vision_backbone"], root["feedforward_activation"]
    if backbone.text() not in RESNETS:
        raise backbone.wrong(f"one of {', '.join(RESNETS)}")
    if activation.text() not in ACTIVATIONS:
        raise activation.wrong(f"one of {', '.join(ACTIVATIONS)}")
    dilated, network = flag(root, "replace_final_stride_with_dilation"), RESNETS[backbone.text()]
    if dilated and not network.is_bottleneck:
        raise root["replace_final_stride_with_dilation"].wrong(
            f"false for {backbone.text()}, whose blocks cannot be dilated in torchvision"
        )
    dim, heads = count(root["dim_model"]), count(root["n_heads"])
    if dim % heads or dim % 4:
        raise root["dim_model"].wrong(f"a multiple of n_heads, {heads}, and of 4")
    coeff = root.get("temporal_ensemble_coeff")
    if coeff is not None and steps.whole() != 1:
        raise steps.wrong(
            "1 with temporal_ensemble_coeff, which averages a chunk of every step, as LeRobot "
            "requires it; or temporal_ensemble_coeff null"
        )
    return {
        "chunk_size": count(chunk),
        "n_action_steps": count(steps),
        "ensemble_coeff": None if coeff is None else coeff.number(),
        "backbone": network,
        "dilated": dilated,
        "dim": dim,
        "heads": heads,
        "feedforward": count(root["dim_feedforward"]),
        "activation": activation.text(),
        "pre_norm": flag(root, "pre_norm"),
        "latent_dim": count(root["latent_dim"]),
        "encoder_layers": count(root["n_encoder_layers"]),
        "decoder_layers": count(root["n_decoder_layers"]),
    }
