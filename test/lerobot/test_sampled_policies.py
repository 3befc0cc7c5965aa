# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Bundles of LeRobot's Diffusion Policy, and of a flow, answer as the networks of the training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model_tools.make.act.act_contract import ActRequest
from model_tools.make.act.act_export import export_checkpoint
from model_tools.make.act.checkpoint import read_checkpoint
from tools.train_arm import unet
from tools.train_arm.demonstrations import demonstrations
from tools.train_arm.frames import Frames
from tools.train_arm.golden import write_golden
from tools.train_arm.narrow import read_encoder
from tools.train_arm.rollout import Runner

BUNDLES = Path(__file__).parents[2] / "config" / "bundles"


@pytest.mark.parametrize("kind", ["diffusion", "flow"])
def test_a_bundle_answers_as_the_training_for_the_same_noise(
    tmp_path: Path, kind: unet.Kind
) -> None:
    torch.manual_seed(2)
    encoder = read_encoder(BUNDLES / "so101_reach")
    frames = Frames(
        demonstrations(4),  # of one, joints that hardly moved would amplify rounding
        encoder,
        rows=unet.HORIZON,
        observations=unet.observations(kind),
        bounded=kind == "diffusion",
    )
    unet.save(unet.new_policy(kind, encoder), kind, frames.statistics, tmp_path / "c")
    runner = Runner(kind, tmp_path / "c")
    write_golden(runner, tmp_path / "golden.npz", unet.observations(kind))

    exported = export_checkpoint(
        ActRequest(
            checkpoint=read_checkpoint(tmp_path / "c"),
            output=tmp_path / "bundle",
            robot="so101",
            units="degrees",
            rate_hz=30.0,
            name=kind,
            golden=tmp_path / "golden.npz",
        )
    )

    # The export itself refuses a bundle that differs by more than rounding.
    assert "golden.npz" in exported.checked[0]
    assert exported.contract.denoising is not None
    assert exported.contract.denoising.method == ("flow" if kind == "flow" else "ddim")
