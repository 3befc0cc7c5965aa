# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Arguments that several verbs share: the root folder, keys, a version's use, the registry."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from policy_core.bundle.signature import TrustedKeys
from policy_core.errors import PolicyError


def add_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--root",
        type=Path,
        metavar="FOLDER",
        help="folder of all installed bundles (default: POLICY_INFERENCE_MODELS, "
        "else /opt/models); may be on the mounted disk of a robot",
    )


def add_public_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--public-key",
        default="",
        metavar="PEM",
        help="file or folder with public keys, one of which must have signed the bundle; if "
        "POLICY_INFERENCE_PUBLIC_KEY is also set, only keys in both are trusted",
    )


def add_trial(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that put a version on trial."""
    parser.add_argument(
        "--trial",
        type=Path,
        metavar="YAML",
        help="put the version on trial with these limits and gates, instead of into use",
    )
    parser.add_argument(
        "--again", action="store_true", help="allow a version even if it failed a trial"
    )
    parser.add_argument(
        "--accept",
        action="append",
        default=[],
        metavar="KEY",
        help="key of the contract that may differ from the version in use, with all keys below "
        "it; may be repeated (with --trial: accepted_differences of the file)",
    )
    parser.add_argument(
        "--node-user",
        default="",
        metavar="USER",
        help="with --trial: user of the policy node, which writes the trial record "
        "(default: the owner of the record, or the user of this command)",
    )


def version_use(
    name: str, version: str, version_before: str | None = None, *, on_trial: bool = False
) -> dict[str, Any]:
    """Return the version that nodes use from now on, for JSON; see `activate.run` for the keys."""
    return {
        "name": name,
        "version": version,
        "on_trial": on_trial,
        "version_before": version_before,
    }


def put_into_use(
    given: argparse.Namespace, root: Path, name: str, version: str, trusted: TrustedKeys | None
) -> tuple[dict[str, Any], str]:
    """Activate a version, or put it on trial; return `version_use` and a line of text."""
    from policy_store.activation import activate
    from policy_store.trials import begin_trial

    if given.trial is None:
        activate(root, name, version, trusted, again=given.again, accepted=given.accept)
        return version_use(name, version), f"{name} {version} is in use"
    begun = begin_trial(
        root,
        name,
        version,
        given.trial,
        trusted,
        again=given.again,
        node_user=given.node_user,
    )
    return version_use(name, version, begun.version_before, on_trial=True), (
        f"{begun} is on trial for {begun.settings.run_time_s:g} s of RUN time; if it fails, "
        f"{begun.version_before} runs again"
    )


def add_name_and_version(parser: argparse.ArgumentParser, version_help: str) -> None:
    """Declare the arguments for an installed version: `NAME VERSION` or `NAME@VERSION`."""
    parser.add_argument(
        "name", metavar="NAME[@VERSION]", help="name of a bundle, with or without its version"
    )
    parser.add_argument("version", nargs="?", metavar="VERSION", help=version_help)


def read_name_and_version(given: argparse.Namespace) -> tuple[str, str | None]:
    """Return the given name and version; the version may be None."""
    name, at, version = str(given.name).partition("@")
    if at and given.version is not None:
        raise PolicyError(f"expected one version, found {given.name} and {given.version}")
    return name, version or given.version


def read_root(given: argparse.Namespace) -> Path:
    """Return the given root, or the default."""
    from policy_core.bundle.store import store_root

    return store_root() if given.root is None else Path(given.root)


def read_keys(given: argparse.Namespace) -> TrustedKeys | None:
    """Return the trusted public keys; None if bundles need no signature."""
    from policy_core.bundle.load import trusted_keys

    return trusted_keys(given.public_key)


def add_registry_access(parser: argparse.ArgumentParser) -> None:
    """Declare the options for access to a registry."""
    parser.add_argument(
        "--ca",
        type=Path,
        metavar="PEM",
        help="certificate authorities of the registry, in addition to the system's",
    )
    parser.add_argument(
        "--insecure-http",
        action="store_true",
        help="allow plain HTTP to other machines, too: downloads are verified, but credentials "
        "are not protected",
    )


def byte_progress(what: str) -> Callable[[int, int | None], None]:
    """Return a function that shows the number of bytes processed, if stderr is a terminal."""
    shown = ""

    def show(done: int, total: int | None) -> None:
        nonlocal shown
        line = f"{what}: {done / 1e6:.1f} of {(total or done) / 1e6:.1f} MB"
        if line != shown and sys.stderr.isatty():
            shown = line
            sys.stderr.write(f"\r{line}{'' if total and done < total else chr(10)}")
            sys.stderr.flush()

    return show
