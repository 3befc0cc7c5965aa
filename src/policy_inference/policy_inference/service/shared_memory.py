# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One request and one answer at a time in memory that the service shares with a client.

docs/service_protocol.md has the layout. The service trusts nothing in it: the memory is sealed, so
that it cannot shrink under its reader; a request is copied before anybody looks at it; the service
never reads what wakes it, and cannot block where it wakes the client.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import threading
from typing import NamedTuple

from policy_inference.service.protocol import HEADER, LONGEST_TEXT, Code, ServiceError, Welcome

_REQUEST, _ALIGNED = 256, 64
_RING = (1).to_bytes(8, "little")
_RINGS_IN_VAIN = 64
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class _Side(NamedTuple):
    """Where one of the two writes: a u64 and a u32, by index, and a frame."""

    counter: int
    sleeps: int
    frame: int


def _sides(request_bytes: int) -> tuple[_Side, _Side]:
    """Return the client's and the service's."""
    return (_Side(0 // 8, 128 // 4, _REQUEST),
            _Side(64 // 8, 192 // 4, _REQUEST + request_bytes))


class _End:
    """What both ends do."""

    def __init__(self, memory: int, size: int, own: _Side, other: _Side) -> None:
        self._block = mmap.mmap(memory, size)
        self._bytes = memoryview(self._block)
        # An element of these is read or written by one instruction: aligned, and of a word's size.
        self._counters = self._bytes[:_REQUEST].cast("Q")
        self._flags = self._bytes[:_REQUEST].cast("I")
        self._own, self._other = own, other
        self._fence = threading.Lock()
        self._fence.acquire()
        self.count = 0
        """Frames that this end has written."""

    def fence(self) -> None:
        """Keep what is done before it before what is done after it.

        Python has no fence. Releasing a lock nobody waits for is a store-release to a word, taking
        it again a load-acquire from the same word: no earlier access moves past the one, no later
        one before the other, and on x86 and ARMv8 these two keep their own order.
        """
        self._fence.release()
        self._fence.acquire()

    def _read(self, into: memoryview) -> None:
        self.fence()
        begin = self._other.frame
        into[:] = self._bytes[begin:begin + len(into)]

    def _write(self, frame: bytes | bytearray | memoryview) -> bool:
        """Hand a frame over; return whether the other one has to be woken."""
        begin = self._own.frame
        self._bytes[begin:begin + len(frame)] = frame
        self.fence()
        self.count += 1
        self._counters[self._own.counter] = self.count
        self.fence()
        return self._flags[self._other.sleeps] != 0

    def close(self) -> None:
        """Give the memory back."""
        for view in (self._counters, self._flags, self._bytes):
            view.release()
        self._block.close()


class ServiceMemory(_End):
    """The service's end; whatever the client does there, it does to itself alone.

    Attributes:
        bytes: Size of the memory.
        wakes: The eventfd that the client writes to, to be watched edge-triggered: nobody reads it.
        theirs: What the client gets: the memory, that eventfd, the end of a pipe that wakes it.
        owes: Whether a request was taken and not answered yet.
    """

    def __init__(self, rows: int, obs_dim: int, answer_dim: int) -> None:
        """Make the memory for so many robots.

        Raises:
            ServiceError: FULL, the process or the machine has nothing left for it.
        """
        request = _rounded(HEADER.size + 4 * rows * obs_dim)
        answer = _rounded(HEADER.size + max(4 * rows * answer_dim, LONGEST_TEXT))
        self.bytes = _REQUEST + request + answer
        client, service = _sides(request)
        self._made, self._in_vain = list[int](), 0
        try:
            self._make(service, client)
        except OSError as error:
            self._close_files()
            raise ServiceError(Code.FULL, f"shared memory: {error.strerror}") from error
        memory, self.wakes, listens, self._bell = self._made
        self.theirs, self.owes = (memory, self.wakes, listens), False
        self.sleep()

    def _make(self, own: _Side, other: _Side) -> None:
        memory = os.memfd_create("policy_inference", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self._made.append(memory)
        os.ftruncate(memory, self.bytes)
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
        self._made.append(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        # No second eventfd: its client could make the one open file of both blocking, and full.
        self._made += os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        super().__init__(memory, self.bytes, own, other)

    def passed(self) -> None:
        """Close what only the client needs, once it has it."""
        memory, _, listens = self.theirs
        for fd in (memory, listens):
            os.close(fd)
            self._made.remove(fd)

    def stirs(self) -> bool:
        """Return whether there is something to `take`."""
        return self._counters[self._other.counter] != self.count and not self.owes

    def take(self, into: memoryview) -> bool:
        """Copy the request; what it says is the client's, who may change the original meanwhile.

        Args:
            into: As long as the longest request.

        Returns:
            Whether there is one.

        Raises:
            ServiceError: BAD_FRAME, the client's counter is none that it can have, or it has woken
                the service again and again without a request.
        """
        ahead = self._counters[self._other.counter] - self.count
        if ahead not in (0, 1):
            raise ServiceError(Code.BAD_FRAME, f"shared memory: expected {self.count} requests or "
                               f"one more, found {self.count + ahead}")
        if not ahead or self.owes:
            # Once is no fault: it may ask in the moment in which the service goes to sleep.
            self._in_vain += 1
            if self._in_vain > _RINGS_IN_VAIN:
                raise ServiceError(Code.BAD_FRAME, f"shared memory: woken {self._in_vain} times "
                                   "without a request")
            return False
        self._in_vain, self.owes = 0, True
        self._read(into)
        return True

    def answer(self, frame: bytes | bytearray | memoryview) -> None:
        """Give the answer to the request, and wake the client where it sleeps."""
        self.owes = False
        if self._write(frame):
            # Full: it has been woken often enough. Broken: its connection says that it has gone.
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                os.write(self._bell, _RING)

    def stay_awake(self) -> None:
        """Let the client not ring: somebody looks whether it `stirs`."""
        self._flags[self._own.sleeps] = 0

    def sleep(self) -> None:
        """Let the client ring; it may have asked before, so look once more."""
        self._flags[self._own.sleeps] = 1
        self.fence()

    def close(self) -> None:
        """Give back the memory and all files."""
        super().close()
        self._close_files()

    def _close_files(self) -> None:
        while self._made:
            os.close(self._made.pop())


class ClientMemory(_End):
    """The client's end, for a `PolicyClient`, which sleeps until the answer is there."""

    def __init__(self, memory: int, bell: int, welcome: Welcome) -> None:
        """Map the memory.

        Args:
            memory: That came with the WELCOME.
            bell: The eventfd that came with it.
            welcome: What the memory is for.
        """
        client, service = _sides(_rounded(HEADER.size + 4 * welcome.rows * welcome.obs_dim))
        super().__init__(memory, welcome.shared_bytes, client, service)
        self._bell, self._room = bell, welcome.shared_bytes - service.frame
        self._flags[client.sleeps] = 1

    def request(self, frame: bytes) -> None:
        """Hand a request over."""
        if self._write(frame):
            os.eventfd_write(self._bell, 1)

    def answered(self) -> bool:
        """Return whether the answer to the latest request is there."""
        return self._counters[self._other.counter] == self.count

    def take(self) -> bytes:
        """Return a copy of what is there for an answer; it may be longer than the frame."""
        answer = bytearray(self._room)
        self._read(memoryview(answer))
        return bytes(answer)


def _rounded(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED
