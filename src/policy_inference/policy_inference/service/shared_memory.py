# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Memory shared by the service and a client, for one request and one answer at a time.

The layout is defined in docs/service_protocol.md. The service does not trust the content: the
memory is sealed, so that it cannot shrink under its reader, and a request is copied before it is
read.

A byte over the connection wakes a sleeping end. A pipe or an eventfd would be a single open file
shared by both ends: the other end could change its flags and locks, and a write could wait forever.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import platform
from typing import NamedTuple

from policy_inference.service.protocol import HEADER, LONGEST_TEXT, Code, ServiceError, Welcome

_REQUEST, _ALIGNED = 256, 64
WAKE = b"\0"
"""Byte sent over the connection as a wake-up; no frame starts with it."""
_WAKES_IN_VAIN = 64
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
"""The client adds F_SEAL_FUTURE_WRITE; seals cannot be removed."""
_FUTEX_CALLS = {"x86_64": 202, "aarch64": 98, "riscv64": 98}
"""Number of the futex system call, by architecture (asm/unistd.h)."""
_FUTEX_WAKE_PRIVATE = 1 | 128


class _Side(NamedTuple):
    """Where one end writes: indices of its u64 counter and u32 sleep flag, offset of its frame."""

    counter: int
    sleeps: int
    frame: int


