# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A bundle's contract as rows of a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

import numpy as np

from model_tools.files.terms import frames, newest_columns
from model_tools.prove.inspect.inspection import InspectionReport, ReportTable
from policy_core.bundle.body import AnyContract, Body, ComparisonLimits
from policy_core.bundle.contract import (
    ActionTerm,
    Graph,
    JointContract,
    Joints,
    Observation,
    PhaseStand,
    ReferenceMotion,
    Term,
)
from policy_core.interfaces import F64


def describe_contract(contract: JointContract, report: InspectionReport) -> None:
    """Add a row for each part of a contract."""
    report.row("name", f"{contract.name} {contract.version}")
    report.row("rate", f"{contract.rate_hz:g} Hz")
    describe_body(contract, report)
    if command := contract.velocity_command:
        report.row(
            "velocity command",
            "vx, vy, yaw rate from "
            f"{', '.join(f'{value:g}' for value in command.min)} to "
            f"{', '.join(f'{value:g}' for value in command.max)}",
        )
    if contract.motion:
        report.row("motion", _motion(contract.motion))
    for name, observation in contract.observations.items():
        report.row(f"observation {name}", _terms(observation))
        report.row(f"normalisation {name}", _normalisation(observation))
    for term in contract.action.terms:
        report.row(f"action {contract.action.output}", _action(term, contract.joints))
    for pair in contract.state:
        report.row("state", f"{pair.output} -> {pair.input}")
    describe_artifacts(contract.model, report)
    describe_proof(
        contract,
        report,
        maker="`complete`",
        nominal="; a recorded rollout gives it at `complete`",
    )
    report.tables.extend(
        [
            _joint_table(contract),
            _action_table(contract),
            *(_observation_table(contract, name) for name in contract.observations),
        ]
    )


def describe_artifacts(graph: Graph, report: InspectionReport) -> None:
    """Add a row for each artifact of a model."""
    for backend, artifact in graph.artifacts.items():
        target = f" for {artifact.target}" if artifact.target else ""
        integers = f" with {artifact.integers} integers" if artifact.integers else ""
        report.row(
            f"artifact {backend}", f"{artifact.file}, {artifact.precision}{integers}{target}"
        )


def describe_proof(
    contract: AnyContract,
    report: InspectionReport,
    *,
    maker: str,
    nominal: str = "",
) -> None:
    """Add rows of limits, golden rows, nominal figures and licence.

    Args:
        contract: Of the bundle.
        report: Gets the rows.
        maker: What makes golden rows.
        nominal: What makes nominal figures, after a semicolon; empty where nothing does.
    """
    for name, limits in contract.limits.items():
        report.row(f"limits {name}", bounds(limits) or "none")
    report.row(
        "golden rows",
        contract.golden.file
        if contract.golden
        else f"none: nothing to prove other artifacts with; {maker} makes them",
    )
    report.row(
        "nominal",
        contract.nominal.source
        if contract.nominal
        else f"none: only the contract's limits guard{nominal}",
    )
    report.row("licence", contract.provenance.licence)


def describe_body(contract: Body, report: InspectionReport) -> None:
    """Add rows of the joints, what the robot calls them, positions, gains, limits, standing up."""
    joints, stand = contract.joints, contract.stand
    names = joints.names

    report.row(f"{len(names)} joints", ", ".join(names))
    if joints.on_robot() != names:
        report.row("names on the robot", ", ".join(joints.on_robot()))
    report.row("default position", f"{_each(joints.default_position)} rad")
    report.row(
        "gains",
        f"stiffness {_each(joints.stiffness)} N·m/rad; damping {_each(joints.damping)} N·m·s/rad",
    )
    report.row(
        "position limits", f"{_each(joints.position_min)} to {_each(joints.position_max)} rad"
    )
    report.row(
        "speed, torque limits",
        f"{_each(joints.velocity_limit)} rad/s; {_each(joints.effort_limit)} N·m",
    )
    for i, via in enumerate(stand.via, 1):
        report.row(f"standing up, via {i}", f"to {_each(via.position)} rad in {via.duration_s:g} s")
    way = "" if stand.via else "straight "
    report.row(
        "standing up",
        f"{way}to {_each(stand.position)} rad in {stand.duration_s:g} s; "
        f"stiffness {_each(stand.stiffness)} N·m/rad; damping {_each(stand.damping)} N·m·s/rad",
    )


def _joint_table(contract: JointContract) -> ReportTable:
    joints = contract.joints
    names = joints.names
    columns = [
        [f"{number:g}" for number in value]
        for value in (
            joints.default_position,
            joints.position_min,
            joints.position_max,
            joints.velocity_limit,
            joints.effort_limit,
        )
    ]
    return ReportTable(
        title="joints, index from 0",
        header=("index", "joint", "default rad", "min rad", "max rad", "rad/s", "N·m"),
        rows=[(str(i), *row) for i, row in enumerate(zip(names, *columns, strict=True))],
    )


