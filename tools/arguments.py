# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Command-line arguments of tools."""

from __future__ import annotations

import argparse
import math


def refuse_arguments(program: str, description: str | None) -> None:
    """Show the help of a command without arguments, or exit with status 2 if there are any."""
    argparse.ArgumentParser(
        prog=f"python -m {program}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()


def positive_count(text: str) -> int:
    """Parse a positive whole number, which may be written as 10e6."""
    value = _whole(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a positive number, found {text!r}")
    return value


def positive_number(text: str) -> float:
    """Parse a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a positive number, found {text!r}")
    return value


def seed(text: str) -> int:
    """Parse a random seed: a whole number from 0 to 2^31 - 1."""
    value = _whole(text)
    if not 0 <= value < 1 << 31:
        raise argparse.ArgumentTypeError(
            f"expected a whole number from 0 to 2^31 - 1, found {text!r}"
        )
    return value


def _whole(text: str) -> int:
    try:
        return int(float(text))
    except (ValueError, OverflowError):
        return -1
