# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Checks that an ONNX model computes what its source computes, or what recorded rows show."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from model_tools.errors import ToolError
from model_tools.files.arrays import (
    OBSERVATION,
    check_rows,
    first_array,
    read_arrays,
)
from model_tools.files.contract_text import read_models, remove_section, set_section
from policy_core.bundle.body import SENSITIVITY
from policy_core.bundle.bundle import CONTRACT_FILE, JointBundle
from policy_core.errors import PolicyError
from policy_core.interfaces import F32, Tensor
from policy_inference.backends.registry import open_backend
from policy_inference.comparison.open_loop import joints
from policy_inference.comparison.rows import Rows, play
from policy_inference.kinds.joint import JointKind

TOLERANCE, RECORDED_TOLERANCE = 1e-5, 1e-4
RANDOM_ROWS, SPREADS = 200, (2.0, 50.0)
"""Rows per set, and spreads in standard deviations of the training data: somewhat beyond the
data, and far beyond it, where a program clamps or branches.
"""
_ACTIONS = ("actions", "action")
_log = logging.getLogger("model_tools")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityDifference:
    """Distance between a model's actions and the reference's."""

    rows: int
    largest: float
    """Largest |difference|."""
    scale: float
    """Largest |action| of the reference."""
    row: int
    """Row of the largest difference."""
    tolerance: float = TOLERANCE
    """Allowed difference, relative to the largest action."""

    @property
    def limit(self) -> float:
        """Tolerance times the largest action, or times 1 if that is larger."""
        return self.tolerance * max(1.0, self.scale)

    def __bool__(self) -> bool:
        """Return whether the actions differ by more than the limit; true for NaN."""
        return not self.largest <= self.limit

    def __str__(self) -> str:
        """Return e.g. ``2.4e-07 in 200 rows (row 31; actions up to 4.1, limit 4.1e-05)``."""
        return (
            f"{self.largest:.2g} in {self.rows} rows (row {self.row}; actions up to "
            f"{self.scale:.3g}, limit {self.limit:.2g})"
        )


def random_rows(mean: F32, spread: F32) -> dict[str, F32]:
    """Return normally distributed observations around `mean` [obs_dim], keyed by a description.

    There is one array [200, obs_dim] for each of `SPREADS`.
    """
    random = np.random.default_rng(0)
    return {
        f"random, {wide:g} times the usual spread": (
            mean + spread * random.normal(0.0, wide, (RANDOM_ROWS, len(mean)))
        ).astype(np.float32)
        for wide in SPREADS
    }


def read_rows(path: Path, obs_dim: int, act_dim: int) -> tuple[F32, F32 | None]:
    """Read observations [rows, obs_dim] and, if recorded, actions [rows, act_dim].

    The keys of an npz are `obs`, and `actions` or `action`; an npy holds observations.
    """
    arrays = read_arrays(path)
    if OBSERVATION not in arrays:
        raise ToolError(
            f"{path}: expected observations under the key {OBSERVATION}, found the "
            f"keys {', '.join(arrays) or 'none'}"
        )
    rows, count = arrays[OBSERVATION], len(np.atleast_1d(arrays[OBSERVATION]))
    check_rows(path, OBSERVATION, rows, (count, obs_dim))
    actions = first_array(arrays, _ACTIONS)
    if actions is not None:
        check_rows(path, " or ".join(_ACTIONS), actions, (count, act_dim))
    return rows.astype(np.float32), None if actions is None else actions.astype(np.float32)


def recorded(actions: F32) -> Callable[[F32], F32]:
    """Return a reference that replays actions [rows, act_dim], one [1, act_dim] per call."""
    rows = iter(actions[:, np.newaxis])
    return lambda _: next(rows)


def difference(
    model: bytes,
    reference: Callable[[F32], F32],
    rows: F32,
    prepare: Callable[[F32], F32],
    batch: int = 1,
    tolerance: float = TOLERANCE,
) -> ParityDifference:
    """Run the model and the reference, each with its own state fed back; compare their actions.

    Args:
        model: ONNX model; its first input and output are observation and action, the others are
            state.
        reference: Maps observations [batch, obs_dim] to actions [batch, act_dim].
        rows: Observations [rows, obs_dim].
        prepare: Preprocessing of the model's observations.
        batch: Number of robots; all get the same rows, each one row behind the previous.
        tolerance: Allowed difference, relative to the largest action.
    """
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    state = [np.zeros((given.shape[0], batch, given.shape[2]), np.float32) for given in inputs[1:]]
    found, expected = list[Tensor](), list[Tensor]()
    for index in range(len(rows)):
        obs = rows[np.arange(index, index + batch) % len(rows)]
        feed = dict(zip([given.name for given in inputs], [prepare(obs), *state], strict=True))
        action, *state = session.run(None, feed)
        found.append(action)
        expected.append(reference(obs))
    return between(np.stack(found), np.stack(expected), tolerance)


