# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Drivers, their hosts and one who talks to them, on a ROS 2 domain of the test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from robot_driver.testing.stage import Stage

from .host import CASE


@pytest.fixture
def lite3_stage(tmp_path: Path) -> Iterator[Stage]:
    """Start drivers; all ends with the test."""
    stage = Stage(CASE, tmp_path)
    yield stage
    stage.close()
