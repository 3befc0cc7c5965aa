# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What an environment returned, as numbers of one robot."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from model_tools.errors import ToolError
from model_tools.local_loop.users_code import calling
from policy_inference.interfaces import F64

_ONE_ROBOT = "; make the environment with one robot"


def vectors(found: object, sizes: Mapping[str, int], where: str) -> dict[str, F64]:
    """Return new vectors [size] by model input; other keys of a mapping are left out.

    A mapping with one entry is that entry where only one input is observed, whatever its name.

    Args:
        found: A mapping by model input, or the array itself where there is only one.
        sizes: Number of values of each model input that is observed.
        where: What messages begin with.

    Raises:
        ToolError: One is missing, of another size, or not finite.
    """
    if len(sizes) == 1:
        if isinstance(found, Mapping) and len(found) == 1:
            [found] = found.values()
        if not isinstance(found, Mapping):
            found = dict.fromkeys(sizes, found)
    if not isinstance(found, Mapping) or not sizes.keys() <= found.keys():
        raise ToolError(f"{where}: expected observations by model input ({', '.join(sizes)}), "
                        f"found {described(found)}")
    return {name: _vector(found[name], size, f"{where}: {name}") for name, size in sizes.items()}


def one_number(value: object, where: str) -> float:
    """Return a finite number, which may stand in an array of one.

    Raises:
        ToolError: It is none.
    """
    array = _numbers(value, where)
    if array.size != 1:
        raise ToolError(f"{where}: expected one value, found {described(array)}{_ONE_ROBOT}")
    return float(array.item())


def described(value: object) -> str:
    """Return what a value is, in a few words."""
    if isinstance(value, np.ndarray):
        return f"an array {list(value.shape)}"
    if isinstance(value, Mapping):
        return f"a mapping with {', '.join(map(str, value)) or 'no keys'}"
    return f"a tuple of {len(value)}" if isinstance(value, tuple) else type(value).__name__


def _vector(value: object, size: int, where: str) -> F64:
    array = _numbers(value, where)
    if array.size != size:
        batch = array.ndim > 1 and array.size == size * len(array)
        raise ToolError(f"{where}: expected {size} values, as the model's input, found "
                        f"{described(array)}{_ONE_ROBOT if batch else ''}")
    return array.reshape(-1)


def _numbers(value: object, where: str) -> F64:
    """Return a new array of whatever numpy makes one."""
    with calling(where):
        array = np.array(value, np.float64)
    if not np.isfinite(array).all():
        place = np.argwhere(~np.isfinite(array))[0].tolist()
        raise ToolError(f"{where}: expected finite values, found {array[tuple(place)]}"
                        f"{f' at {place}' if place else ''}")
    return array
