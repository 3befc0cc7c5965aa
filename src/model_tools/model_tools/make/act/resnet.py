# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""ResNet backbone of LeRobot policies: from a normalized image to a feature map.

He et al., "Deep Residual Learning for Image Recognition" (2016), with the stride of a bottleneck in
its 3 x 3 convolution, as in torchvision. Batch norm is frozen, so it is folded into the convolution
before it: y = (x - running_mean) / sqrt(running_var + eps) weight + bias.

Channels that are always zero (in padded or pruned networks) are removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from model_tools.make.act.builder import GraphBuilder, Value, Weights
from policy_core.interfaces import F32

_EPS = 1e-5
_FIRST = 64
_STAGES = (64, 128, 256, 512)
_PER_GROUP = 16
Convolution = tuple[F32, F32]
"""Weight [out, in, k, k] and bias [out], with batch norm folded in."""
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNet:
    """A ResNet: its blocks per stage, and whether these are bottlenecks (4 times as wide)."""

    blocks: tuple[int, int, int, int]
    is_bottleneck: bool

    @property
    def widening(self) -> int:
        """Output channels of a block, as a multiple of its stage's channels."""
        return 4 if self.is_bottleneck else 1

    @property
    def channels(self) -> int:
        """Number of channels of the features."""
        return _STAGES[-1] * self.widening


RESNETS = {
    "resnet18": ResNet(blocks=(2, 2, 2, 2), is_bottleneck=False),
    "resnet34": ResNet(blocks=(3, 4, 6, 3), is_bottleneck=False),
    "resnet50": ResNet(blocks=(3, 4, 6, 3), is_bottleneck=True),
    "resnet101": ResNet(blocks=(3, 4, 23, 3), is_bottleneck=True),
    "resnet152": ResNet(blocks=(3, 8, 36, 3), is_bottleneck=True),
}


