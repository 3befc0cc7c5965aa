# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""End the process on signals, even if its threads hang."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NoReturn

INTERRUPTING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals that interrupt a command: Ctrl-C, `kill`, a closing terminal, Ctrl-backslash."""
HANGS_AFTER_S = 5.0
"""Time after which a signal ends the process even if a runtime hangs; a second signal ends it at
once.
"""
SIGNALLED = 128
"""Number added to a signal's number to form the exit status, as shells do."""
_log = logging.getLogger("policy_inference")
_last_acts = list[Callable[[], None]]()


def unblock_signals() -> None:
    """Unblock the INTERRUPTING signals for this thread.

    A process inherits the signals that its parent blocked, and would otherwise never end.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTING)


def end_now(status: int) -> NoReturn:
    """End the process even if threads hang, after calling the functions from `before_end_now`."""
    for act in _last_acts:
        act()
    os._exit(status)


def before_end_now(act: Callable[[], None]) -> None:
    """Register `act` to be called by `end_now`, like `atexit` for a normal exit."""
    _last_acts.append(act)


@contextmanager
def signals_interrupt() -> Iterator[list[int]]:
    """Make each of INTERRUPTING raise a KeyboardInterrupt; yield the list of received signals.

    If the process does not handle a signal within HANGS_AFTER_S, it ends; a second signal ends it
    at once. A signal that was ignored before stays ignored.
    """
    came = list[int]()

    def interrupt(number: int, _: object) -> NoReturn:
        came.append(number)
        raise _Interrupted

    before = {
        number: signal.signal(number, interrupt)
        for number in INTERRUPTING
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        with _signals_watched(partial(_end_what_hangs, came)):
            yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stopped_by_signals(stop: Callable[[], None], within_s: float = HANGS_AFTER_S) -> Iterator[None]:
    """Call `stop`, on another thread, when one of INTERRUPTING arrives; the block should then end.

    The process exits with status 1 if the block takes too long, or a second signal arrives.

    Args:
        stop: Function that asks the block to end.
        within_s: Time within which the block must end after the call, s.
    """
    for number in INTERRUPTING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    with _signals_watched(partial(_stop_in_time, stop, within_s)):
        yield


@contextmanager
def _signals_watched(watch: Callable[[socket.socket], None]) -> Iterator[None]:
    """Run `watch` on a thread that learns of each signal at once, even if the main thread hangs.

    A Python signal handler runs on the main thread, where it waits for a call into a runtime to
    return, which may never happen. The interpreter's write of the signal to a descriptor does not
    wait.

    Args:
        watch: Function that runs on the thread. Its socket yields one byte for each signal, the
            signal's number, and the end of the stream when the block ends.
    """
    received, sent = socket.socketpair()
    sent.setblocking(False)
    thread = threading.Thread(target=watch, args=(received,), name="signals", daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(sent.fileno(), warn_on_full_buffer=False)
    unblock_signals()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        sent.close()
        thread.join()
        received.close()


def _end_what_hangs(came: Sequence[int], signals: socket.socket) -> None:
    """End the process if a signal is not handled in time, or a second signal arrives first."""
    first = 0
    while not came:
        try:
            byte = signals.recv(1)
        except TimeoutError:
            byte = bytes([first])
        if not byte:
            return  # the block has ended
        if byte[0] not in INTERRUPTING:
            continue
        if first and not came:
            _log.error("exits without cleaning up: the runtime does not return")
            end_now(SIGNALLED + first)
        first = byte[0]
        signals.settimeout(HANGS_AFTER_S)


def _stop_in_time(stop: Callable[[], None], within_s: float, signals: socket.socket) -> None:
    if not signals.recv(1):
        return
    stop()
    signals.settimeout(within_s)
    try:
        if not signals.recv(1):
            return  # the block has ended
        why = "it was asked twice to exit"
    except TimeoutError:
        why = f"{within_s:g} s after it was asked to exit, the model is still computing"
    _log.error("exits without answering its clients: %s", why)
    end_now(1)


class _Interrupted(KeyboardInterrupt):
    """An interruption that does not change the exit status.

    If a plain KeyboardInterrupt passes through `exec` of a text, as for dataclasses during an
    import, CPython remembers it, and ends the process by SIGINT at exit, although it was caught.
    """
