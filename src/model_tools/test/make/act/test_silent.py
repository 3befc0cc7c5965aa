# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Channels that are zero for every image are left out, and the features stay the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from model_tools.make.act.graphs import VISION

from .plain_act import PlainAct
from .small_checkpoints import BLOCKS, Tensors, config_of, random_tensors
from .test_graphs import graphs_of

_CAMERA = {"front": (40, 64)}


def silence(tensors: Tensors, norm: str, channels: np.ndarray) -> None:
    """Let a batch norm give zeros."""
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


def features(model: onnx.ModelProto, image: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {"images": image[np.newaxis]})[0][0])


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
    image = np.random.default_rng(2).standard_normal((3, 40, 64), np.float32)
    expected = PlainAct(config, tensors).features(image)
    np.testing.assert_allclose(
        features(encoder, image), expected, rtol=0.0, atol=1e-5 * np.abs(expected).max()
    )


def test_a_channel_that_some_block_uses_stays(tmp_path: Path) -> None:
    config = config_of(cameras=_CAMERA)
    tensors = random_tensors(config)
    silence(tensors, "layer3.0.downsample.1", np.arange(256))
    silence(tensors, "layer3.1.bn2", np.arange(100))

    encoder = graphs_of(tmp_path, config, tensors)[VISION]

    image = np.random.default_rng(2).standard_normal((3, 40, 64), np.float32)
    expected = PlainAct(config, tensors).features(image)
    np.testing.assert_allclose(
        features(encoder, image), expected, rtol=0.0, atol=1e-5 * np.abs(expected).max()
    )
