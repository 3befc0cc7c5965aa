# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Configuration and graphs of an ACT policy.

The policy has either one encoder graph per image size and a transformer graph, or a single graph.

At inference, the latent of ACT's autoencoder is zero, so its token is a constant; all positions are
constants too. The tokens are the latent, the state, the environment state and the cameras'
features, row by row.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx

from model_tools.files.foreign import Node
from model_tools.files.lerobot.checkpoint import Config
from model_tools.make.act.builder import GraphBuilder, Value, Weights
from model_tools.make.act.checkpoint_config import (
    CameraInput,
    CheckpointConfig,
    common_fields,
    count,
    flag,
)
from model_tools.make.act.resnet import RESNETS, Backbone, ResNet, feature_size
from model_tools.make.act.transformer import ACTIVATIONS, Transformer, sine_positions
from policy_core.interfaces import F32

_KEYS = """
    chunk_size vision_backbone pretrained_backbone_weights replace_final_stride_with_dilation
    pre_norm dim_model n_heads dim_feedforward feedforward_activation n_encoder_layers
    n_decoder_layers use_vae latent_dim n_vae_encoder_layers temporal_ensemble_coeff dropout
    kl_weight optimizer_lr_backbone
"""
"""Keys that LeRobot saves for this policy only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActConfig(CheckpointConfig):
    """Configuration and hyperparameters of an ACT network."""

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
        """Return the height and width of the feature map for an image size."""
        height, width = (feature_size(pixels, dilated=self.dilated) for pixels in size)
        return height, width


def check_act_config(config: Config) -> ActConfig:
    root = config.root
    if root["n_obs_steps"].whole() != 1:
        raise root["n_obs_steps"].wrong("1 (ACT uses one observation)")
    return ActConfig(**common_fields(config, _KEYS), **_network(root))


def _network(root: Node) -> dict[str, Any]:
    chunk, steps = root["chunk_size"], root["n_action_steps"]
    if steps.whole() > chunk.whole():
        raise steps.wrong(f"at most chunk_size ({chunk.value})")
    backbone, activation = root["vision_backbone"], root["feedforward_activation"]
    if backbone.text() not in RESNETS:
        raise backbone.wrong(f"one of {', '.join(RESNETS)}")
    if activation.text() not in ACTIVATIONS:
        raise activation.wrong(f"one of {', '.join(ACTIVATIONS)}")
    dilated, network = flag(root, "replace_final_stride_with_dilation"), RESNETS[backbone.text()]
    if dilated and not network.is_bottleneck:
        raise root["replace_final_stride_with_dilation"].wrong(
            f"false for {backbone.text()} (torchvision cannot dilate its blocks)"
        )
    dim, heads = count(root["dim_model"]), count(root["n_heads"])
    if dim % heads or dim % 4:
        raise root["dim_model"].wrong(f"a multiple of n_heads ({heads}) and of 4")
    coeff = root.get("temporal_ensemble_coeff")
    if coeff is not None and steps.whole() != 1:
        raise steps.wrong(
            "1 with temporal_ensemble_coeff (LeRobot then averages the chunks of all steps), or "
            "temporal_ensemble_coeff: null"
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


VISION, POLICY, WHOLE = (
    "BPU_ACTPolicy_VisionEncoder",
    "BPU_ACTPolicy_TransformerLayers",
    "ACTPolicy",
)
"""Names of the graphs; with several image sizes, see `encoder_name`."""
IMAGES, FEATURES, STATES, OUTSIDE, ACTIONS = (
    "images",
    "Vision_Features",
    "states",
    "environment_state",
    "Actions",
)
CAMERAS = "cameras"
"""Model metadata key whose value (JSON) maps each camera input to its training feature."""
How = Literal["two", "one"]


def encoder_name(config: ActConfig, camera: CameraInput, how: How) -> str | None:
    """Return the name of the graph that encodes a camera's images; None for a single graph.

    With several image sizes, the graph of one camera is `VISION` plus the camera's name, `_CAMERA`;
    a graph shared by several cameras is `VISION` plus their size, `_HEIGHTxWIDTH`.
    """
    if how == "one":
        return None
    if len(config.sizes) == 1:
        return VISION
    size = camera.height, camera.width
    shared = sum((each.height, each.width) == size for each in config.cameras) > 1
    return f"{VISION}_{camera.height}x{camera.width}" if shared else f"{VISION}_{camera.name}"


def tensor_name(camera: CameraInput, how: How) -> str:
    """Return the name of the policy graph's input for a camera."""
    return f"{camera.name}_image" if how == "one" else f"{camera.name}_features"


