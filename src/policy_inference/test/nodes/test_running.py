# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What becomes of a running policy when something goes wrong around it."""

import pytest
from policy_inference.interfaces import Mode

from .harness import Robot, is_damp

pytestmark = pytest.mark.ros


def test_policy_runs_in_lockstep(lockstep: Robot) -> None:
    lockstep.runs()
    assert lockstep.tick().mode == Mode.RUN
