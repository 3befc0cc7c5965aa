# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Configuration and graphs of a Diffusion Policy or flow policy: encoders, and one denoising step.

A flow policy is the same network with a different objective: `"objective": "flow_matching"` in
`config.json`, a key from LeRobot's multi_task_dit, which LeRobot's Diffusion Policy does not have.

The graph for a step takes the raw observation, the noisy actions and the embedded time, and returns
what the sampler needs (`policy_core.members.chunk.denoising`). Resize, crop, ResNet and spatial
softmax are in the encoder. Chi et al., "Diffusion Policy" (2023), as LeRobot implements it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from model_tools.files.foreign import Node
from model_tools.files.lerobot.checkpoint import Config
from model_tools.make.act.builder import GraphBuilder, Value, Weights, linear, shape
from model_tools.make.act.checkpoint_config import (
    LARGEST_STEPS,
    CameraInput,
    CheckpointConfig,
    common_fields,
    count,
    flag,
)
from model_tools.make.act.graphs import ACTIONS, FEATURES, IMAGES, OUTSIDE, STATES
from model_tools.make.act.llama import part
from model_tools.make.act.resnet import RESNETS, Backbone, ResNet, feature_size, group_norm
from policy_core.bundle.chunk_contract import Denoising, NoiseSchedule, StepTime
from policy_core.interfaces import F32

NOISY, TIME = "noisy_actions", "time"
"""Inputs of a denoising step's graph, besides those for the observation."""
_BETAS = ("squaredcos_cap_v2", "scaled_linear", "linear")
_FLOW_SCALE = 100.0
"""Factor that scales a flow's time (0 to 1) to the network's input range, diffusion timesteps."""
_KEYS = """
    horizon drop_n_last_frames vision_backbone resize_shape crop_ratio crop_shape crop_is_random
    pretrained_backbone_weights use_group_norm spatial_softmax_num_keypoints
    use_separate_rgb_encoder_per_camera down_dims kernel_size n_groups
    diffusion_step_embed_dim use_film_scale_modulation gradient_checkpointing
    noise_scheduler_type num_train_timesteps beta_schedule beta_start beta_end prediction_type
    clip_sample clip_sample_range num_inference_steps compile_model compile_mode
    do_mask_loss_for_padding optimizer_betas optimizer_eps scheduler_name
    scheduler_warmup_steps objective
"""
"""Keys that LeRobot saves only for this policy, plus `objective`."""
_SLOWEST = 1e-4
"""Lowest frequency of the time embedding, relative to the highest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnetConfig(CheckpointConfig):
    """Hyperparameters of a Diffusion Policy's network."""

    denoising: Denoising
    horizon: int
    backbone: ResNet
    group_norm: bool
    resize: tuple[int, int] | None
    crop: tuple[int, int] | None
    keypoints: int
    separate_encoders: bool
    down_dims: tuple[int, ...]
    kernel: int
    groups: int
    film_scale: bool

    @property
    def seen(self) -> tuple[int, int]:
        """The height and width of an image at the ResNet's input."""
        return self.crop or self.resize or self.sizes[0]


def check_unet_config(config: Config) -> UnetConfig:
    root, features = config.root, common_fields(config, _KEYS)
    if features["state"] is None:
        raise root["input_features"].wrong("observation.state (the network needs it)")
    observations, horizon = count(root["n_obs_steps"]), count(root["horizon"], LARGEST_STEPS)
    dims = tuple(count(each) for each in root["down_dims"].elements())
    if horizon % 2 ** len(dims):
        raise root["horizon"].wrong(f"a multiple of {2 ** len(dims)}, for {len(dims)} down_dims")
    size = horizon - observations + 1
    steps = root["n_action_steps"]
    if not 1 <= steps.whole() <= size:
        raise steps.wrong(f"1 to horizon - n_obs_steps + 1 ({size})")
    checked = UnetConfig(
        **features,
        denoising=_denoising(root, observations),
        chunk_size=size,
        n_action_steps=steps.whole(),
        horizon=horizon,
        down_dims=dims,
        kernel=count(root["kernel_size"]),
        groups=count(root["n_groups"]),
        film_scale=flag(root, "use_film_scale_modulation"),
        **_encoder_sizes(root),
    )
    if len(checked.sizes) > 1:
        raise root["input_features"].wrong("images of one size (the encoder accepts only one)")
    if checked.crop is not None and checked.sizes:
        height, width = checked.resize or checked.sizes[0]
        if checked.crop[0] > height or checked.crop[1] > width:
            raise root["crop_shape"].wrong(f"at most the image size ({height} x {width})")
    return checked


