# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A chunk policy's contract as rows of a table, and what is odd about it though it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

import numpy as np

from model_tools.prove.inspect.contract_rows import (
    describe_artifacts,
    describe_body,
    describe_proof,
)
from model_tools.prove.inspect.inspection import InspectionReport
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import (
    GOLDEN_CAMERA,
    GOLDEN_CHUNK,
    GOLDEN_STATE,
    Camera,
    ChunkContract,
    JointUnit,
    JointVector,
    Pairing,
    Scaling,
)
from policy_core.bundle.contract import Graph
from policy_core.bundle.contract import Tensor as TensorEntry
from policy_core.bundle.load import load_bundle
from policy_core.errors import BundleError
from policy_core.interfaces import F64, Tensor
from policy_core.members.chunk.normalise import Units

_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of the channels, with which LeRobot trains by default."""
_RANGES = {"range_m100_100": (-100.0, 100.0), "range_0_100": (0.0, 100.0)}
_BEYOND, _SMALL = 1.0, 4.0
"""What a predicted value may lie outside its range; what is little in degrees, and not in rad."""
_CHANNELS = ("red", "green", "blue")


def describe_chunk_contract(contract: ChunkContract, report: InspectionReport) -> None:
    """Add a row for each part of a contract."""
    report.row("name", f"{contract.name} {contract.version}")
    report.row("kind", "chunk policy: cameras and joints in, chunks of targets out")
    chunk, rate_hz = contract.chunk, contract.rate_hz
    ensemble = (
        ""
        if chunk.ensemble_coeff is None
        else (f"; ensembling with exp(-{chunk.ensemble_coeff:g} i)")
    )
    report.row("rate", f"{rate_hz:g} Hz")
    report.row(
        "chunk",
        f"{chunk.size} steps, {chunk.size / rate_hz:.3g} s; {chunk.steps} are "
        f"executed, {chunk.steps / rate_hz:.3g} s{ensemble}",
    )
    if (denoising := contract.denoising) is not None:
        several = (
            f"; {denoising.observations} successive observations"
            if denoising.observations > 1
            else ""
        )
        once = f"; {denoising.condition} runs once for a chunk" if denoising.condition else ""
        report.row(
            "denoising", f"{denoising.method}, {denoising.steps} steps a chunk{several}{once}"
        )
    if contract.prompt:
        report.row("prompt", f"{contract.prompt} (in the graphs; another needs another export)")
    report.row("pairing", _pairing(contract.pairing))
    for name, camera in contract.cameras.items():
        report.row(f"camera {name}", _camera(name, camera))
        report.row(f"statistics {name}", _scaling(camera.normalisation))
    if contract.state is not None:
        report.row(contract.state.feature, _vector(contract.state))
    if outside := contract.environment_state:
        report.row(
            outside.feature,
            f"{outside.size} values from the topic {outside.topic} -> "
            f"{outside.tensor}; {_scaling(outside.normalisation)}",
        )
    report.row(contract.action.feature, _vector(contract.action))
    for joint, unit in contract.units.items():
        report.row(f"unit {joint}", f"{_unit(unit)}; {_spread(contract, joint)}")
    describe_body(contract, report)
    step = contract.action.max_relative_target
    report.row("largest step", "not stated" if step is None else f"{step} rad")
    for name, graph in contract.graphs.items():
        _describe_graph(name, graph, report)
    describe_proof(contract, report, maker="`export act`")


def _pairing(pairing: Pairing) -> str:
    if pairing.rule == "newest":
        return "newest: the newest image of each camera, the newest measurements"
    return (
        "frame_time: images and measurements of one time; frames at most "
        f"{pairing.tolerance_s:g} s apart"
    )


def _camera(name: str, camera: Camera) -> str:
    way = camera.tensor if camera.encoder is None else f"{camera.encoder} -> {camera.tensor}"
    others = "stretched" if camera.resize else "refused"
    frozen = camera.camera_frozen_s
    held = (
        "a frozen one is a warning alone"
        if frozen is None
        else f"held when frozen for {frozen:g} s"
    )
    return (
        f"{camera.width} x {camera.height} from {name}/image_raw -> {way}; {camera.feature}; "
        f"other sizes are {others}; too old after {camera.timeout_s:g} s; {held}"
    )


def _scaling(scaling: Scaling) -> str:
    shown = {
        key: values
        for key in ("mean", "std", "min", "max")
        if (values := getattr(scaling, key)) is not None
    }
    if (scaling.mean, scaling.std) == _IMAGENET:
        return "mean_std: those of ImageNet"
    if len(next(iter(shown.values()), ())) > 4:
        return scaling.mode  # the numbers stand with the joints
    numbers = "; ".join(
        f"{key} {', '.join(f'{value:g}' for value in values)}" for key, values in shown.items()
    )
    return f"{scaling.mode}: {numbers}" if numbers else scaling.mode


def _vector(vector: JointVector) -> str:
    return f"{', '.join(vector.joints)} ({vector.tensor}); {vector.normalisation.mode}"


def _unit(unit: JointUnit) -> str:
    if unit.low_rad is not None:
        low = -100 if unit.unit == "range_m100_100" else 0
        return f"{low} at {unit.low_rad:g} rad, 100 at {unit.high_rad:g} rad"
    return f"{unit.unit}, {'0' if unit.sign == 1 else 'reversed, 0'} at {unit.zero_rad:g} rad"


def _spread(contract: ChunkContract, joint: str) -> str:
    """Return what the statistics say of a joint, in the policy's unit."""
    said = list[str]()
    for what, vector in (("state", contract.state), ("action", contract.action)):
        if vector is None or joint not in vector.joints:
            continue
        i, scaling = vector.joints.index(joint), vector.normalisation
        if scaling.mean and scaling.std:
            said.append(f"{what} {scaling.mean[i]:.3g} ± {scaling.std[i]:.3g}")
        elif scaling.min and scaling.max:
            said.append(f"{what} {scaling.min[i]:.3g} to {scaling.max[i]:.3g}")
    return ", ".join(said) or "no statistics"


def _describe_graph(name: str, graph: Graph, report: InspectionReport) -> None:
    report.row(f"graph {name}", f"{_tensors(graph.inputs)} -> {_tensors(graph.outputs)}")
    describe_artifacts(graph, report)


def _tensors(tensors: Mapping[str, TensorEntry]) -> str:
    return ", ".join(
        f"{name} {tensor.dtype}{list(tensor.shape)}" for name, tensor in tensors.items()
    )


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
