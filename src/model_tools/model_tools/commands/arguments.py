# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Arguments that several verbs have."""

from __future__ import annotations

import argparse


def add_topics(parser: argparse.ArgumentParser) -> None:
    """Declare `--topic`, which gives pairs of input and topic."""
    parser.add_argument("--topic", type=pair, action="append", default=[], metavar="INPUT=TOPIC",
                        help="topic of a recording that has not the name of the policy's input, "
                             "such as joint_states=/robot/joints; may be given several times")


def add_backend_options(parser: argparse.ArgumentParser) -> None:
    """Declare `--backend-option`, which `backends.registry.parse_options` reads."""
    parser.add_argument("--backend-option", action="append", default=[],
                        metavar="BACKEND.OPTION=VALUE",
                        help="option of a back end, such as rknn_sim.target=rk3576; may be given "
                             "several times")


def pair(text: str) -> tuple[str, str]:
    """Return name and value of `NAME=VALUE`, the type of an argument that may be repeated."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, found {text!r}")
    return name, value