def _action_table(contract: JointContract) -> ReportTable:
    """Return what each value of the output commands; offsets are the numbers that are added."""
    rows = list[tuple[str, ...]]()
    for term in contract.action.terms:
        for joint, offset, scale in zip(term.joints, term.offset, term.scale, strict=True):
            rows.append(
                (str(len(rows)), joint, term.kind, f"{offset:g}", f"{scale:g}", _clip(term.clip))
            )
    return ReportTable(
        title=f"action {contract.action.output}: target = offset + scale x clip(output)",
        header=("index", "joint", "kind", "offset", "scale", "clip"),
        rows=rows,
    )


def _observation_table(contract: JointContract, name: str) -> ReportTable:
    """Return the columns of each term; of several frames those of the newest."""
    observation = contract.observations[name]
    history = observation.history
    several = frames(observation) > 1
    rows = list[tuple[str, ...]]()
    for found in newest_columns(contract, name):
        term, where = found.term, found.where
        rows.append(
            (
                f"{where.start}:{where.stop}",
                term.topic or found.name,
                _each(term.scale),
                _clip(term.clip),
                str(term.history_length or history.length),
            )
        )
    order = observation.order.replace("_", " ")
    layout = (
        f"; {history.layout}, {history.order}, columns of the newest frame".replace("_", " ")
        if several
        else ""
    )
    return ReportTable(
        title=f"observation {name}: from:to, to excluded; {order}{layout}",
        header=("columns", "term", "scale", "clip", "frames"),
        rows=rows,
    )


def _clip(clip: Sequence[float] | None) -> str:
    return "none" if clip is None else f"{clip[0]:g} to {clip[1]:g}"


def _each(value: F64) -> str:
    """Return one number where all are equal, else one for each joint."""
    values = [f"{number:g}" for number in value]
    return values[0] if len(set(values)) == 1 else ", ".join(values)


def _normalisation(observation: Observation) -> str:
    stated = observation.normalisation
    if stated is None:
        return "none in the contract: in the model, or not trained with any"
    clip = "" if stated.clip is None else f", then within ±{stated.clip:g}"
    return f"{stated.file}: (x - mean) / std, std at least {stated.std_floor:g}{clip}"


def bounds(limits: ComparisonLimits) -> str:
    """Return the bounds that are stated."""
    open_loop = asdict(limits)
    closed_loop = open_loop.pop("closed_loop") or {}
    bounds = open_loop | {f"closed loop {name}": value for name, value in closed_loop.items()}
    return ", ".join(f"{name} {value:g}" for name, value in bounds.items() if value is not None)


def _terms(observation: Observation) -> str:
    length = observation.history.length
    words = ", ".join(map(_term, observation.terms))
    return words if length == 1 else f"{words}; {length} frames, {observation.history.layout}"


def _term(term: Term) -> str:
    details = "; ".join(_details(term))
    return f"{term.topic or term.term} ({details})" if details else term.term


def _details(term: Term) -> Iterator[str]:
    """Yield what is stated of a term beyond its name, scale and clip."""
    if term.size is not None:
        yield f"external, {term.size} values"
    if term.timeout_s is not None:
        yield f"too old after {term.timeout_s:g} s"
    if term.output is not None:
        yield f"output {term.output} of the tick before"
    if term.ahead:
        yield f"{term.ahead} ticks ahead"
    chosen = term.joints or term.parts
    if chosen:
        yield f"only {', '.join(chosen)}"
    if term.period_s is not None:
        yield f"period {term.period_s:g} s"
    if term.offsets is not None:
        yield f"offsets {', '.join(f'{offset:g}' for offset in term.offsets)} periods"
    if term.standing is not None:
        yield _standing(term.standing)
    if term.history_length is not None:
        yield f"{term.history_length} frames"


def _motion(motion: ReferenceMotion) -> str:
    words = []
    if motion.clip:
        words += [motion.clip.file, f"{motion.at_end} after the last frame"]
    if motion.live:
        words.append(f"live, {motion.live.timeout_s:g} s")
    if motion.anchor:
        joints = [link.joint for link in motion.anchor.chain if link.joint]
        way = f" behind {', '.join(joints)}" if joints else ""
        words.append(f"anchor {motion.anchor.body}{way}")
    return "; ".join(words)


def _standing(stated: PhaseStand) -> str:
    if stated.phase is None:
        phase = ""
    elif stated.phase == "zero":
        phase = "sin and cos are 0, "
    else:
        phase = f"the phase is {stated.phase:g} of a period, "
    clock = {
        "runs": "the clock runs on",
        "stops": "the clock stops",
        "restarts": "the clock begins at 0 afterwards",
    }[stated.clock]
    return f"while the norm of the velocity command is below {stated.below:g}: {phase}{clock}"


def _action(term: ActionTerm, joints: Joints) -> str:
    default = joints.default_position[[joints.names.index(name) for name in term.joints]]
    is_default = default.any() and np.array_equal(term.offset, default)
    offset = "the default position" if is_default else _each(term.offset)
    clip = "" if term.clip is None else f", output within {term.clip[0]:g} to {term.clip[1]:g}"
    which = "all joints" if term.joints == joints.names else ", ".join(term.joints)
    scale = _each(term.scale)
    return f"{which} by {term.kind}, scale {scale}, offset {offset}{clip}"
