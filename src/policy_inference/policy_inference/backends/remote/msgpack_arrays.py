# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Msgpack arrays in the form that openpi's servers use: maps with byte-string keys, no pickle."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from policy_core.errors import PolicyError

_ARRAY, _NUMBER = b"__ndarray__", b"__npgeneric__"
_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")
"""Numeric types; other NumPy types may hold objects or have any size."""
_MOST_MEMBERS = 4096
"""Maximum number of lists and maps in an answer, and of values in each; an array is stored as
bytes, and counts as one map.

An empty list takes one byte on the wire and 64 in memory, and is created while no other thread can
run.
"""


def packed(value: Any) -> bytes:
    """Pack a value made of maps, lists, strings, numbers and arrays.

    Raises:
        ImportError: msgpack is not installed.
    """
    import msgpack

    content: bytes = msgpack.packb(value, default=_plain)
    return content


def unpacked(content: bytes) -> Any:
    """Unpack a value; its arrays are read-only.

    The caller must limit the number of bytes.

    Raises:
        PolicyError: The bytes are invalid, an array is not numeric, or there are more than 4096
            lists and maps, or more than 4096 values in one of them.
    """
    import msgpack

    left = _MOST_MEMBERS

    def count(value: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise ValueError(f"more than {_MOST_MEMBERS} lists and maps")
        return value

    try:
        return msgpack.unpackb(
            content,
            object_hook=lambda value: _array(count(value)),
            list_hook=count,
            max_array_len=_MOST_MEMBERS,
            max_map_len=_MOST_MEMBERS,
        )
    except (
        ValueError,
        TypeError,
        OverflowError,
        RecursionError,
        msgpack.UnpackException,
    ) as error:
        raise PolicyError(
            f"expected msgpack with arrays of numbers, found {len(content)} bytes that cannot be "
            f"decoded ({str(error) or type(error).__name__})"
        ) from error


def _plain(value: Any) -> dict[bytes, Any]:
    if isinstance(value, np.ndarray):
        return {
            _ARRAY: True,
            b"data": value.tobytes(),
            b"dtype": value.dtype.str,
            b"shape": value.shape,
        }
    if isinstance(value, np.generic):
        return {_NUMBER: True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"expected a type of msgpack or numpy, found {type(value).__name__}")


def _array(value: dict[Any, Any]) -> Any:
    if _ARRAY not in value and _NUMBER not in value:
        return value
    dtype = value.get(b"dtype", b"")
    dtype = dtype.decode("ascii", "replace") if isinstance(dtype, bytes) else dtype
    if not isinstance(dtype, str) or not _DTYPE.fullmatch(dtype):
        raise ValueError(f"an array of type {dtype!r}")
    if _NUMBER in value:
        return np.dtype(dtype).type(value.get(b"data"))
    return np.ndarray(value.get(b"shape", ()), dtype, value.get(b"data", b""))
