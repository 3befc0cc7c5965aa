# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Arrays in files (`.npz`, `.npy`, safetensors), and checks against a contract."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import IO, Any

import numpy as np
from safetensors import SafetensorError, deserialize

from model_tools.errors import ToolError
from policy_core.bundle.arrays import require_array
from policy_core.bundle.contract import JointContract, Joints
from policy_core.bundle.contract import Tensor as TensorEntry
from policy_core.bundle.state_fields import STATE_FIELDS
from policy_core.errors import RobotError
from policy_core.interfaces import F64, Tensor, row_shape
from policy_core.safe_files import arrays_problem
from policy_inference.messages.readers import JointOrder

OBSERVATION = "obs"
"""Name of the observation's array, for a model with only one observation."""
EPISODE, TIME = "episode", "time"
"""Array names for each row's episode and time (s), which tell whether rows are consecutive."""
_BFLOAT16 = "BF16"
_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
    "C64": "<c8",
}
"""NumPy types by their safetensors names."""
_ZIP_MAGIC, _NPY_MAGIC = b"PK", b"\x93NUMPY"
# numpy and zip raise different errors depending on where a file is broken.
_BROKEN = (
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    ValueError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_arrays(file: Path) -> dict[str, Tensor]:
    """Read the arrays of an `.npz` by name, or the array of an `.npy` as `obs`."""
    if file.is_dir():
        raise ToolError(
            f"{file}: expected a recorded rollout (.npz, .npy) or a rosbag2 recording, found a "
            "folder that holds neither"
        )
    with file.open("rb") as stream:
        try:
            if not stream.read(len(_NPY_MAGIC)).startswith((_ZIP_MAGIC, _NPY_MAGIC)):
                raise ValueError("a different kind of file")
            stream.seek(0)
            read = np.load(stream)
            if isinstance(read, np.ndarray):
                return {OBSERVATION: read}
            if problem := arrays_problem(read.zip):
                raise ValueError(problem)
            return {name: require_array(name, read[name]) for name in read.files}
        except _BROKEN as error:
            found = str(error)
            if "allow_pickle" in found:
                found = f"arrays that cannot be read ({found})"
            raise ToolError(f"{file}: expected numpy arrays (.npz, .npy), found {found}") from error


def write_arrays(file: Path, arrays: Mapping[str, Tensor]) -> None:
    """Write an `.npz` file to this path, whatever the path's suffix."""
    with file.open("wb") as stream:
        # To a type checker, one of the names could be numpy's keyword `allow_pickle`.
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]


def write_parts(
    stream: IO[bytes], dtype: np.dtype[Any], shape: Sequence[int], parts: Iterable[Tensor]
) -> None:
    """Write the content of an `.npy` file part by part.

    Args:
        stream: A file, or a member of an `.npz`.
        dtype: Type of the array.
        shape: Shape of the array.
        parts: Blocks of the array's rows, in order.
    """
    np.lib.format.write_array_header_1_0(
        stream,
        {
            "descr": np.lib.format.dtype_to_descr(dtype),
            "fortran_order": False,
            "shape": tuple(shape),
        },
    )
    for part in parts:
        stream.write(part.astype(dtype, copy=False).tobytes())


def first_array(arrays: Mapping[str, Tensor], names: Sequence[str]) -> Tensor | None:
    """Return the array under the first of `names` that is present; None if none is."""
    return next((arrays[name] for name in names if name in arrays), None)


def checked(file: Path, name: str, array: Tensor, entry: TensorEntry, count: int) -> Tensor:
    """Require `count` valid rows for a model's tensor; return them in the tensor's type."""
    check_rows(file, name, array, (count, *row_shape(entry.shape)))
    return array.astype(entry.dtype)


