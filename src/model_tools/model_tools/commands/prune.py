# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Show which old versions can be removed, and what killed installers left; --force removes them.

    model_tools prune lite3_walk --keep 3 --force

The version in use and the two before it stay in any case.
"""

from __future__ import annotations

import argparse
import logging

from model_tools.commands.arguments import add_root, root_of

_log = logging.getLogger("model_tools")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
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


def run(given: argparse.Namespace) -> int:
    """Prune; return the exit status."""
    from model_tools.ship.store.inventory import prune, surplus

    found = (prune if given.force else surplus)(root_of(given), given.name, given.keep)
    for path in (*found.versions, *found.leftovers):
        _log.info("%s: %s", path, "removed" if given.force else "would be removed (--force)")
    if not (found.versions or found.leftovers):
        _log.info("%s: nothing to remove", given.name)
    return 0
