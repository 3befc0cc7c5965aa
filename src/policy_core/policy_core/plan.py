# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The plan: all that the native core needs of a controller, as named arrays in one binary.

A plan is made of a controller, whose parts have resolved the contract's names and patterns into
arrays. Layout, little-endian: the magic, the SHA-256 of the bundle (32 bytes), the number of values
(uint32); for each its name (uint32 length, UTF-8), its type (`d` float64, `q` int64, `s` text), the
number of its elements (uint64) and these.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

import numpy as np

MAGIC = b"POLPLAN1"


def plan_bytes(plan: Mapping[str, Any], sha256: bytes) -> bytes:
    """Return the plan of a controller.

    Args:
        plan: What `Controller.plan` returns.
        sha256: Of the bundle's `policy.yaml` [32].
    """
    values = [*_flat("", plan)]
    parts = [MAGIC, sha256, struct.pack("<I", len(values))]
    for name, value in values:
        type_code, count, content = _encoded(name, value)
        parts += [_text(name), type_code, struct.pack("<Q", count), content]
    return b"".join(parts)


def _flat(prefix: str, tree: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            yield from _flat(f"{prefix}.{name}" if prefix else name, value)
    elif isinstance(tree, list) and any(isinstance(each, Mapping) for each in tree):
        for i, value in enumerate(tree):
            yield from _flat(f"{prefix}.{i}", value)
    elif tree is not None:
        yield prefix, tree


def _encoded(name: str, value: Any) -> tuple[bytes, int, bytes]:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list | tuple) and value and all(isinstance(each, str) for each in value):
        return b"s", len(value), b"".join(map(_text, value))
    array = np.asarray(value).reshape(-1)
    if array.dtype.kind in "biu":
        return b"q", array.size, array.astype("<i8").tobytes()
    if array.dtype.kind == "f":
        return b"d", array.size, array.astype("<f8").tobytes()
    raise TypeError(f"{name}: expected numbers or texts, found {value!r}")


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<I", len(encoded)) + encoded
