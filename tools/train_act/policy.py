# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""LeRobot's ACT: made, trained on cached image features, saved as any user's checkpoint."""

import logging
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.configs.types import FeatureType, NormalizationMode, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.act.processor_act import make_act_pre_post_processors
from torch import Tensor, nn

from robot_sim.arm_world import IMAGE_SIZE, JOINTS
from tools.train_act.demonstrations import Demonstration
from tools.train_act.encoder import MEAN, STD, normalised
from tools.train_act.narrow import NarrowResNet, widened
from tools.train_act.scenes import CAMERAS

STATE, ACTION, CUBE = "observation.state", "action", "observation.environment_state"
IMAGES = {name: f"observation.images.{name}" for name in CAMERAS}
CHUNK = 60
EVERY = 3
"""Frames from one that is learned from to the next; those between look alike."""
_BATCH, _RATE, _WARM, _DECAY = 32, 5e-4, 100, 1e-4
_log = logging.getLogger("train_act")
Statistics = dict[str, dict[str, Tensor]]


def new_policy(encoder: NarrowResNet | None, steps: int = CHUNK) -> ACTPolicy:
    """Return an untrained ACT that sees through `encoder`, or gets the position of the cube.

    Args:
        encoder: Image encoder, or None for a policy of the environment's state.
        steps: How many steps of a chunk are executed.
    """
    inputs = {STATE: PolicyFeature(FeatureType.STATE, (JOINTS,))}
    if encoder is None:
        inputs[CUBE] = PolicyFeature(FeatureType.ENV, (3,))
    else:
        inputs |= {
            key: PolicyFeature(FeatureType.VISUAL, (3, *IMAGE_SIZE)) for key in IMAGES.values()
        }
    policy = ACTPolicy(
        ACTConfig(
            input_features=inputs,
            output_features={ACTION: PolicyFeature(FeatureType.ACTION, (JOINTS,))},
            device="cpu",
            push_to_hub=False,
            pretrained_backbone_weights=None,
            chunk_size=CHUNK,
            n_action_steps=steps,
            dim_model=128,
            n_heads=4,
            dim_feedforward=512,
            n_encoder_layers=3,
            use_vae=False,
            dropout=0.0,
            # By default LeRobot does not normalise the environment's state.
            normalization_mapping=dict.fromkeys(
                ("VISUAL", "STATE", "ENV", "ACTION"), NormalizationMode.MEAN_STD
            ),
        )
    )
    if encoder is not None:
        backbone = policy.model.backbone
        backbone.load_state_dict(widened(encoder.state_dict(), backbone.state_dict()))
        backbone.requires_grad_(False)
    return policy


def statistics(episodes: list[Demonstration]) -> Statistics:
    """Return mean and standard deviation of every feature; ImageNet's for images."""
    found: Statistics = {}
    for key, part in ((STATE, "state"), (ACTION, "action"), (CUBE, "cube")):
        values = torch.from_numpy(np.concatenate([getattr(one, part) for one in episodes]))
        # The cube's height never changes; a deviation of 1 mm leaves it near 0.
        std = values.std(0, correction=0).clamp(min=1e-3)
        found[key] = {"mean": values.mean(0), "std": std}
    colours = {
        name: torch.tensor(values).view(3, 1, 1) for name, values in (("mean", MEAN), ("std", STD))
    }
    found |= dict.fromkeys(IMAGES.values(), colours)
    return found


def train(
    policy: ACTPolicy,
    encoder: NarrowResNet | None,
    episodes: list[Demonstration],
    stats: Statistics,
    *,
    steps: int,
    seed: int,
) -> list[list[float]]:
    """Train the policy by LeRobot's own loss, the frozen encoder's features computed once.

    Returns:
        Rows of the loss's curve: step and mean L1 since the row before.
    """
    frames = _Frames(episodes, encoder, stats)
    backbone: Any = getattr(policy.model, "backbone", None)
    if encoder is not None:
        policy.model.backbone = _Cached(backbone.conv1.weight.shape[0] * 8)
    learned = [value for value in policy.parameters() if value.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr=_RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: min(
            (step + 1) / _WARM, 0.5 + 0.5 * math.cos(math.pi * min(step / steps, 1.0))
        ),
    )
    random, curve, losses = np.random.default_rng(seed), [], []
    policy.train()
    began = time.monotonic()
    for step in range(1, steps + 1):
        loss, _ = policy.forward(frames.batch(random.integers(frames.count, size=_BATCH)))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learned, 10.0)
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if step % 200 == 0 or step == steps:
            curve.append([step, float(np.mean(losses))])
            losses.clear()
            _log.info("policy: step %d, L1 %.4f, %.0f s", *curve[-1], time.monotonic() - began)
    if backbone is not None:
        policy.model.backbone = backbone
    policy.eval()
    return curve


def save(policy: ACTPolicy, stats: Statistics, folder: Path) -> None:
    """Write the policy and its processors by LeRobot's own API."""
    wanted = {**policy.config.input_features, **policy.config.output_features}
    before, after = make_act_pre_post_processors(
        policy.config, {key: values for key, values in stats.items() if key in wanted}
    )
    for part in (policy, before, after):
        part.save_pretrained(folder)


class _Cached(nn.Module):
    """Stands in for the backbone in training: its input is the encoder's features already."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self._channels = channels

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        missing = self._channels - features.shape[1]
        return {"feature_map": nn.functional.pad(features, (0, 0, 0, 0, 0, missing))}


class _Frames:
    """The demonstrations as tensors, normalised; chunks may begin at every third frame."""

    def __init__(
        self, episodes: list[Demonstration], encoder: NarrowResNet | None, stats: Statistics
    ) -> None:
        def values(part: str, key: str) -> Tensor:
            joined = torch.from_numpy(np.concatenate([getattr(one, part) for one in episodes]))
            return (joined - stats[key]["mean"]) / (stats[key]["std"] + 1e-8)

        self._action = values("action", ACTION)
        ends = np.cumsum([len(one.state) for one in episodes])
        begins = ends - [len(one.state) for one in episodes]
        self._at = torch.cat(
            [torch.arange(begin, end, EVERY) for begin, end in zip(begins, ends, strict=True)]
        )
        self._last = torch.from_numpy(ends[np.searchsorted(ends, self._at, "right")] - 1)
        self._inputs = {STATE: values("state", STATE)[self._at]}
        if encoder is None:
            self._inputs[CUBE] = values("cube", CUBE)[self._at]
        else:
            for name, key in IMAGES.items():
                self._inputs[key] = torch.cat(
                    [_features(encoder, one.images[name][::EVERY]) for one in episodes]
                )
        self.count = len(self._at)

    def batch(self, rows: np.ndarray) -> dict[str, Any]:
        """Return LeRobot's batch of these."""
        ahead = self._at[rows][:, None] + torch.arange(CHUNK)
        last = self._last[rows][:, None]
        inputs = {key: values[rows].float() for key, values in self._inputs.items()}
        return {
            **inputs,
            ACTION: self._action[torch.minimum(ahead, last)],
            "action_is_pad": ahead > last,
        }


@torch.no_grad()
def _features(encoder: NarrowResNet, images: np.ndarray) -> Tensor:
    """Return the feature maps of an episode's images, in half precision."""
    return torch.cat(
        [encoder(normalised(part)).half() for part in torch.from_numpy(images).split(64)]
    )
