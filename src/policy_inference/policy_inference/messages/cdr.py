# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Values from the wire: CDR (OMG DDS-RTPS 2.5, clause 10), plain and little-endian.

Values come in the order of the message's definition, each aligned to its size, counted from behind
the four bytes that name the encoding. Readers return what they read and where it ends. Where a
message is shorter than it says, they raise a ValueError or a struct.error.
"""

import struct

import numpy as np

from policy_core.interfaces import F64

PLAIN_LITTLE_ENDIAN = b"\x00\x01"
"""What such a message begins with."""
START = 4
"""Where the first value lies."""
_COUNT = struct.Struct("<I")


def aligned(at: int, size: int) -> int:
    """Return the first place from `at` on where a value of this size may lie."""
    return at + (START - at) % size


def end_of_string(data: bytes | bytearray, at: int) -> int:
    """Return where a string ends."""
    length, at = _read_count(data, at)
    end = at + length
    # A slice would be cut off without a word, and its reader remember half a string.
    if end > len(data):
        raise ValueError(f"a string of {length} bytes at {at} of {len(data)}")
    return end


def read_string(data: bytes, at: int) -> tuple[str, int]:
    """Read a string, which ends with a zero byte."""
    end = end_of_string(data, at)
    return data[aligned(at, _COUNT.size) + _COUNT.size : end - 1].decode(), end


def read_strings(data: bytes, at: int) -> tuple[list[str], int]:
    """Read an array of strings."""
    count, at = _read_count(data, at)
    found = []
    for _ in range(count):
        text, at = read_string(data, at)
        found.append(text)
    return found, at


def read_bytes(data: bytes, at: int) -> memoryview:
    """Return an array of bytes; one that says it is longer than the message is as long as that."""
    count, at = _read_count(data, at)
    return memoryview(data)[at : at + count]


def read_doubles(data: bytes, at: int) -> tuple[F64, int]:
    """Read an array of float64, as a view of the message."""
    # As `_read_count` and `aligned`, without the calls: this is most of the work.
    at += (START - at) % 4
    (count,) = _COUNT.unpack_from(data, at)
    at += 4
    if count == 0:
        return np.empty(0), at
    at += (START - at) % 8
    return np.frombuffer(data, np.float64, count, at), at + 8 * count


def _read_count(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """Read the count that an array or a string begins with."""
    at = aligned(at, _COUNT.size)
    (count,) = _COUNT.unpack_from(data, at)
    return count, at + _COUNT.size
