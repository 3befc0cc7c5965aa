# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Run chunk policies on rows; check the distance from a reference, and the response to inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from policy_core.bundle.body import ComparisonLimits
from policy_core.bundle.chunk_contract import (
    GOLDEN_CAMERA,
    GOLDEN_CHUNK,
    GOLDEN_ENVIRONMENT,
    GOLDEN_NOISE,
    GOLDEN_STATE,
    GOLDEN_SUCCESS,
    ChunkContract,
)
from policy_core.bundle.contract import Artifact
from policy_core.interfaces import F32, F64, Backend, Tensor
from policy_core.members.chunk.graphs import ChunkGraphs, ChunkObservation, make_classifier
from policy_core.members.chunk.normalise import Units, VectorNormaliser
from policy_inference.comparison.limits import Check, open_loop_limits
from policy_inference.comparison.open_loop import Difference, difference, judge
from policy_inference.comparison.rows import Rows

_FLOATS, _BYTES = (
    ComparisonLimits(max_abs=0.05, cosine_min=0.999),
    ComparisonLimits(rmse=0.1, cosine_min=0.99),
)
CHUNK_DEFAULTS = {
    "fp32": ComparisonLimits(max_abs=1e-4, cosine_min=0.9999),
    "fp16": _FLOATS,
    "bf16": _FLOATS,
    "int16": _FLOATS,
    "w16a16i_dfp": _FLOATS,
    "int8": _BYTES,
    "w8a8": _BYTES,
    "w8a16": _BYTES,
    "w4a16": _BYTES,
}
"""Limits for normalized chunks, finest precision first.

This project chose these limits, in standard deviations of the actions. The errors to detect were
measured with a LeRobot ACT policy: swapping cameras changes a chunk by 0.4, swapping red and blue
by 0.2, and an error of one degree in every joint by 0.02. float32 results differ by 2e-6 between
runtimes.
"""
_PROBABILITY = ComparisonLimits(max_abs=0.05)
"""Limit for the success classifier, in any precision."""
FEWEST_VALUES, SMALLEST_RESPONSE = 16, 0.5
NORMALISED_CHUNK, PATH, FEATURES = "normalised_chunk", "denoising", "features."
"""Names of additional results of `play_chunks`; the last one is followed by a camera name."""


def play_chunks(
    contract: ChunkContract,
    backends: Mapping[str, Backend],
    rows: Rows,
    swapped: tuple[str, str] | None = None,
) -> dict[str, Tensor]:
    """Run a chunk policy's graphs row by row, with the same preprocessing as on a robot.

    Args:
        contract: The bundle's contract.
        backends: Opened back ends, by `graphs.NAME`; their arrays are overwritten.
        rows: Observations.
        swapped: Two cameras whose images are swapped.

    Returns:
        `chunk` [rows, steps, actions] in the policy's units; `normalised_chunk`, the chunk as
        returned by the network; with image encoders, the encoder output of each camera as
        `features.CAMERA` [rows, channels, height, width]; for denoised chunks, the result of each
        step as `denoising` [rows, steps, chunk, columns]; and with a success classifier, the
        probabilities as `success` [rows].
    """
    graphs, classifier = ChunkGraphs(contract, backends), make_classifier(contract, backends)
    observing = backends[f"graphs.{contract.observing_graph}"]
    features = {
        f"{FEATURES}{name}": observing.inputs[camera.tensor]
        for name, camera in contract.cameras.items()
        if camera.encoder is not None
    }
    paths = (PATH,) if graphs.denoiser else ()
    judged = (GOLDEN_SUCCESS,) if classifier else ()
    seen: dict[str, list[Any]] = {
        name: [] for name in (GOLDEN_CHUNK, NORMALISED_CHUNK, *paths, *judged, *features)
    }
    for row in range(len(rows)):
        observation = observation_at(rows, row, swapped)
        seen[GOLDEN_CHUNK].append(graphs.run(observation, noise_at(rows, row)))
        seen[NORMALISED_CHUNK].append(graphs.normalised.copy())
        if graphs.denoiser:
            seen[PATH].append(graphs.denoiser.path.copy())
        if classifier:
            seen[GOLDEN_SUCCESS].append(classifier.probability(observation))
        for name, tensor in features.items():
            seen[name].append(tensor[0].copy())
    return {name: np.stack(each) for name, each in seen.items()}


