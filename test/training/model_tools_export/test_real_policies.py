# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Policies that walk: what they were trained as becomes what they were exported as."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from model_tools.make.checkpoints.checkpoint_export import ExportRequest
from model_tools.make.checkpoints.checkpoint_export import export as export_checkpoint
from model_tools.make.checkpoints.load import read_checkpoint
from model_tools.make.checkpoints.network_config import read_config
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle

from .conftest import Exporter, run_fed_back

ROOT = Path(__file__).resolve().parents[3]

LITE3 = {"obs_dim": 45, "act_dim": 12, "activation": "elu"}


def test_the_checkpoint_of_the_example_is_the_model_that_ships(tmp_path: Path) -> None:
    example, shipped = ROOT / "examples" / "lite3_walk", ROOT / "config" / "bundles" / "lite3_walk"
    request = ExportRequest(
        checkpoint=read_checkpoint(example / "agent.pt"),
        config=read_config(example / "network.yaml"),
        output=tmp_path / "policy.onnx",
        opset=17,
    )
    export_checkpoint(request)
    obs = load_bundle(shipped, kind=JointBundle).golden()["obs"].astype(np.float32)
    np.testing.assert_array_equal(
        run_fed_back(tmp_path / "policy.onnx", obs), run_fed_back(shipped / "policy.onnx", obs)
    )


@pytest.mark.real_data
def test_a_vendor_s_weights_give_its_actions(export: Exporter, shared_data: Path) -> None:
    folder = shared_data / "legged" / "lite3"
    weights = [
        torch.from_numpy(onnx.numpy_helper.to_array(value).copy())
        for value in onnx.load(folder / "policy.onnx").graph.initializer
    ]
    names = [f"actor.{2 * layer}.{kind}" for layer in range(4) for kind in ("weight", "bias")]
    content = {"model_state_dict": dict(zip(names, weights, strict=True)), "iter": 1}
    with np.load(folder / "golden.npz") as golden:
        obs, actions = golden["obs"], golden["actions"]
    model = export(
        content, {**LITE3, "hidden_sizes": [512, 256, 128]}, "--check", str(folder / "golden.npz")
    )
    assert run_fed_back(model, obs) == pytest.approx(actions, abs=1e-5)
