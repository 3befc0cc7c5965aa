# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The user's code: found, called, and where it fails, named in one line."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from model_tools.errors import ToolError

_log = logging.getLogger("model_tools")
_OURS = ("model_tools", "importlib")


def load_function(name: str) -> Callable[..., object]:
    """Import `module:function` or a class from the current folder or the installed packages.

    The current folder becomes the first to import from, as with `python -m`.

    Raises:
        ToolError: The name is no such pair, there is no such function, or importing fails.
    """
    module, _, attribute = name.partition(":")
    if not (_package(name) and attribute):
        raise ToolError(f"expected module:function, found {name!r}")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    if importlib.util.find_spec(_package(name)) is None:
        raise ToolError(f"{name}: expected a module in {here} or an installed package, found none "
                        f"called {_package(name)}")
    with calling(name):
        function = getattr(importlib.import_module(module), attribute, None)
    if not callable(function):
        raise ToolError(f"{name}: expected a function {attribute} in {module}, found "
                        f"{'none' if function is None else type(function).__name__}")
    return function  # type: ignore[no-any-return]  # what it takes shows when it is called


@contextmanager
def calling(where: str) -> Iterator[None]:
    """Turn what the user's code raises into one line; its traceback is logged for debugging.

    Args:
        where: What the line begins with: `module:function`, and what it is about to do.

    Raises:
        ToolError: The code raised, or left the process.
    """
    try:
        yield
    except (Exception, SystemExit) as error:  # the user's code raises what it likes
        _log.debug("%s", where, exc_info=True)
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise ToolError(f"{where}: {said}{_place(error, _package(where))}") from error


def _place(error: BaseException, package: str) -> str:
    """Return the innermost line of a package, else of any other; nothing if unknown."""
    lines = [(frame.f_globals.get("__name__", "?"), line)
             for frame, line in traceback.walk_tb(error.__traceback__)]
    foreign = [place for place in lines if _package(place[0]) not in _OURS]
    own = [place for place in foreign if _package(place[0]) == package]
    return "".join(f" ({module}, line {line})" for module, line in (own or foreign)[-1:])


def _package(name: str) -> str:
    return name.partition(":")[0].partition(".")[0]
