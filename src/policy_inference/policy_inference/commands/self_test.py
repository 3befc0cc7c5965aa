# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Runs a bundle on a back end of this machine and judges it; writes one JSON file to send back."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""


def run(given: argparse.Namespace) -> int:
    """Do it; return the exit status."""
    raise NotImplementedError
