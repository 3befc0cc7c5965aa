# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Nominal values: the largest steps and torque demands in runs of a healthy robot."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.row_files import read_rows
from model_tools.files.terms import term_columns
from model_tools.make.parity import replayed_rows
from policy_core.bundle.body import Nominal, Statistics
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.contract import JointContract
from policy_core.bundle.terms import term_places
from policy_core.guard.bounds import TargetBounds
from policy_core.interfaces import F64, JointTargets, Tensor
from policy_core.members.joint import ActionDecoder
from policy_inference.comparison.rows import Rows

NOTED_SHARE, LARGEST_SHARE = 1e-3, 0.05
_log = logging.getLogger("model_tools")
_SMALLEST_BOUND = 1e-3
"""Bound for joints that a policy never moves; the contract requires bounds above zero."""
MOST_BREAKS, SHORTEST_S = 0.1, 10.0
_STILL = 1e-3


def measure_nominal(contract: JointContract, measured: MeasuredRuns) -> Nominal:
    """Return the `nominal` section: steps, torque demands and statistics of the inputs."""
    figures = [_steps_and_demands(contract, run) for run in measured.runs]
    steps, demands = (np.concatenate(parts) for parts in zip(*figures, strict=True))
    if not len(steps):
        raise ToolError(f"{measured.source}: expected two ticks or more, found one")
    sets = [run.rows for run in measured.runs]
    return Nominal(
        source=measured.source,
        ticks=sum(map(len, sets)),
        target_step=_by_name(contract, steps.max(axis=0)),
        effort_demand=_by_name(contract, demands.max(axis=0)),
        observation={
            name: _statistics(np.concatenate([rows.inputs[name] for rows in sets]))
            for name in contract.observations
        },
    )


def _steps_and_demands(contract: JointContract, run: HealthyRun) -> tuple[F64, F64]:
    """Return |change of the target| and |demanded torque|, each [ticks, joints]."""
    targets = JointTargets(len(contract.joints.names))
    commands, demands = list[F64](), list[F64]()
    for decoder, joint_pos, joint_vel in _decoded(contract, run.rows):
        commands.append(decoder.decode().copy())
        decoder.fill(targets)
        demands.append(_demand(targets, joint_pos, joint_vel))
    before = [] if run.begin is None else [run.begin]
    return np.abs(np.diff(np.array([*before, *commands]), axis=0)), np.array(demands)


def _decoded(contract: JointContract, rows: Rows) -> Iterator[tuple[ActionDecoder, F64, F64]]:
    """Yield, for each tick, the decoder (with the tick's output) and the measured joints."""
    action = contract.action
    names = [action.output, *(gain.output for gain in action.gain_outputs.values())]
    outputs = {name: np.zeros_like(rows.outputs[name][:1]) for name in names}
    decoder = ActionDecoder(contract, outputs[action.output], outputs)
    for row, (joint_pos, joint_vel) in enumerate(
        zip(rows.sensed["joint_pos"], rows.sensed["joint_vel"], strict=True)
    ):
        for name, output in outputs.items():
            output[0] = rows.outputs[name][row]
        decoder.read()
        yield decoder, joint_pos, joint_vel


def _demand(targets: JointTargets, joint_pos: F64, joint_vel: F64) -> F64:
    """Return the |torque| [joints] that targets and gains demand, N·m, before any limit."""
    spring = targets.stiffness * (targets.position - joint_pos)
    return np.asarray(
        np.abs(spring + targets.damping * (targets.velocity - joint_vel) + targets.effort)
    )


def check_guard(contract: JointContract, measured: MeasuredRuns) -> None:
    """Warn if joint limits clip a healthy robot's targets; raise if that happens often."""
    cut = np.concatenate([_cut(contract, run) for run in measured.runs])
    share = float((cut > 0).any(axis=1).mean())
    if share <= NOTED_SHARE:
        return
    largest = cut.max(axis=0)
    joints = ", ".join(
        f"{name} by up to {value:.3g}"
        for name, value in zip(contract.joints.names, largest, strict=True)
        if value
    )
    found = f"that joint limits cut targets in {share:.2%} of the ticks: {joints}"
    if share > LARGEST_SHARE:
        raise ToolError(
            f"{contract.name}: expected a guard that does not alter a healthy robot's commands, "
            f"found {found}; check that the order of joints.names and the scale and offset of the "
            "action match those used in training, and that this policy made the run; leave the "
            "robot's own limits unchanged"
        )
    _log.warning(
        "%s: note %s; up to %.0f%% is accepted, since the robot's drives would stop there as well; "
        "`compare` and acceptance rate a walk as poor above 0.1%% altered ticks",
        contract.name,
        found,
        100.0 * LARGEST_SHARE,
    )


