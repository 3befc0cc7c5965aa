# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is written straight into the bytes of a command is what rclpy reads from them."""

from array import array

import numpy as np
import pytest
from builtin_interfaces.msg import Duration, Time
from policy_msgs.msg import JointCommand
from rclpy.serialization import deserialize_message, serialize_message

from policy_core.interfaces import F64
from policy_inference.messages.cdr import JointCommandWriter
from testkit.wording import refusal

ARRAYS = ("position", "velocity", "effort", "stiffness", "damping", "effort_limit")
# All lengths modulo 8, since the arrays that follow are aligned.
NAMES = [*(["abcdefgh"[:length]] for length in range(1, 9)), ["ab", "c", ""], ["gelenk_ö"] * 12]


def command_of(names: list[str], block: F64, stamp: Time, sequence: int, mode: int) -> JointCommand:
    message = JointCommand(
        stamp=stamp,
        sequence=sequence,
        mode=mode,
        names=names,
        valid_for=Duration(sec=1, nanosec=250_000_000),
    )
    for field, row in zip(ARRAYS, block, strict=True):
        setattr(message, field, array("d", row))
    return message


def empty_command(names: list[str]) -> bytes:
    zeros = np.zeros((len(ARRAYS), len(names)))
    return bytes(serialize_message(command_of(names, zeros, Time(), 0, 0)))


@pytest.mark.parametrize("names", NAMES)
def test_command_is_read_by_rclpy_with_all_its_numbers(names: list[str]) -> None:
    writer, block = JointCommandWriter(empty_command(names)), np.zeros((len(ARRAYS), len(names)))
    for sequence, mode in ((0, JointCommand.MODE_RUN), (2**64 - 1, JointCommand.MODE_DAMP)):
        block += np.random.default_rng(sequence % 7).normal(size=block.shape)
        written = writer.write(block, 12_345_678_901, sequence, mode)
        # Not by their bytes: what the middleware pads with is anything.
        wanted = command_of(names, block, Time(sec=12, nanosec=345_678_901), sequence, mode)
        assert deserialize_message(written, JointCommand) == wanted
        assert len(written) == len(serialize_message(wanted))


@pytest.mark.parametrize("names", NAMES)
def test_the_same_command_is_the_same_bytes_whatever_the_padding_held(names: list[str]) -> None:
    serialised, block = empty_command(names), np.ones((len(ARRAYS), len(names)))
    dirty = bytearray(serialised)
    for at in range(4, len(dirty)):
        changed = dirty[:at] + bytes([dirty[at] ^ 0xFF]) + dirty[at + 1 :]
        try:
            padding = deserialize_message(bytes(changed), JointCommand) == deserialize_message(
                serialised, JointCommand
            )
        except (RuntimeError, ValueError):  # not a message any more
            continue
        if padding:
            dirty = changed
    assert dirty != serialised
    assert JointCommandWriter(bytes(dirty)).write(block, 1, 2, 3) == JointCommandWriter(
        serialised
    ).write(block, 1, 2, 3)


def test_a_command_that_was_written_stays_as_it_is() -> None:
    writer = JointCommandWriter(empty_command(["a"]))
    first = writer.write(np.ones((6, 1)), 1, 1, 1)
    kept = bytes(bytearray(first))
    writer.write(np.zeros((6, 1)), 2, 2, 2)
    assert first == kept


def test_another_encoding_is_refused() -> None:
    """Such as big-endian CDR, whose numbers would be read as others."""
    with refusal(ValueError):
        JointCommandWriter(b"\x00\x00" + empty_command(["a"])[2:])