def _denoising(root: Node, observations: int) -> Denoising:
    objective, size = root.get("objective"), count(root["diffusion_step_embed_dim"])
    given = root.get("num_inference_steps")
    if size % 2:
        raise root["diffusion_step_embed_dim"].wrong("an even number")
    if objective is not None and objective.text() not in ("diffusion", "flow_matching"):
        raise objective.wrong("diffusion or flow_matching")
    first, schedule, method = 1.0, None, "flow"
    timesteps = count(root["num_train_timesteps"])
    if objective is not None and objective.text() == "flow_matching":
        first = _FLOW_SCALE
    else:
        schedule, method = _schedule(root, timesteps), root["noise_scheduler_type"].text().lower()
        if method not in ("ddpm", "ddim"):
            raise root["noise_scheduler_type"].wrong("DDPM or DDIM")
    steps = timesteps if given is None else count(given, LARGEST_STEPS)
    if steps > timesteps and given is not None:
        raise given.wrong(f"at most num_train_timesteps ({timesteps})")
    return Denoising(
        method=method,  # type: ignore[arg-type]  # one of the three
        steps=steps,
        tensor=NOISY,
        time=StepTime(
            tensor=TIME, size=size, first_frequency=first, last_frequency=first * _SLOWEST
        ),
        observations=observations,
        schedule=schedule,
    )


def _schedule(root: Node, timesteps: int) -> NoiseSchedule:
    betas, prediction = root["beta_schedule"], root["prediction_type"]
    if betas.text() not in _BETAS:
        raise betas.wrong(f"one of {', '.join(_BETAS)}")
    if prediction.text() not in ("epsilon", "sample"):
        raise prediction.wrong("epsilon or sample")
    return NoiseSchedule(
        timesteps=timesteps,
        betas=betas.text(),  # type: ignore[arg-type]  # checked above
        beta_start=root["beta_start"].number(),
        beta_end=root["beta_end"].number(),
        prediction=prediction.text(),  # type: ignore[arg-type]  # checked above
        clip=root["clip_sample_range"].positive() if flag(root, "clip_sample") else None,
    )


def _encoder_sizes(root: Node) -> dict[str, Any]:
    backbone = root["vision_backbone"]
    if backbone.text() not in RESNETS:
        raise backbone.wrong(f"one of {', '.join(RESNETS)}")
    resize, crop = _size(root, "resize_shape"), _size(root, "crop_shape")
    ratio = root.get("crop_ratio")
    if resize is not None:
        # As in LeRobot: with a resize, only the ratio decides whether and how images are cropped.
        share = 1.0 if ratio is None else ratio.positive()
        crop = (int(resize[0] * share), int(resize[1] * share)) if share < 1.0 else None
    return {
        "backbone": RESNETS[backbone.text()],
        "group_norm": flag(root, "use_group_norm"),
        "resize": resize,
        "crop": crop,
        "keypoints": count(root["spatial_softmax_num_keypoints"]),
        "separate_encoders": flag(root, "use_separate_rgb_encoder_per_camera"),
    }


def _size(root: Node, name: str) -> tuple[int, int] | None:
    found = root.get(name)
    if found is None:
        return None
    sides = [count(side) for side in found.elements()]
    if len(sides) != 2:
        raise found.wrong("height and width")
    return sides[0], sides[1]


ENCODER, STEP = "VisionEncoder", "DenoisingStep"
"""Names of the graphs; the encoder of a single camera is `VisionEncoder_CAMERA`."""
PREFIX = "diffusion."
_FINAL_GROUPS = 8
"""Number of groups in the last norm, regardless of the configuration."""
_LAYERS = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
"""Indices of a ResNet's layers in LeRobot's encoder, which names layers by index."""


def unet_encoder(config: UnetConfig, camera: CameraInput) -> str:
    """Return the name of the graph that encodes a camera's images."""
    return f"{ENCODER}_{camera.name}" if config.separate_encoders else ENCODER


def unet_tensor(camera: CameraInput) -> str:
    """Return the name of the step graph's input for a camera."""
    return f"{camera.name}_features"


def write_unet_graphs(
    config: UnetConfig, weights: Weights, *, opset: int
) -> dict[str, onnx.ModelProto]:
    """Return the graphs by name, with the denoising step's graph last."""
    graphs = dict[str, onnx.ModelProto]()
    for number, camera in enumerate(config.cameras):
        name = unet_encoder(config, camera)
        if name not in graphs:
            layer = f"rgb_encoder.{number}" if config.separate_encoders else "rgb_encoder"
            graphs[name] = _encoder(GraphBuilder(name, opset), config, weights, layer, camera)
    graphs[STEP] = _step(GraphBuilder(STEP, opset), config, weights)
    weights.require_all_taken()
    return graphs


