# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Signals that end a service, even one whose runtime never returns."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from policy_inference.command_line import INTERRUPTING, signals_watched
from policy_inference.log_pump import flush_log

ENDS_WITHIN_S = 5.0
_log = logging.getLogger("policy_inference")


@contextmanager
def stopped_by_signals(stop: Callable[[], None], within_s: float = ENDS_WITHIN_S) -> Iterator[None]:
    """Call `stop` on a signal, from another thread; with a second one, or too late, just end."""
    for number in INTERRUPTING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    with signals_watched(partial(_watch, stop, within_s)):
        yield


def _watch(stop: Callable[[], None], within_s: float, told: socket.socket) -> None:
    if not told.recv(1):
        return
    stop()
    told.settimeout(within_s)
    try:
        if not told.recv(1):
            return  # it ends
        why = "asked twice"
    except TimeoutError:
        why = f"{within_s:g} s after it was asked to end, the model still computes"
    _log.error("ends without a word to its clients: %s", why)
    flush_log()
    os._exit(1)
