# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whether LeRobot is there, and new enough; without importing it, which takes seconds."""

from __future__ import annotations

import importlib.metadata
import re
import sys

from model_tools.errors import ToolError

OLDEST = (0, 4, 4)
"""The first that encodes videos while frames come."""


def require_lerobot() -> None:
    """Check that LeRobot can write datasets here.

    Raises:
        ToolError: It is missing or too old.
    """
    remedy = ("run this command with .venv-lerobot/bin/python -m lerobot_bridge, which "
              "`make setup-lerobot` makes, or `pip install lerobot==0.4.4`")
    try:
        version = importlib.metadata.version("lerobot")
    except importlib.metadata.PackageNotFoundError as error:
        raise ToolError(f"{sys.executable}: expected LeRobot, which writes datasets, found none; "
                        f"{remedy}") from error
    if tuple(int(part) for part in re.findall(r"\d+", version)[:3]) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise ToolError(f"{sys.executable}: expected LeRobot {oldest} or later, found {version}; "
                        f"{remedy}")
