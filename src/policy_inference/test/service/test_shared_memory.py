# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Both ends of shared memory, and what a hostile client can do at its end."""

from __future__ import annotations

import fcntl
import mmap
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from policy_inference.service.protocol import Code, ServiceError, Welcome
from policy_inference.service.shared_memory import WAKE, ClientMemory, ServiceMemory
from testkit.wording import refusal

ROWS, OBS_DIM, ACT_DIM = 2, 5, 3
REQUEST, ANSWER = bytes(range(80)), bytes(range(64))
ROUNDS, TIMEOUT_S = 10_000, 20.0
F_SEAL_FUTURE_WRITE = 0x10  # That Python's fcntl has since 3.13 only.
CLIENT = """
import os, select, sys
from policy_inference.service.protocol import Welcome
from policy_inference.service.shared_memory import WAKE, ClientMemory
memory, connection, size, rounds = map(int, sys.argv[1:])
end = ClientMemory(memory, Welcome(policy_sha256=bytes(32), obs_dim=5, act_dim=3, rows=2,
                                   shared_bytes=size))
for number in range(rounds):
    if end.request(bytes([number % 251]) * 80):
        os.write(connection, WAKE)
    for _ in range(number % 70):  # looks, more or less long, before it sleeps
        if end.answered():
            break
    while not end.answered():
        assert select.select([connection], [], [], 20.0)[0], f"answer {number} woke nobody"
        os.read(connection, 4096)
    answer = end.take()
    assert answer[:64] == bytes([number % 251]) * 64, (number, answer)
"""
"""A client in a process of its own: for threads of one process, the interpreter keeps order."""


@pytest.fixture
def service_end() -> Iterator[ServiceMemory]:
    memory = ServiceMemory(ROWS, OBS_DIM, ACT_DIM)
    yield memory
    memory.close()


@pytest.fixture
def client_end(service_end: ServiceMemory) -> Iterator[ClientMemory]:
    end = ClientMemory(
        service_end.file,
        Welcome(
            policy_sha256=bytes(32),
            obs_dim=OBS_DIM,
            act_dim=ACT_DIM,
            rows=ROWS,
            shared_bytes=service_end.bytes,
        ),
    )
    yield end
    end.close()


@pytest.fixture
def forged(service_end: ServiceMemory) -> Iterator[mmap.mmap]:
    """The memory as a client has it that keeps to no rule."""
    with mmap.mmap(service_end.file, service_end.bytes) as block:
        yield block


def open_files() -> set[str]:
    return {file.name for file in Path("/proc/self/fd").iterdir()}


def private() -> memoryview:
    return memoryview(bytearray(len(REQUEST)))


def test_a_request_arrives_and_its_answer_comes_back(
    service_end: ServiceMemory, client_end: ClientMemory
) -> None:
    copied = private()
    for turn in range(3):
        assert not service_end.has_request()
        client_end.request(REQUEST)
        assert service_end.has_request()
        assert not client_end.answered()
        assert service_end.take(copied)
        assert copied == REQUEST
        assert not service_end.has_request()
        service_end.answer(ANSWER[turn:])
        assert client_end.answered()
        assert not service_end.has_request()
        assert client_end.take().startswith(ANSWER[turn:])


def test_each_end_is_woken_only_where_it_sleeps(
    service_end: ServiceMemory, client_end: ClientMemory, forged: mmap.mmap
) -> None:
    service_end.stay_awake()
    assert not client_end.request(REQUEST)
    forged[128:132] = bytes(4)
    assert not service_end.answer(ANSWER)
    service_end.sleep()
    assert client_end.request(REQUEST)
    forged[128:132] = b"\x01\0\0\0"
    assert service_end.answer(ANSWER)


def test_the_offsets_are_those_of_the_document(
    service_end: ServiceMemory, client_end: ClientMemory, forged: mmap.mmap
) -> None:
    client_end.request(REQUEST)
    service_end.answer(ANSWER)
    service_end.sleep()
    assert [forged[0], forged[64], forged[128], forged[192]] == [1, 1, 1, 1]
    assert forged[256 : 256 + len(REQUEST)] == REQUEST
    # 40 + 4 * 2 * 5 = 80 bytes, rounded up to 128
    assert forged[384 : 384 + len(ANSWER)] == ANSWER


@pytest.mark.parametrize("count", [0, 3, 1 << 63, (1 << 64) - 1])
def test_a_counter_that_jumps_or_goes_back_is_refused(
    service_end: ServiceMemory, client_end: ClientMemory, forged: mmap.mmap, count: int
) -> None:
    client_end.request(REQUEST)
    service_end.answer(ANSWER)
    forged[0:8] = count.to_bytes(8, "little")
    with refusal(ServiceError) as no:
        service_end.take(private())
    assert no.value.code is Code.BAD_FRAME


def test_what_the_client_changes_later_is_not_seen(
    service_end: ServiceMemory, client_end: ClientMemory, forged: mmap.mmap
) -> None:
    copied = private()
    client_end.request(REQUEST)
    service_end.take(copied)
    forged[256 : 256 + len(REQUEST)] = bytes(len(REQUEST))
    assert copied == REQUEST


def test_the_client_cannot_take_the_memory_away(service_end: ServiceMemory) -> None:
    memory = service_end.file
    for size in (0, service_end.bytes - 1, service_end.bytes + 4096):
        with pytest.raises(PermissionError):
            os.ftruncate(memory, size)
    with pytest.raises(OSError, match="busy"):
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)


def test_the_client_may_seal_the_memory_against_the_loss_of_pages(
    service_end: ServiceMemory, client_end: ClientMemory
) -> None:
    fcntl.fcntl(service_end.file, fcntl.F_ADD_SEALS, F_SEAL_FUTURE_WRITE)
    client_end.request(REQUEST)
    copied = private()
    assert service_end.take(copied)
    assert copied == REQUEST
    service_end.answer(ANSWER)
    assert client_end.answered()


def serve_in_bursts(service_end: ServiceMemory, connection: socket.socket, rounds: int) -> None:
    """Answer so many requests with their own bytes, spinning at times, asleep at others."""
    connection.settimeout(TIMEOUT_S)
    observation_frame = private()
    for number in range(rounds):
        if number % 3:
            service_end.stay_awake()
            for _ in range(number % 50):
                if service_end.has_request():
                    break
            service_end.sleep()
        while not service_end.has_request():
            assert connection.recv(4096), f"request {number} woke nobody"
        assert service_end.take(observation_frame)
        if service_end.answer(bytes(observation_frame[:64])):
            connection.sendall(WAKE)


def test_nothing_is_torn_or_slept_through_however_the_two_ends_meet(
    service_end: ServiceMemory,
) -> None:
    own, others = socket.socketpair()
    passed, served = (service_end.file, others.fileno()), threading.Event()
    with (
        own,
        others,
        subprocess.Popen(
            [sys.executable, "-c", CLIENT, *map(str, (*passed, service_end.bytes, ROUNDS))],
            pass_fds=passed,
            stderr=subprocess.PIPE,
            text=True,
        ) as client_end,
    ):
        try:
            serve_in_bursts(service_end, own, ROUNDS)
            served.set()
        finally:
            if not served.is_set():
                client_end.kill()
        _, said = client_end.communicate(timeout=TIMEOUT_S)
    assert (client_end.returncode, said) == (0, "")


def test_machine_whose_calls_are_not_known_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "sparc64")
    before = open_files()
    with pytest.raises(ServiceError, match="sparc64"):
        ServiceMemory(ROWS, OBS_DIM, ACT_DIM)
    assert open_files() == before
