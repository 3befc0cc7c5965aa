# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The network that the configuration of a Diffusion Policy describes, checked; or of a flow.

A flow is the same network with another objective: `"objective": "flow_matching"` in `config.json`,
the key of LeRobot's multi_task_dit, which LeRobot's Diffusion Policy does not have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from model_tools.files.foreign import Node
from model_tools.files.lerobot.checkpoint import Config
from model_tools.make.act.checkpoint_config import (
    LARGEST_STEPS,
    CheckpointConfig,
    common_fields,
    count,
    flag,
)
from model_tools.make.act.resnet import RESNETS, ResNet
from policy_core.bundle.chunk_contract import Denoising, NoiseSchedule, StepTime

NOISY, TIME = "noisy_actions", "time"
"""Inputs of the graph of a denoising step, beside those of the observation."""
_BETAS = ("squaredcos_cap_v2", "scaled_linear", "linear")
_FLOW_SCALE = 100.0
"""A flow's network gets its time, 0 to 1, times this: the range of the timesteps of diffusion."""
_KEYS = """
    horizon drop_n_last_frames vision_backbone resize_shape crop_ratio crop_shape crop_is_random
    pretrained_backbone_weights use_group_norm spatial_softmax_num_keypoints
    use_separate_rgb_encoder_per_camera down_dims kernel_size n_groups
    diffusion_step_embed_dim use_film_scale_modulation gradient_checkpointing
    noise_scheduler_type num_train_timesteps beta_schedule beta_start beta_end prediction_type
    clip_sample clip_sample_range num_inference_steps compile_model compile_mode
    do_mask_loss_for_padding optimizer_betas optimizer_eps scheduler_name
    scheduler_warmup_steps objective
"""
"""What LeRobot saves for this policy alone, and `objective`."""
_SLOWEST = 1e-4
"""Last frequency of the embedded time, in that of the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnetConfig(CheckpointConfig):
    """Sizes and kinds of a Diffusion Policy's network."""

    denoising: Denoising
    horizon: int
    backbone: ResNet
    group_norm: bool
    resize: tuple[int, int] | None
    crop: tuple[int, int] | None
    keypoints: int
    separate_encoders: bool
    down_dims: tuple[int, ...]
    kernel: int
    groups: int
    film_scale: bool

    @property
    def seen(self) -> tuple[int, int]:
        """Height and width of an image as the ResNet gets it."""
        return self.crop or self.resize or self.sizes[0]


def check_unet_config(config: Config) -> UnetConfig:
    """Return the checked configuration of a Diffusion Policy or a flow."""
    root, features = config.root, common_fields(config, _KEYS)
    if features["state"] is None:
        raise root["input_features"].wrong("observation.state, which the network needs")
    observations, horizon = count(root["n_obs_steps"]), count(root["horizon"], LARGEST_STEPS)
    dims = tuple(count(each) for each in root["down_dims"].elements())
    if horizon % 2 ** len(dims):
        raise root["horizon"].wrong(f"a multiple of {2 ** len(dims)}, for {len(dims)} down_dims")
    size = horizon - observations + 1
    steps = root["n_action_steps"]
    if not 1 <= steps.whole() <= size:
        raise steps.wrong(f"1 to horizon - n_obs_steps + 1, {size}")
    checked = UnetConfig(
        **features,
        denoising=_denoising(root, observations),
        chunk_size=size,
        n_action_steps=steps.whole(),
        horizon=horizon,
        down_dims=dims,
        kernel=count(root["kernel_size"]),
        groups=count(root["n_groups"]),
        film_scale=flag(root, "use_film_scale_modulation"),
        **_encoder(root),
    )
    if len(checked.sizes) > 1:
        raise root["input_features"].wrong("images of one size, as the encoder takes them")
    if checked.crop is not None and checked.sizes:
        height, width = checked.resize or checked.sizes[0]
        if checked.crop[0] > height or checked.crop[1] > width:
            raise root["crop_shape"].wrong(f"at most the image, {height} x {width}")
    return checked


def _denoising(root: Node, observations: int) -> Denoising:
    objective, size = root.get("objective"), count(root["diffusion_step_embed_dim"])
    given = root.get("num_inference_steps")
    if size % 2:
        raise root["diffusion_step_embed_dim"].wrong("an even number")
    if objective is not None and objective.text() not in ("diffusion", "flow_matching"):
        raise objective.wrong("diffusion or flow_matching")
    first, schedule, method = 1.0, None, "flow"
    timesteps = count(root["num_train_timesteps"])
    if objective is not None and objective.text() == "flow_matching":
        first = _FLOW_SCALE
    else:
        schedule, method = _schedule(root, timesteps), root["noise_scheduler_type"].text().lower()
        if method not in ("ddpm", "ddim"):
            raise root["noise_scheduler_type"].wrong("DDPM or DDIM")
    steps = timesteps if given is None else count(given, LARGEST_STEPS)
    if steps > timesteps and given is not None:
        raise given.wrong(f"at most num_train_timesteps, {timesteps}")
    return Denoising(
        method=method,  # type: ignore[arg-type]  # one of the three
        steps=steps,
        tensor=NOISY,
        time=StepTime(
            tensor=TIME, size=size, first_frequency=first, last_frequency=first * _SLOWEST
        ),
        observations=observations,
        schedule=schedule,
    )


def _schedule(root: Node, timesteps: int) -> NoiseSchedule:
    betas, prediction = root["beta_schedule"], root["prediction_type"]
    if betas.text() not in _BETAS:
        raise betas.wrong(f"one of {', '.join(_BETAS)}")
    if prediction.text() not in ("epsilon", "sample"):
        raise prediction.wrong("epsilon or sample")
    return NoiseSchedule(
        timesteps=timesteps,
        betas=betas.text(),  # type: ignore[arg-type]  # checked above
        beta_start=root["beta_start"].number(),
        beta_end=root["beta_end"].number(),
        prediction=prediction.text(),  # type: ignore[arg-type]  # checked above
        clip=root["clip_sample_range"].positive() if flag(root, "clip_sample") else None,
    )


def _encoder(root: Node) -> dict[str, Any]:
    backbone = root["vision_backbone"]
    if backbone.text() not in RESNETS:
        raise backbone.wrong(f"one of {', '.join(RESNETS)}")
    resize, crop = _size(root, "resize_shape"), _size(root, "crop_shape")
    ratio = root.get("crop_ratio")
    if resize is not None:
        # As LeRobot does: with a resize, the ratio alone says whether and how images are cropped.
        share = 1.0 if ratio is None else ratio.positive()
        crop = (int(resize[0] * share), int(resize[1] * share)) if share < 1.0 else None
    return {
        "backbone": RESNETS[backbone.text()],
        "group_norm": flag(root, "use_group_norm"),
        "resize": resize,
        "crop": crop,
        "keypoints": count(root["spatial_softmax_num_keypoints"]),
        "separate_encoders": flag(root, "use_separate_rgb_encoder_per_camera"),
    }


def _size(root: Node, name: str) -> tuple[int, int] | None:
    found = root.get(name)
    if found is None:
        return None
    sides = [count(side) for side in found.elements()]
    if len(sides) != 2:
        raise found.wrong("height and width")
    return sides[0], sides[1]
