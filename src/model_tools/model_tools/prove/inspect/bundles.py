# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Inspects a bundle folder: its contract, and whether its files match the contract."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.baked import (
    BakedAction,
    baked_actions,
    baked_normaliser,
    is_same,
    span,
)
from model_tools.files.control_flow import count_control_flow, require_bounded_turns
from model_tools.files.foreign import Node, read_json
from model_tools.files.onnx_model import OnnxModel, read_onnx
from model_tools.make.importers.draft import (
    completing,
    open_questions,
    other_problems,
)
from model_tools.prove.inspect.contract_tables import contract_tables
from model_tools.prove.inspect.inspection import InspectionReport
from policy_core.bundle.body import SENSITIVITY, AnyContract
from policy_core.bundle.bundle import (
    CONTRACT_FILE,
    SET_FILE,
    Bundle,
    JointBundle,
    model_sha256,
    stated_hashes,
)
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import (
    GOLDEN_CAMERA,
    GOLDEN_CHUNK,
    GOLDEN_STATE,
    ChunkContract,
    JointVector,
    Scaling,
)
from policy_core.bundle.contract import Artifact, JointContract, Safety
from policy_core.bundle.load import load_bundle, parse_contract
from policy_core.bundle.report_subject import find_contract_problem
from policy_core.bundle.schema import load_yaml, read_bytes
from policy_core.bundle.set_bundle import SetBundle
from policy_core.bundle.verified import sha256_file
from policy_core.errors import BundleError, PolicyError, Problem
from policy_core.interfaces import F64, OnFault, Tensor
from policy_core.members.chunk.normalise import Units
from policy_core.observation.scan_scene import check_scenes
from policy_inference.kinds.parity import check_opening
from policy_store.report import Table

_LARGEST_TILT_RAD = 1.2
_REFERENCE = "onnx"
_STATISTICS = "obs_stats.npz"
_SAME_PRECISION = {"w8a8": "int8"}
_Models = Mapping[tuple[str, str], OnnxModel]
"""ONNX models by key in the contract and by back end."""


def inspect_set(path: Path) -> InspectionReport:
    """Return a set's members, states and transitions, and its members' problems."""
    report = InspectionReport(kind="policy set", path=path)
    report.values["set"] = _content(path / SET_FILE)
    try:
        bundle = load_bundle(path, kind=SetBundle)
    except BundleError as error:
        report.problems.extend(map(str, error.problems))
        return report
    contract = bundle.contract
    report.row("name", f"{contract.name} {contract.version}")
    report.row("rate", f"{contract.rate_hz:g} Hz")
    report.row("joints", ", ".join(contract.joints.names))
    report.row("begins in", contract.initial)
    if contract.silence_s is not None:
        report.row("stands up", f"after {contract.silence_s:g} s without a velocity command")
    report.tables.append(
        Table(
            title="members",
            header=("member", "bundle", "rate", "commands", "starts"),
            rows=[
                (
                    name,
                    f"{member.contract.name} {member.contract.version}",
                    f"{member.contract.rate_hz:g} Hz",
                    f"{member.commanded.size} of {member.places.size} joints",
                    "followed" if member.is_followed else "clean",
                )
                for name, member in contract.members.items()
            ],
        )
    )
    report.tables.append(
        Table(
            title="states",
            header=("state", "members", "leads to", "way back", "fallback"),
            rows=[
                (
                    name,
                    ", ".join(state.members),
                    ", ".join(
                        f"{to} ({transition.blend_s:g} s, else {transition.otherwise})"
                        for to, transition in state.to.items()
                    ),
                    "may stand up" if state.stand else state.way_back or "",
                    state.fallback or "none: the guard acts",
                )
                for name, state in contract.states.items()
            ],
        )
    )
    for name, member in bundle.members.items():
        found = inspect(member.path)
        report.problems.extend(f"{name}: {problem}" for problem in found.problems)
        report.suspicions.extend(f"{name}: {suspicion}" for suspicion in found.suspicions)
    _try_opening(bundle, report)
    return report


