# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Write the hashes of its members into a policy set, and check the set as a whole.

    model_tools pin my_set
    model_tools pin my_set --output out/my_set

Each member's sha256 in set.yaml becomes that of the policy.yaml that its bundle has now; comments
and order stay. A set is loaded only with the members that it states, so run this after a member
has changed, then sign the set again. --output writes the set with all its members into a new
folder, which is signed, installed and pushed as one version.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

_log = logging.getLogger("model_tools")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("folder", type=Path, help="folder of the policy set")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="new folder for the set with all its members (default: change set.yaml where it is)",
    )


def run(given: argparse.Namespace) -> int:
    """Write the hashes; return the exit status."""
    from model_tools.make.pinned_set import pin

    bundle, changed = pin(given.folder, given.output)
    for name, member in bundle.members.items():
        _log.info(
            "%s: %s %s, %s%s",
            name,
            member.contract.name,
            member.contract.version,
            member.sha256,
            " (new)" if name in changed else "",
        )
    return 0
