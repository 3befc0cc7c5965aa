# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import tracemalloc

import pytest

from policy_core.interfaces import Mode
from testkit.kernel.arms import Arm, ramp
from testkit.kernel.memory import held_bytes

pytestmark = pytest.mark.both_cores

TICKS, ALLOWED_BYTES = 500, 3000
"""A few bytes per tick: a plan, its predecessor and integers take others' place."""


@pytest.mark.parametrize("mode", ["synchronous", "asynchronous", "ensemble"])
def test_executing_chunks_does_not_grow_memory(mode: str) -> None:
    arm = Arm(mode=mode, ensemble_coeff=0.01)
    arm.answer = lambda run: ramp(run % 7)
    arm.run().follow(200)
    tracemalloc.start()
    try:
        arm.follow(200)
        before = held_bytes()
        arm.follow(TICKS)
        grown = held_bytes() - before
    finally:
        tracemalloc.stop()
    assert arm.is_in(Mode.RUN)
    assert grown <= ALLOWED_BYTES
