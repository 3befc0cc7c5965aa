# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The classes of messages, by the names of their types."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from policy_inference.errors import RobotError


def message_class(name: str) -> type[Any]:
    """Return the class of a type: sensor_msgs/msg/JointState.

    Raises:
        RobotError: Its package is not there.
    """
    package, _, kind = name.split("/")
    try:
        found: type[Any] = getattr(import_module(f"{package}.msg"), kind)
    except (ImportError, AttributeError) as error:
        raise RobotError(
            f"{name}: expected the package {package} with this message, found none; "
            "install it, and source its setup.bash"
        ) from error
    return found


def empty_message(name: str) -> Any:
    """Return an empty message of a type."""
    return message_class(name)()
