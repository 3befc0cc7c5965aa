# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Faults of the motion host and the network have the stated effect and no other."""

import pytest

from lite3_driver import wire
from robot_sim.errors import SimError
from robot_sim.faults import Fault
from robot_sim.lite3_host import Lite3Fault, Lite3FaultPlan, MotionHost
from robot_sim.world import World
from testkit.wording import refusal

MS = 1_000_000


def host_fault_plan(*texts: str, seed: int = 0) -> Lite3FaultPlan:
    return Lite3FaultPlan(Lite3Fault.parse_all(texts), seed=seed)


def carried(texts: list[str], count: int = 1000, *, seed: int = 0) -> list[tuple[int, int]]:
    """Send a numbered datagram per ms; return (time in ms, number) for each that arrives."""
    network = host_fault_plan(*texts, seed=seed).command
    return [
        (ms, int(data))
        for ms in range(count + 50)
        for data, _ in network.carry([(str(ms).encode(), ("", 0))] if ms < count else [], ms * MS)
    ]


def test_faults_of_the_robot_keep_their_form() -> None:
    faults = Lite3Fault.parse_all(["push:left@5+0.1=100", "", "loss:state@1+2=0.2"])
    assert faults == [
        Lite3Fault(kind="push", target="left", start_s=5.0, duration_s=0.1, value=100.0),
        Lite3Fault(kind="loss", target="state", start_s=1.0, duration_s=2.0, value=0.2),
    ]
    assert [fault.kind for fault in Lite3FaultPlan(faults).robot.faults] == ["push"]


BAD = "explode:state loss:imu=0.1 silent:command loss:state loss:state=1.5 delay:state=2 loss"


@pytest.mark.parametrize("text", [*BAD.split(), "restart:host=3"])
def test_bad_texts_are_refused_with_what_is_known(text: str) -> None:
    with refusal(SimError):
        Lite3Fault.parse(text)


def test_a_robot_without_a_host_knows_no_such_faults() -> None:
    with refusal(SimError):
        Fault.parse("loss:state=0.1")


class TestNetwork:
    def test_without_faults_all_arrives_at_once_and_in_order(self) -> None:
        assert carried([]) == [(ms, ms) for ms in range(1000)]

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

    def test_another_controller_comes_and_goes(self) -> None:
        host = MotionHost(World())
        self.run(host, host_fault_plan("occupied:host@0.01+0.02"), 0.02)
        assert host.controller is not None
        self.run(host, host.plan, 0.02)
        assert host.controller is None

    def test_what_has_begun_ends_with_the_plan(self) -> None:
        host = MotionHost(World())
        assert self.run(host, host_fault_plan("restart:host", "occupied:host"), 0.01) == [None] * 10
        host.adopt(host_fault_plan())
        assert host.step() is not None
        assert host.controller is None
