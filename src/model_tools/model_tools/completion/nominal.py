# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Nominal figures: the largest steps and torque demands of a healthy robot."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np

from model_tools.completion.runs import HealthyRun, Measured
from model_tools.errors import ToolError
from policy_inference.bundle.contract import JointContract
from policy_inference.bundle.expected import Nominal, Statistics
from policy_inference.comparison.rows import Rows
from policy_inference.core.action import ActionDecoder
from policy_inference.core.guard import TargetBounds
from policy_inference.interfaces import F64, JointTargets, Tensor

NOTED_SHARE, LARGEST_SHARE = 1e-3, 0.05
_log = logging.getLogger("model_tools")
_SMALLEST_BOUND = 1e-3
"""For joints that a policy never moves; the contract wants bounds above zero."""


def measure_nominal(contract: JointContract, measured: Measured) -> Nominal:
    """Return the largest step and torque demand per joint, and statistics of the inputs.

    Raises:
        ToolError: There are fewer than two ticks, which make no step.
    """
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
        observation={name: _statistics(np.concatenate([rows.inputs[name] for rows in sets]))
                     for name in contract.observations},
    )  # fmt: skip


def _steps_and_demands(contract: JointContract, run: HealthyRun) -> tuple[F64, F64]:
    """Return |change of the target| and |torque it asks for|, each [ticks, joints]."""
    targets = JointTargets(len(contract.joints.names))
    commands, demands = list[F64](), list[F64]()
    for decoder, joint_pos, joint_vel in _decoded(contract, run.rows):
        commands.append(decoder.decode().copy())
        decoder.fill(targets)
        demands.append(_demand(targets, joint_pos, joint_vel))
    before = [] if run.begin is None else [run.begin]
    return np.abs(np.diff(np.array([*before, *commands]), axis=0)), np.array(demands)


def _decoded(contract: JointContract, rows: Rows) -> Iterator[tuple[ActionDecoder, F64, F64]]:
    """Yield the decoder with each tick's output read, and the measured joints."""
    raw = rows.outputs[contract.action.output]
    output = np.zeros_like(raw[:1])
    decoder = ActionDecoder(contract, output)
    for row, joint_pos, joint_vel in zip(raw, rows.sensed["joint_pos"], rows.sensed["joint_vel"],
                                         strict=True):  # fmt: skip
        output[0] = row
        decoder.read()
        yield decoder, joint_pos, joint_vel


def _demand(targets: JointTargets, joint_pos: F64, joint_vel: F64) -> F64:
    """Return |torque| [joints] that targets and gains ask for, N·m, before any limit."""
    spring = targets.stiffness * (targets.position - joint_pos)
    return np.asarray(
        np.abs(spring + targets.damping * (targets.velocity - joint_vel) + targets.effort)
    )


def check_guard(contract: JointContract, measured: Measured) -> None:
    """Say where the guard alters what a healthy robot does, because it passes limits of joints.

    Raises:
        ToolError: It alters more than a tick in twenty: then limits or order of the joints, or the
            scale of the action, are not those of the training.
    """
    cut = np.concatenate([_cut(contract, run) for run in measured.runs])
    share = float((cut > 0).any(axis=1).mean())
    if share <= NOTED_SHARE:
        return
    largest = cut.max(axis=0)
    joints = ", ".join(f"{name} by up to {value:.3g}"
                       for name, value in zip(contract.joints.names, largest, strict=True) if value)
    found = f"that limits of joints cut targets in {share:.2%} of the ticks: {joints}"
    if share > LARGEST_SHARE:
        raise ToolError(f"{contract.name}: expected a guard that leaves a healthy robot alone, "
                        f"found {found}; see that the order of joints.names and the scale and the "
                        "offset of the action are those of the training, and that this policy "
                        "made the run; limits are the robot's own, and stay")
    _log.warning("%s: note %s; the robot's drives would stop there as well", contract.name, found)


def _cut(contract: JointContract, run: HealthyRun) -> F64:
    """Return by how much the bounds change each target [ticks, joints], in its unit."""
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


def _by_name(contract: JointContract, values: F64) -> dict[str, float]:
    bounds = np.maximum(values, _SMALLEST_BOUND)
    return {name: _rounded(value)
            for name, value in zip(contract.joints.names, bounds, strict=True)}


def _statistics(rows: Tensor) -> Statistics:
    flat = rows.reshape(len(rows), -1).astype(np.float64)
    return Statistics(
        mean=_list(flat.mean(axis=0)), std=_list(flat.std(axis=0)),
        min=_list(flat.min(axis=0)), max=_list(flat.max(axis=0)),
    )  # fmt: skip


def _list(values: F64) -> tuple[float, ...]:
    return tuple(_rounded(value) for value in values)


def _rounded(value: float) -> float:
    """Four digits are more than a margin of 1.5 needs; `+ 0.0` turns -0.0 into 0.0."""
    return float(f"{value:.4g}") + 0.0
