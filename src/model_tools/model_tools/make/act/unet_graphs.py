# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The graphs of a Diffusion Policy, or a flow: encoders of images, and one denoising step.

The step's graph gets the observation as it is, the actions with their noise, and the embedded time,
and answers what the sampler needs (`policy_core.members.chunk.denoising`). Resize, crop, ResNet
and spatial softmax are in the encoder. Chi et al., "Diffusion Policy" (2023), as LeRobot has it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx

from model_tools.make.act.builder import GraphBuilder, Value, Weights, linear
from model_tools.make.act.checkpoint_config import CameraInput
from model_tools.make.act.graphs import ACTIONS, FEATURES, IMAGES, OUTSIDE, STATES
from model_tools.make.act.resnet import Backbone, feature_size, group_norm
from model_tools.make.act.unet_config import NOISY, TIME, UnetConfig
from policy_core.interfaces import F32

ENCODER, STEP = "VisionEncoder", "DenoisingStep"
"""Names of the graphs; an encoder of one camera has its name behind it, `VisionEncoder_CAMERA`."""
PREFIX = "diffusion."
_FINAL_GROUPS = 8
"""Of the last norm, whatever the configuration says."""
_LAYERS = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
"""Names of a ResNet's layers in LeRobot's encoder, which only counts them."""


def unet_encoder(config: UnetConfig, camera: CameraInput) -> str:
    """Return the graph that makes features of a camera's images."""
    return f"{ENCODER}_{camera.name}" if config.separate_encoders else ENCODER


def unet_tensor(camera: CameraInput) -> str:
    """Return the input of the step's graph that belongs to a camera."""
    return f"{camera.name}_features"


def write_unet_graphs(
    config: UnetConfig, weights: Weights, *, opset: int
) -> dict[str, onnx.ModelProto]:
    """Return the graphs by name, that of the denoising step last."""
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
        # Along each axis a product with a matrix; that of the columns on the right.
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
            np.array(first, np.int64),
            np.array(last, np.int64),
            np.array([2, 3], np.int64),
        )
    backbone = Backbone(
        graph=graph,
        weights=weights,
        network=config.backbone,
        dilated=False,
        group_norm=config.group_norm,
        name_of=_numbered(f"{layer}.backbone"),
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
    flat = graph.op("Reshape", maps, np.array([1, count, rows * columns], np.int64))
    grid = weights.take(f"{layer}.pool.pos_grid", rows * columns, 2)
    points = graph.op("MatMul", graph.op("Softmax", flat, axis=-1), grid)
    row = graph.op("Reshape", points, np.array([1, 2 * count], np.int64))
    made = graph.op("Relu", linear(graph, weights, row, f"{layer}.out", 2 * count, 2 * count))
    return graph.model({FEATURES: (made, (1, 2 * count))}, {})


def _numbered(layer: str) -> Callable[[str], str]:
    def name_of(name: str) -> str:
        first, _, rest = name.partition(".")
        return ".".join(filter(None, (layer, _LAYERS[first], rest)))

    return name_of


def _antialiased(old: int, new: int) -> F32:
    """Return the matrix [new, old] of a linear resize with antialias along one axis.

    A triangle as wide as a new pixel is in old ones, and at least two old pixels; as torchvision.
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
    """Return the observations [1, width], of each step state, cameras, environment; the width."""
    steps = config.denoising.observations
    several = (steps,) if steps > 1 else ()
    sizes = {STATES: config.state.shape[0]} if config.state else {}
    sizes |= {unet_tensor(camera): 2 * config.keypoints for camera in config.cameras}
    if config.environment is not None:
        sizes[OUTSIDE] = config.environment.shape[0]
    parts = [graph.input(name, (1, *several, size)) for name, size in sizes.items()]
    width = steps * sum(sizes.values())
    joined = graph.op("Concat", *parts, axis=-1) if len(parts) > 1 else parts[0]
    return graph.op("Reshape", joined, np.array([1, width], np.int64)), width


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unet:
    """Writes the U-Net, whose residual blocks are conditioned on observation and time."""

    graph: GraphBuilder
    weights: Weights
    config: UnetConfig
    condition: Value
    """After its Mish [1, condition_size]."""
    condition_size: int

    def run(self, x: Value, actions: int) -> Value:
        """Return the answer [1, actions, horizon] for actions with noise of that shape."""
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
            # The first level's skip is never used, so each of these doubles the steps.
            x = self._doubled(x, f"{name}.2", dim)
        x = self._normed(x, "unet.final_conv.0", dims[0], dims[0], _FINAL_GROUPS)
        return self._conv(x, "unet.final_conv.1", dims[0], actions, 1)

    def _block(self, x: Value, name: str, given: int, dim: int) -> Value:
        """Return [1, dim, steps] of [1, given, steps]."""
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
        film = graph.op("Reshape", film, np.array([1, width, 1], np.int64))
        if scaled:
            first, second = (
                graph.op(
                    "Slice",
                    film,
                    np.array([start], np.int64),
                    np.array([start + dim], np.int64),
                    np.array([1], np.int64),
                )
                for start in (0, dim)
            )
            made = graph.op("Add", graph.op("Mul", first, made), second)
        else:
            made = graph.op("Add", made, film)
        made = self._normed(made, f"{name}.conv2", dim, dim, self.config.groups)
        if given != dim:
            x = self._conv(x, f"{name}.residual_conv", given, dim, 1)
        return graph.op("Add", made, x)

    def _normed(self, x: Value, name: str, given: int, dim: int, groups: int) -> Value:
        """Return convolution, group norm and Mish."""
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
    """Return x tanh(softplus(x)), in operators of every opset."""
    return graph.op("Mul", x, graph.op("Tanh", graph.op("Softplus", x)))
