# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A bundle folder: what its contract says, and whether its files are those that it means."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from model_tools.baked import baked_action, baked_normaliser
from model_tools.errors import ToolError
from model_tools.inspect.report import Report
from model_tools.onnx_model import OnnxModel, read_onnx
from policy_inference.bundle.contract import Artifact, JointContract, Observation, Term
from policy_inference.bundle.expected import Limits
from policy_inference.bundle.load import CONTRACT_FILE, read_contract, sha256_of
from policy_inference.errors import BundleError

KIND = "bundle folder"
_STATISTICS = "obs_stats.npz"
_SAME_PRECISION = {"w8a8": "int8"}


def recognise(path: Path) -> bool:
    """Return whether it is a folder with a contract."""
    return path.is_dir() and (path / CONTRACT_FILE).is_file()


def inspect(path: Path) -> Report:
    """Return what is in the bundle; what its loader refuses is the first thing suspicious."""
    report = Report(kind=KIND, path=path)
    try:
        contract = read_contract(path / CONTRACT_FILE)
    except BundleError as error:
        for problem in error.problems:
            report.suspect(f"the loader refuses it: {problem}")
        return report
    _describe(contract, report)
    _suspect_files(contract, path, report)
    for backend, artifact in contract.model.artifacts.items():
        model = _model(path / artifact.file, report)
        if model is not None:
            _suspect_precision(backend, artifact, model, report)
        if model is not None and backend == "onnx":
            _suspect_twice(contract, path, model, report)
    return report


def _describe(contract: JointContract, report: Report) -> None:
    report.row("name", f"{contract.name} {contract.version}")
    report.row("rate", f"{contract.rate_hz:g} Hz")
    report.row(f"{len(contract.joints.names)} joints", ", ".join(contract.joints.names))
    for name, observation in contract.observations.items():
        report.row(f"observation {name}", _terms(observation))
    for term in contract.action.terms:
        report.row(f"action {contract.action.output}",
                   f"{len(term.joints)} joints by {term.kind}, scale {term.scale}, offset "
                   f"{term.offset}")
    for pair in contract.state:
        report.row("state", f"{pair.output} -> {pair.input}")
    for backend, artifact in contract.model.artifacts.items():
        report.row(f"artifact {backend}", f"{artifact.file}, {artifact.precision}")
    for name, limits in contract.limits.items():
        report.row(f"limits {name}", _bounds(limits) or "none")
    report.row("golden rows", contract.model.golden.file if contract.model.golden else
               "none: nothing to prove other artifacts with; `import` makes them")
    report.row("nominal", contract.nominal.source if contract.nominal else
               "none: only the contract's limits guard; a recorded rollout gives it at `import`")
    report.row("licence", contract.provenance.licence)


def _bounds(limits: Limits) -> str:
    """Return the bounds that are stated."""
    open_loop = asdict(limits)
    closed_loop = open_loop.pop("closed_loop") or {}
    bounds = open_loop | {f"closed loop {name}": value for name, value in closed_loop.items()}
    return ", ".join(f"{name} {value:g}" for name, value in bounds.items() if value is not None)


def _terms(observation: Observation) -> str:
    frames = observation.history.length
    words = ", ".join(map(_term, observation.terms))
    return words if frames == 1 else f"{words}; {frames} frames, {observation.history.layout}"


def _term(term: Term) -> str:
    return term.term if term.topic is None else f"{term.topic} ({term.size})"


def _suspect_files(contract: JointContract, path: Path, report: Report) -> None:
    entries = [(artifact.file, artifact.sha256) for artifact in contract.model.artifacts.values()]
    entries += [(entry.file, entry.sha256) for entry in contract.reports.values()]
    entries += [(o.normalisation.file, o.normalisation.sha256)
                for o in contract.observations.values() if o.normalisation]
    if contract.model.golden:
        entries.append((contract.model.golden.file, contract.model.golden.sha256))
    for name, sha256 in entries:
        file = path / name
        if not file.is_file():
            report.suspect(f"{name} is not there")
        elif sha256_of(file) != sha256:
            report.suspect(f"{name} has another hash than the contract says")
    used = {name for name, _ in entries}
    if (path / _STATISTICS).is_file() and _STATISTICS not in used:
        report.suspect(f"{_STATISTICS} is there, and the contract does not use it: either the "
                       "model normalises inside, or nothing does")


def _model(file: Path, report: Report) -> OnnxModel | None:
    """Return an artifact that is an ONNX model; note what cannot be read."""
    if file.suffix != ".onnx" or not file.is_file():
        return None
    try:
        return read_onnx(file)
    except ToolError as error:
        report.suspect(str(error))
        return None


def _suspect_precision(
    backend: str, artifact: Artifact, model: OnnxModel, report: Report
) -> None:
    stated = _SAME_PRECISION.get(artifact.precision, artifact.precision)
    if stated != model.precision:
        report.suspect(f"artifact {backend}: the contract says {artifact.precision}, "
                       f"{artifact.file} holds {model.precision} weights")


def _suspect_twice(
    contract: JointContract, path: Path, model: OnnxModel, report: Report
) -> None:
    """Note what is done inside the model and again by the contract."""
    statistics = any(o.normalisation for o in contract.observations.values())
    normaliser = baked_normaliser(model)
    if normaliser and (statistics or (path / _STATISTICS).is_file()):
        report.suspect(f"normalised twice: {normaliser} in the model, and statistics in the bundle")
    action = baked_action(model)
    scaled = any(term.scale != 1.0 or term.offset != 0.0 for term in contract.action.terms)
    if action and scaled and contract.action.output in action:
        report.suspect(f"scaled twice: {action} in the model, and scale or offset in the contract")
