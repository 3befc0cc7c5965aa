# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Put an installed version into use; a node takes it when it is configured or loads it.

    model_tools activate lite3_walk 1.2.0

It is verified first. `model_tools rollback` goes back to what was in use before.
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
    parser.add_argument("version", help="an installed version of it")
    add_root(parser)
    add_public_key(parser)


def run(given: argparse.Namespace) -> int:
    """Activate; return the exit status."""
    from model_tools.ship.store.activation import activate

    activate(root_of(given), given.name, given.version, keys_of(given))
    _log.info("%s %s is in use", given.name, given.version)
    return 0