def _encoder(
    graph: GraphBuilder, config: UnetConfig, weights: Weights, layer: str, camera: CameraInput
) -> onnx.ModelProto:
    x: Value = graph.input(IMAGES, (1, 3, camera.height, camera.width))
    height, width = camera.height, camera.width
    if config.resize is not None:
        # A matrix product resizes each axis; the matrix for the columns is on the right.
        across, down = (
            _antialiased(old, new)
            for old, new in ((width, config.resize[1]), (height, config.resize[0]))
        )
        x = graph.op("MatMul", down, graph.op("MatMul", x, np.ascontiguousarray(across.T)))
        height, width = config.resize
    if config.crop is not None:
        rows, columns = config.crop
        first = [round((height - rows) / 2), round((width - columns) / 2)]
        last = [first[0] + rows, first[1] + columns]
        x = graph.op(
            "Slice",
            x,
            shape(*first),
            shape(*last),
            shape(2, 3),
        )
    backbone = Backbone(
        graph=graph,
        weights=weights,
        network=config.backbone,
        dilated=False,
        group_norm=config.group_norm,
        onnx_name=_numbered(f"{layer}.backbone"),
    )
    features, left = backbone.features(x)
    count = config.keypoints
    kernel = weights.take(f"{layer}.pool.nets.weight", count, config.backbone.channels, 1, 1)
    maps = graph.op(
        "Conv",
        features,
        np.ascontiguousarray(kernel[:, left]),
        weights.take(f"{layer}.pool.nets.bias", count),
        kernel_shape=[1, 1],
    )
    rows, columns = (feature_size(pixels, dilated=False) for pixels in config.seen)
    flat = graph.op("Reshape", maps, shape(1, count, rows * columns))
    grid = weights.take(f"{layer}.pool.pos_grid", rows * columns, 2)
    points = graph.op("MatMul", graph.op("Softmax", flat, axis=-1), grid)
    row = graph.op("Reshape", points, shape(1, 2 * count))
    made = graph.op("Relu", linear(graph, weights, row, f"{layer}.out", 2 * count, 2 * count))
    return graph.model({FEATURES: (made, (1, 2 * count))}, {})


def _numbered(layer: str) -> Callable[[str], str]:
    def onnx_name(name: str) -> str:
        first, _, rest = name.partition(".")
        return ".".join(filter(None, (layer, _LAYERS[first], rest)))

    return onnx_name


def _antialiased(old: int, new: int) -> F32:
    """Return the matrix [new, old] of a linear resize with antialiasing along one axis.

    Its triangle filter spans two new pixels, but at least two old ones, as in torchvision.
    """
    scale = old / new
    half = max(scale, 1.0)
    centres = (np.arange(new) + 0.5) * scale
    distance = np.abs(np.arange(old) + 0.5 - centres[:, np.newaxis]) / half
    weights = np.maximum(1.0 - distance, 0.0)
    normed: F32 = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return normed


def _step(graph: GraphBuilder, config: UnetConfig, weights: Weights) -> onnx.ModelProto:
    size = config.denoising.time.size
    time = graph.input(TIME, (1, size))
    hidden = linear(graph, weights, time, "unet.diffusion_step_encoder.1", size, 4 * size)
    step = linear(
        graph, weights, _mish(graph, hidden), "unet.diffusion_step_encoder.3", 4 * size, size
    )
    seen, width = _observation(graph, config)
    unet = _Unet(
        graph=graph,
        weights=weights,
        config=config,
        condition=_mish(graph, graph.op("Concat", step, seen, axis=1)),
        condition_size=size + width,
    )
    actions = config.action.shape[0]
    noisy = graph.input(NOISY, (1, config.horizon, actions))
    found = unet.run(graph.op("Transpose", noisy, perm=[0, 2, 1]), actions)
    made = graph.op("Transpose", found, perm=[0, 2, 1])
    return graph.model({ACTIONS: (made, (1, config.horizon, actions))}, {})


