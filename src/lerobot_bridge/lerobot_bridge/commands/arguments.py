# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Arguments that several verbs have."""

from __future__ import annotations

import argparse

from model_tools.commands.arguments import pair


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Declare what an episode is, and topics of other names."""
    parser.add_argument("--episodes", type=_how, default="bag", metavar="bag|marks|SECONDS",
                        help="an episode is a recording, what its marks say, or so long")
    parser.add_argument("--topic", type=pair, action="append", default=[], metavar="TOPIC=TOPIC",
                        help="topic of the mapping and what it is called in the recordings; may "
                             "be given several times")
    parser.add_argument("--gaps", choices=("leave-out", "split"), default="leave-out",
                        help="what becomes of an episode with a gap: it is left out, or its parts "
                             "become episodes")


def _how(text: str) -> str | float:
    if text in ("bag", "marks"):
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected bag, marks, or a length in seconds, found "
                                         f"{text!r}") from None