def _try_opening(bundle: Bundle, report: InspectionReport) -> None:
    """Note why a node could not open the bundle's ONNX models, if it has any for this machine."""
    if report.problems or not all(_REFERENCE in files.model.artifacts for files in bundle.models):
        return
    try:
        check_opening(bundle, _REFERENCE)
    except PolicyError as error:
        report.refuse(f"a node cannot open it: {error}")


def _content(file: Path) -> object:
    try:
        return load_yaml(file)
    except BundleError:  # included in the problems
        return None


def inspect(path: Path) -> InspectionReport:
    """Return a bundle's contents; if it does not load, its open questions and problems."""
    report = InspectionReport(kind="bundle folder", path=path)
    report.values["contract"] = _content(path / CONTRACT_FILE)
    try:
        contract = parse_contract(read_bytes(path / CONTRACT_FILE), path / CONTRACT_FILE)
    except BundleError as error:
        _describe_draft(path, error.problems, report)
        return report
    report.values["sha256"] = sha256_file(path / CONTRACT_FILE)
    if contract.scans:
        report.values["scans"] = {
            topic: {**dataclasses.asdict(scan), "points_m": scan.points}
            for topic, scan in contract.scans.items()
        }
    suspect, maker = _BY_KIND[contract.kind]
    report.row("name", f"{contract.name} {contract.version}")
    if contract.golden is None:
        report.row(
            "golden rows", f"none, so other artifacts cannot be verified; {maker} makes them"
        )
    if contract.nominal is None:
        report.row("nominal", "none: the guard applies only the contract's limits")
    report.tables.extend(contract_tables(contract))
    _describe_reports(contract, path, report)
    _judge_files(contract, path, report)
    for backend in contract.limits.keys() - {
        backend for model in contract.models.values() for backend in model.artifacts
    }:
        report.suspect(f"limits {backend}: there is no artifact for this back end")
    models = dict[tuple[str, str], OnnxModel]()
    for key, graph in contract.models.items():
        for backend, artifact in graph.artifacts.items():
            model = _model(path / artifact.file, report)
            if model is not None:
                models[key, backend] = model
                _suspect_precision(backend, artifact, model, report)
    suspect(contract, path, models, report)
    return report


def _judge_files(contract: AnyContract, path: Path, report: InspectionReport) -> None:
    """Note files that differ from the contract, and what the loader finds wrong with the others."""
    stated = stated_hashes(contract)
    for name, sha256 in stated.items():
        file = path / name
        if not file.is_file():
            report.refuse(f"{name} is missing")
        elif sha256_file(file) != sha256:
            report.refuse(f"{name} has a different hash than in the contract")
    if not report.problems:
        try:
            _try_opening(load_bundle(path, kind=Bundle), report)
        except BundleError as error:
            report.problems.extend(map(str, error.problems))
    if (path / _STATISTICS).is_file() and _STATISTICS not in stated:
        report.suspect(
            f"{_STATISTICS} exists, but the contract does not use it: either the model "
            "normalizes its inputs itself, or nothing does"
        )


def _model(file: Path, report: InspectionReport) -> OnnxModel | None:
    """Return an artifact that is an ONNX model; note if it is unreadable."""
    if file.suffix != ".onnx" or not file.is_file():
        return None
    try:
        return read_onnx(file)
    except ToolError as error:
        report.refuse(str(error))
        return None


def _suspect_precision(
    backend: str, artifact: Artifact, model: OnnxModel, report: InspectionReport
) -> None:
    stated = _SAME_PRECISION.get(artifact.precision, artifact.precision)
    if stated != model.precision:
        report.suspect(
            f"artifact {backend}: the contract states {artifact.precision}, but {artifact.file} "
            f"has {model.precision} weights"
        )
    if artifact.integers not in (None, model.integers):
        report.suspect(
            f"artifact {backend}: the contract states {artifact.integers} integers, but "
            f"{artifact.file} has {model.integers or 'none'}"
        )


