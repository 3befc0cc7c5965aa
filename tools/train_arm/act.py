# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""LeRobot's ACT: created, trained on cached image features, and saved like any checkpoint."""

from pathlib import Path

import numpy as np
from lerobot.configs.types import FeatureType, NormalizationMode, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.act.processor_act import make_act_pre_post_processors
from torch import Tensor, nn

from robot_sim.arm_world import IMAGE_SIZE, JOINTS
from tools.train_arm.frames import ACTION, IMAGES, STATE, Frames, Statistics
from tools.train_arm.learning import learn
from tools.train_arm.narrow import NarrowResNet, widened

CHUNK = 60
_BATCH, _RATE, _WARM = 32, 5e-4, 100


def new_policy(encoder: NarrowResNet) -> ACTPolicy:
    """Return an untrained ACT with the given image encoder."""
    inputs = {STATE: PolicyFeature(FeatureType.STATE, (JOINTS,))}
    inputs |= {key: PolicyFeature(FeatureType.VISUAL, (3, *IMAGE_SIZE)) for key in IMAGES.values()}
    policy = ACTPolicy(
        ACTConfig(
            input_features=inputs,
            output_features={ACTION: PolicyFeature(FeatureType.ACTION, (JOINTS,))},
            device="cpu",
            push_to_hub=False,
            pretrained_backbone_weights=None,
            chunk_size=CHUNK,
            n_action_steps=CHUNK,
            dim_model=128,
            n_heads=4,
            dim_feedforward=512,
            n_encoder_layers=3,
            use_vae=False,
            dropout=0.0,
            normalization_mapping=dict.fromkeys(
                ("VISUAL", "STATE", "ACTION"), NormalizationMode.MEAN_STD
            ),
        )
    )
    backbone = policy.model.backbone
    backbone.load_state_dict(widened(encoder.state_dict(), backbone.state_dict()))
    backbone.requires_grad_(False)
    return policy


def train(policy: ACTPolicy, frames: Frames, *, steps: int, seed: int) -> list[list[float]]:
    """Train the policy with LeRobot's own loss; chunks in `frames` have `CHUNK` actions.

    Returns:
        Rows of the loss curve: step and mean L1 since the previous row.
    """
    backbone = policy.model.backbone
    policy.model.backbone = _CachedFeatureMap(backbone.conv1.weight.shape[0] * 8)
    learned = [value for value in policy.parameters() if value.requires_grad]
    random = np.random.default_rng(seed)

    def loss() -> tuple[Tensor, Tensor]:
        total, _ = policy.forward(frames.batch(random, _BATCH))
        return total, total

    policy.train()
    curve = learn(learned, loss, name="policy, L1", steps=steps, rate=_RATE, warm=_WARM, clip=10.0)
    policy.model.backbone = backbone
    policy.eval()
    return curve


def save(policy: ACTPolicy, stats: Statistics, folder: Path) -> None:
    """Save the policy and its processors with LeRobot's own API."""
    wanted = {**policy.config.input_features, **policy.config.output_features}
    before, after = make_act_pre_post_processors(
        policy.config, {key: values for key, values in stats.items() if key in wanted}
    )
    for part in (policy, before, after):
        part.save_pretrained(folder)


class _CachedFeatureMap(nn.Module):
    """Replaces the backbone in training, where the inputs are already the encoder's features."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self._channels = channels

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        missing = self._channels - features.shape[1]
        return {"feature_map": nn.functional.pad(features, (0, 0, 0, 0, 0, missing))}
