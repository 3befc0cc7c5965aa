# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Signals that end a service, whatever its main thread does."""

from __future__ import annotations

import functools
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

HANGS = """
import ctypes
from policy_store.signals import stopped_by_signals

def stop():
    print("asked", flush=True)

native, lock = ctypes.CDLL(None), ctypes.create_string_buffer(64)
with stopped_by_signals(stop, {within_s}):
    print("ready", flush=True)
    for _ in range(2):
        native.pthread_mutex_lock(lock)  # the second one never returns
"""

block = functools.partial(signal.pthread_sigmask, signal.SIG_BLOCK, signal.valid_signals())


@pytest.mark.parametrize("before", [None, block], ids=["as usual", "blocked by the parent"])
@pytest.mark.parametrize(
    ("signals", "within_s", "why"),
    [
        ((signal.SIGTERM, signal.SIGINT), 600, "asked twice"),
        ((signal.SIGTERM,), 0.1, "0.1 s after"),
    ],
)
def test_a_call_that_never_returns_keeps_no_service_from_ending(
    signals: tuple[signal.Signals, ...],
    within_s: float,
    why: str,
    before: Callable[[], object] | None,
) -> None:
    command = [sys.executable, "-c", HANGS.format(within_s=within_s)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=before
    ) as process:
        assert process.stdout is not None
        try:
            for number, line in zip(signals, ("ready", "asked"), strict=False):
                assert process.stdout.readline().strip() == line
                process.send_signal(number)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 1
    assert why in said


COMMAND_HANGS = """
import argparse, ctypes, sys, types
from policy_store import command_line, signals

signals.HANGS_AFTER_S = 0.1

def run(_):
    native, lock = ctypes.CDLL(None), ctypes.create_string_buffer(64)
    print("ready", flush=True)
    for _ in range(2):
        native.pthread_mutex_lock(lock)  # the second one never returns

verb = types.ModuleType("verb", "Hangs.")
verb.add_arguments, verb.run = lambda parser: None, run
sys.exit(command_line.run_command("tool", "Tools.", {"hang": verb}, ["hang"]))
"""


@pytest.mark.parametrize("before", [None, block], ids=["as usual", "blocked by the parent"])
def test_a_call_that_never_returns_keeps_no_command_from_ending(
    before: Callable[[], object] | None,
) -> None:
    """Such as of a model that never ends: self-test ignored every SIGTERM."""
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND_HANGS],
        text=True,
        stderr=subprocess.PIPE,
        preexec_fn=before,
    ) as process:
        assert process.stderr is not None  # what a verb prints itself goes there
        try:
            assert process.stderr.readline().strip() == "ready"
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 128 + signal.SIGTERM
