# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Rows on disk: a collection may be larger than the memory, which holds a batch of it."""

from __future__ import annotations

import tempfile
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from model_tools.errors import ToolError
from model_tools.files.rows import Row
from model_tools.files.terms import TermColumns, newest_columns
from policy_core.bundle.bundle import JointBundle
from policy_core.interfaces import F64, Tensor

Records = npt.NDArray[np.void]
"""Rows with the fields `number`, `time`, `begins`, and by name those of `tensors`, `sensed`."""
KINDS = ("tensors", "sensed")
_READ_BYTES = 1 << 20
"""What is read at once, where a batch is no more."""
FIELDS = ("joint_pos", "joint_vel", "ang_vel_body", "gravity_body", "velocity_command")


class Collection:
    """Rows of one layout, that of the first, in a file without a name: it ends with the process."""

    def __init__(self, folder: Path, batch: int) -> None:
        """Begin an empty one.

        Args:
            folder: Where the file lies, without a name there.
            batch: Rows in memory.
        """
        self._stream = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # closed by __exit__
        self._batch, self._count, self._written = batch, 0, 0
        self._filling: Filling | None = None
        self._order: npt.NDArray[np.intp] | None = None

    def __enter__(self) -> Collection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the disk its room back."""
        self._stream.close()

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._count

    @property
    def layout(self) -> np.dtype[Any]:
        """Type of a record; there must be a row."""
        assert self._filling is not None
        return self._filling.records.dtype

    def names(self, kind: str) -> tuple[str, ...]:
        """Return the arrays of a kind that every row has."""
        lacked = self._filling.lacked if self._filling is not None else ()
        return tuple(name for name in self.layout[kind].names or () if name not in lacked)

    def add(self, row: Row) -> None:
        """Append a copy of a row; what was sensed counts only where every row has it."""
        if self._filling is None:
            self._filling = Filling(row, self._batch)
        self._filling.put(self._count % self._batch, row)
        self._count += 1
        if self._count % self._batch == 0:
            self._settle()

    def replace(self, place: int, row: Row) -> None:
        """Put a copy of a row into the place of another, after the last was added.

        It raises as `add`.
        """
        self._settle()
        assert self._filling is not None
        self._filling.put(0, row)
        self._write(place, self._filling.records[:1])

    def sort(self) -> None:
        """Put the rows into the order of their numbers."""
        numbers = [rows["number"].copy() for rows in self.batches()]
        self._order = np.argsort(np.concatenate(numbers), kind="stable")

    def batches(self) -> Iterator[Records]:
        """Yield the rows, a part at a time."""
        if not self._count:
            return
        self._settle()
        size = max(self._batch, _READ_BYTES // self.layout.itemsize)
        for first in range(0, self._count, size):
            end = min(first + size, self._count)
            content = (
                self._read(first, end - first)
                if self._order is None
                else b"".join(self._read(place, 1) for place in self._order[first:end].tolist())
            )
            yield np.frombuffer(content, self.layout)

    def _settle(self) -> None:
        """Write what is in memory alone; once, since it may be replaced on the disk later."""
        if self._filling is None or self._written == self._count:
            return
        first = (self._count - 1) // self._batch * self._batch
        self._write(first, self._filling.records[: self._count - first])
        self._written = self._count

    def _read(self, place: int, count: int) -> bytes:
        size = self.layout.itemsize
        self._stream.seek(place * size)
        return self._stream.read(count * size)

    def _write(self, place: int, records: Records) -> None:
        _require_finite(records)
        self._stream.seek(place * self.layout.itemsize)
        self._stream.write(records.tobytes())
        self._stream.flush()


class Filling:
    """Records in memory, of the layout of a row."""

    def __init__(self, row: Row, count: int) -> None:
        """Make room for so many."""
        self.records: Records = np.zeros(
            count,
            np.dtype(
                [
                    ("number", np.int64),
                    ("time", np.float64),
                    ("begins", np.bool_),
                    *((kind, _fields(getattr(row, kind))) for kind in KINDS),
                ]
            ),
        )
        self._into = {
            kind: {name: self.records[kind][name] for name in self.records.dtype[kind].names or ()}
            for kind in KINDS
        }
        self.lacked = set[str]()

    def put(self, place: int, row: Row) -> None:
        """Copy a row into a place."""
        record = self.records[place]
        record["number"], record["time"], record["begins"] = row.number, row.time_s, row.begins
        for kind, into in self._into.items():
            arrays: Mapping[str, Tensor] = getattr(row, kind)
            if kind == "sensed":
                self.lacked |= into.keys() - arrays.keys()
            elif arrays.keys() != into.keys():
                raise ToolError(
                    f"row {row.number}: expected {', '.join(into)} as in the first, "
                    f"found {', '.join(arrays) or 'none'}"
                )
            for name in into.keys() & arrays.keys():
                array = arrays[name]
                if array.shape != into[name].shape[1:]:
                    raise ToolError(
                        f"row {row.number}: {name}: expected an array "
                        f"{list(into[name].shape[1:])} as in the first, found "
                        f"{list(array.shape)}"
                    )
                into[name][place] = array


def _fields(arrays: Mapping[str, Tensor]) -> list[Any]:
    return [(name, array.dtype, array.shape) for name, array in arrays.items()]


def _require_finite(records: Records) -> None:
    for kind in KINDS:
        for name in records.dtype[kind].names or ():
            values = records[kind][name].reshape(len(records), -1)
            whole = np.isfinite(values).all(axis=1)
            if not whole.all():
                row = int(records["number"][np.argmin(whole)])
                raise ToolError(f"row {row}: {name}: expected finite values, found NaN or infinity")


class Fields:
    """Finds fields of `policy_core.observation.state.RobotState` in rows."""

    def __init__(self, bundle: JointBundle, sensed: Container[str]) -> None:
        """Find the terms that show them; `sensed` are those that every row has by itself."""
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
        """Return the fields that the rows tell [rows, size], in SI units, as far as clips let."""
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
            # An axis that the policy does not see is commanded, as far as it knows, to be still.
            field = np.zeros((len(rows), len(columns.spec.parts)))
            field[:, [columns.spec.parts.index(part) for part in columns.term.parts]] = values
            return field
        return np.asarray(values + self._default if columns.spec.minus_default else values)
