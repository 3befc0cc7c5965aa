# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Rows from a file: a log of the robot, a recorded rollout, or what this tool has written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from model_tools.calibration.source import Row
from model_tools.row_files import read_rows
from policy_inference.backends.registry import open_backend
from policy_inference.bundle.load import Bundle
from policy_inference.comparison.rows import play
from policy_inference.interfaces import Tensor


class RowsFileSource:
    """The rows of an `.npz` or `.npy`; they are in memory as a whole."""

    def __init__(self, bundle: Bundle, file: Path) -> None:
        """Read it.

        Raises:
            ToolError: As `model_tools.row_files.read_rows`.
            PolicyError: The reference model does not run.
            OSError: The file cannot be read.
        """
        self._rows, self._period_s = read_rows(file, bundle), bundle.contract.period_ns * 1e-9
        self.name, self.count = file.name, len(self._rows) or None
        self._tensors: dict[str, Tensor] = {**self._rows.inputs, **self._rows.outputs}
        tensors = bundle.contract.model
        if not {*tensors.inputs, *tensors.outputs} <= self._tensors.keys():
            backend, _ = open_backend(bundle, ["onnx"])
            try:
                self._tensors = play(backend, self._rows, bundle.contract.state)
            finally:
                backend.close()

    def rows(self, wanted: Sequence[int] | None) -> Iterator[Row]:
        """Yield the rows; see `Source.rows`."""
        breaks = {0, *self._rows.breaks}
        for number in range(len(self._rows)) if wanted is None else wanted:
            yield Row(
                number=number, time_s=number * self._period_s, begins=number in breaks,
                tensors={name: array[number] for name, array in self._tensors.items()},
                sensed={name: array[number] for name, array in self._rows.sensed.items()},
            )  # fmt: skip
