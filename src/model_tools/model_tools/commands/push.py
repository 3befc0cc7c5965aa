# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Push a bundle, or a signed statement about one, to an OCI registry.

    model_tools push my_bundle robots.lan:5000/fleet/lite3_walk
    model_tools push revoked.yaml robots.lan:5000/fleet/lite3_walk

The signature is checked with the configured public keys, as on robots. The tag is the version in
policy.yaml, unless another one is given; the tag of a statement is its kind. The printed digest is
the bundle's permanent address. Credentials come from Docker's config.json, or from
POLICY_INFERENCE_REGISTRY_USER and POLICY_INFERENCE_REGISTRY_PASSWORD.
"""
# run: needs: docker-registry
# run: swap: {robots.lan:5000: 127.0.0.1:5018}
# run: before: |
# run:   REGISTRY_HTTP_ADDR=127.0.0.1:5018 docker-registry serve registry.yml >registry.log 2>&1 &
# run:   model_tools sign revoked.yaml --key private.pem

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policy_core.bundle.signature import TrustedKeys
from policy_store.command_line import CommandResult, add_bundle
from policy_store.commands.arguments import (
    add_public_key,
    add_registry_access,
    byte_progress,
    read_keys,
)

_log = logging.getLogger("model_tools")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser, "folder of the bundle, or file of a statement", type=Path)
    parser.add_argument("reference", metavar="REGISTRY/NAME[:TAG]", help="destination")
    parser.add_argument("--force", action="store_true", help="move an existing tag to this bundle")
    parser.add_argument(
        "--again",
        action="store_true",
        help="for revocations: allow currently revoked versions again",
    )
    add_public_key(parser)
    add_registry_access(parser)


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Push the bundle or statement.

    Returns:
        reference (HOST/NAME:TAG), digest (of the manifest; the permanent address), is_signed.
    """
    from model_tools.ship.push import push_bundle, push_statement
    from policy_store.registry.access import RegistryAccess
    from policy_store.registry.manifest import parse_reference

    reference = parse_reference(given.reference)
    access = RegistryAccess(ca=given.ca, insecure_http=given.insecure_http)
    trusted = read_keys(given)
    if given.bundle.is_file():
        tag, digest = push_statement(given.bundle, reference, access, trusted, again=given.again)
        _warn_of_no_keys(given, trusted)
        return _result(f"{reference.host}/{reference.repository}:{tag}", digest)
    progress = byte_progress("push")
    target, digest, is_signed = push_bundle(
        given.bundle, reference, access, progress, trusted, force=given.force
    )
    if not is_signed:
        _log.warning(
            "%s: not signed: robots with public keys refuse it (`model_tools sign`)",
            given.bundle,
        )
    else:
        _warn_of_no_keys(given, trusted)
    return _result(str(target), digest, is_signed=is_signed)


def _warn_of_no_keys(given: argparse.Namespace, trusted: TrustedKeys | None) -> None:
    if trusted is None:
        _log.warning(
            "%s: its signature was not checked, because no public keys are configured: name the "
            "robots' key with --public-key",
            given.bundle,
        )


def _result(
    reference: str, digest: str, *, is_signed: bool = True
) -> CommandResult[Mapping[str, Any]]:
    return CommandResult(
        document={"reference": reference, "digest": digest, "is_signed": is_signed},
        text=[f"{reference} {digest}"],
    )
