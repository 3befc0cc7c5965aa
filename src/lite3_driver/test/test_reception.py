# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Only the configured host is believed, and only what is new."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lite3_driver import wire
from lite3_driver.interfaces import Settings
from lite3_driver.reception import Reception
from lite3_driver.wire import State

from .lockstep import HOST, LYING, MS, PORT

SETTINGS = Settings(host_address=HOST)


def frame(tick: int) -> bytes:
    return wire.write_state(LYING._replace(tick=tick, imu_stamp_ms=tick & 0xFFFF))


def received(reception: Reception) -> dict[str, int]:
    return {name: count for name, count in reception.counts.items() if count}


def test_ticks_rise_also_over_the_end_of_the_counter() -> None:
    reception = Reception(SETTINGS)

    for i, tick in enumerate([2**32 - 2, 2**32 - 1, 0, 1]):
        assert reception.receive(frame(tick), (HOST, PORT), i * MS) is not None

    assert received(reception) == {"received": 4}


def test_doubled_and_late_frames_are_dropped_and_lost_ones_counted() -> None:
    reception = Reception(SETTINGS)

    for i, tick in enumerate([10, 11, 11, 14, 13, 15]):
        reception.receive(frame(tick), (HOST, PORT), i * MS)

    assert received(reception) == {"received": 4, "old": 2, "missed": 2}


def test_other_addresses_are_not_believed() -> None:
    reception = Reception(SETTINGS)

    assert reception.receive(frame(1), ("10.0.0.2", PORT), 0) is None

    assert received(reception) == {"foreign": 1}
    assert not reception.fresh(0)


def test_another_port_of_the_host_is_believed_once_the_first_is_silent() -> None:
    reception = Reception(SETTINGS)
    reception.receive(frame(1), (HOST, PORT), 0)

    assert reception.receive(frame(2), (HOST, PORT + 1), 50 * MS) is None
    assert reception.receive(frame(3), (HOST, PORT + 1), 101 * MS) is not None
    assert reception.receive(frame(4), (HOST, PORT), 102 * MS) is None
    assert received(reception) == {"received": 2, "foreign": 2}


def test_a_host_that_restarts_is_believed_once_its_old_frames_are_stale() -> None:
    reception = Reception(SETTINGS)
    reception.receive(frame(100_000), (HOST, PORT), 0)

    assert reception.receive(frame(5), (HOST, PORT), 90 * MS) is None
    assert reception.receive(frame(120), (HOST, PORT), 205 * MS) is not None


def test_a_tick_that_stands_still_is_no_restart() -> None:
    reception = Reception(SETTINGS)

    for i in range(1000):
        reception.receive(frame(7), (HOST, PORT), i * MS)

    assert received(reception) == {"received": 1, "old": 999}
    assert not reception.fresh(1000 * MS)


def test_a_robot_whose_imu_stands_still_is_not_seen() -> None:
    reception = Reception(SETTINGS)

    for tick in range(1000):
        data = frame(tick)
        data = data[:16] + frame(min(tick, 500))[16:]
        reception.receive(data, (HOST, PORT), tick * MS)

    assert received(reception) == {"received": 551, "frozen_imu": 449}
    assert not reception.fresh(1000 * MS)
    assert reception.receive(frame(1001), (HOST, PORT), 1001 * MS) is not None


