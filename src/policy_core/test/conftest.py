# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A robot that walks already."""

import pytest

from testkit.kernel.robots import Robot


@pytest.fixture
def strider() -> Robot:
    """A robot in RUN, blended in, with a target that differs from standing."""
    robot = Robot()
    robot.answer(0.2, 0.2, 0.2)
    return robot.run(20)


@pytest.fixture
def idle() -> Robot:
    """A robot in DAMP that nothing was asked of."""
    return Robot()
