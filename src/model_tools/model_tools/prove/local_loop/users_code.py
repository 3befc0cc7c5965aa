# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The user's code: found, called, and named in one line where it fails or returns something odd."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from model_tools.errors import ToolError
from policy_core.interfaces import F64

_log = logging.getLogger("model_tools")
_OURS = ("model_tools", "importlib")
_ONE_ROBOT = "; make the environment with one robot"


def load_function(name: str) -> Callable[..., object]:
    """Import `module:function` or a class from the current folder or the installed packages.

    The current folder becomes the first to import from, as with `python -m`.
    """
    module, _, attribute = name.partition(":")
    if not (_package(name) and attribute):
        raise ToolError(f"expected module:function, found {name!r}")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    if importlib.util.find_spec(_package(name)) is None:
        raise ToolError(
            f"{name}: expected a module in {here} or an installed package, found none "
            f"called {_package(name)}"
        )
    with calling(name):
        function = getattr(importlib.import_module(module), attribute, None)
    if not callable(function):
        raise ToolError(
            f"{name}: expected a function {attribute} in {module}, found "
            f"{'none' if function is None else type(function).__name__}"
        )
    return function  # type: ignore[no-any-return]  # what it takes shows when it is called


@contextmanager
def calling(where: str) -> Iterator[None]:
    """Turn what the user's code raises into one line; its traceback is logged for debugging.

    Args:
        where: What the line begins with: `module:function`, and what it is about to do.
    """
    try:
        yield
    except (Exception, SystemExit) as error:  # the user's code raises what it likes
        _log.debug("%s", where, exc_info=True)
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise ToolError(f"{where}: {said}{_place(error, _package(where))}") from error


def _place(error: BaseException, package: str) -> str:
    """Return the innermost line of a package, else of any other; nothing if unknown."""
    lines = [
        (frame.f_globals.get("__name__", "?"), line)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    foreign = [place for place in lines if _package(place[0]) not in _OURS]
    own = [place for place in foreign if _package(place[0]) == package]
    return "".join(f" ({module}, line {line})" for module, line in (own or foreign)[-1:])


def _package(name: str) -> str:
    return name.partition(":")[0].partition(".")[0]


def vectors(found: object, sizes: Mapping[str, int], where: str) -> dict[str, F64]:
    """Return new vectors [size] by model input; other keys of a mapping are left out.

    A mapping with one entry is that entry where only one input is observed, whatever its name.

    Args:
        found: A mapping by model input, or the array itself where there is only one.
        sizes: Number of values of each model input that is observed.
        where: What messages begin with.
    """
    if len(sizes) == 1:
        if isinstance(found, Mapping) and len(found) == 1:
            [found] = found.values()
        if not isinstance(found, Mapping):
            found = dict.fromkeys(sizes, found)
    if not isinstance(found, Mapping) or not sizes.keys() <= found.keys():
        raise ToolError(
            f"{where}: expected observations by model input ({', '.join(sizes)}), "
            f"found {described(found)}"
        )
    return {name: _vector(found[name], size, f"{where}: {name}") for name, size in sizes.items()}


def one_number(value: object, where: str) -> float:
    """Return a finite number, which may stand in an array of one."""
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
        raise ToolError(
            f"{where}: expected {size} values, as the model's input, found "
            f"{described(array)}{_ONE_ROBOT if batch else ''}"
        )
    return array.reshape(-1)


def _numbers(value: object, where: str) -> F64:
    """Return a new array of whatever numpy makes one."""
    with calling(where):
        array = np.array(value, np.float64)
    if not np.isfinite(array).all():
        place = np.argwhere(~np.isfinite(array))[0].tolist()
        raise ToolError(
            f"{where}: expected finite values, found {array[tuple(place)]}"
            f"{f' at {place}' if place else ''}"
        )
    return array
