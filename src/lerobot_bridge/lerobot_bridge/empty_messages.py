# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Empty messages of a reader of recordings, as rclpy's classes make them without arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.typesys.store import Typestore

Empty = Callable[[str], Any]
"""Makes an empty message of a type: sensor_msgs/msg/JointState."""

_OTHERS: dict[str, Any] = {"string": "", "wstring": "", "bool": False}


def empty_messages(types: Typestore) -> Empty:
    """Return what makes messages of the known types whose numbers are 0 and whose lists are empty.

    Raises:
        KeyError: (what is returned) The type is not known.
    """

    def empty(name: str) -> Any:
        fields = types.fielddefs[name][1]
        return types.types[name](**{field: value(*kind) for field, kind in fields})

    def value(kind: Nodetype, detail: Any) -> Any:
        if kind is Nodetype.NAME:
            return empty(detail)
        if kind is Nodetype.BASE:
            return _number(detail[0])
        element, count = detail
        size = count if kind is Nodetype.ARRAY else 0
        if element[0] is Nodetype.BASE and element[1][0] not in ("string", "wstring"):
            return np.zeros(size, _dtype(element[1][0]))
        return [value(*element) for _ in range(size)]

    return empty


def _number(base: str) -> Any:
    if base in _OTHERS:
        return _OTHERS[base]
    return _dtype(base).type(0).item()


def _dtype(base: str) -> np.dtype[Any]:
    return np.dtype("uint8" if base in ("octet", "char") else base)
