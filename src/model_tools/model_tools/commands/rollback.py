# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Go back to the version that was in use before; a second rollback goes one further back.

    model_tools rollback lite3_walk

It is verified first. Newer versions stay in the record until the next `model_tools activate`.
"""

from __future__ import annotations

import argparse
import logging

from model_tools.commands.arguments import (
    add_public_key,
    add_root,
    keys_of,
    root_of,
)

_log = logging.getLogger("model_tools")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", help="name of the bundle")
    add_root(parser)
    add_public_key(parser)


def run(given: argparse.Namespace) -> int:
    """Roll back; return the exit status."""
    from model_tools.ship.store.activation import roll_back

    before, folder = roll_back(root_of(given), given.name, keys_of(given))
    _log.info("%s %s is in use, instead of %s", given.name, folder.name, before)
    return 0
