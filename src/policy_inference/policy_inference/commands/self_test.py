# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Run a bundle on a back end of this machine and judge it; write one JSON file to send back.

    policy_inference self-test --backend rknn my_bundle

It runs the golden rows, times the model without a pause and at the policy's rate, reads the
device's load meanwhile, and compares all figures with limits. The exit status is 1 if a limit is
exceeded, or if something failed, which the file then states. No robot moves.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policy_store.command_line import CommandResult, add_backend_options, add_bundle

SHORTEST_S, LONGEST_S = 1.0, 3600.0
"""Time at the policy's rate: a moment has too few ticks to judge, and a day is too long to wait."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    add_bundle(parser, "folder of a bundle, or the name of an installed one")
    parser.add_argument("--backend", required=True, help="the back end that is tested")
    add_backend_options(parser)
    parser.add_argument(
        "--seconds", type=_seconds, default=10.0, help="time at the policy's rate, s (default 10)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="the file (default self_test_BUNDLE_BACKEND.json, in this folder)",
    )
    parser.add_argument("--force", action="store_true", help="replace a file that exists")


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Do it.

    Returns:
        As in the file.
    """
    from policy_core.bundle.load import bundle_folder
    from policy_core.errors import BackendError, PolicyError
    from policy_inference.backends.registry import parse_options, require_known
    from policy_inference.commands.output import refuse_unwritable, sendable, write_new
    from policy_inference.self_test.document import document
    from policy_inference.self_test.run import SelfTestRequest, self_test
    from policy_inference.self_test.text import lines

    require_known(given.backend)
    folder, options = bundle_folder(given.bundle), parse_options(given.backend_option)
    others = ", ".join(sorted(set(options) - {given.backend}))
    if others:
        raise BackendError(
            f"--backend-option: expected options of {given.backend}, found options of {others}"
        )
    called = Path(given.bundle).expanduser().resolve().name  # the folder of a version is a number
    name = f"self_test_{called}_{given.backend}.json"
    output = Path(name) if given.output is None else given.output
    refuse_unwritable(output, given.force)
    found = self_test(
        SelfTestRequest(
            folder=folder,
            backend=given.backend,
            duration_s=given.seconds,
            options=options.get(given.backend, {}),
        )
    )
    text, written = list(lines(found)), document(found)
    try:
        write_new(output, written, given.force)
    except (PolicyError, OSError) as error:  # what was measured is shown nevertheless
        return CommandResult(document=sendable(written), text=text, error=error)
    return CommandResult(
        document=sendable(written),
        text=[*text, f"{output}: the report, to be sent back"],
        status=0 if found else 1,
    )


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not SHORTEST_S <= value <= LONGEST_S:
        raise argparse.ArgumentTypeError(
            f"expected a number of seconds from {SHORTEST_S:g} to {LONGEST_S:g}, found {text!r}"
        )
    return value
