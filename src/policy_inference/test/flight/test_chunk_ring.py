# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the ring keeps of a chunk policy: results when they arrive, and no image."""

from __future__ import annotations

import numpy as np
import pytest

from policy_core.errors import BackendError
from policy_core.members.chunk.observation_sync import Snapshot
from policy_inference.flight.ring import FlightTick, Ring
from testkit.kernel.arms import MS, PERIOD_NS, Arm, ramp
from testkit.kernel.chunk_contracts import STEPS

LATENCY_S = 0.2


class RecordedArm(Arm):
    def __init__(self) -> None:
        super().__init__(simulated_latency_s=LATENCY_S)
        self.answer = ramp
        self.ring = Ring(self.controller.latest_tick, self.tap, 200)
        self.tap.show(self.ring)

    def recorded(self) -> FlightTick:
        self.now_ns += PERIOD_NS
        self.sense()
        sent = self.controller.tick(self.now_ns, self.now_ns + PERIOD_NS)
        seen = self.controller.latest_tick
        number = None if sent is None else self.ring.end
        seen.send(sent, number, stamp_ns=self.now_ns, duration_ns=MS)
        self.ring.record(seen, ())
        (tick,), _ = self.ring.copies(self.ring.end - 1, self.ring.end)
        return tick


@pytest.fixture
def flying_arm() -> RecordedArm:
    arm = RecordedArm()
    arm.run()
    return arm


def test_results_are_in_the_ticks_in_which_they_arrived(flying_arm: RecordedArm) -> None:
    asked, waiting, arrived = (flying_arm.recorded() for _ in range(3))
    assert [len(tick.moment.results) for tick in (asked, waiting, arrived)] == [0, 0, 1]
    (result,) = arrived.moment.results
    assert result.asked_ns == result.observation_ns == asked.moment.now_ns
    assert result.ended_ns - result.began_ns == round(LATENCY_S * 1e9)
    assert result.chunk is not None
    np.testing.assert_allclose(result.chunk, ramp(0)[0], atol=1e-7)
    assert result.chunk.shape == (STEPS, 3)
    np.testing.assert_array_equal(result.state, asked.state)
    assert result.error == ""
    assert waiting.target is None
    assert arrived.target is not None
    assert arrived.moment.policy_ns == arrived.moment.now_ns


def test_granted_requests_are_in_the_tick_that_follows_them() -> None:
    arm = RecordedArm()
    arm.recorded()
    arm.now_ns += 5 * MS
    arm.controller.stand()
    at_ns = arm.now_ns
    ticks = [arm.recorded() for _ in range(4)]
    assert [tick.moment.granted for tick in ticks] == [(("stand", at_ns),), (), (), ()]
    assert {tick.moment.policy_ns for tick in ticks} == {0}
    arm.controller.run()
    assert [name for name, _ in arm.recorded().moment.granted] == ["run"]


def test_the_reason_of_a_failed_inference_is_kept(flying_arm: RecordedArm) -> None:
    def fail() -> None:
        raise BackendError("removed")

    flying_arm.transformer.during_run = fail
    result = next(
        tick.moment.results[0] for _ in range(10) if (tick := flying_arm.recorded()).moment.results
    )
    assert result.chunk is None
    assert result.error.split(": ") == ["BackendError", "removed"]


def test_what_is_kept_of_a_result_has_no_image(flying_arm: RecordedArm) -> None:
    """Twenty seconds of images would take a gigabyte."""
    for _ in range(30):
        flying_arm.recorded()
    ticks, _ = flying_arm.ring.copies(0, flying_arm.ring.end)
    results = [result for tick in ticks for result in tick.moment.results]
    assert len(results) > 3
    arrays = [part for result in results for part in result if isinstance(part, np.ndarray)]
    assert {array.size for array in arrays} == {3, STEPS * 3}
    assert not any(isinstance(part, Snapshot) for result in results for part in result)
