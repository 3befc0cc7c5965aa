# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The demonstrations as tensors: vectors, features from the frozen encoder, chunks of actions."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tools.train_arm.demonstrations import Demonstration
from tools.train_arm.encoder import MEAN, STD, normalised
from tools.train_arm.narrow import NarrowResNet
from tools.train_arm.scenes import CAMERAS

STATE, ACTION, CUBE = "observation.state", "action", "observation.environment_state"
IMAGES = {name: f"observation.images.{name}" for name in CAMERAS}
EVERY = 3
"""Distance between training frames; the frames in between look nearly the same."""
Statistics = dict[str, dict[str, Tensor]]


class Frames:
    """The demonstrations; chunks may begin at every third frame.

    Images are converted to features immediately, because storing them all would take 2 GB.
    """

    def __init__(
        self,
        episodes: Iterable[Demonstration],
        encoder: NarrowResNet,
        *,
        rows: int,
        observations: int = 1,
        bounded: bool = False,
    ) -> None:
        """Process the demonstrations once.

        Args:
            episodes: The demonstrations.
            encoder: Computes features from the images.
            rows: Number of actions in a chunk.
            observations: Number of successive observations of a policy, the newest last. The first
                action belongs to the oldest of them, as in LeRobot.
            bounded: True to scale actions to -1 ... 1, instead of to mean 0 and standard deviation
                1.
        """
        self._rows, self._bounded = rows, bounded
        vectors: dict[str, list[np.ndarray]] = {STATE: [], ACTION: [], CUBE: []}
        features: dict[str, list[Tensor]] = {key: [] for key in IMAGES.values()}
        seen, first, last = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
        begin = 0
        for one in episodes:
            for key, values in ((STATE, one.state), (ACTION, one.action), (CUBE, one.cube)):
                vectors[key].append(values)
            at = np.arange(0, len(one.state), EVERY)[:, None]
            moments = np.maximum(at - np.arange(observations)[::-1], 0)
            for name, key in IMAGES.items():
                made = _features(encoder, one.images[name][moments.ravel()])
                features[key].append(made.unflatten(0, moments.shape))
            seen.append(begin + moments)
            first.append(begin + at[:, 0] - observations + 1)
            last.append(np.full(len(at), begin + len(one.state) - 1))
            begin += len(one.state)
        self._vectors = {
            key: torch.from_numpy(np.concatenate(values)) for key, values in vectors.items()
        }
        self._features = {key: torch.cat(values) for key, values in features.items()}
        self._seen, self._first, self._last = (
            torch.from_numpy(np.concatenate(each)) for each in (seen, first, last)
        )
        self.frames, self.count = begin, len(self._last)
        self.statistics = self._statistics()

    def batch(self, random: np.random.Generator, size: int) -> dict[str, Any]:
        """Return `size` random chunks as a batch in LeRobot's format, normalized for networks.

        Each observation is [size, observations, ...], without the second axis for a single
        observation. The position of the cube is always included.
        """
        rows = torch.from_numpy(random.integers(0, self.count, size))
        ahead = self._first[rows][:, None] + torch.arange(self._rows)
        last, within = self._last[rows][:, None], torch.maximum(ahead, self._seen[rows][:, :1])
        inputs = {key: self._normalised(key, self._seen[rows]) for key in (STATE, CUBE)}
        inputs |= {key: values[rows].float() for key, values in self._features.items()}
        if self._seen.shape[1] == 1:
            inputs = {key: values.squeeze(1) for key, values in inputs.items()}
        return {
            **inputs,
            ACTION: self._normalised(ACTION, torch.minimum(within, last)),
            "action_is_pad": ahead > last,
        }

    def _normalised(self, key: str, rows: Tensor) -> Tensor:
        stats, values = self.statistics[key], self._vectors[key][rows]
        if key == ACTION and self._bounded:
            return 2.0 * (values - stats["min"]) / (stats["max"] - stats["min"]) - 1.0
        return (values - stats["mean"]) / (stats["std"] + 1e-8)

    def _statistics(self) -> Statistics:
        """Return each feature's mean, standard deviation and range; for images, ImageNet's."""
        found: Statistics = {}
        for key, values in self._vectors.items():
            # the cube's height never changes; a deviation of 1 mm keeps it near 0
            std = values.std(0, correction=0).clamp(min=1e-3)
            found[key] = {
                "mean": values.mean(0),
                "std": std,
                "min": values.min(0).values,
                "max": values.max(0).values,
            }
        colours = {
            name: torch.tensor(values).view(3, 1, 1)
            for name, values in (("mean", MEAN), ("std", STD))
        }
        found |= dict.fromkeys(IMAGES.values(), colours)
        return found


@torch.no_grad()
def _features(encoder: NarrowResNet, images: np.ndarray) -> Tensor:
    """Return the feature maps of images, in half precision."""
    return torch.cat(
        [encoder(normalised(part)).half() for part in torch.from_numpy(images).split(64)]
    )
