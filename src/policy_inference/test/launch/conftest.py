# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Runs `ros2 launch` as a user does."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from testkit.command_run import CommandRun, require_launch


@pytest.fixture
def launch() -> Iterator[Callable[..., CommandRun]]:
    """Start launch files; whatever runs at the test's end is killed."""
    require_launch()
    command = ("ros2", "launch", "policy_inference")
    with ExitStack() as runs:
        yield lambda *words: runs.enter_context(closing(CommandRun(*command, *words)))
