# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Put an installed version into use; a node uses it from the next configuration or load.

    policy_store activate lite3_walk 1.2.0

With --trial FILE, the version is on trial first: nodes use it, and go back to the version in use
when a gate fails (docs/candidates.md).

The version is verified first. `policy_store rollback` goes back to the previous version.
"""
# run: before: |
# run:   sed -i "s/^version: .*/version: 1.2.0/" my_bundle/policy.yaml
# run:   policy_store install my_bundle

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from policy_core.errors import PolicyError
from policy_store.command_line import CommandResult
from policy_store.commands.arguments import (
    add_name_and_version,
    add_public_key,
    add_root,
    add_trial,
    put_into_use,
    read_keys,
    read_name_and_version,
    read_root,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_name_and_version(parser, "an installed version of it")
    add_trial(parser)
    add_root(parser)
    add_public_key(parser)


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Activate a version, or put it on trial.

    Returns:
        name of the bundle, version that nodes use, on_trial (true: the version is not in use yet),
        version_before (the version that runs again if a trial fails, or that ran before a rollback;
        otherwise null).
    """
    name, version = read_name_and_version(given)
    if version is None:
        raise PolicyError(
            f"{name}: expected NAME@VERSION, found no version; see `policy_store list`"
        )
    use, text = put_into_use(given, read_root(given), name, version, read_keys(given))
    return CommandResult(document=use, text=[text])
