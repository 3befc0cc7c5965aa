# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Trains policies that generate chunks from noise: LeRobot's Diffusion Policy, and a flow policy.

Both use the image encoder and the U-Net of LeRobot's Diffusion Policy. As in SmolVLA and pi0, a
flow policy learns the velocity, `noise - actions`, at x = t noise + (1 - t) actions; t = 1 is pure
noise.
"""

import json
from collections import deque
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from diffusers.training_utils import EMAModel
from lerobot.configs.types import FeatureType, NormalizationMode, PolicyFeature
from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
from lerobot.policies.diffusion.modeling_diffusion import DiffusionPolicy
from lerobot.policies.diffusion.processor_diffusion import make_diffusion_pre_post_processors
from safetensors.torch import load_model
from torch import Tensor, nn

from robot_sim.arm_world import IMAGE_SIZE, JOINTS
from tools.train_arm.frames import ACTION, CUBE, IMAGES, STATE, Frames, Statistics
from tools.train_arm.learning import learn
from tools.train_arm.narrow import NarrowResNet, widened

Kind = Literal["diffusion", "flow"]
HORIZON, EXECUTED, STEPS = 64, 30, 10
"""Number of actions in a chunk, number of these that are executed, number of denoising steps."""
OBJECTIVE = "objective"
"""Key in config.json; its value is `flow_matching` for a flow, as in LeRobot's multi_task_dit."""
TIME_SCALE = 100.0
"""Factor that maps a flow's time (0 to 1) to the range of LeRobot's timesteps, for the network."""
_BATCH, _RATE, _WARM, _AVERAGED = 64, 1e-3, 100, 0.998


def observations(kind: Kind) -> int:
    """Return the number of successive observations that a policy of this kind uses."""
    return 2 if kind == "diffusion" else 1


def new_policy(kind: Kind, encoder: NarrowResNet) -> DiffusionPolicy:
    """Return an untrained policy with the given image encoder."""
    inputs = {STATE: PolicyFeature(FeatureType.STATE, (JOINTS,))}
    inputs |= {key: PolicyFeature(FeatureType.VISUAL, (3, *IMAGE_SIZE)) for key in IMAGES.values()}
    scaled = NormalizationMode.MEAN_STD
    config = DiffusionConfig(
        input_features=inputs,
        output_features={ACTION: PolicyFeature(FeatureType.ACTION, (JOINTS,))},
        device="cpu",
        push_to_hub=False,
        n_obs_steps=observations(kind),
        horizon=HORIZON,
        n_action_steps=EXECUTED,
        use_group_norm=False,
        # defaults that differ between LeRobot 0.4 and 0.6
        use_separate_rgb_encoder_per_camera=False,
        pretrained_backbone_weights=None,
        down_dims=(64, 128),
        kernel_size=3,
        diffusion_step_embed_dim=64,
        noise_scheduler_type="DDIM",
        prediction_type="sample",
        num_inference_steps=STEPS,
        normalization_mapping={
            "VISUAL": scaled,
            "STATE": scaled,
            "ACTION": NormalizationMode.MIN_MAX if kind == "diffusion" else scaled,
        },
    )
    policy = DiffusionPolicy(config)
    backbone = policy.diffusion.rgb_encoder.backbone
    backbone.load_state_dict(_widened(encoder, backbone))
    backbone.requires_grad_(False)
    return policy.eval()


def train(
    policy: DiffusionPolicy, kind: Kind, frames: Frames, *, steps: int, seed: int
) -> list[list[float]]:
    """Train the policy; its final weights are the average over the last steps.

    The policy also learns to estimate the cube's position from the features, so that the encoder's
    last layers soon represent this position.

    Returns:
        Rows of the loss curve: step and mean squared error since the previous row.
    """
    torch.manual_seed(seed)
    learned = [value for value in policy.parameters() if value.requires_grad]
    vision = policy.diffusion.rgb_encoder
    guess = nn.Linear(vision.feature_dim, 3)
    backbone, vision.backbone = vision.backbone, _CachedFeatures(vision.pool)
    random, average = np.random.default_rng(seed), EMAModel(learned, decay=_AVERAGED)

    def loss() -> tuple[Tensor, Tensor]:
        batch = frames.batch(random, _BATCH)
        found = _loss(policy, kind, batch)
        return found + _miss(policy, guess, batch), found

    curve = learn(
        learned,
        loss,
        name="policy, squared error",
        steps=steps,
        rate=_RATE,
        warm=_WARM,
        clip=1.0,
        beside=guess.parameters(),
        after_step=lambda: average.step(learned),
    )
    average.copy_to(learned)
    vision.backbone = backbone
    policy.eval()
    return curve