def observation_at(
    rows: Rows, row: int, swapped: tuple[str, str] | None = None
) -> ChunkObservation:
    """Return a chunk policy's observation from one row, with the `swapped` cameras exchanged."""
    images = {
        name.removeprefix(GOLDEN_CAMERA): np.asarray(array[row], np.uint8)
        for name, array in rows.inputs.items()
        if name.startswith(GOLDEN_CAMERA)
    }
    if swapped:
        one, other = swapped
        images[one], images[other] = images[other], images[one]
    vectors = {
        name: rows.inputs[name][row].astype(np.float64)
        for name in (GOLDEN_STATE, GOLDEN_ENVIRONMENT)
        if name in rows.inputs
    }
    *earlier, newest = _observations(images, vectors)
    return dataclasses.replace(newest, earlier=earlier)


def noise_at(rows: Rows, row: int) -> F32 | None:
    noise = rows.inputs.get(GOLDEN_NOISE)
    return None if noise is None else noise[row].astype(np.float32)


def drawn_noise(contract: ChunkContract, rows: int) -> dict[str, Tensor]:
    """Return reproducible noise for this number of rows, named as in the golden rows.

    Empty for policies without denoising.
    """
    if contract.denoising is None:
        return {}
    shape = rows, contract.denoising.draws, contract.rows, contract.columns
    return {GOLDEN_NOISE: np.random.default_rng(1).standard_normal(shape, np.float32)}


def _observations(
    images: Mapping[str, Tensor], vectors: Mapping[str, Tensor]
) -> list[ChunkObservation]:
    """Return a row's observations, newest last: one, or one for each index of the first axis."""
    is_single = all(image.ndim == 3 for image in images.values()) and all(
        vector.ndim == 1 for vector in vectors.values()
    )
    if is_single:
        images = {name: image[np.newaxis] for name, image in images.items()}
        vectors = {name: vector[np.newaxis] for name, vector in vectors.items()}
    (count,) = {len(array) for array in (*images.values(), *vectors.values())}
    return [
        ChunkObservation(
            images={name: image[each] for name, image in images.items()},
            state=vectors[GOLDEN_STATE][each] if GOLDEN_STATE in vectors else None,
            environment=vectors[GOLDEN_ENVIRONMENT][each]
            if GOLDEN_ENVIRONMENT in vectors
            else None,
        )
        for each in range(count)
    ]


def coarsest(entries: Mapping[str, Artifact]) -> str:
    """Return the coarsest precision among the graphs, which sets the limits for the chunk."""
    known = list(CHUNK_DEFAULTS)
    return max(
        (entry.precision for entry in entries.values()),
        key=lambda one: known.index(one) if one in known else len(known),
    )


def chunk_limits(contract: ChunkContract, backend: str, precision: str) -> ComparisonLimits:
    return open_loop_limits(contract, backend, precision, CHUNK_DEFAULTS)


def chunk_differences(
    contract: ChunkContract,
    found: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    numbers: npt.NDArray[np.int64] | None = None,
) -> tuple[Difference, ...]:
    """Measure the differences in normalized chunks, then in the encoder outputs.

    Args:
        contract: The bundle's contract.
        found: Result of `play_chunks`.
        expected: Expected chunks in policy units, and features and denoising to compare, if any.
        numbers: Row numbers in their source; 0, 1, ... if absent.

    Returns:
        Differences of chunks [rows, steps, actions], by joint over all steps; the cosine in each
        row is for the whole chunk. Then, if `found` and `expected` have them in the same shape, the
        differences of the denoising, by step, and of each camera's features, by channel; and, if
        the golden rows include them, the difference of the success probabilities.
    """
    action = contract.action
    normaliser = VectorNormaliser(action.normalisation, len(action.joints))
    chunks = normaliser.apply(expected[GOLDEN_CHUNK].astype(np.float64))
    others = [
        name
        for name in expected
        if (name == PATH or name.startswith(FEATURES))
        and name in found
        and found[name].shape == expected[name].shape
    ]
    return (
        _by_column(action.tensor, action.joints, found[NORMALISED_CHUNK], chunks, numbers),
        *(_layer_difference(name, found[name], expected[name], numbers) for name in others),
        *(
            difference(GOLDEN_SUCCESS, ["probability"], found[name], expected[name], numbers)
            for name in (GOLDEN_SUCCESS,)
            if name in found and name in expected
        ),
    )


def rad_difference(contract: ChunkContract, found: Tensor, expected: Tensor) -> Difference:
    """Measure differences between chunks [rows, steps, actions] in policy units, in rad."""
    units = Units(contract.units, contract.action.joints)
    there, wanted = (units.to_rad(chunks.astype(np.float64)) for chunks in (found, expected))
    name = f"{contract.action.tensor}, rad"
    return _by_column(name, contract.action.joints, there, wanted, None)


