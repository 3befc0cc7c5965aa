# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Go back to the previous version in use; a second rollback goes one version further.

    policy_store rollback lite3_walk

The version is verified first. Newer versions stay in the record until the next
`policy_store activate`.
"""
# run: before: |
# run:   policy_store install my_bundle --activate
# run:   sed -i "s/^version: .*/version: 1.2.0/" my_bundle/policy.yaml
# run:   policy_store install my_bundle --activate

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from policy_store.command_line import CommandResult
from policy_store.commands.arguments import (
    add_public_key,
    add_root,
    read_keys,
    read_root,
    version_use,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="name of the bundle")
    add_root(parser)
    add_public_key(parser)


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Roll back to the previous version.

    Returns:
        name of the bundle, version that nodes use, on_trial (true: the version is not in use yet),
        version_before (the version that runs again if a trial fails, or that ran before a rollback;
        otherwise null).
    """
    from policy_store.activation import roll_back

    before, folder = roll_back(read_root(given), given.name, read_keys(given))
    return CommandResult(
        document=version_use(given.name, folder.name, before),
        text=[f"{given.name} {folder.name} is in use, instead of {before}"],
    )
