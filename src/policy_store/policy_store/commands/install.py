# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Install a version of a bundle alongside the installed versions, after verifying it.

    policy_store install my_bundle --activate

The source is a bundle folder or an archive of one (.tar.gz). It is copied to ROOT/NAME/VERSION,
with the name and version from its policy.yaml; an installed version never changes. A policy set
(set.yaml) and its members are one version (model_tools pin --output). Without --activate, the
version in use does not change. With --trial FILE, the new version is on trial: nodes use it, and go
back to the version in use when a gate fails (docs/candidates.md).
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policy_core.bundle.signature import TrustedKeys
from policy_core.errors import PolicyError
from policy_store.command_line import CommandResult, add_bundle
from policy_store.commands.arguments import (
    add_public_key,
    add_root,
    add_trial,
    put_into_use,
    read_keys,
    read_root,
)

if TYPE_CHECKING:
    from policy_store.install import Installed

_log = logging.getLogger("policy_store")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser, "folder of a bundle, or an archive of one", type=Path)
    add_use(parser)
    add_root(parser)
    add_public_key(parser)


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Install a bundle, and put it into use if requested.

    Returns:
        name, version, folder, is_new (the version was not installed before, or was replaced),
        replaced (folder with its former files; null if there were none), was_damaged, signed_by
        (fingerprint, if signatures are required), absent (back ends whose models were not
        requested), current (version in use; null if none is), use (what --activate or --trial did,
        as for `activate`; null without either).
    """
    from policy_store.install import install

    require_use(given)
    root, trusted = read_root(given), read_keys(given)
    done = install(given.bundle, root, trusted, backends=given.backend, expected=given.expect)
    return use_installed(given, done, root, trusted)


def add_use(parser: argparse.ArgumentParser) -> None:
    """Declare the options that select what to install and how to put it into use."""
    parser.add_argument(
        "--expect",
        default="",
        metavar="NAME@VERSION",
        help="the expected bundle; any other is refused before anything is installed",
    )
    parser.add_argument(
        "--backend",
        type=lambda names: names.split(",") if names else None,
        metavar="A,B",
        help="install only the models of these back ends, comma-separated; the installed version "
        "then supports no other back ends (default: all in the bundle)",
    )
    parser.add_argument("--activate", action="store_true", help="put the version into use at once")
    add_trial(parser)


def require_use(given: argparse.Namespace) -> None:
    """Raise PolicyError for an option of `add_use` that would have no effect."""
    if given.accept and not (given.activate or given.trial):
        raise PolicyError(
            "--accept: expected --activate as well, found no --activate; alternatively, pass "
            "--accept to `policy_store activate`"
        )


def use_installed(
    given: argparse.Namespace, done: Installed, root: Path, trusted: TrustedKeys | None
) -> CommandResult[Mapping[str, Any]]:
    """Put an installed version into use as the `add_use` options specify; return the result.

    The result describes the installation and its use; see `run` for the keys of its document.
    """
    from policy_core.bundle.store import current_version
    from policy_store.activation import warn_of_older, warn_of_revoked

    contract = done.bundle.contract
    meaning = ""
    if not (given.activate or given.trial):
        warn_of_older(root / contract.name, contract.version)
        meaning = f"; {_meaning_of_name(root, contract.name, contract.version)}"
    installed = "installed" if done.is_new else "was installed before, with the same content"
    without = f" without the models of {', '.join(done.absent)}" if done.absent else ""
    signed = f", signed by {done.bundle.signed_by}" if done.bundle.signed_by else ""
    text = [f"{done.folder}: {installed}{without}{signed}{meaning}"]
    if done.replaced:
        _log.warning(
            "%s: %s and was replaced; the former files are in %s until `policy_store prune %s "
            "--force` removes them",
            done.folder,
            "was damaged" if done.was_damaged else "had a different signature",
            done.replaced,
            contract.name,
        )
    use, error = None, None
    if given.activate or given.trial:
        try:
            use, words = put_into_use(given, root, contract.name, contract.version, trusted)
            text.append(words)
        except (PolicyError, OSError) as failed:  # it is installed nevertheless
            error = failed
    if error is None:
        warn_of_revoked(root / contract.name, contract.version)
    result = {
        "name": contract.name,
        "version": contract.version,
        "folder": done.folder,
        "is_new": done.is_new,
        "replaced": done.replaced,
        "was_damaged": done.was_damaged,
        "signed_by": done.bundle.signed_by,
        "absent": done.absent,
        "current": None if error else current_version(root / contract.name),
        "use": use,
    }
    return CommandResult(document=result, text=text, error=error)


def _meaning_of_name(root: Path, name: str, version: str) -> str:
    from policy_core.bundle.store import current_version

    current = current_version(root / name)
    if current == version:
        return f"{name} means {version}, which is in use"
    order = f"`policy_store activate {name}@{version}`"
    if current is None:
        return f"no version of {name} is in use, so nodes refuse bundle:={name}; next: {order}"
    return f"{name} still means {current}, which is in use; {order} puts this one into use"
