# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Channels that are zero for every image are left out, and the features stay the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from model_tools.make.act.graphs import VISION

from .plain_act import PlainAct
from .small_checkpoints import Tensors, config_of, random_tensors
from .test_graphs import graphs_of

_CAMERA = {"front": (40, 64)}


def silence(tensors: Tensors, norm: str, channels: np.ndarray) -> None:
    """Let a batch norm give zeros."""
    for kind in ("weight", "bias"):
        tensors[f"model.backbone.{norm}.{kind}"][channels] = 0.0


def features(model: onnx.ModelProto, image: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {"images": image[np.newaxis]})[0][0])


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


def test_a_network_that_is_silent_altogether_still_runs(tmp_path: Path) -> None:
    config = config_of(cameras=_CAMERA)
    tensors = random_tensors(config)
    for name, tensor in tensors.items():
        if "backbone" in name and tensor.ndim == 1 and "running" not in name:
            tensor[:] = 0.0

    encoder = graphs_of(tmp_path, config, tensors)[VISION]

    found = features(encoder, np.ones((3, 40, 64), np.float32))
    bias = tensors["model.encoder_img_feat_input_proj.bias"]
    np.testing.assert_allclose(found, np.broadcast_to(bias[:, None, None], found.shape), atol=1e-6)
