# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""JSON of other programs."""

from __future__ import annotations

import json
from pathlib import Path

from model_tools.errors import ToolError
from model_tools.node import Node


def read_json(path: Path) -> Node:
    """Read a JSON file.

    Raises:
        ToolError: It is no JSON, or cut off.
        OSError: It cannot be read.
    """
    try:
        return Node(path.name, json.loads(path.read_bytes()))
    except (ValueError, RecursionError) as error:
        raise ToolError(f"{path}: expected JSON, found {error}") from error
