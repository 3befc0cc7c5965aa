# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Verify installed bundles again: every hash, signatures, the link to the version in use.

    policy_store verify lite3_walk@1.2.0

The exit status is 1 if there is a problem. Leftovers of a killed installer are listed; they are
harmless.
"""
# run: before: |
# run:   sed -i "s/^version: .*/version: 1.2.0/" my_bundle/policy.yaml
# run:   policy_store install my_bundle

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from policy_store.command_line import CommandResult
from policy_store.commands.arguments import (
    add_public_key,
    add_root,
    read_keys,
    read_name_and_version,
    read_root,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", nargs="?", metavar="NAME[@VERSION]", help="name of a bundle (default: all)"
    )
    parser.add_argument(
        "version",
        nargs="?",
        help="version of the bundle, or current for the version in use (default: all versions)",
    )
    add_root(parser)
    add_public_key(parser)


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Verify installed bundles; the exit status is 1 if there is a problem.

    Returns:
        root, holds (true: no problem was found), found: for each version, and for the folder of
        each bundle (with an empty version): folder, version, problem (empty if none), notes,
        signed_by.
    """
    from policy_store.inventory import verify

    root = read_root(given)
    name, version = (None, None) if given.name is None else read_name_and_version(given)
    found = verify(root, name, version, read_keys(given))
    text = list[str]()
    for one in found:
        if one.problem:
            text += one.problem.split("\n")
        elif one.version:
            signed = f", signed by {one.signed_by}" if one.signed_by else ""
            text.append(f"{one.folder}: whole{signed}")
        text += one.notes
    holds = not any(one.problem for one in found)
    return CommandResult(
        document={"root": root, "holds": holds, "found": found},
        text=text,
        status=0 if holds else 1,
    )
