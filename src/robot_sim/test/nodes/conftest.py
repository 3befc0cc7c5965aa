# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures that run a simulated robot and the node of the test in one process."""

from collections.abc import Iterator

import pytest

from .harness import Stage


@pytest.fixture
def sim_stage(capfd: pytest.CaptureFixture[str]) -> Iterator[Stage]:
    """Provide a stage for a simulated robot; close it after the test."""
    stage = Stage(lambda: capfd.readouterr().err)
    yield stage
    stage.close()