def between(found: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> ParityDifference:
    """Return the distance between output rows [rows, ...] and the expected ones."""
    wanted = expected.reshape(len(expected), -1).astype(np.float64)
    # numpy's max propagates NaN, and argmax treats NaN as the largest value.
    errors = np.abs(np.subtract(found.reshape(wanted.shape), wanted, dtype=np.float64)).max(axis=1)
    row = int(np.argmax(errors))
    return ParityDifference(
        rows=len(errors),
        largest=float(errors[row]),
        scale=float(np.abs(wanted).max()),
        row=row,
        tolerance=tolerance,
    )


def replayed_rows(bundle: JointBundle, rows: Rows) -> Rows:
    """Return the replayed rows with all of the model's tensors; raise if its outputs differ."""
    model = bundle.contract.model
    backend, _ = open_backend(bundle, ["onnx"])
    try:
        played = play(backend, rows, bundle.contract.state, bundle.initial_state)
    finally:
        backend.close()
    for name, said in rows.outputs.items():
        difference = between(played[name], said)
        if difference:
            raise ToolError(
                f"{rows.source}: {name}{_worst(bundle, name, played[name], said)}: "
                "expected the outputs of the bundle's model, found a difference of "
                f"{difference}; a different policy made these rows, or its inputs were different"
            )
    return dataclasses.replace(
        rows,
        inputs={name: played[name] for name in model.inputs},
        outputs={name: played[name] for name in model.outputs},
    )


def longest_run_s(bundle: JointBundle, rows: Rows) -> float:
    """Return the duration of the longest run of the model over these rows, s."""
    backend, _ = open_backend(bundle, ["onnx"])
    longest_s = 0.0
    try:
        for row in range(len(rows)):
            for name, array in rows.inputs.items():
                backend.inputs[name][...] = array[row].reshape(backend.inputs[name].shape)
            began_s = time.perf_counter()
            backend.run()
            longest_s = max(longest_s, time.perf_counter() - began_s)
    finally:
        backend.close()
    return longest_s


def _worst(bundle: JointBundle, name: str, found: Tensor, said: Tensor) -> str:
    """Name the joint of the largest difference, if the output commands joints."""
    if name != bundle.contract.action.output:
        return ""
    wanted = said.reshape(len(said), -1)
    errors = np.subtract(found.reshape(wanted.shape), wanted, dtype=np.float64)
    largest = np.abs(errors).max(axis=0)
    return f" of {joints(bundle.contract)[int(largest.argmax())]}"


def is_proven(bundle: JointBundle) -> bool:
    """Return whether the golden rows prove that the nominal values belong to this model."""
    try:
        replayed_rows(bundle, JointKind().golden_rows(bundle))
    except PolicyError:
        return False
    return True


def drop_nominal(bundle: JointBundle) -> None:
    """Remove the nominal values from the contract, if it has any."""
    if bundle.contract.nominal is not None:
        file = bundle.path / CONTRACT_FILE
        file.write_text(remove_section(file.read_text("utf-8"), "nominal"), "utf-8")
        _log.warning(
            "the nominal figures are left out: no golden rows prove that they belong to the model "
            "in this bundle"
        )


def drop_reports_of_others(bundle: JointBundle) -> None:
    """Remove from the contract all reports about other models."""
    reports, artifacts = bundle.contract.reports, bundle.contract.model.artifacts
    kept = {
        key: report
        for key, report in reports.items()
        if artifacts[key.removeprefix(SENSITIVITY)].sha256 in read_models(bundle.path / report.file)
    }
    if kept != reports:
        file = bundle.path / CONTRACT_FILE
        text = file.read_text("utf-8")
        file.write_text(
            set_section(text, "reports", kept) if kept else remove_section(text, "reports"), "utf-8"
        )
        others = ", ".join(reports[key].file for key in reports.keys() - kept.keys())
        _log.warning("%s: left out, since it is not about the model in this bundle", others)
