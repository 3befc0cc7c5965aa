# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""How a command of a page runs, where it does not run as it stands: reads and checks comments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import yaml

_NOT_FOUND_STATUSES = (126, 127)
"""Exit statuses by which a shell says that there is no such command."""
_REASON = re.compile(r"[A-Za-z]{3}")
_MORE_THAN_ARGUMENTS = re.compile(r"\|\||(?:^|\s)#")


class CommentError(Exception):
    """A `run:` comment or a block is wrong; the message says where, and what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a command runs, where it does not run as it stands.

    Attributes:
        needs: What must be there, with commas between (`testkit.pages.needs.NEEDS`).
        before: Commands that run first, and prepare what the page takes for granted.
        after: Commands that run next, and check the result.
        short: Further arguments, which make the command short.
        swap: Parts of the command by what stands for them here.
        ready: Regular expression. The command runs until the end of its section; its output shows
            within the time limit that it works.
        status: Expected exit status; with `ready`, one more that is right after Ctrl-C.
        limit_s: Time limit, s.
        real_time: Whether the command goes by the clock; its page then needs the machine alone.
        skip: Why nothing runs the command: hardware, a ROS installation, a service manager.
    """

    needs: str = ""
    before: str = ""
    after: str = ""
    short: str = ""
    swap: Mapping[str, str] | None = None
    ready: str = ""
    status: int = 0
    limit_s: float = 300.0
    real_time: bool = False
    skip: str = ""


OPTIONS = frozenset(option.name for option in fields(RunOptions))
_TYPES = {"swap": (dict,), "status": (int,), "limit_s": (int, float), "real_time": (bool,)}
"""Types of the options that are no text."""


def read_comment(comment: str, where: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the options of a whole block, and those of commands by their beginnings.

    Args:
        comment: YAML; may be empty.
        where: Place of the block, for messages.

    Raises:
        CommentError: It is no YAML, or an option has a wrong name or value.
    """
    try:
        parsed: Any = yaml.safe_load(comment) or {}
    except yaml.YAMLError as error:
        raise CommentError(f"{where}: run: expected YAML: {error}") from None
    if not isinstance(parsed, dict):
        raise CommentError(f"{where}: run: expected options by name, found {comment.strip()!r}")
    of_all = {name: value for name, value in parsed.items() if name in OPTIONS}
    of_some = {begin: options for begin, options in parsed.items() if begin not in OPTIONS}
    _check(of_all, where)
    for begin, options in of_some.items():
        if not isinstance(options, dict):
            raise CommentError(
                f"{where}: run: expected an option or a command with options, found {begin!r}"
            )
        _check(options, f"{where}: {begin}")
    return of_all, of_some


def _check(options: Mapping[str, Any], where: str) -> None:
    for name, value in options.items():
        if name not in OPTIONS:
            expected = ", ".join(sorted(OPTIONS))
            raise CommentError(f"{where}: run: expected one of {expected}, found {name!r}")
        types = _TYPES.get(name, (str,))
        if type(value) not in types or value in ("", {}):
            kinds = " or ".join(kind.__name__ for kind in types)
            raise CommentError(f"{where}: run: {name}: expected {kinds}, found {value!r}")
    if "skip" in options and not _REASON.search(options["skip"]):
        raise CommentError(f"{where}: run: skip: expected a reason, found {options['skip']!r}")
    if options.get("status") in _NOT_FOUND_STATUSES:
        raise CommentError(
            f"{where}: run: status: expected that of a command that exists, "
            f"found {options['status']}"
        )
    if _MORE_THAN_ARGUMENTS.search(options.get("short", "")):
        raise CommentError(
            f"{where}: run: short: expected arguments only, found {options['short']!r}"
        )
