# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Sign a bundle, a policy set or a statement, so that robots with the public key accept it.

    openssl genpkey -algorithm ed25519 -out private.pem
    openssl pkey -in private.pem -pubout -out public.pem
    model_tools sign my_bundle --key private.pem

The signature, policy.yaml.sig, covers policy.yaml, which contains the hashes of all files of the
bundle; for a set, set.yaml.sig covers set.yaml, which contains the hashes of its members. The
command asks for the password of an encrypted key, or reads it from POLICY_INFERENCE_KEY_PASSWORD.
If you give a file, it is signed as a statement (channel, revocations, downgrade) and its signature
is FILE.sig.
"""
# run: openssl: {needs: openssl}

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_tools.errors import ToolError
from policy_store.command_line import CommandResult, add_bundle

PASSWORD_VARIABLE = "POLICY_INFERENCE_KEY_PASSWORD"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser, "folder of the bundle or set, or file of a statement", type=Path)
    parser.add_argument(
        "--key", type=Path, required=True, metavar="PEM", help="the private key, Ed25519"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing signature")


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Sign the bundle, set or statement.

    Returns:
        path (folder of the bundle or set, or file of the statement), signed_by (fingerprint of
        the key).
    """
    from model_tools.ship.sign import sign, sign_statement

    if given.bundle.is_file():
        statement, name = sign_statement(
            given.bundle, given.key, lambda: _password(given.key), force=given.force
        )
        what = f"{statement.kind} of {statement.name}, "
    else:
        name = sign(given.bundle, given.key, lambda: _password(given.key), force=given.force)
        what = ""
    return CommandResult(
        document={"path": given.bundle, "signed_by": name},
        text=[f"{given.bundle}: {what}signed by {name}"],
    )


def _password(key: Path) -> bytes:
    from getpass import getpass

    stated = os.environ.get(PASSWORD_VARIABLE)
    if stated is not None:
        return stated.encode()
    try:
        return getpass(f"Password of {key}: ").encode()
    except EOFError as error:
        raise ToolError(
            f"{key}: expected the password of this key, found no terminal to ask for it; set "
            f"{PASSWORD_VARIABLE}"
        ) from error
