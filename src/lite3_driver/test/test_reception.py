# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Only the configured host is believed, and only what is new."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lite3_driver import wire
from lite3_driver.figures import Lite3Settings
from lite3_driver.reception import Lite3Reception
from testkit.wording import check_wording

from .lockstep import HOST, LYING, MS, PORT, STANDING

SETTINGS = Lite3Settings(host_address=HOST)


def state_datagram(tick: int) -> bytes:
    return wire.write_state(LYING._replace(tick=tick, imu_stamp_ms=tick & 0xFFFF))


def counted_datagrams(reception: Lite3Reception) -> dict[str, int]:
    return {name: count for name, count in reception.counts.items() if count}


@pytest.mark.parametrize(
    ("ticks", "counts"),
    [
        # Over the end of the counter.
        ([2**32 - 2, 2**32 - 1, 0, 1], {"received": 4}),
        # Doubled and late frames are dropped, and lost ones counted.
        ([10, 11, 11, 14, 13, 15], {"received": 4, "old": 2, "missed": 2}),
        # One from the future does not make the others old.
        ([1, 2, 2**30, 3, 4], {"received": 4, "implausible": 1}),
        # A tick that stands still is no restart.
        ([7] * 1000, {"received": 1, "old": 999}),
    ],
)
def test_only_frames_whose_tick_rises_are_news(ticks: list[int], counts: dict[str, int]) -> None:
    reception = Lite3Reception(SETTINGS)
    for i, tick in enumerate(ticks):
        reception.receive(state_datagram(tick), (HOST, PORT), i * MS)
    assert counted_datagrams(reception) == counts
    assert reception.fresh(len(ticks) * MS) == (counts["received"] > 1)


def test_other_addresses_are_not_believed() -> None:
    reception = Lite3Reception(SETTINGS)
    assert reception.receive(state_datagram(1), ("10.0.0.2", PORT), 0) is None
    assert counted_datagrams(reception) == {"foreign": 1}
    assert not reception.fresh(0)


def test_another_port_of_the_host_is_believed_once_the_first_is_silent() -> None:
    reception = Lite3Reception(SETTINGS)
    reception.receive(state_datagram(1), (HOST, PORT), 0)
    assert reception.receive(state_datagram(2), (HOST, PORT + 1), 50 * MS) is None
    assert reception.receive(state_datagram(3), (HOST, PORT + 1), 101 * MS) is not None
    assert reception.receive(state_datagram(4), (HOST, PORT), 102 * MS) is None
    assert counted_datagrams(reception) == {"received": 2, "foreign": 2}


def test_a_host_that_restarts_is_believed_once_its_old_frames_are_stale() -> None:
    reception = Lite3Reception(SETTINGS)
    reception.receive(state_datagram(100_000), (HOST, PORT), 0)
    assert reception.receive(state_datagram(5), (HOST, PORT), 90 * MS) is None
    assert reception.receive(state_datagram(120), (HOST, PORT), 205 * MS) is not None


def test_a_robot_whose_imu_stands_still_is_not_seen() -> None:
    reception = Lite3Reception(SETTINGS)
    for tick in range(1000):
        data = state_datagram(tick)
        data = data[:16] + state_datagram(min(tick, 500))[16:]
        reception.receive(data, (HOST, PORT), tick * MS)
    assert counted_datagrams(reception) == {"received": 551, "frozen_imu": 449}
    assert not reception.fresh(1000 * MS)
    assert reception.receive(state_datagram(1001), (HOST, PORT), 1001 * MS) is not None


@pytest.mark.parametrize(
    "nonsense",
    [
        {"joint_pos": np.full(12, 3.4)},
        {"joint_vel": np.full(12, -53.0)},
        {"joint_effort": np.full(12, 110.0)},
        {"ang_vel": np.array([0.0, 0.0, 1e30])},
        {"lin_acc": np.array([0.0, 200.0, 0.0])},
        {"rpy": np.array([1e30, 0.0, 0.0])},
    ],
)
def test_what_no_robot_can_send_is_no_news_of_it(nonsense: dict[str, wire.F64]) -> None:
    reception = Lite3Reception(SETTINGS)
    odd = LYING._replace(tick=1, imu_stamp_ms=1, **nonsense)
    assert reception.receive(wire.write_state(odd), (HOST, PORT), 0) is None
    assert counted_datagrams(reception) == {"implausible": 1}
    check_wording(reception.silence(0))


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(0, 90))
def test_one_forged_tick_never_makes_the_hosts_own_frames_count_as_lost(
    ahead: int, at_ms: int
) -> None:
    reception = Lite3Reception(SETTINGS)
    for now_ms in range(100, 400):
        reception.receive(state_datagram(now_ms), (HOST, PORT), now_ms * MS)
        if now_ms == 200 + at_ms:
            reception.receive(state_datagram((now_ms + ahead) % 2**32), (HOST, PORT), now_ms * MS)
        assert reception.fresh(now_ms * MS)
        assert not reception.restarted
    assert reception.state is not None
    assert reception.state.tick == 399


