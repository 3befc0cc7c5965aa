# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Arrays in bundle files: input statistics and golden rows."""

import io
import math
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from policy_core.bundle.contract import File, JointContract, Normalisation
from policy_core.bundle.schema import Found, Reader
from policy_core.bundle.verified import LARGEST_BYTES, verified_bytes
from policy_core.errors import BundleError, Problem
from policy_core.interfaces import F64, Tensor
from policy_core.safe_files import arrays_problem

_LARGEST_NUMBER_BYTES, _HEADER_BYTES = 32, 4096
"""Maximum size of one array element, and of the array header, in bytes."""


def read_statistics(
    folder: Path, normalisation: Normalisation, shape: tuple[int, ...]
) -> tuple[F64, F64]:
    """Return the mean and divisor [input size] that normalize an input of this shape.

    Raises:
        BundleError: The file is missing, has a wrong hash, or does not contain the expected arrays.
    """
    file, content = folder / normalisation.file, verified_bytes(folder, normalisation)
    size, reader = math.prod(shape), Reader(str(file))
    limit = 2 * (size * _LARGEST_NUMBER_BYTES + _HEADER_BYTES)
    arrays = unpacked_arrays(file, content, ("mean", "std"), limit)
    for key in ("mean", "std"):
        array = arrays.get(key)
        is_right = check_array(None if array is None else array.ravel(), (size,), reader, key)
        if is_right and key == "std" and (least := arrays[key].astype(np.float64).min()) < 0:
            reader.problem(key, "values >= 0", Found(f"{least:g}"))
    reader.require_none()
    mean, std = (arrays[key].astype(np.float64).ravel() for key in ("mean", "std"))
    return mean, np.maximum(std, normalisation.std_floor)


def read_initial_state(folder: Path, contract: JointContract) -> dict[str, Tensor]:
    """Return each recurrent model input's initial state, in the shape and type of that input.

    Raises:
        BundleError: The file is missing, has a wrong hash, or does not contain the expected arrays.
    """
    entry = contract.initial_state
    assert entry is not None
    file, content = folder / entry.file, verified_bytes(folder, entry)
    arrays, reader = unpacked_arrays(file, content, None, LARGEST_BYTES), Reader(str(file))
    inputs = {pair.input: contract.model.inputs[pair.input] for pair in contract.state}
    states = {name: each for name, each in inputs.items() if each.dtype.startswith("float")}
    found = dict[str, Tensor]()
    for name, array in arrays.items():
        tensor = states.get(name)
        if tensor is None:
            reader.problem(
                name, f"a floating-point input of `state` ({', '.join(states) or 'none'})", name
            )
        elif check_array(array, tensor.shape, reader, name):
            found[name] = array.astype(tensor.dtype)
    reader.require_none()
    return found


def read_rows(
    folder: Path, entry: File, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Tensor]:
    """Return an array for each row shape in `shapes`; all arrays have the same number of rows.

    Raises:
        BundleError: The file is missing, has a wrong hash, or does not contain the expected arrays.
    """
    file, content = folder / entry.file, verified_bytes(folder, entry)
    reader, arrays = Reader(str(file)), unpacked_arrays(file, content, shapes, LARGEST_BYTES)
    rows = next((len(a) for a in map(arrays.get, shapes) if a is not None and a.ndim), 0)
    for name, one in shapes.items():
        array, shape = arrays.get(name), (rows, *one)
        if array is None or not rows or array.shape != shape:
            reader.problem(
                name,
                f"an array [{', '.join(map(str, (rows or 'rows', *one)))}]",
                found_array(array),
            )
    reader.require_none()
    return {name: arrays[name] for name in shapes}


def check_observations(file: Path, rows: Mapping[str, Tensor], cameras: str) -> None:
    """Check that arrays whose names begin with `cameras` are uint8, and that all others are finite.

    Raises:
        BundleError: An array has the wrong type or an invalid value; the message names `file`.
    """
    reader = Reader(str(file))
    for name, array in rows.items():
        if name.startswith(cameras):
            if array.dtype != np.uint8:
                reader.problem(name, "uint8 images", found_array(array))
        else:
            check_array(array, array.shape, reader, name, np.floating)
    reader.require_none()


def unpacked_arrays(
    file: Path, content: bytes, names: Iterable[str] | None, limit_bytes: int
) -> dict[str, Tensor]:
    """Return the named arrays from a file, unless they exceed a maximum unpacked size.

    Args:
        file: Name of the file, for messages.
        content: Content of the npz file.
        names: Array names; None for all arrays.
        limit_bytes: Maximum total unpacked size.

    Raises:
        BundleError: The file is not an npz file, or its arrays exceed the limit.
    """
    found = "a file that is not a zip archive"
    if zipfile.is_zipfile(io.BytesIO(content)):
        try:
            with np.load(io.BytesIO(content)) as data:
                names = data.files if names is None else names
                problem = arrays_problem(data.zip)
                sizes = {info.filename: info.file_size for info in data.zip.infolist()}
                size = sum(sizes.get(name, 0) + sizes.get(f"{name}.npy", 0) for name in names)
                if problem:
                    found = problem
                elif size <= limit_bytes:  # a member is read only up to its stated size
                    return {
                        key: require_array(key, data[key]) for key in names if key in data.files
                    }
                else:
                    found = f"arrays of {size} bytes, more than the limit of {limit_bytes}"
        except Exception as error:  # noqa: BLE001  # those of numpy and zipfile share no base
            found = str(error) or type(error).__name__
            if "allow_pickle" in found:
                found = "arrays of Python objects"
    raise BundleError(Problem(file=str(file), expected="numpy arrays (.npz)", found=found))


def require_array(name: str, member: object) -> Tensor:
    """Return an archive member if it is an array (numpy returns other members as bytes).

    Raises:
        ValueError: The member is not an array.
    """
    if not isinstance(member, np.ndarray):
        raise ValueError(f"{name!r}, which is not an array")  # an error of the file, not of a type
    return member


def check_array(
    array: Tensor | None,
    shape: tuple[int, ...],
    reader: Reader,
    name: str,
    kind: type[np.number[Any]] = np.number,
    *,
    finite: bool = True,
) -> bool:
    """Check a numeric array; report any problem to `reader`; return whether the array is valid.

    Args:
        array: The array; None if it is missing.
        shape: Expected shape.
        reader: Collects the problem.
        name: Name of the array, for messages.
        kind: Expected type: `np.number` accepts all numbers, `np.floating` only floating-point
            numbers.
        finite: Reject NaN and infinite values.
    """
    if array is None or array.shape != shape or not np.issubdtype(array.dtype, kind):
        words = "floating-point numbers" if kind is np.floating else "numbers"
        reader.problem(name, f"{words} {[*shape]}", found_array(array))
        return False
    if not finite or np.isfinite(array).all():
        return True
    place = np.argwhere(~np.isfinite(array))[0].tolist()
    reader.problem(name, "finite values", Found(f"{array[tuple(place)]} at {place}"))
    return False


def found_array(array: Tensor | None) -> Found:
    """Describe the shape and type of an unexpected array for an error message."""
    return Found("nothing" if array is None else f"{array.dtype}{list(array.shape)}")
