# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Any datagram is a frame or counts as a fault; what is believed is finite and plausible."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lite3_driver import wire
from lite3_driver.figures import Lite3Settings
from lite3_driver.reception import Lite3Reception
from lite3_driver.wire import Oddity
from testkit.fuzzing import bounded, changed_bytes, examples

from .lockstep import HOST, LYING, MS, PORT, STANDING

pytestmark = pytest.mark.fuzz
FRAMES = (
    wire.write_state(LYING._replace(tick=5, imu_stamp_ms=5)),
    wire.write_state(LYING._replace(tick=6, imu_stamp_ms=6, joint_pos=STANDING)),
    wire.damping_command(5.0),
    wire.request(wire.TAKE_CONTROL),
)
datagrams = changed_bytes(*FRAMES) | st.binary(max_size=400)


@given(datagrams)
@examples(10)
def test_any_datagram_is_read_or_refused_with_what_is_wrong(data: bytes) -> None:
    with bounded():
        state, command = wire.read_state(data), wire.read_command(data)
        wire.read_request(data)
        wire.read_code(data)
    assert command is None or command.shape == (12, 5)
    if not isinstance(state, Oddity):
        assert all(np.isfinite(values).all() for values in state[2:8])


@given(st.lists(st.tuples(datagrams, st.integers(0, 20)), max_size=20))
@examples(4)
def test_no_stream_of_datagrams_stops_the_driver_or_shows_it_what_no_robot_does(
    said: list[tuple[bytes, int]],
) -> None:
    reception, now_ms = Lite3Reception(Lite3Settings(host_address=HOST)), 0
    with bounded():
        for data, after_ms in said:
            now_ms += after_ms
            reception.receive(data, (HOST, PORT), now_ms * MS)
            reception.fresh(now_ms * MS)
            reception.silence(now_ms * MS)
    seen = reception.counts
    assert sum(seen.values()) - seen["missed"] - seen["contact_not_finite"] == len(said)
    if reception.state is not None:
        assert all(np.isfinite(values).all() for values in reception.state[2:8])
        assert np.abs(reception.state.joint_pos).max() < 4.0
