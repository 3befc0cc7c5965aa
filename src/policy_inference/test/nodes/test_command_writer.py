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


@pytest.mark.parametrize("names", NAMES)
def test_command_is_read_by_rclpy_with_all_its_numbers(names: list[str]) -> None:
    writer = JointCommandWriter(names, 1_250_000_000)
    block = np.zeros((len(ARRAYS), len(names)))
    for sequence, mode in ((0, JointCommand.MODE_RUN), (2**64 - 1, JointCommand.MODE_DAMP)):
        block += np.random.default_rng(sequence % 7).normal(size=block.shape)
        written = writer.write(block, 12_345_678_901, sequence, mode)
        # Not by their bytes: what the middleware pads with is anything.
        wanted = command_of(names, block, Time(sec=12, nanosec=345_678_901), sequence, mode)
        assert deserialize_message(written, JointCommand) == wanted
        assert len(written) == len(serialize_message(wanted))


def test_a_command_that_was_written_stays_as_it_is() -> None:
    writer = JointCommandWriter(["a"], 0)
    first = writer.write(np.ones((6, 1)), 1, 1, 1)
    kept = bytes(bytearray(first))
    writer.write(np.zeros((6, 1)), 2, 2, 2)
    assert first == kept