def feature_size(pixels: int, *, dilated: bool) -> int:
    """Return the height or width of an image's features after strides of 2, each rounded up."""
    return -(-pixels // (16 if dilated else 32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """Writes a ResNet into a graph, for one or several images that share its weights."""

    graph: GraphBuilder
    weights: Weights
    network: ResNet
    dilated: bool
    """True for dilation in the last stage instead of a stride (`replace_final_stride_with_...`)."""
    onnx_name: Callable[[str], str] = "backbone.{}".format
    """Function that converts a layer's name to its name in the checkpoint."""
    group_norm: bool = False
    """True for group norm (16 channels per group) instead of batch norm."""
    norms: dict[str, Convolution] = field(default_factory=dict)
    """Weight and bias of the group norm after each convolution."""
    known: dict[str, Convolution] = field(default_factory=dict)
    """Weights and biases by convolution, without channels that are zero for every image."""
    left: list[Rows] = field(default_factory=list)
    """Indices of the remaining features, once known."""

    def features(self, image: Value) -> tuple[Value, Rows]:
        """Return features [1, left, h, w] of an image [1, 3, height, width], and their indices.

        The removed features are zero for every image.
        """
        if not self.left:
            convolutions = {
                conv: self._folded(conv, norm, shape) for conv, norm, shape in self._convolutions()
            }
            layers = 3 if self.network.is_bottleneck else 2
            known, left = convolutions, np.arange(self.network.channels)
            if not self.group_norm:
                known, left = without_silent(convolutions, self.network.blocks, layers)
            self.known.update(known)
            self.left.append(left)
        x = self._relu(self._conv(image, "conv1", stride=2))
        x = self.graph.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        for stage, blocks in enumerate(self.network.blocks):
            last = self.dilated and stage == len(_STAGES) - 1
            for number in range(blocks):
                stride = 2 if stage and number == 0 and not last else 1
                # torchvision dilates from the second block of the stage on.
                dilation = 2 if last and number else 1
                x = self._block(x, f"layer{stage + 1}.{number}", stride, dilation)
        return x, self.left[0]

    def _block(self, x: Value, name: str, stride: int, dilation: int) -> Value:
        if self.network.is_bottleneck:
            y = self._relu(self._conv(x, f"{name}.conv1"))
            y = self._relu(self._conv(y, f"{name}.conv2", stride=stride, dilation=dilation))
            y = self._conv(y, f"{name}.conv3")
        else:
            y = self._relu(self._conv(x, f"{name}.conv1", stride=stride))
            y = self._conv(y, f"{name}.conv2", dilation=dilation)
        if f"{name}.downsample.0" in self.known:
            x = self._conv(x, f"{name}.downsample.0", stride=stride)
        return self._relu(self.graph.op("Add", y, x))

    def _convolutions(self) -> Iterator[tuple[str, str, tuple[int, int, int, int]]]:
        """Yield each convolution's name, its batch norm's name and its weight's shape."""
        yield "conv1", "bn1", (_FIRST, 3, 7, 7)
        given = _FIRST
        for stage, (channels, blocks) in enumerate(zip(_STAGES, self.network.blocks, strict=True)):
            wide = channels * self.network.widening
            for number in range(blocks):
                name = f"layer{stage + 1}.{number}"
                for layer, shape in enumerate(self._shapes(given, channels), 1):
                    yield f"{name}.conv{layer}", f"{name}.bn{layer}", shape
                if given != wide:
                    yield f"{name}.downsample.0", f"{name}.downsample.1", (wide, given, 1, 1)
                given = wide

    def _shapes(self, given: int, channels: int) -> tuple[tuple[int, int, int, int], ...]:
        if self.network.is_bottleneck:
            return (
                (channels, given, 1, 1),
                (channels, channels, 3, 3),
                (channels * self.network.widening, channels, 1, 1),
            )
        return (channels, given, 3, 3), (channels, channels, 3, 3)

    def _conv(self, x: Value, conv: str, *, stride: int = 1, dilation: int = 1) -> Value:
        weight, bias = self.known[conv]
        kernel = weight.shape[2]
        pad = dilation * (kernel // 2)
        made = self.graph.op(
            "Conv",
            x,
            weight,
            bias,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[pad] * 4,
            dilations=[dilation, dilation],
        )
        if not self.group_norm:
            return made
        channels = len(bias)
        shape = (1, channels, 1, 1)
        scale, shift = (each.reshape(shape) for each in self.norms[conv])
        return group_norm(self.graph, made, channels // _PER_GROUP, scale, shift)

    def _folded(self, conv: str, norm: str, shape: tuple[int, ...]) -> Convolution:
        """Return weight and bias of a convolution with its batch norm folded in."""
        taken = self.weights.take(f"{self.onnx_name(conv)}.weight", *shape)
        name = self.onnx_name(norm)
        if self.group_norm:
            self.norms[conv] = (
                self.weights.take(f"{name}.weight", shape[0]),
                self.weights.take(f"{name}.bias", shape[0]),
            )
            return taken, np.zeros(shape[0], np.float32)
        weight = taken.astype(np.float64)
        scale, bias, mean, variance = (
            self.weights.take(f"{name}.{kind}", shape[0]).astype(np.float64)
            for kind in ("weight", "bias", "running_mean", "running_var")
        )
        if variance.min() < 0.0:
            raise self.weights.wrong(f"{name}.running_var", "values >= 0", f"{variance.min():g}")
        scale = scale / np.sqrt(variance + _EPS)
        folded = weight * scale[:, np.newaxis, np.newaxis, np.newaxis]
        return folded.astype(np.float32), (bias - mean * scale).astype(np.float32)

    def _relu(self, x: Value) -> Value:
        return self.graph.op("Relu", x)


def group_norm(graph: GraphBuilder, x: Value, groups: int, weight: F32, bias: F32) -> Value:
    """Return group norm of [1, channels, ...]; weight and bias have as many axes as `x`.

    It is computed as instance norm of the groups, since every opset has that operator.
    """
    shape = graph.op("Shape", x)
    split = graph.op("Reshape", x, np.array([1, groups, -1], np.int64))
    ones, zeros = np.ones(groups, np.float32), np.zeros(groups, np.float32)
    normed = graph.op("InstanceNormalization", split, ones, zeros, epsilon=_EPS)
    whole = graph.op("Reshape", normed, shape)
    return graph.op("Add", graph.op("Mul", whole, weight), bias)


def without_silent(
    convolutions: Mapping[str, Convolution], blocks: Sequence[int], layers: int
) -> tuple[dict[str, Convolution], Rows]:
    """Return the convolutions without always-zero channels, and the remaining feature indices.

    Within a stage, blocks add to each other's results, so all of them keep the same channels.

    Args:
        convolutions: Convolutions by name: `conv1`, `layerS.B.convN`, `layerS.B.downsample.0`.
        blocks: Number of blocks in each stage.
        layers: Number of convolutions in a block, not counting `downsample.0`.
    """
    left = dict[str, Convolution]()
    stream = _heard(convolutions, ["conv1"])
    for stage, count in enumerate(blocks, 1):
        names = [f"layer{stage}.{block}" for block in range(count)]
        changes = f"{names[0]}.downsample.0" in convolutions
        ends = [f"{name}.conv{layers}" for name in names]
        after = _heard(convolutions, [f"{names[0]}.downsample.0" if changes else "conv1", *ends])
        if stage == 1:
            # Without a change of channels the first stage adds to its input.
            stream = stream if changes else after
            left["conv1"] = _part(convolutions["conv1"], stream, np.arange(3))
        for number, name in enumerate(names):
            given = stream if number == 0 else after
            if number == 0 and changes:
                left[f"{name}.downsample.0"] = _part(
                    convolutions[f"{name}.downsample.0"], after, given
                )
            for layer in range(1, layers + 1):
                conv = f"{name}.conv{layer}"
                kept = after if layer == layers else _heard(convolutions, [conv])
                left[conv], given = _part(convolutions[conv], kept, given), kept
        stream = after
    return left, stream


def _heard(convolutions: Mapping[str, Convolution], names: Sequence[str]) -> Rows:
    """Return the channels to which at least one of these convolutions adds a nonzero value."""
    heard = np.any(
        [
            weight.any(axis=(1, 2, 3)) | (bias != 0)
            for weight, bias in (convolutions[name] for name in names)
        ],
        axis=0,
    )
    # If all channels are zero, keep one: runtimes refuse empty tensors.
    return np.flatnonzero(heard) if heard.any() else np.arange(1)


def _part(convolution: Convolution, out: Rows, given: Rows) -> Convolution:
    weight, bias = convolution
    if (len(out), len(given)) == weight.shape[:2]:
        return convolution
    return np.ascontiguousarray(weight[np.ix_(out, given)]), np.ascontiguousarray(bias[out])
