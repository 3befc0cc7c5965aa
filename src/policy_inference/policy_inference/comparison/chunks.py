# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""How far the chunks of two policies are apart, and whether one still sees and answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from policy_inference.bundle.chunk_contract import ChunkContract
from policy_inference.bundle.contract import Artifact
from policy_inference.bundle.expected import Limits
from policy_inference.comparison.chunk_rows import PlayedChunks
from policy_inference.comparison.limits import Check, open_loop_limits
from policy_inference.comparison.open_loop import Difference, difference, judge
from policy_inference.core.chunks.normalise import Units, VectorNormaliser
from policy_inference.interfaces import F64, Tensor

_FLOATS, _BYTES = Limits(max_abs=0.05, cosine_min=0.999), Limits(rmse=0.1, cosine_min=0.99)
CHUNK_DEFAULTS = {
    "fp32": Limits(max_abs=1e-4, cosine_min=0.9999),
    "fp16": _FLOATS,
    "bf16": _FLOATS,
    "int16": _FLOATS,
    "w16a16i_dfp": _FLOATS,
    "int8": _BYTES,
    "w8a8": _BYTES,
    "w8a16": _BYTES,
    "w4a16": _BYTES,
}
"""Limits of normalised chunks, the finest precision first.

They are this project's, in standard deviations of the actions. What they must tell apart was
measured with a LeRobot ACT: swapped cameras change a chunk by 0.4, red for blue by 0.2, a degree
on every joint by 0.02; float32 differs by 2e-6 between runtimes.
"""
FEWEST_VALUES, SMALLEST_RESPONSE = 16, 0.5


def coarsest(entries: Mapping[str, Artifact]) -> str:
    """Return the precision that the chunk is judged by: of all graphs, the coarsest."""
    known = list(CHUNK_DEFAULTS)
    return max(
        (entry.precision for entry in entries.values()),
        key=lambda one: known.index(one) if one in known else len(known),
    )


def chunk_limits(contract: ChunkContract, backend: str, precision: str) -> Limits:
    """Return the limits on normalised chunks, as `limits.open_loop_limits`.

    Raises:
        BundleError: The bundle states none, and nothing is known of the precision.
    """
    return open_loop_limits(contract, backend, precision, CHUNK_DEFAULTS)


def normalised_chunks(contract: ChunkContract, chunks: F64) -> F64:
    """Return chunks [..., actions] in the policy's units as the network gives them."""
    action = contract.action
    return VectorNormaliser(action.normalisation, len(action.joints)).apply(chunks)


def chunk_difference(contract: ChunkContract, found: F64, expected: F64) -> Difference:
    """Measure normalised chunks [rows, steps, actions]: by joint over all steps.

    The cosine of each row is that of its whole chunk.
    """
    return _by_column(contract.action.tensor, contract.action.joints, found, expected)


def rad_difference(contract: ChunkContract, found: F64, expected: F64) -> Difference:
    """Measure chunks [rows, steps, actions] in the policy's units, as they differ in rad."""
    units = Units(contract.units, contract.action.joints)
    return _by_column(
        f"{contract.action.tensor}, rad",
        contract.action.joints,
        units.to_rad(found),
        units.to_rad(expected),
    )


def feature_difference(camera: str, found: Tensor, expected: Tensor) -> Difference:
    """Measure features [rows, channels, height, width] of a camera's pictures, by channel."""
    names = [f"channel {i}" for i in range(found.shape[1])]
    return _by_column(
        f"features of {camera}",
        names,
        *(
            np.moveaxis(array.astype(np.float64), 1, -1).reshape(len(array), -1, found.shape[1])
            for array in (found, expected)
        ),
    )


def _by_column(name: str, names: Sequence[str], found: F64, expected: F64) -> Difference:
    """Measure [rows, places, columns]."""
    rows, places = found.shape[:2]
    whole = difference(name, [""], found, expected)
    flat = rows * places, len(names)
    each = difference(
        name, names, found.reshape(flat), expected.reshape(flat), np.repeat(np.arange(rows), places)
    )
    return dataclasses.replace(each, cosine=np.repeat(whole.cosine, places))


def chunk_checks(
    found: Difference, expected: F64, chunks: F64, source: str, limits: Limits
) -> tuple[Check, ...]:
    """Hold chunks against limits, and look whether the policy still answers what it sees.

    Args:
        found: Of the chunks.
        expected: What the reference gave [rows, steps, actions].
        chunks: What was found.
        source: Of the rows.
        limits: Of the difference.
    """
    return (
        *judge(found, source, limits),
        _distinct(found, source),
        *_response(expected, chunks, source),
    )


def _distinct(found: Difference, source: str) -> Check:
    """Return the check for a quantisation that leaves a joint only a few values.

    Such a model has good figures where the robot mostly rests.
    """
    there, wanted = (
        np.array([len(np.unique(column)) for column in rows.T])
        for rows in (found.found, found.expected)
    )
    enough = np.minimum(FEWEST_VALUES, wanted / 4.0)
    worst = int(np.argmin(there / enough))
    return Check(
        what="values that a joint takes",
        value=float(there[worst]),
        at_least=True,
        limit=float(enough[worst]),
        where=f"{source}: {found.names[worst]}, of which the reference takes {wanted[worst]}",
    )


def _response(expected: F64, found: F64, source: str) -> tuple[Check, ...]:
    """Return the check that other observations give other chunks, where the reference does."""
    wanted, there = (
        float(np.linalg.norm(chunks - chunks.mean(axis=0))) for chunks in (expected, found)
    )
    if wanted <= 1e-6 * np.sqrt(expected.size):
        return ()
    return (
        Check(
            what="share of the reference's answer to other observations",
            at_least=True,
            value=there / wanted,
            limit=SMALLEST_RESPONSE,
            where=f"{source}, all rows",
        ),
    )


def swapped_check(
    one: str, other: str, expected: F64, as_is: F64, swapped: F64, source: str
) -> Check:
    """Return the check that two cameras are not each other's.

    Args:
        one: A camera.
        other: The other.
        expected: What the reference gave, normalised [rows, steps, actions].
        as_is: What was found.
        swapped: What was found where each got the other's pictures.
        source: Of the rows.
    """
    errors = [float(np.abs(chunks - expected).max()) for chunks in (as_is, swapped)]
    change = float(np.abs(swapped - as_is).max())
    proof = (
        f"swapping them changes chunks by {change:.2g}"
        if change > _VISIBLE
        else f"swapping them changes chunks by {change:.2g} only, so this proves nothing"
    )
    return Check(
        what=f"largest error, against that with {one} and {other} swapped",
        value=errors[0],
        limit=max(errors[1], _VISIBLE),
        where=f"{source}: {proof}",
    )


_VISIBLE = 0.01
"""What two runs of an artifact do not differ by without a cause, in standard deviations."""


def features_checks(
    found: PlayedChunks, expected: PlayedChunks, source: str, limits: Limits
) -> tuple[tuple[Difference, ...], tuple[Check, ...]]:
    """Measure the features of all cameras that both have, and hold their cosine against limits."""
    cameras = [
        name
        for name in expected.features
        if name in found.features and found.features[name].shape == expected.features[name].shape
    ]
    differences = tuple(
        feature_difference(name, found.features[name], expected.features[name]) for name in cameras
    )
    cosine = Limits(cosine_min=limits.cosine_min)
    checks = tuple(
        dataclasses.replace(check, what=f"{check.what} of {one.output}")
        for one in differences
        for check in judge(one, source, cosine)
    )
    return differences, checks