@pytest.mark.parametrize(("nonsense", "words"), [
    ({"joint_pos": np.full(12, 3.4)}, "the position of FL_HipX_joint is 3.4, expected -"),
    ({"joint_vel": np.full(12, -53.0)}, "the velocity of FL_HipX_joint is -53,"),
    ({"joint_effort": np.full(12, 110.0)}, "the torque of FL_HipX_joint is 110,"),
    ({"ang_vel": np.array([0.0, 0.0, 1e30])}, "the angular velocity of axis z is 1e+30,"),
    ({"lin_acc": np.array([0.0, 200.0, 0.0])}, "the acceleration of axis y is 200,"),
    ({"rpy": np.array([1e30, 0.0, 0.0])}, "the angle of axis x is 1e+30,"),
])  # fmt: skip
def test_what_no_robot_can_send_is_no_news_of_it(
        nonsense: dict[str, wire.F64], words: str) -> None:
    reception = Reception(SETTINGS)
    odd = LYING._replace(tick=1, imu_stamp_ms=1, **nonsense)

    assert reception.receive(wire.write_state(odd), (HOST, PORT), 0) is None

    assert received(reception) == {"implausible": 1}
    assert f"what comes counts as `implausible`: {words}" in reception.silence(0)


def test_one_frame_from_the_future_does_not_make_the_others_old() -> None:
    reception = Reception(SETTINGS)

    for i, tick in enumerate([1, 2, 2**30, 3, 4]):
        reception.receive(frame(tick), (HOST, PORT), i * MS)

    assert received(reception) == {"received": 4, "implausible": 1}


def test_a_robot_that_is_driven_hard_is_seen() -> None:
    reception = Reception(SETTINGS)
    hard = LYING._replace(
        joint_vel=np.tile([26.0, -26.0, 17.0], 4), joint_effort=np.tile([24.0, -24.0, 36.0], 4),
        # A quick turn by hand, by a host that sends deg/s.
        ang_vel=np.array([0.0, 0.0, 180.0]), lin_acc=np.array([0.0, 80.0, 100.0]))

    assert reception.receive(wire.write_state(hard), (HOST, PORT), 0) is not None


def test_degrees_become_radians_where_the_host_sends_those() -> None:
    reception = Reception(Settings(host_address=HOST, angular_velocity_unit="deg/s"))
    turning = wire.write_state(LYING._replace(ang_vel=np.array([0.0, 0.0, 90.0])))

    state = reception.receive(turning, (HOST, PORT), 0)

    assert state is not None
    assert state.ang_vel == pytest.approx([0.0, 0.0, np.pi / 2])


def test_codes_of_other_frames_are_kept_for_the_operator() -> None:
    reception = Reception(SETTINGS)

    for code in [0x0901, 0x0901, *range(0x1000, 0x1100)]:
        reception.receive(code.to_bytes(4, "little") + bytes(20), (HOST, PORT), 0)

    assert reception.other_codes[:2] == [0x0901, 0x1000]
    assert len(reception.other_codes) == 8
    assert received(reception) == {"other_code": 258}


heads = st.sampled_from([b"", frame(1)[:12], frame(1)[:20], wire.request(wire.FOLD)])
odd = st.one_of(
    st.builds(lambda head, tail: head + tail, heads, st.binary(max_size=400)),
    st.builds(lambda at, byte: frame(9)[:at] + byte + frame(9)[at + 1:],
              st.integers(0, wire.STATE_BYTES - 1), st.binary(min_size=1, max_size=1)),
)  # fmt: skip


@settings(deadline=None, derandomize=True)
@given(st.lists(odd, max_size=20))
def test_nothing_crashes_it_and_what_it_believes_is_finite(datagrams: list[bytes]) -> None:
    reception = Reception(SETTINGS)

    states = [reception.receive(data, (HOST, PORT), i * MS) for i, data in enumerate(datagrams)]

    seen = reception.counts
    assert sum(seen.values()) - seen["missed"] == len(datagrams)
    for state in filter(None, states):
        assert isinstance(state, State)
        assert all(np.isfinite(part).all() for part in state)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=60))
def test_whatever_the_network_does_believed_ticks_rise(arrivals: list[tuple[int, bool]]) -> None:
    reception = Reception(SETTINGS)

    states = [reception.receive(frame(tick), (HOST, PORT if ours else 9), i * MS)
              for i, (tick, ours) in enumerate(arrivals)]

    ticks = [state.tick for state in states if state is not None]
    assert ticks == sorted(set(ticks))
