# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Arguments of the verbs that work on installed bundles."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from policy_inference.bundle.signature import TrustedKeys


def add_root(parser: argparse.ArgumentParser) -> None:
    """Declare `--root`."""
    parser.add_argument("--root", type=Path, metavar="FOLDER",
                        help="folder of all installed bundles (default: POLICY_INFERENCE_MODELS, "
                             "else /opt/models); may be on the mounted disk of a robot")


def add_public_key(parser: argparse.ArgumentParser) -> None:
    """Declare `--public-key`."""
    parser.add_argument("--public-key", default="", metavar="PEM",
                        help="file or folder with public keys of which one must have signed the "
                             "bundle, beside what POLICY_INFERENCE_PUBLIC_KEY demands")


def root_of(given: argparse.Namespace) -> Path:
    """Return the root that was asked for, else the usual one."""
    from policy_inference.bundle.store import store_root

    return store_root() if given.root is None else Path(given.root)


def keys_of(given: argparse.Namespace) -> TrustedKeys | None:
    """Return the keys that are configured; None where bundles need no signature."""
    from policy_inference.bundle.signature import trusted_keys

    return trusted_keys(given.public_key)
