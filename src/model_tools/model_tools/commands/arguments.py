# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Arguments and a progress bar shared by several verbs; `policy_store` has arguments of its own."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def add_topics(parser: argparse.ArgumentParser) -> None:
    """Declare `--topic`, which assigns a topic to an input."""
    parser.add_argument(
        "--topic",
        type=pair,
        action="append",
        default=[],
        metavar="INPUT=TOPIC",
        help="recorded topic of a policy input, if its name differs, such as "
        "joint_states=/robot/joints; may be repeated",
    )


ALL = "all"


def add_samples(parser: argparse.ArgumentParser, help_text: str, *, or_all: bool = False) -> None:
    """Declare `--samples` (a number), with the alias `--cal-num` from D-Robotics' tools.

    Args:
        parser: Parser of the verb.
        help_text: Help text, which states what is counted and typical numbers.
        or_all: True to allow `ALL` as well.
    """

    def read(text: str) -> int | str:
        return ALL if or_all and text == ALL else number_above_0(text)

    parser.add_argument("--samples", "--cal-num", type=read, metavar="NUMBER", help=help_text)


def number_above_0(text: str) -> int:
    """Parse an integer above 0 (an argument type)."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, found {text!r}")
    return int(text)


def pair(text: str) -> tuple[str, str]:
    """Parse a name and a value from `NAME=VALUE` (an argument type; may be repeated)."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, found {text!r}")
    return name, value


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show a progress bar; yield the function that updates it from (done, total or None)."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
