# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Write the hashes of a policy set's members into the set, and check the set as a whole.

    model_tools pin my_gaits
    model_tools pin my_gaits --output out/my_gaits

Each member's sha256 in set.yaml becomes the hash of its bundle's current policy.yaml; comments and
order are kept. A set loads only with exactly these members, so run this command after a member has
changed, then sign the set again. --output writes the set with all its members into a new folder, to
sign, install and push as one version.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policy_store.command_line import CommandResult


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="folder of the policy set")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="new folder for the set with all its members (default: change set.yaml in place)",
    )


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Write the members' hashes into the set.

    Returns:
        folder of the set; members, by name: policy, version, sha256 (of the member's policy.yaml),
        is_new (the hash in set.yaml changed).
    """
    from model_tools.make.pinned_set import pin

    bundle, changed = pin(given.folder, given.output)
    members = {
        name: {
            "policy": member.contract.name,
            "version": member.contract.version,
            "sha256": member.sha256,
            "is_new": name in changed,
        }
        for name, member in bundle.members.items()
    }
    return CommandResult(
        document={"folder": given.output or given.folder, "members": members},
        text=[
            f"{name}: {one['policy']} {one['version']}, {one['sha256']}"
            f"{' (new)' if one['is_new'] else ''}"
            for name, one in members.items()
        ],
    )
