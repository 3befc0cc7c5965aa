# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Numbers of a policy_msgs/JointCommand written straight into its bytes, see `messages.cdr`.

rclpy takes a command apart field by field for each publication: 7 us with warm caches, of which
this leaves 2.5 us. What never changes, names and `valid_for`, stays as it was serialised once.
"""

import struct

import numpy as np

from policy_core.interfaces import F64
from policy_inference.messages.cdr import (
    PLAIN_LITTLE_ENDIAN,
    START,
    aligned,
    end_of_string,
    read_strings,
)

_NUMBERS, _VALID_FOR, _MODE = struct.Struct("<iIQ"), struct.Struct("<iI"), struct.Struct("<B")
"""Stamp and sequence, `valid_for`, mode; the names follow, and six arrays."""
_ROWS, _DOUBLE, _COUNT = 6, 8, 4


class JointCommandWriter:
    """Fills one serialised command again and again."""

    def __init__(self, serialised: bytes) -> None:
        """Take a serialised command with an array entry for each name."""
        if serialised[:2] != PLAIN_LITTLE_ENDIAN:
            raise ValueError(
                f"expected plain little-endian CDR, found the encoding {serialised[:2].hex()}"
            )
        self._message = bytearray(serialised)
        self._mode_at = START + _NUMBERS.size + _VALID_FOR.size
        names_at = self._mode_at + _MODE.size
        names, end = read_strings(serialised, names_at)
        # Each array is a count and its numbers, which are aligned to 8.
        row = _DOUBLE * (1 + len(names))
        first = aligned(aligned(end, _COUNT) + _COUNT, _DOUBLE)
        self._block: F64 = np.ndarray(
            (_ROWS, len(names)), "<f8", self._message, first, (row, _DOUBLE)
        )
        self._clear_padding(names_at, len(names), first, row)

    def _clear_padding(self, names_at: int, names: int, first: int, row: int) -> None:
        """Set padding to zero: the middleware leaves there what its memory held before."""
        end = self._clear_to(aligned(names_at, _COUNT), names_at) + _COUNT
        for _ in range(names):
            start = self._clear_to(aligned(end, _COUNT), end)
            end = end_of_string(self._message, start)
        count = self._clear_to(aligned(end, _COUNT), end)
        for array in range(first, first + _ROWS * row, row):
            self._clear_to(array, count + _COUNT)
            count = array + row - _DOUBLE

    def _clear_to(self, end: int, start: int) -> int:
        self._message[start:end] = bytes(end - start)
        return end

    def write(self, block: F64, stamp_ns: int, sequence: int, mode: int) -> bytes:
        """Return the message with these numbers.

        Args:
            block: As `JointTargets.block` [6, joints], joints in the order of the names.
            stamp_ns: Stamp, ns.
            sequence: Number of the command.
            mode: One of `JointCommand.MODE_*`.
        """
        self._block[...] = block
        sec, nanosec = divmod(stamp_ns, 1_000_000_000)
        _NUMBERS.pack_into(self._message, START, sec, nanosec, sequence)
        _MODE.pack_into(self._message, self._mode_at, mode)
        return bytes(self._message)