def _cut(contract: JointContract, run: HealthyRun) -> F64:
    """Return how far the bounds shift each target [ticks, joints], in its unit."""
    bounds, cut = None, list[F64]()
    for decoder, joint_pos, joint_vel in _decoded(contract, run.rows):
        command = decoder.decode()
        if bounds is None:
            bounds = TargetBounds(contract, decoder, contract.safety.margin)
            bounds.reset(command if run.begin is None else run.begin)
        wanted = command.copy()
        bounds.apply(command, joint_pos, joint_vel)
        cut.append(np.abs(wanted - command))
    return np.array(cut)


def _by_name(contract: JointContract, values: F64) -> Any:
    bounds = np.maximum(values, _SMALLEST_BOUND)
    return {
        name: _rounded(value) for name, value in zip(contract.joints.names, bounds, strict=True)
    }


def _statistics(rows: Tensor) -> Statistics:
    flat = rows.reshape(len(rows), -1).astype(np.float64)
    return Statistics(
        mean=_list(flat.mean(axis=0)),
        std=_list(flat.std(axis=0)),
        min=_list(flat.min(axis=0)),
        max=_list(flat.max(axis=0)),
    )


def _list(values: F64) -> tuple[float, ...]:
    return tuple(_rounded(value) for value in values)


def _rounded(value: float) -> float:
    """Round to four digits, enough for a margin of 1.5; `+ 0.0` turns -0.0 into 0.0."""
    return float(f"{value:.4g}") + 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HealthyRun:
    """A healthy run: consecutive ticks in RUN.

    Attributes:
        rows: All tensors of the model, and the measured joints, in every tick.
        begin: Command before the first tick [joints]; None if unknown.
    """

    rows: Rows
    begin: F64 | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeasuredRuns:
    """A healthy robot's runs, and a description of their source."""

    source: str
    runs: Sequence[HealthyRun]


def recorded_runs(
    bundle: JointBundle, file: Path, topics: Mapping[str, str] | None = None
) -> MeasuredRuns:
    """Return the runs in a rollout file or recording.

    Args:
        bundle: Bundle of the policy that ran.
        file: See `model_tools.files.row_files.read_rows`.
        topics: The recording's topics, by input, where they were renamed.
    """
    rows = read_rows(file, bundle, topics)
    if not {"joint_pos", "joint_vel"} <= set(rows.sensed):
        raise ToolError(
            f"{file}: expected the measured joint_pos and joint_vel [rows, "
            f"{len(bundle.contract.joints.names)}], which are needed to compute the commanded "
            "torque; at least one is missing: record both, or give a bag"
        )
    whole, ends = replayed_rows(bundle, rows), [0, *rows.breaks, len(rows)]
    _require_a_run(rows, bundle.contract.rate_hz)
    measured = MeasuredRuns(
        source=f"{file.name}, {len(rows)} ticks",
        runs=[HealthyRun(rows=whole.part(first, end), begin=None) for first, end in pairwise(ends)],
    )
    for axis in unmoved(bundle.contract, whole):
        _log.warning(
            "%s: the %s velocity command never changes, so nominal figures, golden rows and "
            "calibration from these rows do not cover that axis",
            file,
            axis,
        )
    return measured


def _require_a_run(rows: Rows, rate_hz: float) -> None:
    """Raise unless the rows are consecutive ticks of a moving robot."""
    if len(rows.breaks) > MOST_BREAKS * len(rows):
        raise ToolError(
            f"{rows.source}: expected rows of consecutive ticks ({1.0 / rate_hz:g} s apart, each "
            f"with the previous tick's action), found {len(rows.breaks)} of {len(rows)} rows that "
            "do not fit; no steps can be measured from such rows"
        )
    if len(rows) < SHORTEST_S * rate_hz:
        raise ToolError(
            f"{rows.source}: expected {SHORTEST_S:g} s or more from a healthy robot, found "
            f"{len(rows) / rate_hz:.1f} s; record a run with commands on every axis"
        )


def unmoved(contract: JointContract, rows: Rows) -> list[str]:
    """Return a description of each axis of the velocity command that never changed."""
    words, found = ("forward", "sideways", "turning"), dict[int, bool]()
    terms = [
        (name, term)
        for name in contract.observations
        for term in term_columns(contract, name)
        if term.term.term == "velocity_command"
    ]
    for name, columns in terms:
        command = rows.inputs[name].reshape(len(rows), -1)[:, columns.where].astype(np.float64)
        for place, axis in enumerate(term_places(columns.term, contract)):
            still = bool(np.ptp(command[:, place]) < _STILL)
            found[axis] = found.get(axis, True) and still
    return [words[axis] for axis, still in sorted(found.items()) if still]
