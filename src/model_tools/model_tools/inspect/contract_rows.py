# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A bundle's contract as rows of a table."""

from __future__ import annotations

from dataclasses import asdict

from model_tools.inspect.report import Report
from policy_inference.bundle.contract import JointContract, Joints, Observation, Term
from policy_inference.bundle.expected import Limits
from policy_inference.bundle.joint_values import per_joint


def describe_contract(contract: JointContract, report: Report) -> None:
    """Add a row for each part of a contract."""
    report.row("name", f"{contract.name} {contract.version}")
    report.row("rate", f"{contract.rate_hz:g} Hz")
    report.row(f"{len(contract.joints.names)} joints", ", ".join(contract.joints.names))
    describe_joints(contract.joints, report)
    for name, observation in contract.observations.items():
        report.row(f"observation {name}", _terms(observation))
        report.row(f"normalisation {name}", _normalisation(observation))
    for term in contract.action.terms:
        report.row(f"action {contract.action.output}",
                   f"{len(term.joints)} joints by {term.kind}, scale {term.scale}, offset "
                   f"{term.offset}")
    for pair in contract.state:
        report.row("state", f"{pair.output} -> {pair.input}")
    for backend, artifact in contract.model.artifacts.items():
        target = f" for {artifact.target}" if artifact.target else ""
        report.row(f"artifact {backend}", f"{artifact.file}, {artifact.precision}{target}")
    for name, limits in contract.limits.items():
        report.row(f"limits {name}", bounds(limits) or "none")
    report.row("golden rows", contract.model.golden.file if contract.model.golden else
               "none: nothing to prove other artifacts with; `complete` makes them")
    report.row("nominal", contract.nominal.source if contract.nominal else
               "none: only the contract's limits guard; a recorded rollout gives it at `complete`")
    report.row("licence", contract.provenance.licence)


def describe_joints(joints: Joints, report: Report) -> None:
    """Add rows of positions, gains and limits."""
    def of(key: str) -> str:
        values = [f"{value:g}" for value in per_joint(getattr(joints, key), joints.names)]
        return values[0] if len(set(values)) == 1 else ", ".join(values)

    report.row("default position", f"{of('default_position')} rad")
    report.row("gains", f"stiffness {of('stiffness')} N·m/rad; damping {of('damping')} N·m·s/rad")
    report.row("position limits", f"{of('position_min')} to {of('position_max')} rad")
    report.row("speed, torque limits", f"{of('velocity_limit')} rad/s; {of('effort_limit')} N·m")


def _normalisation(observation: Observation) -> str:
    stated = observation.normalisation
    if stated is None:
        return "none in the contract: in the model, or not trained with any"
    clip = "" if stated.clip is None else f", then within ±{stated.clip:g}"
    return f"{stated.file}: (x - mean) / std, std at least {stated.std_floor:g}{clip}"


def bounds(limits: Limits) -> str:
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
