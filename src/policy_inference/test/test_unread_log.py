# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A process never waits for the reader of its log."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

TIMEOUT_S = 30.0
LINE = "x" * 99
UNBLOCKED = (
    "import os, sys\nfrom contextlib import suppress\n"
    "from policy_inference.processes import unblock_log\n"
    "unblock_log()\n"
)
WRITES = (
    f"{UNBLOCKED}for _ in range(int(sys.argv[1])):\n    with suppress(BlockingIOError):\n"
    f"        os.write(2, b'{LINE}\\n')\n"
)


def socket_pair() -> tuple[int, int]:
    one, other = socket.socketpair()
    return one.detach(), other.detach()


@pytest.mark.parametrize("make", [os.pipe, os.openpty, socket_pair])
def test_process_never_waits_for_a_reader(make: Callable[[], tuple[int, int]]) -> None:
    """There is no room for so many lines."""
    reading, writing = make()
    command = [sys.executable, "-c", WRITES, "40000"]
    subprocess.run(command, stderr=writing, timeout=TIMEOUT_S, check=True)
    assert os.read(reading, len(LINE)) == LINE.encode()
    if make is not socket_pair:
        assert os.get_blocking(writing)  # as other processes know it
    os.close(reading)
    os.close(writing)


def test_lines_are_kept_while_their_reader_is_late() -> None:
    command = [sys.executable, "-c", WRITES, "5000"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        assert process.wait(TIMEOUT_S) == 0
        assert process.stderr
        assert process.stderr.read() == f"{LINE}\n".encode() * 5000


def test_closed_streams_are_left_alone() -> None:
    code = "import os\nos.close(1)\nos.close(2)\n" + UNBLOCKED
    subprocess.run([sys.executable, "-c", code], timeout=TIMEOUT_S, check=True)
