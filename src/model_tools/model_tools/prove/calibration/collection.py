# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Rows on disk, so that a collection may exceed memory, which holds one batch at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model_tools.errors import ToolError
from model_tools.files.rows import Row
from model_tools.files.terms import TermColumns, newest_columns
from policy_core.bundle.bundle import JointBundle
from policy_core.interfaces import F64, Tensor

Records = npt.NDArray[np.void]
"""Rows with the fields `number`, `time`, `begins`, and those of `tensors` and `sensed` by name."""
KINDS = ("tensors", "sensed")
_READ_BYTES = 1 << 20
"""Minimum size of a read, in case a batch is smaller."""
FIELDS = ("joint_pos", "joint_vel", "ang_vel_body", "gravity_body", "velocity_command")


class Collection:
    """Rows with the first one's layout, in an unnamed file that vanishes when the process ends."""

    def __init__(self, folder: Path, batch: int) -> None:
        """Create an empty collection.

        Args:
            folder: Folder of the unnamed file.
            batch: Number of rows in memory.
        """
        self._stream = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # closed by __exit__
        self._batch, self._count = batch, 0
        self._filling: Filling | None = None
        self._order: npt.NDArray[np.intp] | None = None

    def __enter__(self) -> Collection:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def __len__(self) -> int:
        return self._count

    @property
    def layout(self) -> np.dtype[Any]:
        assert self._filling is not None
        return self._filling.records.dtype

    def names(self, kind: str) -> tuple[str, ...]:
        """Return the names of the arrays of a kind (one of `KINDS`) that every row has."""
        lacked = self._filling.lacked if self._filling is not None else ()
        return tuple(name for name in self.layout[kind].names or () if name not in lacked)

    def add(self, row: Row) -> None:
        """Append a copy of a row; sensor values are kept only if every row has them."""
        self.replace(self._count, row)
        self._count += 1

    def replace(self, place: int, row: Row) -> None:
        if self._filling is None:
            self._filling = Filling(row, 1)
        self._filling.put(0, row)
        self._stream.seek(place * self.layout.itemsize)
        self._stream.write(self._filling.records.tobytes())

    def sort(self) -> None:
        self._order = np.argsort(self._records()["number"], kind="stable")

    def batches(self) -> Iterator[Records]:
        if not self._count:
            return
        records, size = self._records(), max(self._batch, _READ_BYTES // self.layout.itemsize)
        for first in range(0, self._count, size):
            part = slice(first, first + size)
            rows = records[part] if self._order is None else records[self._order[part]]
            _require_finite(rows)
            yield rows

    def _records(self) -> Records:
        self._stream.flush()
        return np.memmap(self._stream, self.layout, "r", shape=(self._count,))


class Filling:
    """Records in memory, with the layout of a row."""

    def __init__(self, row: Row, count: int) -> None:
        """Allocate `count` records."""
        fields: list[Any] = [("number", np.int64), ("time", np.float64), ("begins", np.bool_)]
        for kind in KINDS:
            arrays: Mapping[str, Tensor] = getattr(row, kind)
            fields.append((kind, [(name, each.dtype, each.shape) for name, each in arrays.items()]))
        self.records: Records = np.zeros(count, np.dtype(fields))
        self._into = {
            kind: {name: self.records[kind][name] for name in self.records.dtype[kind].names or ()}
            for kind in KINDS
        }
        self.lacked = set[str]()

    def put(self, place: int, row: Row) -> None:
        record = self.records[place]
        record["number"], record["time"], record["begins"] = row.number, row.time_s, row.begins
        for kind, into in self._into.items():
            arrays: Mapping[str, Tensor] = getattr(row, kind)
            if kind == "sensed":
                self.lacked |= into.keys() - arrays.keys()
            elif arrays.keys() != into.keys():
                raise ToolError(
                    f"row {row.number}: expected {', '.join(into)} as in the first row, found "
                    f"{', '.join(arrays) or 'none'}"
                )
            for name in into.keys() & arrays.keys():
                array = arrays[name]
                if array.shape != into[name].shape[1:]:
                    raise ToolError(
                        f"row {row.number}: {name}: expected an array "
                        f"{list(into[name].shape[1:])} as in the first row, found "
                        f"{list(array.shape)}"
                    )
                into[name][place] = array


def _require_finite(records: Records) -> None:
    for kind in KINDS:
        for name in records.dtype[kind].names or ():
            values = records[kind][name].reshape(len(records), -1)
            whole = np.isfinite(values).all(axis=1)
            if not whole.all():
                row = int(records["number"][np.argmin(whole)])
                raise ToolError(f"row {row}: {name}: expected finite values, found NaN or infinity")


class Fields:
    """Extracts fields of `policy_core.observation.state.RobotState` from rows."""

    def __init__(self, bundle: JointBundle, sensed: Container[str]) -> None:
        """Find the terms that contain fields; every row also has the `sensed` fields directly."""
        self._sensed = [name for name in FIELDS if name in sensed]
        contract = bundle.contract
        self._statistics = bundle.statistics
        self._default = contract.joints.default_position
        self._joints = contract.joints.names
        self._shown: dict[str, tuple[str, TermColumns]] = {}
        for name in contract.observations:
            for columns in newest_columns(contract, name):
                whole = (
                    columns.names == self._joints
                    if columns.spec.size == "joints"
                    else not columns.term.parts
                    or columns.spec.field == "velocity_command"
                    or len(columns.names) == len(columns.spec.parts)
                )
                if columns.spec.field in FIELDS and whole and columns.scale.all():
                    self._shown.setdefault(columns.spec.field, (name, columns))

    def of(self, rows: Records) -> dict[str, F64]:
        """Return rows' known fields, by name [rows, size], in SI units; clips are not undone."""
        found = {name: rows["sensed"][name].astype(np.float64) for name in self._sensed}
        for field, (name, columns) in self._shown.items():
            if field not in found:
                found[field] = self._physical(name, columns, rows["tensors"][name])
        return found

    def _physical(self, name: str, columns: TermColumns, rows: F64) -> F64:
        values = rows.reshape(len(rows), -1)[:, columns.where].astype(np.float64)
        if name in self._statistics:
            mean, divisor = (part[columns.where] for part in self._statistics[name])
            values = values * divisor + mean
        values = values / columns.scale
        if columns.term.parts:
            # The command on an axis that the policy does not observe counts as 0.
            field = np.zeros((len(rows), len(columns.spec.parts)))
            field[:, [columns.spec.parts.index(part) for part in columns.term.parts]] = values
            return field
        return np.asarray(values + self._default if columns.spec.minus_default else values)