def _observation(graph: GraphBuilder, config: UnetConfig) -> tuple[Value, int]:
    """Return the observations [1, width] (each step: state, cameras, environment) and `width`."""
    steps = config.denoising.observations
    several = (steps,) if steps > 1 else ()
    sizes = {STATES: config.state.shape[0]} if config.state else {}
    sizes |= {unet_tensor(camera): 2 * config.keypoints for camera in config.cameras}
    if config.environment is not None:
        sizes[OUTSIDE] = config.environment.shape[0]
    parts = [graph.input(name, (1, *several, size)) for name, size in sizes.items()]
    width = steps * sum(sizes.values())
    joined = graph.op("Concat", *parts, axis=-1) if len(parts) > 1 else parts[0]
    return graph.op("Reshape", joined, shape(1, width)), width


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unet:
    """U-Net whose residual blocks are conditioned on observation and time."""

    graph: GraphBuilder
    weights: Weights
    config: UnetConfig
    condition: Value
    """Time and observation after Mish [1, condition_size]."""
    condition_size: int

    def run(self, x: Value, actions: int) -> Value:
        """Return the output [1, actions, horizon] for noisy actions of that shape."""
        dims, given, skips = self.config.down_dims, actions, list[Value]()
        for level, dim in enumerate(dims):
            name = f"unet.down_modules.{level}"
            x = self._block(self._block(x, f"{name}.0", given, dim), f"{name}.1", dim, dim)
            skips.append(x)
            if level < len(dims) - 1:
                x = self._conv(x, f"{name}.2", dim, dim, 3, stride=2)
            given = dim
        for number in range(2):
            x = self._block(x, f"unet.mid_modules.{number}", dims[-1], dims[-1])
        pairs = list(zip(dims[1:], dims[:-1], strict=True))[::-1]
        for level, (given, dim) in enumerate(pairs):
            name = f"unet.up_modules.{level}"
            joined = self.graph.op("Concat", x, skips.pop(), axis=1)
            x = self._block(self._block(joined, f"{name}.0", 2 * given, dim), f"{name}.1", dim, dim)
            # The first level's skip is never used, so each level doubles the steps.
            x = self._doubled(x, f"{name}.2", dim)
        x = self._normed(x, "unet.final_conv.0", dims[0], dims[0], _FINAL_GROUPS)
        return self._conv(x, "unet.final_conv.1", dims[0], actions, 1)

    def _block(self, x: Value, name: str, given: int, dim: int) -> Value:
        """Return the output [1, dim, steps] of a residual block for x [1, given, steps]."""
        graph, scaled = self.graph, self.config.film_scale
        made = self._normed(x, f"{name}.conv1", given, dim, self.config.groups)
        width = 2 * dim if scaled else dim
        film = linear(
            graph,
            self.weights,
            self.condition,
            f"{name}.cond_encoder.1",
            self.condition_size,
            width,
        )
        film = graph.op("Reshape", film, shape(1, width, 1))
        if scaled:
            first, second = (part(graph, film, start, dim) for start in (0, dim))
            made = graph.op("Add", graph.op("Mul", first, made), second)
        else:
            made = graph.op("Add", made, film)
        made = self._normed(made, f"{name}.conv2", dim, dim, self.config.groups)
        if given != dim:
            x = self._conv(x, f"{name}.residual_conv", given, dim, 1)
        return graph.op("Add", made, x)

    def _normed(self, x: Value, name: str, given: int, dim: int, groups: int) -> Value:
        name = f"{name}.block"
        made = self._conv(x, f"{name}.0", given, dim, self.config.kernel)
        scale, shift = (
            self.weights.take(f"{name}.1.{kind}", dim).reshape(1, dim, 1)
            for kind in ("weight", "bias")
        )
        return _mish(self.graph, group_norm(self.graph, made, groups, scale, shift))

    def _conv(
        self, x: Value, name: str, given: int, dim: int, kernel: int, *, stride: int = 1
    ) -> Value:
        return self.graph.op(
            "Conv",
            x,
            self.weights.take(f"{name}.weight", dim, given, kernel),
            self.weights.take(f"{name}.bias", dim),
            kernel_shape=[kernel],
            strides=[stride],
            pads=[kernel // 2] * 2,
        )

    def _doubled(self, x: Value, name: str, dim: int) -> Value:
        return self.graph.op(
            "ConvTranspose",
            x,
            self.weights.take(f"{name}.weight", dim, dim, 4),
            self.weights.take(f"{name}.bias", dim),
            kernel_shape=[4],
            strides=[2],
            pads=[1, 1],
        )


def _mish(graph: GraphBuilder, x: Value) -> Value:
    """Return x * tanh(softplus(x)), using operators that every opset has."""
    return graph.op("Mul", x, graph.op("Tanh", graph.op("Softplus", x)))
