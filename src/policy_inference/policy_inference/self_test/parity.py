# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the model is the same function here as where it was made: the golden rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from policy_inference.backends.registry import artifact_for
from policy_inference.bundle.bundle import CONTRACT_FILE, JointBundle
from policy_inference.bundle.contract import Artifact
from policy_inference.comparison.limits import Check, open_loop_limits, state_limits
from policy_inference.comparison.open_loop import Difference, differences, judge
from policy_inference.comparison.rows import Rows, golden_rows, play
from policy_inference.errors import BackendError, BundleError, Problem
from policy_inference.interfaces import Backend

FEWEST_ROWS = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parity:
    """The model on the golden rows.

    Attributes:
        rows: The rows.
        differences: One per output, that of the action first.
        after_runs: How often the model had run before.
    """

    rows: Rows
    differences: tuple[Difference, ...]
    after_runs: int = 0

    @property
    def source(self) -> str:
        """What was played, and when."""
        return self.rows.source + (f" after {self.after_runs} runs" if self.after_runs else "")


def parity(bundle: JointBundle, backend: Backend, after_runs: int = 0) -> Parity:
    """Run all golden rows and measure how far the outputs are from the recorded ones.

    Args:
        bundle: Has the golden rows.
        backend: Opened backend; its arrays are overwritten.
        after_runs: How often it has run before.

    Raises:
        BundleError: There are no golden rows.
        BackendError: The runtime failed.
    """
    contract, rows = bundle.contract, golden_rows(bundle)
    played = play(backend, rows, contract.state)
    return Parity(
        rows=rows, differences=differences(contract, played, rows.outputs), after_runs=after_runs
    )


def output_checks(bundle: JointBundle, name: str, entry: Artifact, found: Parity) -> list[Check]:
    """Hold outputs against the limits of an artifact: the action, then recurrent states.

    Args:
        bundle: States limits.
        name: Of the back end.
        entry: What it opened.
        found: What it computed.

    Raises:
        BundleError: Nothing is known of the artifact's precision, and the bundle states no limits.
    """
    action, *states = found.differences
    checks = list(
        judge(action, found.source, open_loop_limits(bundle.contract, name, entry.precision))
    )
    for state in states:
        limits = state_limits(bundle.contract, name, entry.precision)
        checks += [
            replace(check, what=f"{check.what} of {state.output}")
            for check in judge(state, found.source, limits)
        ]
    return checks


def require_enough(bundle: JointBundle, rows: Rows) -> None:
    """Return if there are enough rows to tell one function from another.

    Raises:
        BundleError: There are not.
    """
    flat = [values.reshape(len(rows), -1) for values in rows.inputs.values()]
    different = len(np.unique(np.concatenate(flat, axis=1), axis=0))
    if different < FEWEST_ROWS:
        raise BundleError(
            [
                Problem(
                    file=str(bundle.path / CONTRACT_FILE),
                    key="model.golden",
                    expected=f"at least {FEWEST_ROWS} golden rows that differ",
                    found=str(different),
                    remedy=f"`model_tools complete {bundle.path} --output FOLDER` makes a "
                    "bundle that has them",
                )
            ]
        )


def require_parity(bundle: JointBundle, backend: Backend) -> None:
    """Return if an opened backend computes here what the bundle's golden rows say.

    Args:
        bundle: Has the golden rows and the limits.
        backend: Opened backend; its arrays are overwritten.

    Raises:
        BundleError: There are no golden rows, too few of them, or no limits.
        BackendError: An output is not what it should be, or the runtime failed.
    """
    require_enough(bundle, golden_rows(bundle))
    entry, file = artifact_for(bundle, backend.name)
    checks: Sequence[Check] = output_checks(bundle, backend.name, entry, parity(bundle, backend))
    if failed := [check for check in checks if not check]:
        raise BackendError(
            "\n".join(
                f"{file}: on {backend.name}: {check}; the model is not the same function here: "
                "make the file or the golden rows anew"
                for check in failed
            )
        )
