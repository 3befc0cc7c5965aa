# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The exported graphs against ACT in plain numpy, for unusual configurations."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from model_tools.errors import ToolError
from model_tools.make.act.checkpoint import read_checkpoint
from model_tools.make.act.graphs import POLICY, VISION, WHOLE, How
from policy_core.interfaces import F64, Tensor
from testkit.wording import refusal

from .small_checkpoints import OUTSIDE, STATE, Tensors, config_of, random_tensors, write_checkpoint

BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}
DEEP = {"vision_backbone": "resnet50", "cameras": {"front": (33, 50)}}
CASES: dict[str, dict[str, Any]] = {
    "as LeRobot's default": {},
    "normalised before": {"pre_norm": True, "n_encoder_layers": 2, "n_decoder_layers": 3},
    "gelu": {"feedforward_activation": "gelu"},
    "glu": {"feedforward_activation": "glu", "n_decoder_layers": 2},
    "resnet34, sizes that differ": {
        "vision_backbone": "resnet34",
        "cameras": {"front": (33, 65), "wrist": (64, 40)},
    },
    "resnet50": DEEP,
    "resnet50, dilated": {**DEEP, "replace_final_stride_with_dilation": True},
    "no state": {"state": None, "cameras": {"front": (32, 32)}},
    "no camera": {"cameras": {}, "outside": 5},
    "camera, state and environment state": {
        "cameras": {"front": (32, 32)},
        "outside": 3,
        "state": 4,
        "action": 4,
        "dim_model": 24,
        "n_heads": 6,
    },
}