@pytest.mark.parametrize("ahead", [51, 1000, 5000])
def test_a_forged_stream_with_ticks_that_cannot_have_come_is_never_believed(ahead: int) -> None:
    reception = Lite3Reception(SETTINGS)
    for now_ms in range(1000):
        forged = state_datagram(now_ms + ahead)
        assert reception.receive(state_datagram(now_ms), (HOST, PORT), now_ms * MS) is not None
        assert reception.receive(forged, (HOST, PORT), now_ms * MS) is None
    assert counted_datagrams(reception) == {"received": 1000, "implausible": 1000}
    check_wording(reception.silence(1000 * MS))


@pytest.mark.parametrize("ahead", [1, 2, 50])
def test_a_forged_stream_that_shows_legs_elsewhere_is_never_believed(ahead: int) -> None:
    reception = Lite3Reception(SETTINGS)
    for now_ms in range(2, 1000):
        lie = LYING._replace(tick=now_ms + ahead, imu_stamp_ms=now_ms, joint_pos=STANDING)
        assert reception.receive(state_datagram(now_ms), (HOST, PORT), now_ms * MS) is not None
        assert reception.receive(wire.write_state(lie), (HOST, PORT), now_ms * MS) is None
    check_wording(reception.silence(10**9))


@pytest.mark.parametrize("lost_ms", [2, 10, 60, 80])
def test_a_joint_at_its_rated_speed_is_seen_after_a_gap(lost_ms: int) -> None:
    reception = Lite3Reception(SETTINGS)
    moved = LYING.joint_pos + np.tile([0.0, 0.0262, -0.0173], 4) * lost_ms
    reception.receive(state_datagram(1), (HOST, PORT), 0)
    later = LYING._replace(tick=1 + lost_ms, imu_stamp_ms=2, joint_pos=moved)
    assert reception.receive(wire.write_state(later), (HOST, PORT), lost_ms * MS) is not None


def test_legs_that_stay_elsewhere_are_believed_before_the_state_is_lost() -> None:
    reception = Lite3Reception(SETTINGS)
    reception.receive(state_datagram(0), (HOST, PORT), 0)
    for now_ms in range(1, 101):
        state = LYING._replace(tick=now_ms, imu_stamp_ms=now_ms, joint_pos=STANDING)
        reception.receive(wire.write_state(state), (HOST, PORT), now_ms * MS)
        assert reception.fresh(now_ms * MS)
    assert reception.counts["received"] > 50


def test_a_burst_after_a_pause_of_the_network_is_believed() -> None:
    reception = Lite3Reception(SETTINGS)
    for tick in range(10):
        reception.receive(state_datagram(tick), (HOST, PORT), tick * MS)
    for tick in range(10, 90):
        assert reception.receive(state_datagram(tick), (HOST, PORT), 90 * MS) is not None
    assert counted_datagrams(reception) == {"received": 90}


def test_contact_forces_that_are_no_numbers_are_counted_and_lose_nothing_else() -> None:
    reception = Lite3Reception(SETTINGS)
    state = LYING._replace(tick=1, contact_force=np.full((4, 3), np.nan))
    assert reception.receive(wire.write_state(state), (HOST, PORT), 0) is not None
    assert counted_datagrams(reception) == {"received": 1, "contact_not_finite": 1}


def test_a_robot_that_is_driven_hard_is_seen() -> None:
    reception = Lite3Reception(SETTINGS)
    hard = LYING._replace(
        joint_vel=np.tile([26.0, -26.0, 17.0], 4),
        joint_effort=np.tile([24.0, -24.0, 36.0], 4),
        # A quick turn by hand, by a host that sends deg/s.
        ang_vel=np.array([0.0, 0.0, 180.0]),
        lin_acc=np.array([0.0, 80.0, 100.0]),
    )
    assert reception.receive(wire.write_state(hard), (HOST, PORT), 0) is not None


def test_degrees_become_radians_where_the_host_sends_those() -> None:
    reception = Lite3Reception(Lite3Settings(host_address=HOST, angular_velocity_unit="deg/s"))
    turning = wire.write_state(LYING._replace(ang_vel=np.array([0.0, 0.0, 90.0])))
    state = reception.receive(turning, (HOST, PORT), 0)
    assert state is not None
    assert state.ang_vel == pytest.approx([0.0, 0.0, np.pi / 2])


def test_codes_of_other_frames_are_kept_for_the_operator() -> None:
    reception = Lite3Reception(SETTINGS)
    for code in [0x0901, 0x0901, *range(0x1000, 0x1100)]:
        reception.receive(code.to_bytes(4, "little") + bytes(20), (HOST, PORT), 0)
    assert reception.other_codes[:2] == [0x0901, 0x1000]
    assert len(reception.other_codes) == 8
    assert counted_datagrams(reception) == {"other_code": 258}


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=60))
def test_whatever_the_network_does_believed_ticks_rise(arrivals: list[tuple[int, bool]]) -> None:
    reception = Lite3Reception(SETTINGS)
    states = [
        reception.receive(state_datagram(tick), (HOST, PORT if ours else 9), i * MS)
        for i, (tick, ours) in enumerate(arrivals)
    ]
    ticks = [state.tick for state in states if state is not None]
    assert ticks == sorted(set(ticks))
