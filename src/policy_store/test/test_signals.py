# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Signals while a command runs, and after it."""

import signal
import socket

from policy_store.signals import INTERRUPTING, signals_interrupt


def test_a_block_leaves_handlers_and_wakeup_as_they_were() -> None:
    woken, wakes = socket.socketpair()
    wakes.setblocking(False)
    with woken, wakes:
        before = signal.set_wakeup_fd(wakes.fileno())
        handlers = [signal.getsignal(number) for number in INTERRUPTING]
        with signals_interrupt():
            assert [signal.getsignal(number) for number in INTERRUPTING] != handlers
        assert [signal.getsignal(number) for number in INTERRUPTING] == handlers
        assert signal.set_wakeup_fd(before) == wakes.fileno()
