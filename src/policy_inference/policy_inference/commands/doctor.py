# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What this machine has to run a policy with, and what it lacks."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""


def run(given: argparse.Namespace) -> int:
    """Do it; return the exit status."""
    raise NotImplementedError
