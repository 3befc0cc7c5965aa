# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Waiting for other threads and processes."""

import time
from collections.abc import Callable

PATIENCE_S = 60.0
"""Far beyond what a busy machine takes: only a test that fails waits for so long."""


def until(condition: Callable[[], object], awaited: str = "the condition") -> None:
    """Ask again and again until a condition holds; fail after `PATIENCE_S`."""
    given_up_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < given_up_s, f"waited for {awaited} in vain"
        time.sleep(0.005)
