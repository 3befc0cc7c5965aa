# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from .lockstep import RUN, Lockstep


@pytest.fixture
def scene() -> Lockstep:
    """A robot that follows a running policy."""
    made = Lockstep()
    made.in_control(RUN)
    return made
