# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Shell completion: verbs, options, and names of bundles and back ends.

It needs argcomplete, through which the shell requests completions (`register-python-argcomplete`).
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

from policy_core.bundle.load import shipped_names
from policy_core.bundle.store import installed_versions, store_root

_BUNDLES = frozenset(("bundle", "bundles", "baseline", "path", "reference"))
"""Arguments that accept a bundle's folder or name; for `install` and `push`, only a folder."""
_files = FilesCompleter()


def complete(parser: argparse.ArgumentParser) -> None:
    """If the shell asked for completions, print them and exit; otherwise, return.

    The shell asks through argcomplete's environment variables.
    """
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            _nest(action)
    for action in _actions(parser):
        if (completer := _completer(action)) is not None:
            action.completer = completer  # type: ignore[attr-defined]  # argcomplete's own
    argcomplete.autocomplete(parser)


def _installed_names(root: Path | None) -> list[str]:
    folder = store_root() if root is None else root
    models = sorted(folder.iterdir()) if folder.is_dir() else []
    return [
        name
        for model in models
        if (versions := installed_versions(model))
        for name in (model.name, *(f"{model.name}@{version}" for version in versions))
    ]


def _completer(action: argparse.Action) -> Callable[..., Iterable[str]] | None:
    if "--root" not in action.option_strings and action.metavar == "NAME[@VERSION]":
        return _installed
    if action.dest in _BUNDLES:
        return _bundles
    if action.dest == "backend":
        return lambda **_: sorted(entry_points(group="policy_inference.backends").names)
    if action.dest == "compiler":
        return lambda **_: sorted(entry_points(group="model_tools.compilers").names)
    return None


def _installed(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    return _installed_names(getattr(parsed_args, "root", None))


def _bundles(prefix: str, **_: Any) -> list[str]:
    names = _installed_names(None)
    return [*names, *(name for name in shipped_names() if name not in names), *_files(prefix)]


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield from _actions(verb)


def _nest(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Split verbs of two words, such as `fleet status`, since shells complete word by word."""
    of_two = [verb for verb in verbs.choices if " " in verb]
    parsers = {verb: verbs._name_parser_map.pop(verb) for verb in of_two}
    verbs._choices_actions = [each for each in verbs._choices_actions if each.dest not in of_two]
    groups: dict[str, argparse._SubParsersAction[argparse.ArgumentParser]] = {}
    for verb, parser in parsers.items():
        first, second = verb.split(" ")
        if first in verbs.choices and first not in groups and not _goes_on(verb):
            # The first word is a verb itself, such as `export`: the second may be its argument.
            argument = next(each for each in verbs.choices[first]._actions if each.dest != "help")
            _offer_also(argument, second)
            continue
        if first not in groups:
            verbs._name_parser_map.pop(first, None)
            groups[first] = verbs.add_parser(first).add_subparsers()
        groups[first]._name_parser_map[second] = parser


def _goes_on(verb: str) -> bool:
    """Return True if the shell's line contains this verb, and more words after it."""
    line = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])].split(" ")
    return line[1:3] == verb.split(" ") and len(line) > 3


def _offer_also(argument: argparse.Action, word: str) -> None:
    words = [*getattr(argument, "words", ()), word]
    argument.words = words  # type: ignore[attr-defined]
    argument.completer = (  # type: ignore[attr-defined]  # argcomplete's own
        lambda prefix, **_: [*words, *_files(prefix)]
    )
