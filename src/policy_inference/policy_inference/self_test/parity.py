# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the model is the same function here as where it was made: the golden rows."""

from __future__ import annotations

from dataclasses import dataclass

from policy_inference.bundle.load import Bundle
from policy_inference.comparison.limits import Check, open_loop_limits
from policy_inference.comparison.open_loop import Difference, differences, judge
from policy_inference.comparison.rows import Rows, golden_rows, play
from policy_inference.interfaces import Backend


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parity:
    """The model on the golden rows: a difference per output, that of the action first.

    `checks` hold the action's against the limits of the bundle and the precision.
    """

    rows: Rows
    differences: tuple[Difference, ...]
    checks: tuple[Check, ...]


def parity(bundle: Bundle, backend: Backend, name: str, precision: str) -> Parity:
    """Run all golden rows and measure how far the outputs are from the recorded ones.

    Args:
        bundle: Has the golden rows, and limits.
        backend: Opened backend; its arrays are overwritten.
        name: Of the back end, for which the bundle states limits.
        precision: Of the model.

    Raises:
        BundleError: There are no golden rows, or no limits for this precision.
        BackendError: The runtime failed.
    """
    contract, rows = bundle.contract, golden_rows(bundle)
    limits = open_loop_limits(contract, name, precision)
    played = play(backend, rows, contract.state)
    found = differences(contract, played, rows.outputs)
    return Parity(rows=rows, differences=found, checks=judge(found[0], rows.source, limits))
