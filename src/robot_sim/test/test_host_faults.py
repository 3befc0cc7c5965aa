# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Faults of the motion host and of the network do what they say, and no more."""

import pytest

from lite3_driver import wire
from robot_sim.errors import SimError
from robot_sim.figures import LITE3
from robot_sim.lite3_host import OTHER_CODE, Lite3Fault, Lite3FaultPlan, MotionHost
from robot_sim.world import World
from testkit.wording import refusal

MS = 1_000_000


def host_fault_plan(*texts: str, seed: int = 0) -> Lite3FaultPlan:
    return Lite3FaultPlan(Lite3Fault.parse_all(texts), seed=seed)


def carried(texts: list[str], count: int = 1000, *, seed: int = 0) -> list[tuple[int, int]]:
    """Send a numbered datagram per ms; return (ms of arrival, number) of what arrives."""
    network = host_fault_plan(*texts, seed=seed).command
    return [
        (ms, int(data))
        for ms in range(count + 50)
        for data, _ in network.carry([(str(ms).encode(), ("", 0))] if ms < count else [], ms * MS)
    ]


@pytest.fixture(scope="module")
def host_frame() -> bytes:
    frame = MotionHost(World()).step()
    assert frame is not None
    return frame


@pytest.mark.parametrize(
    "text",
    [
        "explode:state",
        "loss:imu=0.1",
        "silent:command",
        "loss:state",
        "loss:state=1.5",
        "delay:state=2",
        "restart:host=3",
        "loss",
    ],
)
def test_bad_texts_are_refused_with_what_is_known(text: str) -> None:
    with refusal(SimError):
        Lite3Fault.parse(text)


class TestNetwork:
    @pytest.mark.parametrize(
        ("fault", "count", "complete", "in_order"),
        [
            ("loss:command=0.2", 800, False, True),
            ("duplicate:command=0.3", 1300, True, True),
            ("reorder:command=0.3", 1000, True, False),
        ],
    )
    def test_datagrams_are_lost_doubled_or_overtaken_and_the_seed_repeats_it(
        self, fault: str, count: int, complete: bool, in_order: bool
    ) -> None:
        arrived = carried([fault])
        numbers = [number for _, number in arrived]
        assert len(numbers) == pytest.approx(count, abs=60)
        assert (set(numbers) == set(range(1000))) is complete
        assert (numbers == sorted(numbers)) is in_order
        assert carried([fault]) == arrived
        assert carried([fault], seed=1) != arrived

    def test_a_fault_of_one_direction_leaves_the_other_alone(self) -> None:
        assert carried(["loss:state=1", "silent:state"]) == carried([])

    def test_a_fault_begins_and_ends(self) -> None:
        numbers = [number for _, number in carried(["deaf:command@0.25+0.5"])]
        assert numbers == [*range(250), *range(750, 1000)]

    def test_delay_keeps_the_order_and_what_is_on_the_way_arrives_after_it_is_over(self) -> None:
        assert carried(["delay:command=0.02"]) == [(ms + 20, ms) for ms in range(1000)]
        arrived = carried(["delay:command+0.1=0.02"])
        assert sorted(number for _, number in arrived) == list(range(1000))
        assert {(119, 99), (100, 100)} <= set(arrived)


class TestFrames:
    def test_a_frame_of_wrong_length_is_a_byte_short(self, host_frame: bytes) -> None:
        assert host_fault_plan("length:state").spoil(host_frame, 0) == host_frame[:-1]

    def test_another_firmware_has_another_code(self, host_frame: bytes) -> None:
        spoilt = host_fault_plan("firmware:state@1").spoil(host_frame, 1000 * MS)
        assert wire.code_of(spoilt) == OTHER_CODE
        assert wire.read_state(spoilt) is wire.Oddity.CODE
        assert host_fault_plan("firmware:state@1").spoil(host_frame, 999 * MS) == host_frame

    def test_a_foreign_and_a_forged_frame_are_lies_that_look_newer(self, host_frame: bytes) -> None:
        true = wire.read_state(host_frame)
        assert isinstance(true, wire.Lite3State)
        forged = host_fault_plan("forged:state@0.5=5000")
        for lie, ahead in (
            (host_fault_plan("foreign:state").foreign(host_frame, 0), 1),
            (forged.forged(host_frame, 600 * MS), 5000),
        ):
            assert lie is not None
            told = wire.read_state(lie)
            assert isinstance(told, wire.Lite3State)
            assert told.tick >= true.tick + ahead
            assert told.joint_pos == pytest.approx(LITE3.standing_rad)
        assert host_fault_plan().foreign(host_frame, 0) is None
        assert forged.forged(host_frame, 400 * MS) is None


class TestHost:
    @staticmethod
    def run(host: MotionHost, faults: Lite3FaultPlan, seconds: float) -> list[bytes | None]:
        frames = []
        host.adopt(faults)
        for _ in range(round(seconds * 1000)):
            host.act()
            frames.append(host.step())
        return frames

    def test_a_restart_is_silence_then_tick_0(self) -> None:
        host = MotionHost(World())
        frames = self.run(host, host_fault_plan("restart:host@0.01+0.02"), 0.04)
        ticks = [
            state.tick if isinstance(state := wire.read_state(data), wire.Lite3State) else None
            for data in frames
            if data is not None
        ]
        assert [frame is None for frame in frames].count(True) == 20
        assert ticks == [*range(1, 11), *range(1, 11)]

    def test_what_has_begun_ends_with_the_plan(self) -> None:
        host = MotionHost(World())
        assert self.run(host, host_fault_plan("restart:host", "occupied:host"), 0.01) == [None] * 10
        host.adopt(host_fault_plan())
        assert host.step() is not None
        assert host.controller is None
