# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The argument `--topic` of verbs that take recordings."""

from __future__ import annotations

import argparse


def add_topics(parser: argparse.ArgumentParser) -> None:
    """Declare `--topic`, which gives pairs of input and topic."""
    parser.add_argument("--topic", type=_pair, action="append", default=[], metavar="INPUT=TOPIC",
                        help="topic of a recording that has not the name of the policy's input, "
                             "such as joint_states=/robot/joints; may be given several times")


def _pair(text: str) -> tuple[str, str]:
    name, equals, topic = text.partition("=")
    if not (name and equals and topic):
        raise argparse.ArgumentTypeError(f"expected INPUT=TOPIC, found {text!r}")
    return name, topic
