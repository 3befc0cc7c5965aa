# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Check what this machine lacks to run a policy; run the policy on a back end and judge it.

    policy_inference self-test                            # this machine, every back end
    policy_inference self-test my_bundle                  # also the bundle's files
    policy_inference self-test my_bundle --backend rknn   # also runs it on this back end

The examination opens no device and does not start ROS. With a bundle and one back end, the test
then runs the golden rows, times the model without pauses and at the policy's rate, compares all
figures with limits, and writes one JSON file to send back. The exit status is 0 if all limits hold
or, for an examination alone, if at least one back end lacks nothing. No robot moves.
"""
# run: policy_inference self-test my_bundle --backend rknn: {swap: {rknn: onnx}, short: --seconds 0}

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policy_store.command_line import CommandResult, add_backend_options, add_bundle

SHORTEST_S, LONGEST_S = 1.0, 3600.0
"""Limits on the test time at the policy's rate: enough ticks to judge, and a bearable wait."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser, "folder of a bundle, or the name of an installed one", nargs="?")
    parser.add_argument(
        "--backend",
        metavar="A,B",
        help="back ends to examine (default: those for which the bundle has a model; without a "
        "bundle, all); with a bundle, the back end to run",
    )
    add_backend_options(parser)
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=10.0,
        help="duration of the run at the policy's rate, s (default 10); 0: examine only",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="JSON file for the result (default, if the policy runs: "
        "self_test_BUNDLE_BACKEND.json in this folder)",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing file")


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Run the command.

    Returns:
        The result; its document is the content of the JSON file.
    """
    # Imported only after signal handlers are set, since this takes a while.
    from policy_core.bundle.load import bundle_folder, load_bundle
    from policy_core.errors import BackendError, PolicyError
    from policy_inference.backends.registry import parse_options
    from policy_inference.commands.output import refuse_unwritable, sendable, write_new
    from policy_inference.machine.machine import Machine
    from policy_inference.self_test.document import document
    from policy_inference.self_test.examination import examine
    from policy_inference.self_test.run import SelfTestRequest, self_test
    from policy_inference.self_test.text import lines

    options, asked = parse_options(given.backend_option), (given.backend or "").split(",")
    if others := ", ".join(sorted(set(options) - set(asked))):
        raise BackendError(
            f"--backend-option: expected options for {given.backend}, found options for {others}"
        )
    runs = bool(given.bundle and given.backend and len(asked) == 1 and given.seconds)
    output = given.output
    if runs and output is None:
        # The folder name of an installed version is a number.
        called = Path(given.bundle).expanduser().resolve().name
        output = Path(f"self_test_{called}_{given.backend}.json")
    if output:
        refuse_unwritable(output, given.force)
    folder = bundle_folder(given.bundle) if given.bundle else None
    examination = examine(Machine(), load_bundle(folder) if folder else None, given.backend)
    text, written, passed = [*examination.text()], examination.document(), bool(examination)
    if runs and folder:
        found = self_test(
            SelfTestRequest(
                folder=folder,
                backend=given.backend,
                duration_s=given.seconds,
                options=options.get(given.backend, {}),
            )
        )
        text, written, passed = [*text, "", *lines(found)], written | document(found), bool(found)
    elif given.seconds:
        text.append("nothing was run: name a bundle and one back end (--backend)")
    written = sendable(written)
    try:
        if output:
            write_new(output, written, given.force)
    except (PolicyError, OSError) as error:  # findings are shown nevertheless
        return CommandResult(document=written, text=text, error=error)
    if runs:
        text.append(f"{output}: the report, to be sent back")
    return CommandResult(document=written, text=text, status=0 if passed else 1)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if value != 0 and not SHORTEST_S <= value <= LONGEST_S:
        raise argparse.ArgumentTypeError(
            f"expected a number of seconds from {SHORTEST_S:g} to {LONGEST_S:g}, or 0 to examine "
            f"only, found {text!r}"
        )
    return value
