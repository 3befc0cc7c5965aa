# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Malformed messages over both protocols, and a good client beside them.

Hypothesis makes the sequences. After each message the good clients are answered, with what the
model says; at the end nothing has leaked.
"""

import contextlib
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from policy_inference.service.protocol import (
    HEADER,
    Hello,
    ServiceError,
    Type,
    Welcome,
    frame,
    read_header,
)
from policy_inference.testing.process import open_descriptors
from testkit.fuzzing import bounded, changed_bytes, examples

from .lockstep import (
    Service,
    expected_action,
    observation_frame,
    random_observation,
    receive_action,
    receive_frame,
    serving,
)

MESSAGES, STEPS, EXAMPLES = examples(20).max_examples, 20, 20
CLIENTS = 6
_HELLO = frame(Type.HELLO, Hello(rows=2).pack())
_GOOD = (
    _HELLO,
    observation_frame(random_observation()),
    observation_frame(random_observation(rows=2)),
    random_observation().tobytes(),
)
_ROWS = [random_observation(seed) for seed in range(20)]
_ACTIONS = [expected_action(row)[0] for row in _ROWS]

messages = st.lists(
    st.one_of(st.binary(max_size=80), changed_bytes(*_GOOD)), min_size=4, max_size=8
)


class Beside:
    """The service under attack, and two clients that keep to the rules."""

    def __init__(self, service: Service) -> None:
        self.service, self.arrived, self.count = service, 0, 0
        self.raw, self.framed = service.connect(), service.welcomed()

    def require_answers(self) -> None:
        """Ask over both protocols, and check what comes."""
        self.count += 1
        which = self.count % len(_ROWS)
        self.raw.sendall(_ROWS[which].tobytes())
        self.framed.sendall(observation_frame(_ROWS[which], sequence=self.count))
        self.service.loop.step(0)
        header, payload = receive_frame(self.framed)
        assert (header.type, header.sequence) == (Type.ACTION, self.count)
        for found in (receive_action(self.raw), np.frombuffer(payload, np.float32)):
            assert np.abs(found - _ACTIONS[which]).max() < 1e-5


class Attack(RuleBasedStateMachine):
    """Hostile clients, any of which may do anything at any time."""

    beside: Beside

    @initialize()
    def begin(self) -> None:
        self.service = self.beside.service
        self.clients = [self.connect(number) for number in range(CLIENTS)]

    def connect(self, number: int) -> socket.socket:
        """Connect a client: of the raw protocol, of the framed one, or one that was welcomed."""
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        client.connect(str(self.service.framed if number % 3 else self.service.raw))
        if number % 3 == 2:
            client.send(_HELLO)
        self.service.settle()
        return client

    @rule(number=st.integers(0, CLIENTS - 1), data=messages)
    def send(self, number: int, data: list[bytes]) -> None:
        for message in data:
            try:
                self.clients[number].send(message)
            except OSError:  # it was sent away for the one before
                self.clients[number].close()
                self.clients[number] = self.connect(number)
                self.clients[number].send(message)
            self.beside.arrived += 1
            self.beside.require_answers()

    @rule(number=st.integers(0, CLIENTS - 1))
    def read(self, number: int) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            self.clients[number].recv(1 << 16)

    @rule(number=st.integers(0, CLIENTS - 1))
    def vanish(self, number: int) -> None:
        self.clients[number].close()
        self.beside.require_answers()
        self.clients[number] = self.connect(number)

    @rule(ms=st.sampled_from([1, 99, 100, 1000]))
    def wait(self, ms: int) -> None:
        self.service.after(ms)
        self.beside.require_answers()

    def teardown(self) -> None:
        for client in getattr(self, "clients", ()):
            client.close()
        self.service.settle()


@contextlib.contextmanager
def attacked() -> Iterator[Beside]:
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as service:
        yield Beside(service)


def attack(beside: Beside, number: int) -> None:
    """Let Hypothesis attack; what it does follows from the number."""
    case = seed(number)(type("Attack", (Attack,), {"beside": beside}))
    run_machine(
        case,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.fuzz
def test_malformed_messages_neither_crash_nor_leak_nor_change_an_answer() -> None:
    with attacked() as beside:
        number = 0
        attack(beside, number)  # imports and caches of whatever is used once
        open_before, resident_bytes = open_descriptors(), psutil.Process().memory_info().rss
        while beside.arrived < MESSAGES:
            number += 1
            attack(beside, number)
        assert not open_descriptors() - open_before
        assert psutil.Process().memory_info().rss - resident_bytes < 32 << 20
        for client in (beside.raw, beside.framed):  # one answer for each question, no more
            client.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.recv(1)


FRAMES = (
    Hello(rows=2).pack(),
    Welcome(
        policy_sha256=bytes(32), obs_dim=12, act_dim=2, rows=3, name="walk", joints=("knee", "hip")
    ).pack(),
    *_GOOD,
)


@pytest.mark.fuzz
@given(changed_bytes(*FRAMES))
@examples(10)
def test_any_bytes_are_a_frame_or_one_error(data: bytes) -> None:
    """Of the readers alone, the client's too, which trusts no service."""
    for read in (Hello.unpack, Welcome.unpack, read_header):
        with contextlib.suppress(ServiceError), bounded():
            read(data.ljust(HEADER.size, b"\0"))  # of which no reader gets less