def write_graphs(
    config: ActConfig, weights: Weights, opset: int, how: How
) -> dict[str, onnx.ModelProto]:
    """Return the graphs by name, with the policy's graph last."""
    graphs = dict[str, onnx.ModelProto]()
    for camera in config.cameras:
        name = encoder_name(config, camera, how)
        if name is not None and name not in graphs:
            graphs[name] = _encoder(name, config, weights, camera, opset)
    name = WHOLE if how == "one" else POLICY
    graphs[name] = _policy(GraphBuilder(name, opset), config, weights, how)
    weights.require_all_taken()
    return graphs


def _encoder(
    name: str, config: ActConfig, weights: Weights, camera: CameraInput, opset: int
) -> onnx.ModelProto:
    graph = GraphBuilder(name, opset)
    image = graph.input(IMAGES, (1, 3, camera.height, camera.width))
    shape = (1, config.dim, *config.tokens((camera.height, camera.width)))
    features = _features(_backbone(graph, config, weights), image, config.dim)
    return graph.model({FEATURES: (features, shape)}, {})


def _backbone(graph: GraphBuilder, config: ActConfig, weights: Weights) -> Backbone:
    return Backbone(graph=graph, weights=weights, network=config.backbone, dilated=config.dilated)


def _features(backbone: Backbone, image: Value, dim: int) -> Value:
    """Return the features [1, dim, h, w] of an image."""
    weights, name = backbone.weights, "encoder_img_feat_input_proj"
    weight = weights.take(f"{name}.weight", dim, backbone.network.channels, 1, 1)
    features, left = backbone.features(image)
    if len(left) < backbone.network.channels:
        weight = np.ascontiguousarray(weight[:, left])
    return backbone.graph.op(
        "Conv", features, weight, weights.take(f"{name}.bias", dim), kernel_shape=[1, 1]
    )


def _policy(graph: GraphBuilder, config: ActConfig, weights: Weights, how: How) -> onnx.ModelProto:
    transformer = Transformer(
        graph=graph,
        weights=weights,
        dim=config.dim,
        heads=config.heads,
        feedforward=config.feedforward,
        activation=config.activation,
        pre_norm=config.pre_norm,
    )
    tokens = [_latent(config, weights), *_vectors(graph, config, transformer)]
    positions = [weights.take("encoder_1d_feature_pos_embed.weight", len(tokens), config.dim)]
    backbone = _backbone(graph, config, weights)
    for camera in config.cameras:
        height, width = config.tokens((camera.height, camera.width))
        tokens.append(_image_tokens(backbone, config, camera, how))
        positions.append(sine_positions(height, width, config.dim))
    position = np.concatenate(positions)[np.newaxis]
    memory = transformer.encoder(
        graph.op("Concat", *tokens, axis=1), position, config.encoder_layers
    )
    steps = weights.take("decoder_pos_embed.weight", config.chunk_size, config.dim)[np.newaxis]
    decoded = transformer.decoder(
        np.zeros_like(steps), steps, memory, position, config.decoder_layers
    )
    actions = transformer.linear(decoded, "action_head", config.dim, config.action.shape[0])
    cameras = {tensor_name(camera, how): camera.feature.name for camera in config.cameras}
    return graph.model(
        {ACTIONS: (actions, (1, config.chunk_size, config.action.shape[0]))},
        {CAMERAS: json.dumps(cameras)} if cameras else {},
    )


def _latent(config: ActConfig, weights: Weights) -> F32:
    """Return the token [1, 1, dim] for a zero latent, which is the bias of the latent's layer."""
    weights.take("encoder_latent_input_proj.weight", config.dim, config.latent_dim)
    return weights.take("encoder_latent_input_proj.bias", config.dim)[np.newaxis, np.newaxis]


def _vectors(graph: GraphBuilder, config: ActConfig, transformer: Transformer) -> list[Value]:
    tokens = list[Value]()
    for feature, tensor, layer in (
        (config.state, STATES, "encoder_robot_state_input_proj"),
        (config.environment, OUTSIDE, "encoder_env_state_input_proj"),
    ):
        if feature is not None:
            given = graph.input(tensor, (1, feature.shape[0]))
            row = graph.op("Reshape", given, np.array((1, 1, feature.shape[0]), np.int64))
            tokens.append(transformer.linear(row, layer, feature.shape[0], config.dim))
    return tokens


def _image_tokens(backbone: Backbone, config: ActConfig, camera: CameraInput, how: How) -> Value:
    height, width = config.tokens((camera.height, camera.width))
    graph, name = backbone.graph, tensor_name(camera, how)
    if how == "one":
        image = graph.input(name, (1, 3, camera.height, camera.width))
        features = _features(backbone, image, config.dim)
    else:
        features = graph.input(name, (1, config.dim, height, width))
    rows = graph.op("Reshape", features, np.array((1, config.dim, height * width), np.int64))
    return graph.op("Transpose", rows, perm=[0, 2, 1])