def _suspect_joint_policy(
    contract: JointContract, path: Path, models: _Models, report: InspectionReport
) -> None:
    """Note what is unproven, and steps that both model and contract do, such as normalizing."""
    _prove_perception(contract, path, report)
    _describe_velocity(contract, report)
    if contract.velocity_command is not None:
        _suspect_walking(contract.safety, report)
    model = models.get(("model", "onnx"))
    if model is None:
        return
    _check_control_flow(contract, model, report)
    statistics = any(o.normalisation for o in contract.observations.values())
    normaliser = baked_normaliser(model)
    if normaliser and (statistics or (path / _STATISTICS).is_file()):
        report.suspect(f"normalized twice: {normaliser} in the model, and statistics in the bundle")
    for found in baked_actions(model):
        if found.nodes and found.output == contract.action.output:
            _suspect_action(contract, found, report)


def _describe_velocity(contract: JointContract, report: InspectionReport) -> None:
    """State where base_lin_vel comes from on the robot; note a source that is not stated."""
    terms = [term for term in contract.terms if term.term == "base_lin_vel"]
    if contract.estimation is not None:
        report.row("base_lin_vel", "estimated from legs and IMU, by velocity_estimator_node")
    elif terms:
        report.row(
            "base_lin_vel",
            "measured: a node of yours publishes odom; no driver of this suite does, and simulated "
            "robots publish their true velocity",
        )
    for key in contract.unstated_sources:
        report.suspect(
            f"{key}: expected estimator or measured, found none: state whether the robot measures "
            "its velocity; if not, `model_tools import --estimator` describes its legs "
            "(docs/estimation.md)"
        )


def _check_control_flow(
    contract: JointContract, model: OnnxModel, report: InspectionReport
) -> None:
    """Refuse a loop that may not end, and control flow that the contract does not declare."""
    try:
        require_bounded_turns(model)
    except ToolError as error:
        report.refuse(str(error))
    operators = count_control_flow(model)
    if operators and contract.model.artifacts["onnx"].control_flow is None:
        report.refuse(
            f"artifact onnx: {', '.join(operators)} make the duration depend on the input, and the "
            "contract has no control_flow; `model_tools complete` measures and declares it"
        )


def _suspect_walking(safety: Safety, report: InspectionReport) -> None:
    """Note safety settings that no legged robot survives."""
    if safety.on_fault == OnFault.HOLD_MEASURED.value:
        report.suspect(
            "safety.on_fault: expected damp for a policy that walks, found hold_measured: a robot "
            "that holds its joints falls with stiff legs"
        )
    if safety.max_tilt_rad is not None and safety.max_tilt_rad > _LARGEST_TILT_RAD:
        report.suspect(
            f"safety.max_tilt_rad: expected at most {_LARGEST_TILT_RAD:g} for a policy that "
            f"walks, found {safety.max_tilt_rad:g}: the policy still runs when the robot lies on "
            "its side"
        )


def _prove_perception(contract: JointContract, path: Path, report: InspectionReport) -> None:
    """State what proves the contract of each scan and camera image; note scans without proof."""
    for name, observation in contract.observations.items():
        for i, term in enumerate(observation.terms):
            proof, key = f"proof of {term.topic}", f"observations.{name}.terms[{i}]"
            if term.camera_image is not None:
                report.row(proof, "none: images have no `scene`; compare each key with training")
            elif term.scan is not None and term.scene is None:
                report.row(proof, "none: the scan has no `scene`")
                report.suspect(
                    f"{key}: expected a `scene`, found none, so nothing proves the contract of "
                    f"{term.topic}: record a scan in training, and give it to `import --scene`"
                )
            elif term.scene is not None:
                report.row(proof, term.scene.file)
    if contract.scenes and not report.problems:  # its files match the contract
        try:
            check_scenes(load_bundle(path, kind=JointBundle))
        except BundleError as error:
            report.problems.extend(map(str, error.problems))