def sensed(
    file: Path, arrays: Mapping[str, Tensor], contract: JointContract, count: int
) -> dict[str, F64]:
    """Return the recorded state of the robot [rows, size], by field of `RobotState`.

    Per-joint columns are in the order of `joint_names` if recorded (with the robot's or the
    contract's names), otherwise in contract order. `quat_wxyz` is reordered to `quat_xyzw`.
    """
    free = {name: array for name, array in arrays.items() if name not in contract.model.inputs}
    found = dict[str, F64]()
    for field in STATE_FIELDS.values():
        for name, order in field.recorded_as.items():
            if name not in free or field.name in found:
                continue
            if order is None:
                columns, width = _columns(file, arrays, contract.joints)
            else:
                columns, width = list(order), len(order)
            check_rows(file, name, free[name], (count, width))
            found[field.name] = free[name][:, columns].astype(np.float64)
    return found


def _columns(file: Path, arrays: Mapping[str, Tensor], joints: Joints) -> tuple[list[int], int]:
    """Return the recorded column of each of the contract's joints, and the number of columns.

    A training file uses the contract's names, and a file from the robot uses the robot's names.
    """
    recorded = tuple(map(str, np.atleast_1d(arrays.get("joint_names", joints.names))))
    names = joints.on_robot() if set(joints.on_robot()) <= set(recorded) else joints.names
    places = np.empty(len(names))
    try:
        JointOrder(names).take(recorded, np.arange(len(recorded), dtype=np.float64), places)
    except RobotError as error:
        raise ToolError(f"{file}: joint_names: {error}") from error
    return places.astype(int).tolist(), len(recorded)


def check_rows(file: Path, name: str, array: Tensor, shape: Sequence[int]) -> None:
    """Raise an error unless an array of rows has this shape and contains only finite numbers."""
    if not shape[0] or array.shape != tuple(shape) or not np.issubdtype(array.dtype, np.number):
        raise ToolError(
            f"{file}: {name}: expected numbers "
            f"[{', '.join(map(str, (shape[0] or 'rows', *shape[1:])))}], "
            f"found {array.dtype}{list(array.shape)}"
        )
    if not np.isfinite(array).all():
        row = int(np.argmin(np.isfinite(array.reshape(shape[0], -1)).all(axis=1)))
        raise ToolError(
            f"{file}: {name}: expected finite values, found NaN or infinity in row {row}"
        )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, ordered by name; bfloat16 as float32."""
    return parse_tensors(path, path.read_bytes())


def parse_tensors(path: Path, content: bytes) -> dict[str, Tensor]:
    """Return the tensors in the content of a safetensors file; see `read_tensors`."""
    try:
        found: list[tuple[str, Mapping[str, Any]]] = deserialize(content)  # type: ignore[no-untyped-call]  # untyped upstream
    except SafetensorError as error:
        raise _wrong(path, error) from error
    by_name = sorted(found, key=itemgetter(0))  # deserialize does not sort them
    return {name: _array(path, name, entry) for name, entry in by_name}


def _array(path: Path, name: str, entry: Mapping[str, Any]) -> Tensor:
    if entry["dtype"] == _BFLOAT16:
        return _widened(entry)
    if entry["dtype"] not in _TYPES:
        raise ToolError(
            f"{path}: {name}: expected a tensor of a type that numpy has, or bfloat16, found "
            f"{entry['dtype']}; a quantized file has other types: use the file saved by the "
            "training run"
        )
    return np.frombuffer(entry["data"], _TYPES[entry["dtype"]]).reshape(entry["shape"])


def _widened(tensor: Mapping[str, Any]) -> Tensor:
    """Widen a bfloat16 tensor to float32. NumPy lacks bfloat16, which is half a float32."""
    halves = np.frombuffer(tensor["data"], "<u2").astype(np.uint32)
    return (halves << 16).view(np.float32).reshape(tensor["shape"])


def _wrong(path: Path, error: Exception) -> ToolError:
    return ToolError(f"{path}: expected a complete safetensors file, found a broken one ({error})")
