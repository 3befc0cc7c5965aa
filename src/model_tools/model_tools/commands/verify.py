# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Verify what is installed again: every hash, signatures, the link to the version in use.

    model_tools verify lite3_walk@1.2.0

The exit status is 1 if something is wrong. Files that a killed installer left are listed; they are
harmless.
"""

from __future__ import annotations

import argparse
import logging

from model_tools.commands.arguments import (
    add_public_key,
    add_root,
    keys_of,
    name_and_version_of,
    root_of,
)

_log = logging.getLogger("model_tools")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "name", nargs="?", metavar="NAME[@VERSION]", help="name of a bundle (default: all)"
    )
    parser.add_argument(
        "version", nargs="?", help="a version of it, or current for the one in use (default: all)"
    )
    add_root(parser)
    add_public_key(parser)


def run(given: argparse.Namespace) -> int:
    """Verify; return the exit status."""
    from model_tools.ship.store.inventory import verify

    root = root_of(given)
    name, version = (None, None) if given.name is None else name_and_version_of(given)
    found = verify(root, name, version, keys_of(given))
    for one in found:
        if one.problem:
            _log.error("%s", one.problem)
        elif one.version:
            _log.info(
                "%s: whole%s", one.folder, f", signed by {one.signed_by}" if one.signed_by else ""
            )
        for note in one.notes:
            _log.warning("%s", note)
    if not found:
        _log.info("%s: nothing is installed", root)
    return 1 if any(one.problem for one in found) else 0