class PlainAct:
    def __init__(self, config: dict[str, Any], tensors: Tensors) -> None:
        self.config = config
        self.tensors = {
            name.removeprefix("model."): array.astype(np.float64) for name, array in tensors.items()
        }

    def chunk(self, vectors: Mapping[str, Tensor], images: Sequence[Tensor]) -> F64:
        """Return the chunk [steps, actions] for normalised vectors [n] and images [3, h, w]."""
        t = self.tensors
        tokens = [t["encoder_latent_input_proj.bias"]]
        for name, layer in (
            (STATE, "encoder_robot_state_input_proj"),
            (OUTSIDE, "encoder_env_state_input_proj"),
        ):
            if name in vectors:
                tokens.append(self._linear(layer, vectors[name].astype(np.float64)))
        at = list(t["encoder_1d_feature_pos_embed.weight"])
        for image in images:
            features = self.features(image)
            _, height, width = features.shape
            for row in range(height):
                for column in range(width):
                    tokens.append(features[:, row, column])
                    at.append(self._sines(row, column, height, width))
        memory, positions = np.stack(tokens), np.stack(at)
        for i in range(self.config["n_encoder_layers"]):
            memory = self._layer(f"encoder.layers.{i}", memory, positions, None, None)
        if self.config["pre_norm"]:
            memory = self._norm("encoder.norm", memory)
        steps = t["decoder_pos_embed.weight"]
        x = np.zeros_like(steps)
        for i in range(self.config["n_decoder_layers"]):
            x = self._layer(f"decoder.layers.{i}", x, steps, memory, positions)
        return self._linear("action_head", self._norm("decoder.norm", x))

    def features(self, image: Tensor) -> F64:
        """Return the features [dim, h, w] of a normalised image [3, height, width]."""
        x = _pool(_relu(self._conv("conv1", "bn1", image.astype(np.float64), 2, 3, 1)))
        name = self.config["vision_backbone"]
        for stage, blocks in enumerate(BLOCKS[name]):
            dilated = stage == 3 and self.config["replace_final_stride_with_dilation"]
            for block in range(blocks):
                stride = 2 if stage and not block and not dilated else 1
                x = self._block(
                    f"layer{stage + 1}.{block}", x, stride, 2 if dilated and block else 1
                )
        weight = self.tensors["encoder_img_feat_input_proj.weight"]
        bias = self.tensors["encoder_img_feat_input_proj.bias"]
        found: F64 = np.einsum("oc,chw->ohw", weight[:, :, 0, 0], x) + bias[:, None, None]
        return found

    def _block(self, name: str, x: F64, stride: int, dilation: int) -> F64:
        def conv(number: int, y: F64, s: int, pad: int, d: int) -> F64:
            return self._conv(f"{name}.conv{number}", f"{name}.bn{number}", y, s, pad, d)

        if f"backbone.{name}.conv3.weight" in self.tensors:
            y = _relu(conv(2, _relu(conv(1, x, 1, 0, 1)), stride, dilation, dilation))
            y = conv(3, y, 1, 0, 1)
        else:
            y = conv(2, _relu(conv(1, x, stride, 1, 1)), 1, 1, 1)
        if f"backbone.{name}.downsample.0.weight" in self.tensors:
            x = self._conv(f"{name}.downsample.0", f"{name}.downsample.1", x, stride, 0, 1)
        return _relu(x + y)

    def _conv(self, conv: str, norm: str, x: F64, stride: int, pad: int, dilation: int) -> F64:
        weight, t = self.tensors[f"backbone.{conv}.weight"], self.tensors
        size = (weight.shape[2] - 1) * dilation + 1
        padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
        windows = windows[:, ::stride, ::stride, ::dilation, ::dilation]
        y = np.tensordot(weight, windows, axes=([1, 2, 3], [0, 3, 4]))
        scale, bias, mean, variance = (
            t[f"backbone.{norm}.{kind}"][:, None, None]
            for kind in ("weight", "bias", "running_mean", "running_var")
        )
        return (y - mean) / np.sqrt(variance + 1e-5) * scale + bias

    def _layer(self, name: str, x: F64, at: F64, memory: F64 | None, memory_at: F64 | None) -> F64:
        before = self.config["pre_norm"]

        def part(norm: str, x: F64, work: Any) -> F64:
            if before:
                y: F64 = x + work(self._norm(f"{name}.{norm}", x))
                return y
            return self._norm(f"{name}.{norm}", x + work(x))

        x = part("norm1", x, lambda y: self._attention(f"{name}.self_attn", y + at, y + at, y))
        last = "norm2"
        if memory is not None and memory_at is not None:
            keys = memory + memory_at
            x = part(
                "norm2",
                x,
                lambda y: self._attention(f"{name}.multihead_attn", y + at, keys, memory),
            )
            last = "norm3"
        return part(
            last,
            x,
            lambda y: self._linear(
                f"{name}.linear2", self._bent(self._linear(f"{name}.linear1", y))
            ),
        )

    def _attention(self, name: str, query: F64, key: F64, value: F64) -> F64:
        dim, heads = self.config["dim_model"], self.config["n_heads"]
        weight, bias = self.tensors[f"{name}.in_proj_weight"], self.tensors[f"{name}.in_proj_bias"]
        q, k, v = (
            x @ weight[i * dim : (i + 1) * dim].T + bias[i * dim : (i + 1) * dim]
            for i, x in enumerate((query, key, value))
        )
        size, joined = dim // heads, []
        for head in range(heads):
            mine = slice(head * size, (head + 1) * size)
            scores = q[:, mine] @ k[:, mine].T / math.sqrt(size)
            share = np.exp(scores - scores.max(axis=1, keepdims=True))
            joined.append(share / share.sum(axis=1, keepdims=True) @ v[:, mine])
        return self._linear(f"{name}.out_proj", np.concatenate(joined, axis=1))

    def _bent(self, x: F64) -> F64:
        kind = self.config["feedforward_activation"]
        if kind == "relu":
            return _relu(x)
        if kind == "gelu":
            return np.asarray(x * 0.5 * (1.0 + np.vectorize(math.erf)(x / math.sqrt(2.0))))
        low, high = np.split(x, 2, axis=-1)
        gated: F64 = low / (1.0 + np.exp(-high))
        return gated

    def _linear(self, name: str, x: F64) -> F64:
        found: F64 = x @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"]
        return found

    def _norm(self, name: str, x: F64) -> F64:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
        found: F64 = scaled * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"]
        return found

    def _sines(self, row: int, column: int, height: int, width: int) -> F64:
        half = self.config["dim_model"] // 2
        found = np.zeros(2 * half)
        for start, number, count in ((0, row, height), (half, column, width)):
            for i in range(half):
                turns = (number + 1) / (count + 1e-6)
                angle = turns * 2 * math.pi / 10_000 ** (2 * (i // 2) / half)
                found[start + i] = math.cos(angle) if i % 2 else math.sin(angle)
        return found


def _relu(x: F64) -> F64:
    return np.maximum(x, 0.0)


def _pool(x: F64) -> F64:
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    return np.asarray(windows[:, ::2, ::2].max(axis=(3, 4)))


def graphs_of(
    folder: Path, config: dict[str, Any], tensors: Tensors, how: How = "two", opset: int = 19
) -> dict[str, onnx.ModelProto]:
    write_checkpoint(folder, config, tensors=tensors)
    return read_checkpoint(folder).graphs(opset, how)


def answer(models: dict[str, onnx.ModelProto], config: dict[str, Any]) -> tuple[Any, Any]:
    """Return the graphs' chunk and the plain one for the same random inputs."""
    random, plain = np.random.default_rng(2), PlainAct(config, random_tensors(config))
    inputs, feed, vectors, images = config["input_features"], {}, {}, []
    *encoders, policy = (
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        for model in models.values()
    )
    for name, tensor in ((STATE, "states"), (OUTSIDE, "environment_state")):
        if name in inputs:
            vectors[name] = random.standard_normal(inputs[name]["shape"][0], np.float32)
            feed[tensor] = vectors[name][np.newaxis]
    for name in (name for name in inputs if "images" in name):
        image = random.standard_normal(inputs[name]["shape"], np.float32)
        images.append(image)
        short = name.rpartition(".")[2]
        if not encoders:
            feed[f"{short}_image"] = image[np.newaxis]
            continue
        encoder = next(one for one in encoders if one.get_inputs()[0].shape == [1, *image.shape])
        (feed[f"{short}_features"],) = encoder.run(None, {"images": image[np.newaxis]})
        features = plain.features(image)
        np.testing.assert_allclose(
            feed[f"{short}_features"][0], features, rtol=0.0, atol=1e-5 * np.abs(features).max()
        )
    return policy.run(["Actions"], feed)[0][0], plain.chunk(vectors, images)


# The deep ones take long, and no operator of theirs depends on the opset.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "opset"),
    [
        *((case, 19) for case in CASES),
        ("as LeRobot's default", 11),
        ("normalised before", 11),
        ("gelu", 11),
        ("glu", 11),
    ],
)
def test_graphs_are_the_network(tmp_path: Path, case: str, opset: int) -> None:
    config = config_of(**CASES[case])
    found, expected = answer(
        graphs_of(tmp_path, config, random_tensors(config), opset=opset), config
    )
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-5)
    assert np.ptp(expected) > 0.1  # not a network that answers the same whatever it is asked