def _layer_difference(
    name: str, found: Tensor, expected: Tensor, numbers: npt.NDArray[np.int64] | None
) -> Difference:
    """Measure differences in camera features [rows, channels, ...], or in the denoising by step."""
    layers = found.shape[1]
    there, wanted = (
        np.moveaxis(array.astype(np.float64), 1, -1).reshape(len(array), -1, layers)
        for array in (found, expected)
    )
    if name == PATH:
        steps = [f"step {number + 1}" for number in range(layers)]
        return _by_column(PATH, steps, there, wanted, numbers)
    names = [f"channel {i}" for i in range(layers)]
    return _by_column(f"features of {name.removeprefix(FEATURES)}", names, there, wanted, numbers)


def _by_column(
    name: str,
    names: Sequence[str],
    found: Tensor,
    expected: Tensor,
    numbers: npt.NDArray[np.int64] | None,
) -> Difference:
    rows, places = found.shape[:2]
    numbers = np.arange(rows) if numbers is None else numbers
    whole = difference(name, [""], found, expected)
    flat = rows * places, len(names)
    each = difference(
        name, names, found.reshape(flat), expected.reshape(flat), np.repeat(numbers, places)
    )
    return dataclasses.replace(each, cosine=np.repeat(whole.cosine, places))


def chunk_checks(found: Difference, source: str, limits: ComparisonLimits) -> tuple[Check, ...]:
    """Check chunks against limits, and check that the policy still responds to observations.

    Args:
        found: Difference between normalized chunks.
        source: Source of the rows.
        limits: Limits on the difference.
    """
    return (*judge(found, source, limits), _distinct(found, source), *_response(found, source))


def features_checks(
    found: Sequence[Difference], source: str, limits: ComparisonLimits
) -> tuple[Check, ...]:
    """Check the features' cosine against `limits`, and probabilities against a fixed limit."""
    cosine = ComparisonLimits(cosine_min=limits.cosine_min)
    return tuple(
        dataclasses.replace(check, what=f"{check.what} of {one.output}")
        for one in found
        for check in judge(one, source, _PROBABILITY if one.output == GOLDEN_SUCCESS else cosine)
    )


def _distinct(found: Difference, source: str) -> Check:
    """Check that quantization does not reduce a joint to only a few values.

    A model with such a joint can still have good figures if the robot is mostly at rest.
    """
    there, wanted = (
        np.array([len(np.unique(column)) for column in rows.T])
        for rows in (found.found, found.expected)
    )
    enough = np.minimum(FEWEST_VALUES, wanted / 4.0)
    worst = int(np.argmin(there / enough))
    return Check(
        what="distinct values of a joint",
        value=float(there[worst]),
        at_least=True,
        limit=float(enough[worst]),
        where=f"{source}: {found.names[worst]} (reference: {wanted[worst]})",
    )


def _response(found: Difference, source: str) -> tuple[Check, ...]:
    """Check that different observations give different chunks, if they do in the reference."""
    count, expected = len(np.unique(found.rows)), found.expected
    wanted, there = (
        float(np.linalg.norm(chunks - chunks.mean(axis=0)))
        for chunks in (array.reshape(count, -1) for array in (expected, found.found))
    )
    if wanted <= 1e-6 * np.sqrt(expected.size):
        return ()
    return (
        Check(
            what="spread over different observations, as a share of the reference's",
            at_least=True,
            value=there / wanted,
            limit=SMALLEST_RESPONSE,
            where=f"{source}, all rows",
        ),
    )


def swapped_check(
    one: str, other: str, expected: F64, as_is: F64, swapped: F64, source: str
) -> Check:
    """Check that two cameras are not swapped.

    Args:
        one: Name of one camera.
        other: Name of the other camera.
        expected: Reference chunks, normalized [rows, steps, actions].
        as_is: Computed chunks.
        swapped: Computed chunks with the two cameras' images swapped.
        source: Source of the rows.
    """
    errors = [float(np.abs(chunks - expected).max()) for chunks in (as_is, swapped)]
    change = float(np.abs(swapped - as_is).max())
    proof = (
        f"swapping the two cameras changes chunks by {change:.2g}"
        if change > _VISIBLE
        else f"swapping the two cameras changes chunks by only {change:.2g}, so this proves nothing"
    )
    return Check(
        what=f"largest error (limit: the error with {one} and {other} swapped)",
        value=errors[0],
        limit=max(errors[1], _VISIBLE),
        where=f"{source}: {proof}",
    )


_VISIBLE = 0.01
"""Largest difference between two runs of an artifact that counts as noise, in standard deviations.
"""