def _loss(policy: DiffusionPolicy, kind: Kind, batch: dict[str, Any]) -> Tensor:
    """Return the loss: LeRobot's for a Diffusion Policy, the squared velocity error for a flow."""
    model, batch = policy.diffusion, dict(batch)
    if kind == "diffusion":
        del batch[CUBE]
        loss, _ = policy.forward(batch)
        return loss
    actions = batch[ACTION]
    # more often near the noise, as in SmolVLA and pi0
    at = 0.999 * torch.distributions.Beta(1.5, 1.0).sample((len(actions),)) + 0.001
    noise = torch.randn_like(actions)
    between = at[:, None, None] * noise + (1.0 - at[:, None, None]) * actions
    velocity = model.unet(between, TIME_SCALE * at, global_cond=_condition(policy, batch))
    return nn.functional.mse_loss(velocity, noise - actions)


def _condition(policy: DiffusionPolicy, batch: dict[str, Any]) -> Tensor:
    """Return the U-Net's condition, made from one observation."""
    images = torch.stack([batch[key] for key in policy.config.image_features], dim=1)
    inputs = {STATE: batch[STATE][:, None], "observation.images": images[:, None]}
    found: Tensor = policy.diffusion._prepare_global_conditioning(inputs)
    return found


def _miss(policy: DiffusionPolicy, guess: nn.Linear, batch: dict[str, Any]) -> Tensor:
    """Return the error in the cube's position as estimated from the front camera's features."""
    features, cube = batch[IMAGES["front"]], batch[CUBE]
    if features.ndim == 5:
        features, cube = features[:, -1], cube[:, -1]
    return nn.functional.l1_loss(guess(policy.diffusion.rgb_encoder(features)), cube)


def save(policy: DiffusionPolicy, kind: Kind, stats: Statistics, folder: Path) -> None:
    """Save the policy and its processors with LeRobot's own API; a flow is marked as such."""
    wanted = {**policy.config.input_features, **policy.config.output_features}
    before, after = make_diffusion_pre_post_processors(
        policy.config, {key: values for key, values in stats.items() if key in wanted}
    )
    for part in (policy, before, after):
        part.save_pretrained(folder)
    if kind == "flow":
        file = folder / "config.json"
        config = json.loads(file.read_text("utf-8"))
        file.write_text(json.dumps(config | {OBJECTIVE: "flow_matching"}, indent=4), "utf-8")


def load(kind: Kind, folder: Path) -> DiffusionPolicy:
    """Return the policy of a checkpoint."""
    if kind == "diffusion":
        return DiffusionPolicy.from_pretrained(folder)
    # LeRobot refuses an unknown key, as it must: otherwise it would run a flow as diffusion.
    policy = new_policy(kind, NarrowResNet())
    load_model(policy, folder / "model.safetensors")
    return policy.eval()


class ChunkSampler:
    """Stores a policy's observations, and generates a chunk from noise."""

    def __init__(self, policy: DiffusionPolicy, kind: Kind) -> None:
        """Start without observations."""
        self._policy, self._kind = policy, kind
        self._seen = deque[dict[str, Tensor]](maxlen=policy.config.n_obs_steps)

    def reset(self) -> None:
        """Clear the observations."""
        self._seen.clear()

    def see(self, observation: dict[str, Tensor]) -> None:
        """Add a step's observation, made by LeRobot's processors; the first fills the whole queue.

        LeRobot fills its queues in the same way.
        """
        self._seen.append(observation)
        while len(self._seen) < self._policy.config.n_obs_steps:
            self._seen.append(observation)

    @torch.inference_mode()
    def chunk(self, noise: Tensor) -> Tensor:
        """Return normalized actions [1, rows, joints], from the current step on, given noise."""
        config, model = self._policy.config, self._policy.diffusion
        keys = list(config.image_features)
        batch = {
            STATE: torch.stack([one[STATE] for one in self._seen], 1),
            "observation.images": torch.stack(
                [torch.stack([one[key] for key in keys], 1) for one in self._seen], 1
            ),
        }
        condition = model._prepare_global_conditioning(batch)
        if self._kind == "diffusion":
            x = model.conditional_sample(1, global_cond=condition, noise=noise)
        else:
            x = noise
            for step in range(STEPS):
                at = torch.tensor([1.0 - step / STEPS])
                x = x - model.unet(x, TIME_SCALE * at, global_cond=condition) / STEPS
        return x[:, config.n_obs_steps - 1 :]


class _CachedFeatures(nn.Module):
    """Replaces the backbone in training, where the inputs are already the encoder's features."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self._channels = pool.nets.weight.shape[1]

    def forward(self, features: Tensor) -> Tensor:
        missing = self._channels - features.shape[1]
        return nn.functional.pad(features, (0, 0, 0, 0, 0, missing))


def _widened(encoder: NarrowResNet, backbone: nn.Module) -> dict[str, Tensor]:
    """Return the encoder's weights under LeRobot's names for the backbone, which are numbers."""
    numbers = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    named = {}
    for name, value in encoder.state_dict().items():
        layer, _, rest = name.partition(".")
        named[f"{numbers[layer]}.{rest}"] = value
    return widened(named, backbone.state_dict())
