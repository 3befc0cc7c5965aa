# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Trains an image encoder to find the cube."""

import logging
import math

import numpy as np
import torch
from torch import Tensor, nn

from tools.train_arm.learning import learn
from tools.train_arm.narrow import WIDTHS, NarrowResNet
from tools.train_arm.scenes import CAMERAS, Scenes, random_scenes

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet, with which LeRobot normalizes images by default."""
_CELLS, _CENTRE_M, _SCALE_M = 3 * 4, (0.2, 0.0, 0.015), 0.05
_BATCH, _RATE, _WARM = 64, 2e-3, 50
_UNSEEN = 1000
"""Largest number of scenes for the learning curve."""
_AT_ONCE = 100
"""Largest number of these that pass through the network together."""
_log = logging.getLogger("train_arm")


class Locator(nn.Module):
    """The encoder plus, for each camera, a linear estimate and its uncertainty, for training."""

    def __init__(self) -> None:
        """Initialize random weights."""
        super().__init__()
        self.encoder = NarrowResNet()
        self.heads = nn.ModuleDict({name: nn.Linear(WIDTHS[3] * _CELLS, 6) for name in CAMERAS})

    def forward(self, images: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        """Return, by camera, the position [n, 3], m, and the logarithm of its spread [n, 3]."""
        maps = self.encoder(torch.cat([normalised(images[name]) for name in CAMERAS]))
        guesses = {}
        for name, part in zip(CAMERAS, maps.chunk(len(CAMERAS)), strict=True):
            place, spread = self.heads[name](part.flatten(1)).chunk(2, 1)
            guesses[name] = _SCALE_M * place + _centre(name), spread.clamp(-5.0, 3.0)
        return guesses


def normalised(images: Tensor) -> Tensor:
    """Normalize uint8 images [n, 3, h, w] for the network."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (images.float() / 255.0 - mean) / std


def _centre(camera: str) -> Tensor:
    return torch.tensor(_CENTRE_M if camera == "front" else (0.0, 0.0, -0.08))


def train_encoder(scenes: int, steps: int, seed: int) -> tuple[NarrowResNet, list[list[float]]]:
    """Train an encoder on random scenes.

    Returns:
        The encoder, and rows of its learning curve: the step and, by camera, the median error on
        scenes not seen in training, m.
    """
    pool = random_scenes(scenes, seed)
    unseen = random_scenes(min(_UNSEEN, scenes), seed + 1)
    _log.info("encoder: %d scenes rendered", scenes)
    random, locator = np.random.default_rng(seed), Locator()
    batch_size = min(_BATCH, scenes)

    def loss() -> tuple[Tensor, Tensor]:
        total = _loss(locator, pool, np.sort(random.choice(scenes, batch_size, replace=False)))
        return total, total

    curve = learn(
        list(locator.parameters()),
        loss,
        name="encoder, front and wrist error in m",
        steps=steps,
        rate=_RATE,
        warm=_WARM,
        clip=5.0,
        measure=lambda: _errors(locator, unseen),
    )
    return locator.encoder.eval(), curve


def _loss(locator: Locator, scenes: Scenes, rows: np.ndarray) -> Tensor:
    """Return the negative log-likelihood of Laplace distributions, which allow for hidden cubes."""
    guesses = locator({name: torch.from_numpy(scenes.images[name][rows]) for name in CAMERAS})
    total = torch.zeros(())
    for name, (place, spread) in guesses.items():
        miss = (place - torch.from_numpy(scenes.places[name][rows])).abs() / _SCALE_M
        total = total + (miss * torch.exp(-spread) + spread).mean()
    return total


@torch.no_grad()
def _errors(locator: Locator, scenes: Scenes) -> list[float]:
    """Return the median error of each camera, m."""
    locator.eval()
    errors: dict[str, list[Tensor]] = {name: [] for name in CAMERAS}
    scene_numbers = np.arange(len(scenes.places[CAMERAS[0]]))
    for rows in np.array_split(scene_numbers, math.ceil(len(scene_numbers) / _AT_ONCE)):
        guesses = locator({name: torch.from_numpy(scenes.images[name][rows]) for name in CAMERAS})
        for name, (place, _) in guesses.items():
            errors[name].append((place - torch.from_numpy(scenes.places[name][rows])).norm(dim=1))
    locator.train()
    return [float(torch.cat(errors[name]).median()) for name in CAMERAS]
