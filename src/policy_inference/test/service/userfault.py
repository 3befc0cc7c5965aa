# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A page of memory that never comes: what the kernel writes into it waits, with what it has locked.

See userfaultfd(2). FUSE and memory over a network do the same.
"""

import ctypes
import fcntl
import mmap
import os
import platform
import select
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

_CALLS = {"x86_64": 323, "aarch64": 282}
_API, _MISSING = 0xAA, 1


def _ioctl(number: int, size: int) -> int:
    return 3 << 30 | size << 16 | _API << 8 | number


@contextmanager
def page_that_never_comes(
    timeout_s: float = 20.0,
) -> Iterator[tuple[mmap.mmap, Callable[[], bool]]]:
    """Give a page, and what waits until something waits for it; afterwards the page is there."""
    number = _CALLS.get(platform.machine(), -1)
    library = ctypes.CDLL(None, use_errno=True)
    fault = library.syscall(ctypes.c_long(number), ctypes.c_int(os.O_CLOEXEC | os.O_NONBLOCK))
    if fault < 0:
        pytest.skip(f"userfaultfd: {os.strerror(ctypes.get_errno())}")
    page = mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    try:
        fcntl.ioctl(fault, _ioctl(0x3F, 24), struct.pack("3Q", _API, 0, 0))
        at = ctypes.addressof(ctypes.c_char.from_buffer(page))
        fcntl.ioctl(fault, _ioctl(0x00, 32), struct.pack("4Q", at, len(page), _MISSING, 0))
        yield page, lambda: bool(select.select([fault], [], [], timeout_s)[0])
    finally:
        os.close(fault)
