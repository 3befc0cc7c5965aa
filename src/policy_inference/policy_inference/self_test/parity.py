# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the model is the same function here as where it was made: the golden rows."""

from __future__ import annotations

from dataclasses import dataclass

from policy_inference.bundle.load import Bundle
from policy_inference.comparison.open_loop import Difference, differences
from policy_inference.comparison.rows import Rows, golden_rows, play
from policy_inference.interfaces import Backend


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


def parity(bundle: Bundle, backend: Backend, after_runs: int = 0) -> Parity:
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
    return Parity(rows=rows, differences=differences(contract, played, rows.outputs),
                  after_runs=after_runs)