def _suspect_action(contract: JointContract, found: BakedAction, report: InspectionReport) -> None:
    """Note an action scale or offset in both model and contract, and an offset in neither."""
    if not found.is_known:
        report.suspect(found.advice)
        return
    scale, offset, default = _stated_action(contract)
    if found.is_scaled and not np.all(scale == 1.0):
        twice = "scaled twice" if is_same(found.scale, scale) else "scaled by model and contract"
        report.suspect(
            f"{twice}: {found.read}, and action.scale "
            f"{span(scale)} in the contract; right only if the training "
            f"multiplies by both; {found.feedback_advice}"
        )
    if found.is_shifted and offset.any():
        same = is_same(found.offset, offset)
        twice = "shifted twice" if same else "shifted by model and contract"
        report.suspect(
            f"{twice}: {found.where} ({span(found.offset)} added), and action.offset "
            f"{span(offset)} in the contract; right only if the training adds both"
        )
    if not found.is_shifted and not offset.any() and default.any():
        report.suspect(
            f"never shifted: {found.where} (0 added), and action.offset 0 in the contract; targets "
            "are around 0 rad, not around the default pose, which is right only if the training "
            "adds no offset"
        )


def _suspect_chunk_policy(
    contract: ChunkContract, path: Path, _models: _Models, report: InspectionReport
) -> None:
    if not report.problems:  # its files match the contract
        report.suspicions.extend(oddities(contract, path))


_BY_KIND: Mapping[str, tuple[Callable[[Any, Path, _Models, InspectionReport], None], str]] = {
    "joint": (_suspect_joint_policy, "`complete`"),
    "chunk": (_suspect_chunk_policy, "`export act`"),
}
"""Function that notes suspicions about a contract and its models, and the command that makes golden
rows, by kind of contract."""


def _stated_action(contract: JointContract) -> tuple[F64, F64, F64]:
    """Return the scale, offset, and default pose of position targets, for each action value."""
    terms, names = contract.action.terms, contract.joints.names
    places = [names.index(joint) for term in terms for joint in term.joints]
    is_position = np.concatenate([[term.kind == "position"] * len(term.joints) for term in terms])
    return (
        np.concatenate([term.scale for term in terms]),
        np.concatenate([term.offset for term in terms]),
        contract.joints.default_position[places] * is_position,
    )


def _describe_draft(path: Path, problems: Sequence[Problem], report: InspectionReport) -> None:
    questions = open_questions(report.values["contract"])
    for key, question in questions.items():
        report.row(f"TODO {key}", question)
    if questions:
        report.refuse(
            f"{len(questions)} question{'s are' if len(questions) > 1 else ' is'} open; answer "
            f"{'them' if len(questions) > 1 else 'it'} in {CONTRACT_FILE}, and then run "
            f"{completing(path)}"
        )
    for problem in other_problems(problems, questions):
        report.refuse(f"the loader refuses it: {problem}")


def _describe_reports(contract: AnyContract, path: Path, report: InspectionReport) -> None:
    """Add a row with the verdict of each report; note failures and other models' reports."""
    for backend, entry in contract.reports.items():
        file = path / entry.file
        if not file.is_file():
            continue  # noted with the other files
        try:
            content, artifact = read_json(file), backend.removeprefix(SENSITIVITY)
            verdict, failed = _verdict(content, contract, artifact)
            if problem := find_contract_problem(
                content.mapping(),
                model_sha256(contract, artifact),
                read_bytes(path / CONTRACT_FILE),
                contract.version,
            ):
                verdict, failed = problem, True
        except ToolError as error:
            report.suspect(str(error))
            continue
        report.row(f"report {backend}", f"{entry.file}: {verdict}")
        if failed:
            report.suspect(f"{entry.file}: {verdict}")


