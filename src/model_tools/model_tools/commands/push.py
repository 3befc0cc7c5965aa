# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Push a bundle, or a signed statement about one, to an OCI registry.

    model_tools push my_bundle robots.lan:5000/fleet/lite3_walk
    model_tools push revoked.yaml robots.lan:5000/fleet/lite3_walk

The tag is the version in policy.yaml, unless one is given; of a statement its kind. The digest that
is printed is the bundle's address for good. Credentials come from Docker's config.json, or from
POLICY_INFERENCE_REGISTRY_USER and POLICY_INFERENCE_REGISTRY_PASSWORD.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from model_tools.commands.arguments import access_of, add_registry_access, byte_progress

_log = logging.getLogger("model_tools")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("source", type=Path, help="folder of the bundle, or file of a statement")
    parser.add_argument("reference", metavar="REGISTRY/NAME[:TAG]", help="where to")
    parser.add_argument(
        "--force", action="store_true", help="let a tag that exists name this bundle"
    )
    add_registry_access(parser)


def run(given: argparse.Namespace) -> int:
    """Push; return the exit status."""
    from model_tools.ship.registry.manifest import parse_reference
    from model_tools.ship.registry.push import push_bundle, push_statement
    from policy_inference.commands.output import show

    reference, access = parse_reference(given.reference), access_of(given)
    if given.source.is_file():
        tag, digest = push_statement(given.source, reference, access)
        show(f"{reference.host}/{reference.repository}:{tag} {digest}")
        return 0
    progress = byte_progress("push")
    target, digest, is_signed = push_bundle(
        given.source, reference, access, progress, force=given.force
    )
    if not is_signed:
        _log.warning(
            "%s: is not signed: robots with public keys refuse it (`model_tools sign`)",
            given.source,
        )
    show(f"{target} {digest}")
    return 0
