# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is odd about the contract of a chunk policy though it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

import numpy as np

from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import (
    GOLDEN_CAMERA,
    GOLDEN_CHUNK,
    GOLDEN_STATE,
    ChunkContract,
    JointVector,
    Scaling,
)
from policy_core.bundle.load import load_bundle
from policy_core.errors import BundleError
from policy_core.interfaces import F64, Tensor
from policy_core.members.chunk.normalise import Units

_RANGES = {"range_m100_100": (-100.0, 100.0), "range_0_100": (0.0, 100.0)}
_BEYOND, _SMALL = 1.0, 4.0
"""What a predicted value may lie outside its range; what is little in degrees, and not in rad."""
_CHANNELS = ("red", "green", "blue")


def oddities(contract: ChunkContract, folder: Path) -> Iterator[str]:
    """Yield a sentence for each thing that a user should look at twice."""
    yield from _of_statistics(contract)
    yield from _of_cameras(contract)
    rows: Mapping[str, Tensor] = {}
    if contract.golden is not None:
        try:
            rows = load_bundle(folder, kind=ChunkBundle).golden()
        except BundleError as error:
            yield str(error)
    for what, vector, name in (
        ("state", contract.state, GOLDEN_STATE),
        ("action", contract.action, GOLDEN_CHUNK),
    ):
        if vector is not None:
            yield from _of_units(contract, what, vector, rows.get(name))
    yield from _of_images(contract, rows)


def _of_statistics(contract: ChunkContract) -> Iterator[str]:
    """Yield joints, values and channels that never changed in the data."""
    named: list[tuple[str, Scaling, tuple[str, ...]]] = [
        (name, vector.normalisation, vector.joints)
        for name, vector in (("state", contract.state), ("action", contract.action))
        if vector
    ]
    if outside := contract.environment_state:
        named.append(
            (
                "environment_state",
                outside.normalisation,
                tuple(f"value {i}" for i in range(outside.size)),
            )
        )
    named += [
        (f"camera {name}", camera.normalisation, _CHANNELS)
        for name, camera in contract.cameras.items()
    ]
    for what, scaling, names in named:
        still = [
            name for name, spread in zip(names, _spread_of(scaling), strict=False) if spread == 0.0
        ]
        if still:
            yield (
                f"{what}: no spread at {', '.join(still)}: never changed in the data, and any "
                "deviation becomes huge or vanishes"
            )


def _spread_of(scaling: Scaling) -> tuple[float, ...]:
    if scaling.std is not None:
        return scaling.std
    return tuple(high - low for low, high in zip(scaling.min or (), scaling.max or (), strict=True))


def _of_cameras(contract: ChunkContract) -> Iterator[str]:
    for name, camera in contract.cameras.items():
        statistics = (*(camera.normalisation.mean or ()), *(camera.normalisation.max or ()))
        if max(statistics, default=0.0) > 1.0:
            yield (
                f"camera {name}: statistics up to {max(statistics):g}, images are 0 to 1: "
                "taken of 0 to 255?"
            )
    for (one, first), (other, second) in combinations(contract.cameras.items(), 2):
        same = (first.height, first.width, first.encoder, first.normalisation) == (
            second.height,
            second.width,
            second.encoder,
            second.normalisation,
        )
        if same:
            yield (
                f"cameras {one} and {other}: equal size and statistics, so no figure shows them "
                "swapped where a policy treats all cameras alike, as ACT does; look at an "
                "image of each topic"
            )


def _of_units(
    contract: ChunkContract, what: str, vector: JointVector, golden: Tensor | None
) -> Iterator[str]:
    """Yield joints whose values do not look like their unit."""
    low, high = _reach(vector, golden)
    limits = [
        dict(zip(contract.joints.names, values, strict=True))
        for values in (contract.joints.position_min, contract.joints.position_max)
    ]
    middle_rad = Units(contract.units, vector.joints).to_rad((low + high) / 2.0)
    small = True
    for i, joint in enumerate(vector.joints):
        unit = contract.units[joint].unit
        if unit in _RANGES:
            bottom, top = _RANGES[unit]
            if low[i] < bottom - _BEYOND or high[i] > top + _BEYOND:
                yield (
                    f"{what} {joint}: values from {low[i]:.3g} to {high[i]:.3g}, which {unit} "
                    "cannot have: another unit?"
                )
        elif not limits[0][joint] <= middle_rad[i] <= limits[1][joint]:
            yield (
                f"{what} {joint}: the middle of its values is {middle_rad[i]:.3g} rad in "
                f"{unit}, outside of the joint's limits: another unit, zero or sign?"
            )
        small &= unit != "degrees" or max(abs(low[i]), abs(high[i])) < _SMALL
    if small and any(contract.units[joint].unit == "degrees" for joint in vector.joints):
        yield f"{what}: no value in degrees is beyond {_SMALL:g}: are they radians?"


def _reach(vector: JointVector, golden: Tensor | None) -> tuple[F64, F64]:
    """Return the lowest and highest value of each joint, as far as statistics and rows tell."""
    size, scaling = len(vector.joints), vector.normalisation
    found = list[F64]()
    if scaling.mean and scaling.std:
        mean, std = np.array(scaling.mean), np.array(scaling.std)
        found += [mean - std, mean + std]
    elif scaling.min and scaling.max:
        found += [np.array(scaling.min), np.array(scaling.max)]
    if golden is not None:
        found += list(golden.reshape(-1, size).astype(np.float64))
    rows = np.stack(found or [np.zeros(size)])
    return rows.min(axis=0), rows.max(axis=0)


def _of_images(contract: ChunkContract, rows: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield cameras whose golden images would prove nothing about the wiring."""
    for one, other in combinations(contract.cameras, 2):
        first, second = (rows.get(f"{GOLDEN_CAMERA}{name}") for name in (one, other))
        if first is not None and second is not None and np.array_equal(first, second):
            yield (
                f"golden rows: the images of {one} and {other} are the same, which cannot "
                "show swapped cameras"
            )