def _sides(request_bytes: int) -> tuple[_Side, _Side]:
    """Return the client's side and the service's side."""
    return (_Side(0 // 8, 128 // 4, _REQUEST), _Side(64 // 8, 192 // 4, _REQUEST + request_bytes))


class _Fence:
    """A full memory barrier: everything before it becomes visible before anything after it.

    Python offers no such barrier, since ordering by the interpreter's own locks is an
    implementation detail. The kernel has one that all futex users rely on: a thread that sets a
    futex's word and then calls FUTEX_WAKE must not miss a waiting thread. So the kernel puts a full
    barrier (smp_mb) between the stores before the call and its check for waiters
    (kernel/futex/waitwake.c). The barrier is one instruction in the calling thread: `mfence` or a
    locked one on x86-64, `dmb ish` on aarch64, the same as `atomic_thread_fence(seq_cst)` in the
    C++ client. No thread ever waits here, so the call takes no lock and wakes no thread: 0.3 us,
    nearly all of it the call itself.

    On x86-64, only the order of a store and a later load needs the barrier. On aarch64, all four
    combinations do, since loads and stores of different words may become visible in any order. On
    both, a single instruction reads or writes each aligned word of the machine's word size.
    """

    def __init__(self) -> None:
        number = _FUTEX_CALLS.get(platform.machine())
        if number is None or ctypes.sizeof(ctypes.c_void_p) != 8:
            raise ServiceError(
                Code.FULL,
                "shared memory: expected a 64-bit "
                f"{', '.join(_FUTEX_CALLS)}, found {platform.machine()}; use only the socket",
            )
        self._word = ctypes.c_uint32()
        # PyDLL: releasing the GIL would take longer than the call.
        self._call = ctypes.PyDLL(None).syscall
        self._arguments = (
            ctypes.c_long(number),
            ctypes.byref(self._word),
            ctypes.c_int(_FUTEX_WAKE_PRIVATE),
            ctypes.c_int(1),
        )

    def __call__(self) -> None:
        self._call(*self._arguments)


class _End:
    """Common parts of both ends.

    The writer writes the frame, then the counter; the reader reads the counter, then the frame. A
    fence between the two steps, at both ends, makes sure that the frame read is complete. An end
    that goes to sleep raises its flag, then reads the counter once more; an end that sends a
    request or an answer increments the counter, then reads the flag. With a fence between these
    steps, at least one end sees the other's write, so that no end sleeps forever. This also holds
    for a spinning end, which only reads repeatedly.
    """

    def __init__(self, memory: int, size: int, own: _Side, other: _Side) -> None:
        self._block = mmap.mmap(memory, size)
        self._bytes = memoryview(self._block)
        # Each element is read or written by one instruction: aligned, and of word size.
        self._counters = self._bytes[:_REQUEST].cast("Q")
        self._flags = self._bytes[:_REQUEST].cast("I")
        self._own, self._other = own, other
        self._fence = _Fence()
        self.count = 0
        """Number of frames that this end has written."""

    def _read(self, into: memoryview) -> None:
        self._fence()
        begin = self._other.frame
        into[:] = self._bytes[begin : begin + len(into)]

    def _write(self, frame: bytes | bytearray | memoryview) -> bool:
        """Write a frame; return True if the other end must be woken."""
        begin = self._own.frame
        self._bytes[begin : begin + len(frame)] = frame
        self._fence()
        self.count += 1
        self._counters[self._own.counter] = self.count
        self._fence()
        return self._flags[self._other.sleeps] != 0

    def close(self) -> None:
        for view in (self._counters, self._flags, self._bytes):
            view.release()
        self._block.close()


class ServiceMemory(_End):
    """The service's end; a client that violates the protocol harms only itself.

    Attributes:
        bytes: Size of the memory.
        file: Descriptor of the memory, for the client; valid until `passed`.
        reply_pending: True if a request was taken and has not been answered yet.
    """

    def __init__(self, rows: int, obs_dim: int, answer_dim: int) -> None:
        request = _rounded(HEADER.size + 4 * rows * obs_dim)
        answer = _rounded(HEADER.size + max(4 * rows * answer_dim, LONGEST_TEXT))
        self.bytes = _REQUEST + request + answer
        client, service = _sides(request)
        self.file, self.reply_pending, self._in_vain = -1, False, 0
        try:
            self.file = os.memfd_create("policy_inference", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(self.file, self.bytes)
            fcntl.fcntl(self.file, fcntl.F_ADD_SEALS, _SEALS)
            super().__init__(self.file, self.bytes, service, client)
        except OSError as error:
            self.passed()
            raise ServiceError(Code.FULL, f"shared memory: {error.strerror}") from error
        except ServiceError:
            self.passed()
            raise
        self.sleep()

    def passed(self) -> None:
        """Close our copy of the file descriptor.

        Call this after the client has received it, because only the client needs it.
        """
        if self.file >= 0:
            os.close(self.file)
            self.file = -1

    def has_request(self) -> bool:
        """Return True if there is a request to `take`."""
        return self._counters[self._other.counter] != self.count and not self.reply_pending

    def take(self, into: memoryview) -> bool:
        """Copy the request, which the client may change meanwhile, without checking its content.

        Args:
            into: Buffer of the size of the longest request.

        Returns:
            True if there was a request.
        """
        ahead = self._counters[self._other.counter] - self.count
        if ahead not in (0, 1):
            raise ServiceError(
                Code.BAD_FRAME,
                f"shared memory: expected a request count of {self.count} or "
                f"{self.count + 1}, found {self.count + ahead}",
            )
        if not ahead or self.reply_pending:
            # A single time is no error: the client may send while the service goes to sleep.
            self._in_vain += 1
            if self._in_vain > _WAKES_IN_VAIN:
                raise ServiceError(
                    Code.BAD_FRAME, f"shared memory: woken {self._in_vain} times without a request"
                )
            return False
        self._in_vain, self.reply_pending = 0, True
        self._read(into)
        return True

    def answer(self, frame: bytes | bytearray | memoryview) -> bool:
        """Write the answer; return True if the client sleeps and must be woken."""
        self.reply_pending = False
        return self._write(frame)

    def stay_awake(self) -> None:
        """Tell the client not to wake the service, which polls for requests itself."""
        self._flags[self._own.sleeps] = 0

    def sleep(self) -> None:
        """Ask to be woken; then check once more, since a request may already have arrived."""
        self._flags[self._own.sleeps] = 1
        self._fence()

    def close(self) -> None:
        super().close()
        self.passed()


class ClientMemory(_End):
    """The client's end, for a `PolicyClient`, which sleeps until the answer arrives."""

    def __init__(self, memory: int, welcome: Welcome) -> None:
        """Map the memory.

        Args:
            memory: Descriptor from the WELCOME.
            welcome: The WELCOME.
        """
        client, service = _sides(_rounded(HEADER.size + 4 * welcome.rows * welcome.obs_dim))
        super().__init__(memory, welcome.shared_bytes, client, service)
        self._room = welcome.shared_bytes - service.frame
        self._flags[client.sleeps] = 1

    def request(self, frame: bytes) -> bool:
        """Write a request; return True if the service sleeps and must be woken."""
        return self._write(frame)

    def answered(self) -> bool:
        """Return True if the answer to the latest request has arrived."""
        return self._counters[self._other.counter] == self.count

    def take(self) -> bytes:
        """Return a copy of the answer area, which may be longer than the frame."""
        answer = bytearray(self._room)
        self._read(memoryview(answer))
        return bytes(answer)


def _rounded(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED
