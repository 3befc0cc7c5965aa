#!/usr/bin/env python3
# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A service that keeps to the protocol or breaks it, for the tests of the C++ client.

    peer.py SOCKET BEHAVIOUR...

One connection per behaviour, one after another; the last one is repeated. It answers rows of two
values, sum and count of the observation's three. A client that breaks the protocol itself ends
it with a traceback, which the tests look for by its status.
"""

from __future__ import annotations

import mmap
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from fcntl import F_ADD_SEALS, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, fcntl
from pathlib import Path
from typing import NamedTuple

MAGIC, VERSION = 0x464E4950, 1
HELLO, WELCOME, OBSERVATION, ACTION, ERROR = range(1, 6)
OBS_DIM, ACT_DIM = 3, 2
SHA256 = bytes(range(32))
HEADER = struct.Struct("<IBBHIIQQQ")
HELLO_PAYLOAD = struct.Struct("<32sIIIHHHH")
ANSWER_NOW, AREA = 64, 256
WAKE = b"\0"
HUGE, VAST = 2**21, 2**32 - 1


class Request(NamedTuple):
    """An observation as it came."""

    flags: int
    rows: int
    sequence: int
    stamp_ns: int
    payload: bytes


def frame(
    kind: int,
    payload: bytes = b"",
    *,
    rows: int = 0,
    sequence: int = 0,
    stamp_ns: int = 0,
    magic: int = MAGIC,
    version: int = VERSION,
    length: int | None = None,
) -> bytes:
    size = len(payload) if length is None else length
    return HEADER.pack(magic, version, kind, 0, size, rows, sequence, stamp_ns, 7) + payload


def error(code: int, text: bytes = b"because", sequence: int = 0) -> bytes:
    return frame(ERROR, text, rows=code, sequence=sequence)


def text(data: bytes) -> bytes:
    return struct.pack("<H", len(data)) + data


def welcome(
    *,
    obs_dim: int = OBS_DIM,
    act_dim: int = ACT_DIM,
    rows: int = 1,
    shared_bytes: int = 0,
    tail: bytes | None = None,
) -> bytes:
    if tail is None:
        tail = text(b"walk") + text(b"1.2.3") + struct.pack("<H", 2) + text(b"hip") + text(b"knee")
    numbers = struct.pack("<32sIIIId", SHA256, obs_dim, act_dim, rows, shared_bytes, 50.0)
    return frame(WELCOME, numbers + tail)


def values(request: Request) -> bytes:
    numbers = struct.unpack(f"<{len(request.payload) // 4}f", request.payload)
    rows = [numbers[at : at + OBS_DIM] for at in range(0, len(numbers), OBS_DIM)]
    return b"".join(struct.pack("<2f", sum(row), len(row)) for row in rows)


def action(request: Request, **changes: object) -> bytes:
    given = {"rows": request.rows, "sequence": request.sequence, "stamp_ns": request.stamp_ns}
    payload = changes.pop("payload", values(request))
    return frame(ACTION, payload, **{**given, **changes})  # type: ignore[arg-type]


# What a connection does: says something at first, and answers a request.
GREETINGS: dict[str, bytes] = {
    "garbage": os.urandom(400),
    "other_version": frame(WELCOME, version=9),
    "endless": frame(WELCOME, length=0xFFFFFFFF),
    "short_welcome": frame(WELCOME, b"\1" * 20),
    "overrun_welcome": welcome(tail=struct.pack("<H", 40000) + b"a"),
    "many_joints": welcome(tail=text(b"") + text(b"") + struct.pack("<H", 65535)),
    "long_welcome": welcome(tail=text(b"") + text(b"") + struct.pack("<H", 0) + b"more"),
    "other_dim": welcome(obs_dim=OBS_DIM + 1),
    "few_rows": welcome(rows=0),
    "many_rows": welcome(rows=2),
    "action_first": frame(ACTION, bytes(8), rows=1),
    "other_policy": error(3, b"policy_sha256: expected ab, \x1b[31mfound \x9b31mcd\x7f"),
    "full": error(6, b"8 clients"),
    "unknown_code": error(4711),
    "silent": b"",
}
ANSWERS: dict[str, Callable[[Request], bytes]] = {
    "honest": action,
    "short": lambda request: action(request, payload=bytes(4)),
    "long": lambda request: action(request, payload=bytes(12)),
    "endless_answer": lambda request: action(request, length=0xFFFFFFF0),
    "no_payload": lambda request: action(request, payload=b""),
    "other_sequence": lambda request: action(request, sequence=request.sequence + 1),
    "other_stamp": lambda request: action(request, stamp_ns=request.stamp_ns + 10**15),
    "other_rows": lambda request: action(request, rows=request.rows + 1),
    "other_type": lambda request: welcome(),
    "not_finite": lambda request: action(request, payload=struct.pack("<2f", 0, float("nan"))),
    "garbage_answer": lambda request: os.urandom(400),
    "twice": lambda request: action(request) * 2,
    "half": lambda request: action(request)[:43],
    "ending": lambda request: error(12, b"the service is stopping"),
    "bad_frame": lambda request: error(1),
    "failed": lambda request: error(11, b"out of memory", sequence=request.sequence),
    "unasked_error": lambda request: error(11, sequence=request.sequence + 5),
    "long_error": lambda request: error(11, b"x" * 60000, sequence=request.sequence),
}
CLOSES_AFTER = {"half", "ending", "bad_frame"}
# What comes in the place of the memory.
NO_MEMORIES: dict[str, Callable[[], int]] = {
    "memory_directory": lambda: os.open("/", os.O_RDONLY | os.O_CLOEXEC),
    "memory_device": lambda: os.open("/dev/zero", os.O_RDONLY | os.O_CLOEXEC),
    "memory_socket": lambda: socket.socket().detach(),
    "memory_pipe": lambda: os.pipe2(os.O_CLOEXEC)[0],
}
UNREAD: list[socket.socket] = []


def lingering() -> int:
    """Return a TCP socket that takes an hour to close: it holds bytes that its peer never reads."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = socket.create_connection(server.getsockname())
        UNREAD.append(server.accept()[0])
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3600))
    connection.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            connection.send(bytes(65536))
    return connection.detach()


def hold_lingering() -> None:
    """Let what lingers linger until the test says so."""
    if UNREAD:
        say("held")
        sys.stdin.readline()
        UNREAD.clear()


def send_with(
    connection: socket.socket, data: bytes, *descriptors: int, urgent: bool = False
) -> None:
    """Send, and pass descriptors so that the client, which is stopped meanwhile, has the last.

    They may come with an urgent byte before the data, where the kernel has such.
    """
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    client, _, _ = struct.unpack("3i", credentials)
    os.kill(client, signal.SIGSTOP)
    while Path(f"/proc/{client}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        pass
    passed = struct.pack(f"{len(descriptors)}i", *descriptors)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)]
    try:
        connection.sendmsg([b"!" if urgent else data], rights, socket.MSG_OOB if urgent else 0)
    except OSError:
        connection.sendmsg([b"!"], rights)
    if urgent:
        connection.send(data)
    for fd in descriptors:
        os.close(fd)
    os.kill(client, signal.SIGCONT)


def take(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def take_hello(connection: socket.socket) -> tuple[int, int]:
    """Return rows and transport of a HELLO that must be sound."""
    magic, version, kind, flags, length, *rest = HEADER.unpack(take(connection, HEADER.size))
    assert (magic, version, kind, flags, rest) == (MAGIC, VERSION, HELLO, 0, [0, 0, 0, 0])
    payload = take(connection, length)
    sha256, obs_dim, act_dim, rows, *rest = HELLO_PAYLOAD.unpack(payload)
    scaling, answer, transport, reserved = rest
    # A client that has been here before asks for the same policy.
    assert sha256 in (bytes(32), SHA256)
    assert (obs_dim, act_dim) == (OBS_DIM, ACT_DIM)
    assert (scaling, answer, reserved) == (1, 0, 0)
    assert rows >= 1
    assert transport in (0, 1)
    return rows, transport


def requests(connection: socket.socket, rows: int) -> Iterator[Request]:
    while True:
        yield checked(take(connection, HEADER.size), rows, lambda size: take(connection, size))
        # One at a time: nothing may come before the answer, which is sent by now.


def checked(data: bytes, rows: int, payload: Callable[[int], bytes]) -> Request:
    magic, version, kind, flags, length, count, sequence, stamp_ns, zero = HEADER.unpack(data)
    assert (magic, version, kind, zero) == (MAGIC, VERSION, OBSERVATION, 0)
    assert flags in (0, 1)
    assert (count, length) == (rows, 4 * rows * OBS_DIM)
    return Request(flags, count, sequence, stamp_ns, payload(length))


def assert_quiet(connection: socket.socket) -> None:
    """A client sends nothing before its answer; only called while one is owed."""
    connection.setblocking(False)
    with suppress(BlockingIOError):
        assert connection.recv(1) == b"", "a request before the answer to the last"
    connection.setblocking(True)


def serve(connection: socket.socket, behaviour: str) -> None:
    rows, transport = take_hello(connection)
    if transport == 1:
        return serve_shared(connection, behaviour, rows)
    if behaviour in GREETINGS:
        connection.sendall(GREETINGS[behaviour])
        with suppress(EOFError):
            take(connection, 1)
        return None
    if behaviour == "lingering_welcome":
        send_with(connection, welcome(rows=rows), lingering())
    else:
        connection.sendall(welcome(rows=rows))
    if behaviour == "unasked":
        connection.sendall(frame(ACTION, bytes(8 * rows), rows=rows))
    for request in requests(connection, rows):
        if behaviour == "held":
            # Lets the test know that it is here, and answers when that says so.
            say("held")
            sys.stdin.readline()
            assert_quiet(connection)
        if behaviour in ("lingering", "lingering_urgent"):
            send_with(
                connection, action(request), lingering(), urgent=behaviour == "lingering_urgent"
            )
            continue
        if behaviour == "mute":
            continue
        if behaviour == "bytewise":
            for byte in action(request):
                connection.sendall(bytes([byte]))
            continue
        if behaviour == "flags":
            connection.sendall(action(request, payload=struct.pack("<2f", request.flags, 0)))
            continue
        connection.sendall(ANSWERS.get(behaviour, action)(request))
        if behaviour in CLOSES_AFTER:
            return None
    return None


def serve_shared(connection: socket.socket, behaviour: str, rows: int) -> None:
    answer_at = AREA + -(-(HEADER.size + 4 * rows * OBS_DIM) // ANSWER_NOW) * ANSWER_NOW
    size = HUGE if behaviour == "memory_huge" else answer_at + HEADER.size + 1024
    kind = os.MFD_HUGETLB if behaviour == "memory_huge" else 0
    memory = os.memfd_create("peer", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | kind)
    os.ftruncate(memory, {"memory_short": AREA, "memory_vast": VAST}.get(behaviour, size))
    if behaviour != "memory_unsealed":
        last = F_SEAL_SEAL if behaviour == "memory_last_seal" else 0
        fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | last)
    passed = [NO_MEMORIES[behaviour]() if behaviour in NO_MEMORIES else memory]
    if behaviour == "memory_missing":
        passed = []
    if behaviour not in {"memory_huge", "memory_short"}:
        # Before the client has it, because memory that it has sealed cannot be mapped again.
        shared = mmap.mmap(memory, size)
        # As one that always sleeps: said before the client can ask, so that none goes unheard.
        shared[192:196] = struct.pack("<I", 1)
    said = {"memory_small": 64, "memory_vast": VAST}.get(behaviour, size)
    greeting = welcome(rows=rows, shared_bytes=said)
    if behaviour == "memory_lingering":
        send_with(connection, greeting, os.dup(memory), lingering())
        hold_lingering()
    else:
        socket.send_fds(connection, [greeting], passed)
    if behaviour in {
        "memory_unsealed",
        "memory_missing",
        "memory_small",
        "memory_short",
        "memory_huge",
        "memory_last_seal",
        *NO_MEMORIES,
    }:
        with suppress(EOFError):
            take(connection, 1)
        return
    with shared:
        answer_shared(connection, behaviour, rows, shared, answer_at)


def answer_shared(
    connection: socket.socket,
    behaviour: str,
    rows: int,
    shared: mmap.mmap,
    answer_at: int,
) -> None:
    done = 0
    while True:
        if behaviour == "memory_deaf":
            while struct.unpack_from("<Q", shared, 0)[0] == done and not is_closed(connection):
                pass
        elif said := connection.recv(4096):
            assert not said.strip(WAKE), "a word over the socket beside shared memory"
        requested = struct.unpack_from("<Q", shared, 0)[0]
        if requested == done:
            return
        assert requested == done + 1, "a request before the answer to the last"
        done = requested
        header = bytes(shared[AREA : AREA + HEADER.size])
        request = checked(
            header, rows, lambda size: bytes(shared[AREA + HEADER.size : AREA + HEADER.size + size])
        )
        if behaviour == "memory_ending":
            connection.sendall(error(12, b"the service is stopping"))
            return
        if behaviour == "memory_gone":
            return
        if behaviour == "memory_mute":
            continue
        if behaviour == "memory_flood":
            while True:
                connection.sendall(WAKE * 65536)
        if behaviour == "memory_says_lingering":
            send_with(connection, error(11), lingering())
            with suppress(EOFError):
                take(connection, 1)
            return
        reply = ANSWERS.get(behaviour, action)(request)
        shared[answer_at : answer_at + len(reply)] = reply
        count = done + 5 if behaviour == "memory_jump" else done
        shared[64:72] = struct.pack("<Q", count)
        if struct.unpack_from("<I", shared, 128)[0]:
            with suppress(BlockingIOError):
                connection.send(WAKE, socket.MSG_DONTWAIT)


def is_closed(connection: socket.socket) -> bool:
    with select.epoll() as poll:
        poll.register(connection, select.EPOLLRDHUP)
        return bool(poll.poll(0))


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main() -> None:
    """Listen, say so, and serve one client after another."""
    path, *behaviours = sys.argv[1:]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        say("ready")
        while True:
            connection, _ = listener.accept()
            with connection, suppress(EOFError, ConnectionError, BrokenPipeError):
                serve(connection, behaviours[0])
            hold_lingering()
            if len(behaviours) > 1:
                behaviours.pop(0)


if __name__ == "__main__":
    main()
