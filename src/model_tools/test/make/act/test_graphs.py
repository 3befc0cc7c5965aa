# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The exported graphs against ACT in plain numpy, for unusual configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from model_tools.errors import ToolError
from model_tools.make.act.checkpoint import read_checkpoint
from model_tools.make.act.graphs import POLICY, VISION, WHOLE, How
from testkit.wording import refusal

from .plain_act import PlainAct
from .small_checkpoints import OUTSIDE, STATE, Tensors, config_of, random_tensors, write_checkpoint

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
