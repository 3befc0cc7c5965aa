# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whether LeRobot is there, in the version that is known; importing it would take seconds."""

from __future__ import annotations

import importlib.metadata
import re
import sys

from model_tools.errors import ToolError

VERSION = "0.4.4"
"""The first that encodes videos while frames come; what a later one calls this is unknown."""


def require_lerobot() -> None:
    """Check that LeRobot can write datasets here.

    Raises:
        ToolError: It is missing, or another version.
    """
    remedy = (
        "run this command with .venv-lerobot/bin/python -m lerobot_bridge, which "
        f"`make setup-lerobot` makes, or `pip install lerobot=={VERSION}`"
    )
    try:
        version = importlib.metadata.version("lerobot")
    except importlib.metadata.PackageNotFoundError as error:
        raise ToolError(
            f"{sys.executable}: expected LeRobot, which writes datasets, found none; {remedy}"
        ) from error
    if re.findall(r"\d+", version)[:3] != VERSION.split("."):
        raise ToolError(
            f"{sys.executable}: expected LeRobot {VERSION}, whose writer of datasets "
            f"is known here, found {version}; {remedy}"
        )
