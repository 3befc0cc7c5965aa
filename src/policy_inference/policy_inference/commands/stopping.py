# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Signals that end a service, even one whose runtime never returns."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from policy_inference.command_line import INTERRUPTING, SIGNALLED
from policy_inference.log_pump import flush_log

ENDS_WITHIN_S = 5.0
STARTS_NO_MORE_WITHIN_S = 1.0
_log = logging.getLogger("policy_inference")


@contextmanager
def start_ended_by_signals(within_s: float = STARTS_NO_MORE_WITHIN_S) -> Iterator[None]:
    """Let a signal end the process in time, even where its handler cannot interrupt the start.

    The handlers stay as they are: one that raises waits for the main thread to come back from a
    runtime, which may take for ever, as in a model that loops. No client knows the service yet.
    """
    def watch(told: socket.socket) -> None:
        if not (number := _signal(told)):
            return
        told.settimeout(within_s)
        why = "asked twice"
        try:
            if not _signal(told):
                return  # it ends
        except TimeoutError:
            why = f"{within_s:g} s after it was asked to end, it still computes"
        _log.error("ends before it has started: %s", why)
        flush_log()
        os._exit(SIGNALLED + number)

    with _watched(watch):
        yield


@contextmanager
def stopped_by_signals(
    stop: Callable[[], None], within_s: float = ENDS_WITHIN_S
) -> Iterator[None]:
    """Call `stop` on a signal, from another thread; with a second one, or too late, just end.

    A handler of Python waits for the main thread to come back from the runtime, which one that
    hangs never does. What the interpreter writes to a descriptor as the signal comes does not.
    """
    def watch(told: socket.socket) -> None:
        if not _signal(told):
            return
        stop()
        told.settimeout(within_s)
        try:
            if not _signal(told):
                return  # it ends
            why = "asked twice"
        except TimeoutError:
            why = f"{within_s:g} s after it was asked to end, the model still computes"
        _log.error("ends without a word to its clients: %s", why)
        flush_log()
        os._exit(1)

    for number in INTERRUPTING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    with _watched(watch):
        yield


@contextmanager
def _watched(watch: Callable[[socket.socket], None]) -> Iterator[None]:
    """Let a thread watch what the interpreter writes as a signal comes."""
    told, telling = socket.socketpair()
    telling.setblocking(False)
    thread = threading.Thread(target=watch, args=(told,), name="signals", daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(telling.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        telling.close()
        thread.join()
        told.close()


def _signal(told: socket.socket) -> int:
    """Wait for one that interrupts, and return it; 0 where none can come any more."""
    while came := told.recv(1):
        if came[0] in INTERRUPTING:
            return came[0]
    return 0
