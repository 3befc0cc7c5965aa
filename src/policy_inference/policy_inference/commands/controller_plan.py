# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Write a bundle's plan for the ros2_control controller policy_controllers/PolicyController.

    policy_inference controller-plan lite3_walk --output lite3_walk.polplan

The plan contains the paths of the models, so it is valid only for this machine and this version of
the bundle; write it again when either changes.
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from policy_core.errors import PolicyError
from policy_core.guard.limits import StricterLimits
from policy_store.command_line import CommandResult, add_bundle

_LIMITS = [one.name for one in fields(StricterLimits)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser, "folder of a bundle, or the name of an installed one")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the plan")
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    parser.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"a limit that is stricter than the contract's: {', '.join(_LIMITS)}; may be repeated",
    )
    parser.add_argument(
        "--public-key",
        default="",
        metavar="PEM",
        help="file or folder with public keys, one of which must have signed the bundle",
    )
    parser.add_argument(
        "--library",
        type=Path,
        metavar="FILE",
        help="ONNX Runtime's shared library (default: the one in the onnxruntime package)",
    )


def run(given: argparse.Namespace) -> CommandResult[dict[str, str]]:
    from policy_core.bundle.bundle import Bundle
    from policy_core.bundle.load import load_bundle, trusted_keys
    from policy_inference.backends.onnx import runtime_library
    from policy_inference.commands.output import refuse_unwritable, write_new_bytes
    from policy_inference.controller_plan import controller_plan

    refuse_unwritable(given.output, given.force)
    limits = StricterLimits(**dict(map(_limit, given.limit)))
    bundle = load_bundle(given.bundle, trusted_keys(given.public_key), kind=Bundle)
    library = given.library or runtime_library()
    if not library.is_file():
        raise PolicyError(f"--library: expected ONNX Runtime's library, found no file {library}")
    content = controller_plan(bundle, library.resolve(), limits)
    write_new_bytes(given.output, content, given.force)
    document = {
        "plan": str(given.output),
        "bundle": f"{bundle.contract.name} {bundle.contract.version}",
        "bundle_sha256": bundle.sha256,
    }
    return CommandResult(
        document=document, text=[f"{given.output}: the plan of {document['bundle']}"]
    )


def _limit(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        name = ""
    if name not in _LIMITS:
        raise PolicyError(
            f"--limit: expected NAME=NUMBER with NAME one of {', '.join(_LIMITS)}, found {text!r}"
        )
    return name, number
