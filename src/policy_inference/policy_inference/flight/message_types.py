# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Message types without ROS libraries: those in rosbags, and policy_msgs as installed for ROS."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from policy_core.errors import PolicyError

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

_PREFIXES = "AMENT_PREFIX_PATH"
_PACKAGE = "policy_msgs"


def message_types() -> Typestore:
    """Return the common message types (as in Humble and later) and the policy_msgs types.

    The first call takes 0.1 s, mostly for importing 160 types.
    """
    return _types_of(definitions())


@cache
def _types_of(folder: Path) -> Typestore:
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    types = get_typestore(Stores.ROS2_HUMBLE)
    for file in sorted(folder.glob("*.msg")):
        types.register(get_types_from_msg(file.read_text("utf-8"), f"{_PACKAGE}/msg/{file.stem}"))
    return types


def definitions() -> Path:
    prefixes = [prefix for prefix in os.environ.get(_PREFIXES, "").split(os.pathsep) if prefix]
    for prefix in prefixes:
        folder = Path(prefix, "share", _PACKAGE, "msg")
        if folder.is_dir():
            return folder
    raise PolicyError(
        f"{_PREFIXES}: expected a prefix with share/{_PACKAGE}/msg, found "
        f"{os.pathsep.join(prefixes) or 'nothing'}; build {_PACKAGE} and source "
        "install/setup.bash"
    )
