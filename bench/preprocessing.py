# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Cost of moving two frames into the back end's buffers.

The baseline is the formula as one would write it in numpy.
"""

import numpy as np

from bench.effort import Effort
from bench.figures import Figure, alternated, timed
from bench.processes import BenchError
from policy_core.bundle.chunk_contract import Camera, Scaling
from policy_core.interfaces import F32, U8
from policy_core.members.chunk.normalise import ImageNormaliser

HEIGHT, WIDTH = 480, 640
SCALING = Scaling(mode="mean_std", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
_BLOCKS, _CALLS = 10, 40
_MEAN, _STD = (
    np.array(values, np.float32).reshape(3, 1, 1) for values in (SCALING.mean, SCALING.std)
)
_TOLERANCE = 1e-6


def camera(tensor: str) -> Camera:
    """Return a camera of 640 x 480 pixels whose image goes into this tensor."""
    return Camera(
        feature=f"observation.images.{tensor}",
        height=HEIGHT,
        width=WIDTH,
        normalisation=SCALING,
        tensor=tensor,
    )


def frames() -> list[U8]:
    """Return two images of noise."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(2)]


def plain(frame: U8, buffer: F32) -> None:
    """Normalize in numpy: the baseline, also used in the documentation's loop."""
    scaled = (frame.astype(np.float32) / 255).transpose(2, 0, 1)
    buffer[0] = (scaled - _MEAN) / _STD


def measure(effort: Effort) -> list[Figure]:
    """Measure both in alternating blocks."""
    images = frames()
    buffers = [np.zeros((1, 3, HEIGHT, WIDTH), np.float32) for _ in images]
    normalisers = [ImageNormaliser(camera("images"), buffer) for buffer in buffers]

    def ours() -> None:
        for normaliser, image in zip(normalisers, images, strict=True):
            normaliser.apply(image)

    def baseline() -> None:
        for image, buffer in zip(images, buffers, strict=True):
            plain(image, buffer)

    baseline()
    expected = [buffer.copy() for buffer in buffers]
    ours()
    difference = np.abs(np.array(buffers) - expected).max()
    if not difference <= _TOLERANCE:
        raise BenchError(f"preprocessing: results differ by {difference:.1e}")
    sides = timed(_CALLS, ours), timed(_CALLS, baseline)
    return [alternated("preprocessing_ratio", *sides, blocks=effort.count(_BLOCKS), wanted=0.5)]