@pytest.mark.slow
@pytest.mark.parametrize("case", ["as LeRobot's default", "no camera"])
def test_one_graph_is_the_network(tmp_path: Path, case: str) -> None:
    config = config_of(**CASES[case])
    models = graphs_of(tmp_path, config, random_tensors(config), how="one")
    assert list(models) == [WHOLE]
    found, expected = answer(models, config)
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-5)


@pytest.mark.parametrize(
    ("cameras", "encoders"),
    [
        ({"a": (32, 64), "b": (48, 48), "c": (32, 64)}, [f"{VISION}_32x64", f"{VISION}_b"]),
        ({"wrist": (48, 48), "top": (32, 64)}, [f"{VISION}_wrist", f"{VISION}_top"]),
        ({"a": (32, 64), "c": (32, 64)}, [VISION]),
    ],
)
def test_cameras_of_each_size_have_an_encoder(
    tmp_path: Path, cameras: dict[str, tuple[int, int]], encoders: list[str]
) -> None:
    config = config_of(cameras=cameras)
    assert list(graphs_of(tmp_path, config, random_tensors(config))) == [*encoders, POLICY]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("model.action_head.weight", None),
        ("model.action_head.weight", np.zeros((6, 8), np.float32)),
        ("model.encoder.layers.0.norm1.bias", np.full(16, np.nan, np.float32)),
        ("model.decoder.layers.1.norm1.bias", np.zeros(16, np.float32)),
        ("model.backbone.layer3.1.bn2.running_var", None),
    ],
)
def test_weights_of_another_network_are_refused_by_name(
    tmp_path: Path, name: str, change: Any
) -> None:
    config = config_of()
    tensors: dict[str, Any] = {**random_tensors(config), name: change}
    tensors = {key: value for key, value in tensors.items() if value is not None}
    with refusal(ToolError) as error:
        graphs_of(tmp_path, config, tensors)
    assert name in str(error.value)


