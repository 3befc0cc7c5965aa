# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The plan: all that the native core needs from a controller, as named arrays in a binary file.

A plan is made from a controller whose parts have already resolved the contract's names and patterns
to arrays. Layout, little-endian: the magic, the SHA-256 of the bundle (32 bytes), the number of
values (uint32); for each value, its name (uint32 length, UTF-8), its type (`d` float64, `q` int64,
`s` text), the number of its elements (uint64) and the elements; then the CRC-32 (uint32) of all
preceding bytes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from policy_core.errors import BundleError, Problem

MAGIC = b"POLPLAN3"
"""Magic bytes; the last byte is the version, and no other version is accepted."""
_SHA256_BYTES, _CRC_BYTES = 32, 4
_NUMBERS = {b"d": "<f8", b"q": "<i8"}

PlanValue = npt.NDArray[np.float64] | npt.NDArray[np.int64] | tuple[str, ...]


def plan_bytes(plan: Mapping[str, Any], sha256: bytes) -> bytes:
    """Return a controller's plan as bytes.

    Args:
        plan: Result of `Controller.plan`.
        sha256: Hash of the bundle's `policy.yaml` [32].
    """
    values = [*_flat("", plan)]
    parts = [MAGIC, sha256, struct.pack("<I", len(values))]
    for name, value in values:
        type_code, count, content = _encoded(name, value)
        parts += [_text(name), type_code, struct.pack("<Q", count), content]
    content = b"".join(parts)
    return content + struct.pack("<I", zlib.crc32(content))


def read_plan(
    content: bytes, file: object, sha256: bytes | None = None
) -> tuple[bytes, dict[str, PlanValue]]:
    """Return the hash of the plan's bundle [32], and the plan's values by name.

    Args:
        content: Content of the plan file.
        file: File name, for messages.
        sha256: Required hash of the `policy.yaml` or `set.yaml` [32]; None accepts any.

    Raises:
        BundleError: The file is not a plan, is damaged, or is for a different version or bundle.
    """

    def problem(expected: str, found: str) -> BundleError:
        remedy = "make it again: model_tools inspect BUNDLE --plan --output FILE"
        return BundleError(Problem(file=str(file), expected=expected, found=found, remedy=remedy))

    if (magic := content[: len(MAGIC)]) != MAGIC:
        raise problem(
            f"a plan of version {MAGIC[-1:].decode()}", f"a file that begins with {magic!r}"
        )
    if struct.pack("<I", zlib.crc32(content[:-_CRC_BYTES])) != content[-_CRC_BYTES:]:
        raise problem("a plan that matches its checksum", "a damaged one")
    place = len(MAGIC)

    def take(size: int) -> bytes:
        nonlocal place
        place += size
        return content[place - size : place]

    def text() -> str:
        (size,) = struct.unpack("<I", take(4))
        return take(size).decode()

    found_sha256, values = take(_SHA256_BYTES), dict[str, PlanValue]()
    if sha256 not in (None, found_sha256):
        raise problem(f"a plan for the bundle {sha256.hex()}", f"one for {found_sha256.hex()}")
    (values_left,) = struct.unpack("<I", take(4))
    for _ in range(values_left):
        name, type_code, (count,) = text(), take(1), struct.unpack("<Q", take(8))
        if type_code in _NUMBERS:
            values[name] = np.frombuffer(take(8 * count), _NUMBERS[type_code])
        else:
            values[name] = tuple(text() for _ in range(count))
    return found_sha256, values


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
