# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Leaves out channels of a ResNet that are zero for every picture; what it computes stays the same.

A network that was trained narrow and widened with zeros, or pruned, becomes as small as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from policy_inference.interfaces import F32

Convolution = tuple[F32, F32]
"""Weight [out, in, k, k] and bias [out], the batch norm in them."""
Rows = npt.NDArray[np.intp]


def without_silent(
    convolutions: Mapping[str, Convolution], blocks: Sequence[int], layers: int
) -> tuple[dict[str, Convolution], Rows]:
    """Return the convolutions without silent channels, and which channels of the features are left.

    Within a stage, whose blocks add to each other's results, the same channels are left everywhere.

    Args:
        convolutions: By name: `conv1`, `layerS.B.convN`, `layerS.B.downsample.0`.
        blocks: Number of blocks of each stage.
        layers: Convolutions of a block, less the one that changes its input.
    """
    left = dict[str, Convolution]()
    stream = _heard(convolutions, ["conv1"])
    for stage, count in enumerate(blocks, 1):
        names = [f"layer{stage}.{block}" for block in range(count)]
        changes = f"{names[0]}.downsample.0" in convolutions
        ends = [f"{name}.conv{layers}" for name in names]
        after = _heard(convolutions, [f"{names[0]}.downsample.0" if changes else "conv1", *ends])
        if stage == 1:
            # Without a change of channels the first stage goes on adding to what it was given.
            stream = stream if changes else after
            left["conv1"] = _part(convolutions["conv1"], stream, np.arange(3))
        for number, name in enumerate(names):
            given = stream if number == 0 else after
            if number == 0 and changes:
                left[f"{name}.downsample.0"] = _part(
                    convolutions[f"{name}.downsample.0"], after, given)
            for layer in range(1, layers + 1):
                conv = f"{name}.conv{layer}"
                kept = after if layer == layers else _heard(convolutions, [conv])
                left[conv], given = _part(convolutions[conv], kept, given), kept
        stream = after
    return left, stream


def _heard(convolutions: Mapping[str, Convolution], names: Sequence[str]) -> Rows:
    """Return the channels that at least one of these convolutions can make other than zero."""
    heard = np.any([weight.any(axis=(1, 2, 3)) | (bias != 0)
                    for weight, bias in (convolutions[name] for name in names)], axis=0)
    # A network that is silent altogether keeps one channel: nothing runs without any.
    return np.flatnonzero(heard) if heard.any() else np.arange(1)


def _part(convolution: Convolution, out: Rows, given: Rows) -> Convolution:
    weight, bias = convolution
    if (len(out), len(given)) == weight.shape[:2]:
        return convolution
    return np.ascontiguousarray(weight[np.ix_(out, given)]), np.ascontiguousarray(bias[out])
