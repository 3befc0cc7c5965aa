# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Show old versions and leftovers of killed installers; --force removes them.

    policy_store prune lite3_walk --keep 3 --force

The version in use and the two before it are always kept.
"""
# run: before: policy_store install my_bundle --activate

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from policy_store.command_line import CommandResult
from policy_store.commands.arguments import add_root, read_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="name of the bundle")
    parser.add_argument(
        "--keep",
        type=int,
        default=3,
        metavar="N",
        help="number of most recently installed versions to keep (default 3)",
    )
    parser.add_argument(
        "--force", action="store_true", help="remove the other versions; otherwise only list them"
    )
    add_root(parser)


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Show old versions and leftovers, or remove them.

    Returns:
        name of the bundle, versions (folders), leftovers (of killed installers), removed (false
        without --force).
    """
    from policy_store.inventory import prune

    versions, leftovers = prune(read_root(given), given.name, given.keep, force=given.force)
    done = "removed" if given.force else "would be removed (--force)"
    text = [f"{path}: {done}" for path in (*versions, *leftovers)]
    return CommandResult(
        document={
            "name": given.name,
            "versions": versions,
            "leftovers": leftovers,
            "removed": given.force,
        },
        text=text or [f"{given.name}: nothing to remove"],
    )