def _verdict(content: Node, contract: AnyContract, backend: str) -> tuple[str, bool]:
    """Return a report's verdict on a back end's model, and whether the model failed."""
    sha256, estimation = model_sha256(contract, backend) or "", contract.estimation
    if content.get("artifacts") is not None:
        about = [one for one in content.section("artifacts") if one["sha256"].text() == sha256]
        holds = all(one.flag("holds") for one in about)
        words = f"compared with {content['reference'].text()}: limits {'hold' if holds else 'fail'}"
        failed = not holds
    elif content.get("outcomes") is not None:
        about = [content] if content["model_sha256"].text() == sha256 else []
        judged = [one for one in content.section("outcomes") if one.get("passed") is not None]
        names = [one["name"].text() for one in judged if not one.flag("passed")]
        words = f"{len(judged) - len(names)} of {len(judged)} cases passed"
        words, failed = f"{words}; failed: {', '.join(names)}" if names else words, bool(names)
    elif content.get("levels") is not None:
        about = [content] if content["model_sha256"].text() == sha256 else []
        survived = content.get("survived_error_mps")
        stated = 0.0 if estimation is None else estimation.error_mps
        failed = survived is None or survived.number() < stated
        most = "no error" if survived is None else f"errors up to {survived.number():g} m/s"
        words = f"survives {most} in base_lin_vel"
        words += f"; the contract states {stated:g} m/s" if stated else ""
    else:
        return "a report of an unknown kind", False
    return (words, failed) if about else ("about a model that is not in the bundle", True)


_RANGES = {"range_m100_100": (-100.0, 100.0), "range_0_100": (0.0, 100.0)}
_BEYOND, _SMALL = 1.0, 4.0
"""Allowed distance of a value from its range; if all values are below the second number, values
stated in degrees may be radians."""
_CHANNELS = ("red", "green", "blue")


def oddities(contract: ChunkContract, folder: Path) -> Iterator[str]:
    """Yield a sentence for each suspicious value."""
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
            name for name, spread in zip(names, _spread(scaling), strict=False) if spread == 0.0
        ]
        if still:
            yield (
                f"{what}: standard deviation 0 for {', '.join(still)}: it never changed in the "
                "data, so any deviation becomes huge or vanishes"
            )


def _spread(scaling: Scaling) -> tuple[float, ...]:
    if scaling.std is not None:
        return scaling.std
    return tuple(high - low for low, high in zip(scaling.min or (), scaling.max or (), strict=True))


def _of_cameras(contract: ChunkContract) -> Iterator[str]:
    for name, camera in contract.cameras.items():
        statistics = (*(camera.normalisation.mean or ()), *(camera.normalisation.max or ()))
        if max(statistics, default=0.0) > 1.0:
            yield (
                f"camera {name}: statistics up to {max(statistics):g}, but images are 0 to 1: "
                "were they computed from 0 to 255?"
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
                f"cameras {one} and {other}: equal size and statistics, so no check can detect "
                "swapped cameras if the policy treats all cameras alike, as ACT does; look at an "
                "image from each topic"
            )


def _of_units(
    contract: ChunkContract, what: str, vector: JointVector, golden: Tensor | None
) -> Iterator[str]:
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
                    f"{what} {joint}: values from {low[i]:.3g} to {high[i]:.3g}, outside {unit}: "
                    "is the unit wrong?"
                )
        elif not limits[0][joint] <= middle_rad[i] <= limits[1][joint]:
            yield (
                f"{what} {joint}: the middle of its values (in {unit}) is {middle_rad[i]:.3g} "
                "rad, outside the joint's limits: is the unit, zero or sign wrong?"
            )
        small &= unit != "degrees" or max(abs(low[i]), abs(high[i])) < _SMALL
    if small and any(contract.units[joint].unit == "degrees" for joint in vector.joints):
        yield f"{what}: no value in degrees is beyond {_SMALL:g}: are they radians?"


def _reach(vector: JointVector, golden: Tensor | None) -> tuple[F64, F64]:
    """Return the lowest and highest known value of each joint, from statistics and rows."""
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
    for one, other in combinations(contract.cameras, 2):
        first, second = (rows.get(f"{GOLDEN_CAMERA}{name}") for name in (one, other))
        if first is not None and second is not None and np.array_equal(first, second):
            yield (
                f"golden rows: the images of {one} and {other} are the same, so they cannot "
                "reveal swapped cameras"
            )
