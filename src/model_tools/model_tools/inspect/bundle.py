# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A bundle folder: what its contract says, and whether its files are those that it means."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model_tools.baked import BakedAction, baked_actions, baked_normaliser, is_same, span
from model_tools.errors import ToolError
from model_tools.inspect.chunk_oddities import oddities
from model_tools.inspect.chunk_rows import describe_chunk_contract
from model_tools.inspect.contract_rows import describe_contract
from model_tools.inspect.draft import describe_draft
from model_tools.inspect.kept_reports import describe_reports
from model_tools.inspect.report import Report
from model_tools.onnx_model import OnnxModel, read_onnx
from policy_inference.bundle.chunk_contract import ChunkContract
from policy_inference.bundle.contract import Artifact, JointContract
from policy_inference.bundle.joint_values import per_joint
from policy_inference.bundle.load import (
    CONTRACT_FILE,
    AnyContract,
    read_any_contract,
    stated_hashes,
)
from policy_inference.bundle.verified import sha256_of
from policy_inference.errors import BundleError
from policy_inference.interfaces import F64

KIND = "bundle folder"
_STATISTICS = "obs_stats.npz"
_SAME_PRECISION = {"w8a8": "int8"}


def recognise(path: Path) -> bool:
    """Return whether it is a folder with a contract."""
    return path.is_dir() and (path / CONTRACT_FILE).is_file()


def inspect(path: Path) -> Report:
    """Return what is in the bundle; of one that does not load, open questions and what is wrong."""
    report = Report(kind=KIND, path=path)
    try:
        contract = read_any_contract(path / CONTRACT_FILE)
    except BundleError as error:
        describe_draft(path / CONTRACT_FILE, error.problems, report)
        return report
    if isinstance(contract, ChunkContract):
        describe_chunk_contract(contract, report)
    else:
        describe_contract(contract, report)
    describe_reports(contract, path, report)
    _suspect_files(contract, path, report)
    _suspect_limits(contract, report)
    for graph in contract.models.values():
        for backend, artifact in graph.artifacts.items():
            model = _model(path / artifact.file, report)
            if model is not None:
                _suspect_precision(backend, artifact, model, report)
            if model is not None and backend == "onnx" and isinstance(contract, JointContract):
                _suspect_twice(contract, path, model, report)
    if isinstance(contract, ChunkContract):
        report.suspicions.extend(oddities(contract, path))
    return report


def _suspect_files(contract: AnyContract, path: Path, report: Report) -> None:
    stated = stated_hashes(contract)
    for name, sha256 in stated.items():
        file = path / name
        if not file.is_file():
            report.suspect(f"{name} is not there")
        elif sha256_of(file) != sha256:
            report.suspect(f"{name} has another hash than the contract says")
    if (path / _STATISTICS).is_file() and _STATISTICS not in stated:
        report.suspect(f"{_STATISTICS} is there, and the contract does not use it: either the "
                       "model normalises inside, or nothing does")


def _suspect_limits(contract: AnyContract, report: Report) -> None:
    """Note limits that hold for nothing."""
    artifacts = next(iter(contract.models.values())).artifacts
    for backend in contract.limits.keys() - artifacts.keys():
        report.suspect(f"limits {backend}: there is no artifact for this back end")


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
    if artifact.integers not in (None, model.integers):
        report.suspect(f"artifact {backend}: the contract says {artifact.integers} integers, "
                       f"{artifact.file} holds {model.integers or 'none'}")


def _suspect_twice(
    contract: JointContract, path: Path, model: OnnxModel, report: Report
) -> None:
    """Note what is done inside the model and again by the contract."""
    statistics = any(o.normalisation for o in contract.observations.values())
    normaliser = baked_normaliser(model)
    if normaliser and (statistics or (path / _STATISTICS).is_file()):
        report.suspect(f"normalised twice: {normaliser} in the model, and statistics in the bundle")
    for found in baked_actions(model):
        if found.nodes and found.output == contract.action.output:
            _suspect_action(contract, found, report)


def _suspect_action(contract: JointContract, found: BakedAction, report: Report) -> None:
    """Note a scale or an offset of the action that both have, and an offset that neither has."""
    if not found.is_known:
        report.suspect(found.advice())
        return
    scale, offset, default = _stated_action(contract)
    if found.is_scaled and not np.all(scale == 1.0):
        twice = "scaled twice" if is_same(found.scale, scale) else "scaled by model and contract"
        report.suspect(f"{twice}: {found.read}, and action.scale "
                       f"{span(scale)} in the contract: right only if the training "
                       f"multiplies by both; {found.feedback_advice}")
    if found.is_shifted and offset.any():
        same = is_same(found.offset, offset)
        twice = "shifted twice" if same else "shifted by model and contract"
        report.suspect(f"{twice}: {found.where}, {span(found.offset)} added, and action.offset "
                       f"{span(offset)} in the contract: right only if the training adds both")
    if not found.is_shifted and not offset.any() and default.any():
        report.suspect(f"never shifted: {found.where}, 0 added, and action.offset 0 in the "
                       "contract: targets are around 0 rad and not around the default pose, right "
                       "only if the training adds no offset")


def _stated_action(contract: JointContract) -> tuple[F64, F64, F64]:
    """Return scale, offset, and default pose of position targets, of each value of the action."""
    names = contract.joints.names
    default = dict(zip(names, per_joint(contract.joints.default_position, names), strict=True))
    scales, offsets, poses = list[F64](), list[F64](), list[F64]()
    for term in contract.action.terms:
        pose = np.array([default[joint] for joint in term.joints])
        scales.append(per_joint(term.scale, term.joints))
        offsets.append(pose if term.offset == "default_position"
                       else per_joint(term.offset, term.joints))
        poses.append(pose * (term.kind == "position"))
    return np.concatenate(scales), np.concatenate(offsets), np.concatenate(poses)
