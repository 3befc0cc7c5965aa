# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a shell offers when Tab is pressed: verbs, options, and names of bundles and back ends.

The shell asks through argcomplete (`register-python-argcomplete`), which this needs.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import argcomplete
from argcomplete.completers import FilesCompleter

from policy_inference.backends.registry import available
from policy_inference.bundle.load import shipped_names
from policy_inference.bundle.store import store_root, versions_of

_BUNDLES = frozenset(("bundle", "bundles", "baseline", "path", "reference"))
"""Arguments that take a folder or a name; those of `install` and `push` take a folder only."""
_files = FilesCompleter()


def complete(parser: argparse.ArgumentParser) -> None:
    """Print how the command line of the environment can go on; end the process."""
    _join_verbs(parser)
    for action in _actions(parser):
        if (completer := _completer(action)) is not None:
            action.completer = completer  # type: ignore[attr-defined]  # argcomplete's own
    argcomplete.autocomplete(parser)


def bundle_names(root: Path | None = None) -> list[str]:
    """Return NAME and NAME@VERSION of what is installed, and the bundles that ship."""
    folder = store_root() if root is None else root
    models = sorted(folder.iterdir()) if folder.is_dir() else []
    names = [
        name
        for model in models
        if (versions := versions_of(model))
        for name in (model.name, *(f"{model.name}@{version}" for version in versions))
    ]
    return [*names, *(name for name in shipped_names() if name not in names)]


def _completer(action: argparse.Action) -> Callable[..., Iterable[str]] | None:
    if "--root" not in action.option_strings and action.metavar == "NAME[@VERSION]":
        return _installed
    if action.dest in _BUNDLES:
        return _bundles
    if action.dest == "backend":
        return lambda **_: available()
    if action.dest == "compiler":
        return lambda **_: sorted(entry_points(group="model_tools.compilers").names)
    return None


def _installed(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    return bundle_names(getattr(parsed_args, "root", None))


def _bundles(prefix: str, **_: Any) -> list[str]:
    return [*bundle_names(), *_files(prefix)]


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield from _actions(verb)


def _join_verbs(parser: argparse.ArgumentParser) -> None:
    """Let the shell's line name a verb of two words, `fleet status`, as one word, as parsers do."""
    verbs = [
        verb
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for verb in action.choices
        if " " in verb
    ]
    line, point = os.environ["COMP_LINE"], int(os.environ["COMP_POINT"])
    for verb in verbs:
        if (begin := line.find(f" {verb} ")) >= 0 and begin + len(verb) < point:
            joined = verb.replace(" ", "\\ ")
            os.environ["COMP_LINE"] = line.replace(verb, joined, 1)
            os.environ["COMP_POINT"] = str(point + len(joined) - len(verb))
            return
