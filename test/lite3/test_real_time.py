# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Emulated host, driver, policy: processes that talk over UDP and DDS, in real time."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tools.robot_faults.lite3 import Lite3Stack

pytestmark = [pytest.mark.real_time, pytest.mark.ros]


def test_a_robot_under_the_driver_walks_and_every_way_out_damps_it_and_gives_it_back(
    tmp_path: Path,
) -> None:
    # A busy machine, too, may run this: how soon a loss is noticed is for other tests.
    driver, policy = {"state_timeout_s": 0.5}, {"command_valid_for_s": 0.5}
    with Lite3Stack(tmp_path, driver=driver, policy=policy) as robot:
        robot.walk(0.5, for_s=2.0)
        assert robot.phase == "FOLLOWING"

        began_ns = robot.kill(robot.policy.pid)
        robot.wait_until(lambda: robot.phase == "DAMPING", "the driver to damp")
        assert robot.driver_status is not None
        assert "expired" in robot.driver_status.reason
        robot.wait_until(lambda: bool(robot.events_since(began_ns)), "the drives to be damped")
        assert [event.event for event in robot.events_since(began_ns)] == ["damped"]

        released, message = robot.ask_driver("release_control")
        assert released, message
        assert robot.phase == "LISTENING"
        robot.driver.send(signal.SIGINT)
        assert robot.driver.wait() == 0
        happened = [event.event for event in robot.events()]
    assert robot.emulator.status == 0
    assert happened == ["folding", "control_taken", "following", "damped", "control_given_back"]
    trace = robot.trace()
    assert trace.pos_world[:, 0].max() > 0.3
    assert robot.details()["dropped"] == "0"
