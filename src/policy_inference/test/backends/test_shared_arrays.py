# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Memory that another process has too, whatever that process does with it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from policy_core.interfaces import TensorSpec
from policy_inference.backends.shared_arrays import SharedArrays

SPEC = TensorSpec(name="x", shape=(2000,), dtype="float64")


@pytest.fixture
def shared_arrays() -> Iterator[SharedArrays]:
    made = SharedArrays([SPEC])
    yield made
    os.close(made.fd)


@pytest.mark.parametrize("size", [0, 4096, 1 << 20])
def test_the_other_process_cannot_change_the_size(shared_arrays: SharedArrays, size: int) -> None:
    """Who reads or writes beyond the end of a file that was cut ends with SIGBUS."""
    with pytest.raises(PermissionError):
        os.ftruncate(shared_arrays.fd, size)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"a device was lost\0" + b"x" * 20_000, "a device was lost"),
        (b"x" * 20_000, "x" * 4096),
        (b"\x1b[2J\xff\r\0", "\\x1b[2J\N{REPLACEMENT CHARACTER}\\r"),
    ],
)
def test_a_text_is_one_that_a_log_can_show(
    shared_arrays: SharedArrays, written: bytes, read: str
) -> None:
    os.pwrite(shared_arrays.fd, written, 0)
    assert shared_arrays.text == read
