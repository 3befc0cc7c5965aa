# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Pull a bundle from an OCI registry, verify it, and install it.

    policy_store pull robots.lan:5000/fleet/lite3_walk:1.3.0 --backend rknn --install --activate

Signature, hashes, version and revocations are checked before anything is installed. Repeat the
command to resume an interrupted pull. Without --install, the bundle is written to a folder. With
--revocations, only the signed list of revoked versions is pulled.
"""
# run: needs: docker-registry
# run: swap: {robots.lan:5000: 127.0.0.1:5017, rknn: onnx}
# run: before: |
# run:   REGISTRY_HTTP_ADDR=127.0.0.1:5017 docker-registry serve registry.yml >registry.log 2>&1 &
# run:   sed -i "s/^version: .*/version: 1.3.0/" my_bundle/policy.yaml
# run:   model_tools push my_bundle 127.0.0.1:5017/fleet/lite3_walk

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policy_core.bundle.signature import TrustedKeys
from policy_core.errors import PolicyError
from policy_store.command_line import CommandResult
from policy_store.commands.arguments import (
    add_public_key,
    add_registry_access,
    add_root,
    byte_progress,
    read_keys,
    read_root,
)
from policy_store.commands.install import add_use, require_use, use_installed
from policy_store.registry.access import RegistryAccess

if TYPE_CHECKING:
    from policy_store.registry.manifest import RegistryReference

_log = logging.getLogger("policy_store")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", metavar="REGISTRY/NAME[:TAG|@DIGEST]", help="registry and name of the bundle"
    )
    parser.add_argument(
        "--channel",
        default="",
        metavar="NAME",
        help="channel whose signed statement names the version, instead of a tag",
    )
    parser.add_argument(
        "--allow-downgrade",
        type=Path,
        metavar="FILE",
        help="signed statement that allows a version older than the one in use",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="folder to create if --install is not given (default: the bundle's NAME)",
    )
    parser.add_argument("--install", action="store_true", help="install the bundle below --root")
    parser.add_argument(
        "--revocations",
        action="store_true",
        help="only update the list of revoked versions below --root; no bundle is pulled",
    )
    add_use(parser)
    add_root(parser)
    add_public_key(parser)
    add_registry_access(parser)


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Pull a bundle, or only the list of revoked versions.

    Returns:
        with --install, as for `install`; with --revocations, name of the bundle and revoked (the
        reason, by version); otherwise, folder and absent (back ends whose models were not
        requested).
    """
    from policy_store.registry.manifest import parse_reference
    from policy_store.registry.pull import pull_to_folder, pull_to_store
    from policy_store.registry.remote import PullRequest

    reference, trusted = parse_reference(given.source), read_keys(given)
    access = RegistryAccess(ca=given.ca, insecure_http=given.insecure_http)
    request = PullRequest(
        reference=reference,
        channel=given.channel,
        backends=given.backend,
        allow_downgrade=given.allow_downgrade,
        expected=given.expect,
    )
    if trusted is None:
        _log.warning(
            "%s: no public keys are configured: neither signature nor revocations are checked",
            reference,
        )
    if given.revocations:
        return _revocations(given, reference, access, trusted)
    if given.install:
        if given.output is not None:
            raise PolicyError("expected --output or --install, found both")
        require_use(given)
        root = read_root(given)
        progress = byte_progress("pull")
        done = pull_to_store(request, access, root, trusted, progress)
        return use_installed(given, done, root, trusted)
    if given.activate or given.trial or given.allow_downgrade is not None:
        raise PolicyError(
            "--activate, --trial, --allow-downgrade: expected --install as well, found no --install"
        )
    output = given.output or Path(reference.name)
    progress = byte_progress("pull")
    absent = pull_to_folder(request, access, output, trusted, progress)
    without = f", without the models of {', '.join(absent)}" if absent else ""
    return CommandResult(
        document={"folder": output, "absent": absent}, text=[f"{output}: whole{without}"]
    )


def _revocations(
    given: argparse.Namespace,
    reference: RegistryReference,
    access: RegistryAccess,
    trusted: TrustedKeys | None,
) -> CommandResult[Mapping[str, Any]]:
    from policy_store.activation import warn_of_revoked
    from policy_store.registry.client import RegistryRepository
    from policy_store.registry.remote import pull_revocations

    asked = [given.channel, given.install, given.output, given.expect, given.activate, given.trial]
    asked += [given.allow_downgrade, reference.tag, reference.digest]
    if trusted is None or any(asked):
        found = "no public keys" if trusted is None else "options for a bundle too"
        raise PolicyError(
            f"--revocations: expected public keys (--public-key), and no bundle, found {found}"
        )
    model = read_root(given) / reference.name
    revoked = pull_revocations(RegistryRepository(reference, access), model, trusted)
    warn_of_revoked(model)
    text = [f"{reference.name} {version} is revoked: {why}" for version, why in revoked.items()]
    return CommandResult(
        document={"name": reference.name, "revoked": revoked},
        text=text or [f"{reference.name}: no version is revoked"],
    )
