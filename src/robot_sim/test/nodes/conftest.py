# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The simulated robot beside a test that listens and commands, in one process."""

from collections.abc import Iterator

import pytest

from .harness import Stage


@pytest.fixture
def sim_stage(capfd: pytest.CaptureFixture[str]) -> Iterator[Stage]:
    """Start simulated robots with parameters; all ends with the test."""
    stage = Stage(lambda: capfd.readouterr().err)
    yield stage
    stage.close()
