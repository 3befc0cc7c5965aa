# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Corrections by a person become a dataset that LeRobot loads and trains on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy

from lerobot_bridge.cli import main
from lerobot_bridge.dataset_form import INTERVENTION, SUCCESS
from lerobot_bridge.episode import read_sidecar

from ..e2e.taken_over import RATE_HZ, taken_over

CORRECTIONS, CHUNK, STEPS = 2, 10, 20
STATE, ACTION = "observation.state", "action"
CAMERAS = ("observation.images.front", "observation.images.wrist")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> tuple[LeRobotDataset, float]:
    """Return an attempt with corrections as LeRobot loads it, and how long they were, s."""
    folder = tmp_path_factory.mktemp("corrected")
    with taken_over(folder, "so101_reach", 60.0) as corrected:
        corrected.runs()
        corrected.is_corrected(CORRECTIONS)
        corrected.ask_recorder("success")
        corrected.ask_recorder("finish")
    spans = read_sidecar(corrected.session / "episode_0000").interventions or ()
    assert len(spans) == CORRECTIONS
    root = folder / "dataset"
    words = [str(corrected.session), "--mapping", "so101_reach", "--images", "--processes", "1"]
    assert main(["convert", *words, "--output", str(root)]) == 0
    loaded = LeRobotDataset(
        "corrected",
        root=root,
        delta_timestamps={ACTION: [step / RATE_HZ for step in range(CHUNK)]},
    )
    return loaded, sum(end - begin for begin, end in spans) * 1e-9


@pytest.mark.slow
def test_frames_of_corrections_and_of_success_are_flagged_as_lerobot_expects(
    dataset: tuple[LeRobotDataset, float],
) -> None:
    loaded, corrected_s = dataset

    assert loaded.num_episodes == 1
    feature = loaded.meta.features[INTERVENTION]
    assert (feature["dtype"], tuple(feature["shape"])) == ("bool", (1,))
    flags = np.array(loaded.hf_dataset[INTERVENTION]).astype(bool).reshape(-1)
    assert flags.sum() == pytest.approx(corrected_s * RATE_HZ, abs=2 * CORRECTIONS)
    assert np.diff(flags.astype(int)).clip(0).sum() == CORRECTIONS
    assert not flags[: round(0.3 * RATE_HZ)].any(), "nothing is there from before the takeover"
    success = np.array(loaded.hf_dataset[SUCCESS]).astype(bool).reshape(-1)
    assert success.tolist() == [False] * (len(success) - 1) + [True]
    steps = np.diff(np.array(loaded.hf_dataset["timestamp"]).reshape(-1))
    np.testing.assert_allclose(steps, 1.0 / RATE_HZ, atol=1e-4)


@pytest.mark.slow
def test_training_on_the_corrections_lowers_the_loss(
    dataset: tuple[LeRobotDataset, float],
) -> None:
    loaded, _ = dataset
    torch.manual_seed(1)
    flags = np.array(loaded.hf_dataset[INTERVENTION]).astype(bool).reshape(-1)
    frames = [loaded[int(place)] for place in np.flatnonzero(flags)[:4]]
    batch = {
        key: torch.stack([frame[key] for frame in frames])
        for key in (STATE, ACTION, f"{ACTION}_is_pad", *CAMERAS)
    }
    for key in (STATE, ACTION):
        batch[key] = batch[key] / 100.0
    shapes = {key: tuple(batch[key].shape[1:]) for key in (STATE, *CAMERAS)}
    kinds = {key: FeatureType.VISUAL if key in CAMERAS else FeatureType.STATE for key in shapes}
    policy = ACTPolicy(
        ACTConfig(
            input_features={
                key: PolicyFeature(type=kinds[key], shape=shape) for key, shape in shapes.items()
            },
            output_features={ACTION: PolicyFeature(type=FeatureType.ACTION, shape=(6,))},
            chunk_size=CHUNK,
            n_action_steps=CHUNK,
            dim_model=32,
            n_heads=2,
            dim_feedforward=64,
            n_encoder_layers=1,
            use_vae=False,
            dropout=0.0,
            pretrained_backbone_weights=None,
            device="cpu",
        )
    )
    policy.train()
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3)
    losses = []
    for _ in range(STEPS):
        loss, _ = policy.forward(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-3:]) < losses[0], losses
