# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A chunk policy's contract as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping

from model_tools.inspect.contract_rows import bounds, describe_body
from model_tools.inspect.report import Report
from policy_inference.bundle.chunk_contract import (
    Camera,
    ChunkContract,
    JointUnit,
    JointVector,
    Scaling,
)
from policy_inference.bundle.contract import Graph
from policy_inference.bundle.contract import Tensor as TensorEntry

_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of the channels, with which LeRobot trains unless told otherwise."""


def describe_chunk_contract(contract: ChunkContract, report: Report) -> None:
    """Add a row for each part of a contract."""
    report.row("name", f"{contract.name} {contract.version}")
    report.row("kind", "chunk policy: cameras and joints in, chunks of targets out")
    chunk, rate_hz = contract.chunk, contract.rate_hz
    ensemble = "" if chunk.ensemble_coeff is None else (
        f"; ensembling with exp(-{chunk.ensemble_coeff:g} i)")
    report.row("rate", f"{rate_hz:g} Hz")
    report.row("chunk", f"{chunk.size} steps, {chunk.size / rate_hz:.3g} s; {chunk.steps} are "
               f"executed, {chunk.steps / rate_hz:.3g} s{ensemble}")
    for name, camera in contract.cameras.items():
        report.row(f"camera {name}", _camera(name, camera))
        report.row(f"statistics {name}", _scaling(camera.normalisation))
    if contract.state is not None:
        report.row(contract.state.feature, _vector(contract.state))
    if outside := contract.environment_state:
        report.row(outside.feature, f"{outside.size} values from the topic {outside.topic} -> "
                   f"{outside.tensor}; {_scaling(outside.normalisation)}")
    report.row(contract.action.feature, _vector(contract.action))
    for joint, unit in contract.units.items():
        report.row(f"unit {joint}", f"{_unit(unit)}; {_spread(contract, joint)}")
    describe_body(contract, report)
    step = contract.action.max_relative_target
    report.row("largest step", "not stated" if step is None else f"{step} rad")
    for name, graph in contract.graphs.items():
        _describe_graph(name, graph, report)
    for name, limits in contract.limits.items():
        report.row(f"limits {name}", bounds(limits) or "none")
    report.row("golden rows", contract.golden.file if contract.golden else
               "none: nothing to prove other artifacts with; `export act` makes them")
    report.row("nominal", contract.nominal.source if contract.nominal else
               "none: only the contract's limits guard")
    report.row("licence", contract.provenance.licence)


def _camera(name: str, camera: Camera) -> str:
    way = camera.tensor if camera.encoder is None else f"{camera.encoder} -> {camera.tensor}"
    others = "stretched" if camera.resize else "refused"
    return (f"{camera.width} x {camera.height} from {name}/image_raw -> {way}; {camera.feature}; "
            f"other sizes are {others}; too old after {camera.timeout_s:g} s")


def _scaling(scaling: Scaling) -> str:
    shown = {key: values for key in ("mean", "std", "min", "max")
             if (values := getattr(scaling, key)) is not None}
    if (scaling.mean, scaling.std) == _IMAGENET:
        return "mean_std: those of ImageNet"
    if len(next(iter(shown.values()), ())) > 4:
        return scaling.mode  # the numbers stand with the joints
    numbers = "; ".join(f"{key} {', '.join(f'{value:g}' for value in values)}"
                        for key, values in shown.items())
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


def _describe_graph(name: str, graph: Graph, report: Report) -> None:
    report.row(f"graph {name}", f"{_tensors(graph.inputs)} -> {_tensors(graph.outputs)}")
    for backend, artifact in graph.artifacts.items():
        target = f" for {artifact.target}" if artifact.target else ""
        integers = f" with {artifact.integers} integers" if artifact.integers else ""
        report.row(f"artifact {backend}",
                   f"{artifact.file}, {artifact.precision}{integers}{target}")


def _tensors(tensors: Mapping[str, TensorEntry]) -> str:
    return ", ".join(f"{name} {tensor.dtype}{list(tensor.shape)}"
                     for name, tensor in tensors.items())
