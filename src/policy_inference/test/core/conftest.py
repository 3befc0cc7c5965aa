# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A robot that walks already."""

import pytest

from .robots import Robot


@pytest.fixture
def robot() -> Robot:
    """A robot in RUN, blended in, with a target that differs from standing."""
    robot = Robot()
    robot.answer(0.2, 0.2, 0.2)
    return robot.run(20)
