# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Install a version of a bundle, verified, beside those that are there.

    model_tools install my_bundle --activate

The source is the folder of a bundle or an archive of one (.tar.gz). It is copied to
ROOT/NAME/VERSION, as its policy.yaml states; an installed version never changes. A policy set
(set.yaml) is one version together with its members (model_tools pin --output). Without
--activate, the version in use does not change. With --trial FILE the new version is on trial: nodes
take it, and go back to the version in use when a gate breaks (docs/trial.md).
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from model_tools.commands.arguments import (
    add_public_key,
    add_root,
    add_trial,
    keys_of,
    put_into_use,
    root_of,
)

if TYPE_CHECKING:
    from model_tools.ship.store.install import Installed
    from policy_inference.bundle.signature import TrustedKeys

_SHOWN = 6
_log = logging.getLogger("model_tools")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("source", type=Path, help="folder of a bundle, or an archive of one")
    add_backends(parser)
    add_use(parser)
    add_root(parser)
    add_public_key(parser)


def run(given: argparse.Namespace) -> int:
    """Install; return the exit status."""
    from model_tools.ship.store.install import install

    root, trusted = root_of(given), keys_of(given)
    done = install(given.source, root, trusted, backends=backends_of(given))
    return use_installed(given, done, root, trusted)


def add_use(parser: argparse.ArgumentParser) -> None:
    """Declare how an installed version is put into use."""
    parser.add_argument("--activate", action="store_true", help="put it into use at once")
    add_trial(parser)


def add_backends(parser: argparse.ArgumentParser) -> None:
    """Declare `--backend`."""
    parser.add_argument(
        "--backend",
        default="",
        metavar="NAMES",
        help="only the models of these back ends, by comma: the version is whole for them, and "
        "never gets others (default: all that the bundle has)",
    )


def backends_of(given: argparse.Namespace) -> list[str] | None:
    """Return the back ends that were asked for; None for all."""
    return given.backend.split(",") if given.backend else None


def use_installed(
    given: argparse.Namespace, done: Installed, root: Path, trusted: TrustedKeys | None
) -> int:
    """Report an installation, and put it into use as `add_use` asks; return the exit status."""
    from model_tools.ship.store.activation import warn_of_older

    contract = done.bundle.contract
    meaning = ""
    if not (given.activate or given.trial):
        warn_of_older(root / contract.name, contract.version)
        meaning = f"; {_meaning_of_name(root, contract.name, contract.version)}"
    _log.info(
        "%s: %s%s%s%s",
        done.folder,
        "installed" if done.is_new else "was installed before, with the same content",
        f" without the models of {', '.join(done.absent)}" if done.absent else "",
        f", signed by {done.bundle.signed_by}" if done.bundle.signed_by else "",
        meaning,
    )
    if done.left:
        _log.warning(
            "%s: left behind, since the signature does not cover them: %s%s",
            given.source,
            ", ".join(done.left[:_SHOWN]),
            f" and {len(done.left) - _SHOWN} more" if len(done.left) > _SHOWN else "",
        )
    if given.activate or given.trial:
        _log.info(put_into_use(given, root, contract.name, contract.version, trusted))
    return 0


def _meaning_of_name(root: Path, name: str, version: str) -> str:
    """Return which version the bundle's name means, in words."""
    from policy_inference.bundle.store import current_version

    current = current_version(root / name)
    if current == version:
        return f"{name} means {version}, which is in use"
    meaning = "no installed version" if current is None else f"{current}, which is in use"
    return (
        f"{name} means {meaning}; {name}@{version} is this one; `model_tools activate "
        f"{name}@{version}` puts it into use"
    )
