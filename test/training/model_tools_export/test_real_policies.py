# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Policies that walk: what they were trained as becomes what they were exported as."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from tools.train_lite3 import export as training
from tools.train_lite3.ppo import Agent

from .exporting import Exporter, run

LITE3 = {"obs_dim": 45, "act_dim": 12, "activation": "elu"}


def test_the_training_s_own_checkpoint_is_exported_as_the_training_does(export: Exporter) -> None:
    agent = Agent()
    training.export(agent, export.folder / "training.onnx")
    model = export(agent.state_dict(), {**LITE3, "hidden_sizes": [256, 128, 64]})
    obs = np.random.default_rng(0).normal(size=(50, 45)).astype(np.float32)
    theirs = onnx.load(export.folder / "training.onnx").graph
    ours = onnx.load(model).graph
    assert [node.op_type for node in ours.node] == [node.op_type for node in theirs.node]
    with torch.no_grad():
        assert run(model, obs) == pytest.approx(agent.actor(torch.from_numpy(obs)), abs=1e-5)


@pytest.mark.real_data
def test_a_vendor_s_weights_give_its_actions(export: Exporter, shared_data: Path) -> None:
    folder = shared_data / "legged" / "lite3"
    weights = [torch.from_numpy(onnx.numpy_helper.to_array(value).copy())
               for value in onnx.load(folder / "policy.onnx").graph.initializer]
    names = [f"actor.{2 * layer}.{kind}" for layer in range(4) for kind in ("weight", "bias")]
    content = {"model_state_dict": dict(zip(names, weights, strict=True)), "iter": 1}
    with np.load(folder / "golden.npz") as golden:
        obs, actions = golden["obs"], golden["actions"]
    model = export(content, {**LITE3, "hidden_sizes": [512, 256, 128]},
                   "--check", str(folder / "golden.npz"))
    assert run(model, obs) == pytest.approx(actions, abs=1e-5)