_CAMERA = {"front": (40, 64)}


def silence(tensors: Tensors, norm: str, channels: np.ndarray) -> None:
    for kind in ("weight", "bias"):
        tensors[f"model.backbone.{norm}.{kind}"][channels] = 0.0


def without_half(config: dict[str, Any]) -> Tensors:
    """Return tensors of which half the channels are silent, others in each stage and block."""
    random, tensors = np.random.default_rng(4), random_tensors(config)
    backbone = config["vision_backbone"]
    layers = 3 if backbone == "resnet50" else 2

    def half(norm: str) -> np.ndarray:
        size = len(tensors[f"model.backbone.{norm}.weight"])
        return np.asarray(random.permutation(size)[: size // 2])

    stream = half("bn1")
    silence(tensors, "bn1", stream)
    for stage, blocks in enumerate(BLOCKS[backbone], 1):
        change = f"layer{stage}.0.downsample.1"
        if f"model.backbone.{change}.weight" in tensors:
            stream = half(change)
            silence(tensors, change, stream)
        for block in range(blocks):
            for layer in range(1, layers):
                norm = f"layer{stage}.{block}.bn{layer}"
                silence(tensors, norm, half(norm))
            silence(tensors, f"layer{stage}.{block}.bn{layers}", stream)
    return tensors


def sees_the_same(encoder: onnx.ModelProto, config: dict[str, Any], tensors: Tensors) -> None:
    image = np.random.default_rng(2).standard_normal((3, 40, 64), np.float32)
    session = onnxruntime.InferenceSession(
        encoder.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found = session.run(None, {"images": image[np.newaxis]})[0][0]
    expected = PlainAct(config, tensors).features(image)
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_half_a_network_is_a_quarter_as_large_and_sees_the_same(
    tmp_path: Path, backbone: str
) -> None:
    config = config_of(cameras=_CAMERA, vision_backbone=backbone)
    tensors = without_half(config)

    encoder = graphs_of(tmp_path / "half", config, tensors)[VISION]

    whole = graphs_of(tmp_path / "whole", config, random_tensors(config))[VISION]
    assert encoder.ByteSize() < 0.27 * whole.ByteSize()
    sees_the_same(encoder, config, tensors)


def test_a_channel_that_some_block_uses_stays(tmp_path: Path) -> None:
    config = config_of(cameras=_CAMERA)
    tensors = random_tensors(config)
    silence(tensors, "layer3.0.downsample.1", np.arange(256))
    silence(tensors, "layer3.1.bn2", np.arange(100))

    sees_the_same(graphs_of(tmp_path, config, tensors)[VISION], config, tensors)
