# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Show which old versions can be removed, and what killed installers left; --force removes them.

    policy_store prune lite3_walk --keep 3 --force

The version in use and the two before it stay in any case.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from policy_store.command_line import CommandResult
from policy_store.commands.arguments import add_root, root_of


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneResult:
    """What was removed, or would be.

    Attributes:
        name: Of the bundle.
        versions: Folders of versions.
        leftovers: Of installers that were killed.
        removed: Whether they are gone; false without --force.
    """

    name: str
    versions: Sequence[Path]
    leftovers: Sequence[Path]
    removed: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="name of the bundle")
    parser.add_argument(
        "--keep",
        type=int,
        default=3,
        metavar="N",
        help="how many versions stay, those that were installed last (default 3)",
    )
    parser.add_argument("--force", action="store_true", help="remove them")
    add_root(parser)


def run(given: argparse.Namespace) -> CommandResult[PruneResult]:
    from policy_store.inventory import prune, surplus

    found = (prune if given.force else surplus)(root_of(given), given.name, given.keep)
    result = PruneResult(
        name=given.name,
        versions=found.versions,
        leftovers=found.leftovers,
        removed=given.force,
    )
    done = "removed" if given.force else "would be removed (--force)"
    text = [f"{path}: {done}" for path in (*found.versions, *found.leftovers)]
    return CommandResult(document=result, text=text or [f"{given.name}: nothing to remove"])
