# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Rows for a model: golden ones, recorded ones, given ones; and what a model makes of them."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_tools.errors import ToolError
from policy_inference.bundle.contract import JointContract, StatePair
from policy_inference.bundle.contract import Tensor as TensorEntry
from policy_inference.bundle.load import Bundle
from policy_inference.core.joint_order import JointOrder
from policy_inference.core.recurrent import RecurrentState
from policy_inference.interfaces import F64, Backend, Tensor

_RECORDED_OBSERVATION = "obs"
_RECORDED_ACTIONS = ("actions", "action")
# What numpy and zip raise for broken files depends on where they break.
_BROKEN = (EOFError, LookupError, MemoryError, OSError, RuntimeError, SyntaxError,
           ValueError, tokenize.TokenError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Rows of a model's tensors, each [rows, *shape without the batch axis].

    Attributes:
        source: Where they are from.
        inputs: By model input; a recurrent state that is absent is carried from row to row.
        outputs: What the reference model gave; empty where that was not recorded.
        joint_pos, joint_vel: As measured [rows, joints], rad, rad/s, in the contract's order; None
            where they were not recorded.
    """

    source: str
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    joint_pos: F64 | None = None
    joint_vel: F64 | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.inputs.values())))


def golden_rows(bundle: Bundle) -> Rows:
    """Return the bundle's golden rows.

    Raises:
        BundleError: It has none, or not those that it states.
    """
    golden, model = bundle.golden(), bundle.contract.model
    return Rows(source="golden rows", inputs={name: golden[name] for name in model.inputs},
                outputs={name: golden[name] for name in model.outputs})


def read_rows(file: Path, contract: JointContract) -> Rows:
    """Read rows for a contract's model.

    Args:
        file: `.npz` with an array [rows, ...] for each model input, or a recorded rollout with
            `obs` and perhaps `actions` or `action`; `.npy` for a model with one observation.
        contract: Says names and shapes.

    Raises:
        ToolError: No such arrays, other shapes, no row, or values that are not finite.
        OSError: The file cannot be read.
    """
    arrays, model = read_arrays(file), contract.model
    alone = (_RECORDED_OBSERVATION,) if len(contract.observations) == 1 else ()
    inputs = {name: found for name in contract.observations
              if (found := _first(arrays, (name, *alone))) is not None}
    missing = [name for name in contract.observations if name not in inputs]
    if missing:
        raise ToolError(f"{file}: expected rows of the model's inputs {', '.join(missing)}, found "
                        f"the arrays {', '.join(arrays) or 'none'}")
    inputs |= {pair.input: arrays[pair.input] for pair in contract.state if pair.input in arrays}
    actions = _first(arrays, (contract.action.output, *_RECORDED_ACTIONS))
    outputs = {} if actions is None else {contract.action.output: actions}
    count = len(inputs[next(iter(contract.observations))])
    return Rows(
        source=file.name,
        inputs={name: _checked(file, name, array, model.inputs[name], count)
                for name, array in inputs.items()},
        outputs={name: _checked(file, name, array, model.outputs[name], count)
                 for name, array in outputs.items()},
        **_joints(file, arrays, contract, count),
    )  # fmt: skip


def save_rows(sets: Sequence[Rows], contract: JointContract, file: Path) -> None:
    """Write rows one after another, as `read_rows` takes them."""
    columns = [{**rows.inputs, **rows.outputs} for rows in sets]
    arrays = {name: np.concatenate([column[name] for column in columns]) for name in columns[0]}
    for key in ("joint_pos", "joint_vel"):
        recorded = [values for rows in sets if (values := getattr(rows, key)) is not None]
        if len(recorded) == len(sets):
            arrays[key] = np.concatenate(recorded)
    write_arrays(file, {**arrays, "joint_names": np.array(contract.joints.names)})


def write_arrays(file: Path, arrays: Mapping[str, Tensor]) -> None:
    """Write an `.npz` of this name, whatever its ending."""
    with file.open("wb") as stream:
        # numpy's annotations take any of the arrays for its own keyword.
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]


def play(
    backend: Backend, inputs: Mapping[str, Tensor], state: Sequence[StatePair]
) -> dict[str, Tensor]:
    """Run a model row by row.

    Args:
        backend: Opened backend; its arrays are overwritten.
        inputs: Rows by model input.
        state: Recurrent pairs; those without rows start at zero and are carried on.

    Returns:
        Rows of all inputs and outputs of the model, as they were fed and computed.
    """
    carried = RecurrentState([pair for pair in state if pair.input not in inputs], backend)
    tensors = {**backend.inputs, **backend.outputs}
    count = len(next(iter(inputs.values())))
    seen = {name: np.empty((count, *array.shape[1:]), array.dtype)
            for name, array in tensors.items()}
    for row in range(count):
        for name, values in inputs.items():
            backend.inputs[name][0] = values[row]
        backend.run()
        for name, array in tensors.items():
            seen[name][row] = array[0]
        carried.advance()
    return seen


def evenly(present: int, count: int) -> npt.NDArray[np.int64]:
    """Return the numbers of at most `count` rows, evenly spaced from the first to the last."""
    return np.linspace(0, present - 1, min(count, present)).round().astype(np.int64)


def read_arrays(file: Path) -> dict[str, Tensor]:
    """Read the arrays of an `.npz` by name, or the one of an `.npy` as `obs`.

    Raises:
        ToolError: It is neither, is cut off, or holds objects, which can run code where read.
        OSError: It cannot be read.
    """
    with file.open("rb") as stream:
        try:
            found = np.load(stream)
            if isinstance(found, np.ndarray):
                return {_RECORDED_OBSERVATION: found}
            return {name: found[name] for name in found.files}
        except _BROKEN as error:
            raise ToolError(f"{file}: expected numpy arrays (.npz, .npy), found {error}") from error


def _joints(
    file: Path, arrays: Mapping[str, Tensor], contract: JointContract, count: int
) -> dict[str, F64]:
    """Return joint_pos and joint_vel in the contract's order, where they were recorded."""
    names = contract.joints.names
    stated = [str(name) for name in arrays["joint_names"]] if "joint_names" in arrays else names
    order, found = JointOrder(names), dict[str, F64]()
    for key in {"joint_pos", "joint_vel"} & set(arrays):
        array = _numbers(file, key, arrays[key], (count, len(stated))).astype(np.float64)
        found[key] = np.empty((count, len(names)))
        for row, out in zip(array, found[key], strict=True):
            order.take(stated, row, out)
    return found


def _first(arrays: Mapping[str, Tensor], names: Sequence[str]) -> Tensor | None:
    return next((arrays[name] for name in names if name in arrays), None)


def _checked(file: Path, name: str, array: Tensor, entry: TensorEntry, count: int) -> Tensor:
    return _numbers(file, name, array, (count, *entry.shape[1:])).astype(entry.dtype)


def _numbers(file: Path, name: str, array: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the array; raise unless it holds finite numbers in this shape."""
    count = shape[0]
    if not count or array.shape != shape or not np.issubdtype(array.dtype, np.number):
        raise ToolError(f"{file}: {name}: expected numbers {[count or 'rows', *shape[1:]]}, "
                        f"found {array.dtype}{list(array.shape)}")
    if not np.isfinite(array).all():
        row = int(np.argmin(np.isfinite(array.reshape(count, -1)).all(axis=1)))
        raise ToolError(f"{file}: {name}: expected finite values, found others in row {row}")
    return array
