# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_driver.interfaces import DriverPhase
from testkit.wording import check_wording
from unitree_driver.figures import G1, GO2, H1, H1_2, MODELS, UnitreeFigures, UnitreeSettings
from unitree_driver.reception import (
    PublisherNews,
    StateOddity,
    UnitreeReception,
    UnitreeState,
    read_battery,
    read_state,
)

from .lockstep import MS, Lockstep
from .messages import CHARGE, CURRENT_A, POWER_V, low_state


def unitree_state_of(model: UnitreeFigures, **changes: Any) -> UnitreeState:
    state = read_state(low_state(model, **changes), model)
    assert isinstance(state, UnitreeState), state
    return state


def oddity(model: UnitreeFigures, data: bytes) -> tuple[StateOddity, str]:
    """Return why bytes are no state, which is counted."""
    found, reception = read_state(data, model), UnitreeReception(model, UnitreeSettings())
    assert not isinstance(found, UnitreeState)
    assert reception.receive(data, ("/lowstate", 0), 0) is None
    assert reception.counts[found[0].value] == 1
    return found


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_joints_are_in_the_order_of_the_model(model: UnitreeFigures) -> None:
    expected = np.linspace(0.01, 0.3, len(model.slots))

    np.testing.assert_allclose(
        unitree_state_of(model, joint_pos=expected).joint_pos, expected, atol=1e-7
    )


def test_quaternion_has_w_last_and_vectors_are_those_of_the_body() -> None:
    state = unitree_state_of(GO2, yaw=0.4, imu__gyroscope=(0.1, -0.2, 0.3))

    np.testing.assert_allclose(state.quat_xyzw, [0.0, 0.0, np.sin(0.2), np.cos(0.2)], atol=1e-7)
    np.testing.assert_allclose(state.ang_vel, [0.1, -0.2, 0.3], atol=1e-7)
    np.testing.assert_allclose(state.lin_acc, [0.0, 0.0, 9.81], atol=1e-6)


def test_battery_is_in_percent_amperes_and_volts() -> None:
    battery = unitree_state_of(GO2).battery

    assert battery is not None
    assert battery == pytest.approx((CHARGE, CURRENT_A, POWER_V))


def test_hotter_one_of_casing_and_winding_is_the_temperature() -> None:
    temperature = np.full((35, 2), 30)
    temperature[3] = 40, 55
    temperature[29:] = 0

    assert unitree_state_of(G1, motors__temperature=temperature).temperature_c[3] == 55.0


@pytest.mark.parametrize("model", [H1, H1_2], ids=lambda model: model.name)
def test_imu_in_the_torso_is_turned_back_by_the_waist(model: UnitreeFigures) -> None:
    waist = model.figures.joint_names.index("torso_joint")
    joint_pos = np.where(np.arange(len(model.slots)) == waist, 0.5, 0.01)
    joint_vel = np.zeros(model.family.state.record["motors"].shape)
    joint_vel[model.slots[waist]] = 2.0

    state = unitree_state_of(
        model,
        joint_pos=joint_pos,
        yaw=0.8,  # of the torso, whose pelvis is at 0.3
        motors__dq=joint_vel,
        imu__gyroscope=(1.0, 0.0, 2.5),
        imu__accelerometer=(1.0, 0.0, 9.0),
    )

    np.testing.assert_allclose(state.quat_xyzw, [0, 0, np.sin(0.15), np.cos(0.15)], atol=1e-6)
    np.testing.assert_allclose(state.rpy, [0.0, 0.0, 0.3], atol=1e-6)
    turned = [np.cos(0.5), np.sin(0.5)]
    np.testing.assert_allclose(state.ang_vel, [*turned, 0.5], atol=1e-6)
    np.testing.assert_allclose(state.lin_acc, [*turned, 9.0], atol=1e-6)


@pytest.mark.parametrize("byte", [3, 100, 600, 1179])
def test_wrong_checksum_or_encoding_is_no_state(byte: int) -> None:
    data = bytearray(low_state(GO2))
    data[byte] ^= 1
    # A bit of the encapsulation's options says nothing.
    if byte == 3:
        assert isinstance(read_state(bytes(data), GO2), UnitreeState)
    else:
        assert oddity(GO2, bytes(data))[0] is StateOddity.CRC
    big_endian = b"\0\0" + low_state(GO2)[2:]
    assert oddity(GO2, big_endian)[0] is StateOddity.ENCODING


@pytest.mark.parametrize("size", [0, 4, 812, 1176, 1179, 1184])
def test_message_of_another_length_is_no_state(size: int) -> None:
    assert oddity(GO2, low_state(GO2).ljust(size, b"\0")[:size])[0] is StateOddity.LENGTH


ELEVEN = {
    "joint_pos": np.where(np.arange(12) < 11, -1.0, 0.0),
    "motors__temperature": np.where(np.arange(20) < 11, 30, 0),
}


@pytest.mark.parametrize(
    ("model", "changes", "found"),
    [
        *(
            (GO2, {"imu__quaternion": (length, 0.0, 0.0, 0.0)}, StateOddity.QUATERNION)
            for length in (0.0, 0.9, 1.1)
        ),
        (GO2, {"imu__quaternion": (0.0, 0.0, 0.0, 1.0)}, StateOddity.ANGLES),  # w is last
        *(
            (GO2, {field: np.nan}, StateOddity.NOT_FINITE)
            for field in ("motors__q", "imu__gyroscope", "imu__rpy", "motors__tau_est")
        ),
        (GO2, ELEVEN, StateOddity.MOTORS),
        *((G1, {"machine": machine}, StateOddity.MACHINE) for machine in (0, 1, 4, 6, 11)),
        (G1, {"mode_pr": 1}, StateOddity.LINKAGE),
    ],
)
def test_what_no_robot_of_the_model_says_is_no_state(
    model: UnitreeFigures, changes: dict[str, Any], found: StateOddity
) -> None:
    kind, why = oddity(model, low_state(model, **changes))

    assert kind is found
    check_wording(why)


@pytest.mark.parametrize(
    ("model", "other", "found"),
    [
        (GO2, G1, StateOddity.LENGTH),
        (G1, GO2, StateOddity.LENGTH),
        (H1, G1, StateOddity.LENGTH),
        (H1_2, GO2, StateOddity.LENGTH),
        (GO2, H1, StateOddity.MOTORS),
        (H1, GO2, StateOddity.MOTORS),
        (G1, H1_2, StateOddity.MOTORS),
        (H1_2, G1, StateOddity.MOTORS),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_state_of_another_robot_is_named(
    model: UnitreeFigures, other: UnitreeFigures, found: StateOddity
) -> None:
    kind, why = oddity(model, low_state(other))

    assert kind is found
    check_wording(why)


def test_no_state_names_what_to_check_or_which_robot_is_there_instead() -> None:
    scene = Lockstep()
    (nothing,) = scene.link.obstacles(0)
    scene.graph(PublisherNews((), ("unitree_hg/msg/LowState",), True))

    (other,) = scene.link.obstacles(scene.now_ns)

    check_wording(nothing, other)


def test_states_of_another_robot_damp_and_say_so(scene: Lockstep) -> None:
    scene.silent = True

    for _ in range(60):
        scene.receive(low_state(G1))
        scene.run(0.002)

    assert scene.damps
    assert "unitree_hg LowState" in scene.driver.reception.silence(scene.now_ns)


def test_stale_tick_is_no_new_state_and_damps(scene: Lockstep) -> None:
    scene.silent = True
    tick = scene.now_ms

    for _ in range(60):
        scene.receive(low_state(GO2, tick=tick, joint_pos=scene.robot.joint_pos))
        scene.run(0.002)

    assert scene.driver.reception.counts["old"] == 60
    assert scene.damps


def test_tick_that_falls_after_a_silence_is_a_restart_and_gives_control_back(
    scene: Lockstep,
) -> None:
    scene.silent = True
    scene.run(0.2)

    scene.receive(low_state(GO2, tick=5, joint_pos=scene.robot.joint_pos))
    scene.step()

    assert scene.phase() is DriverPhase.RELEASING
    assert "restarted" in scene.link.reason


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_robot_whose_imu_stands_still_is_not_seen(model: UnitreeFigures) -> None:
    reception = UnitreeReception(model, UnitreeSettings())
    frozen = {"imu__accelerometer": (0.1, 0.0, 9.8)}
    pose = 0.5 * (model.figures.lowest_rad + model.figures.highest_rad)

    def receive(now_ms: int, **imu: Any) -> UnitreeState | None:
        return reception.receive(
            low_state(model, tick=now_ms, joint_pos=pose, **imu), ("/lowstate", 0), now_ms * MS
        )

    assert all(receive(now_ms) is not None for now_ms in range(0, 100, 2))
    assert [receive(now_ms, **frozen) is None for now_ms in range(100, 300, 2)] == (
        [False] * 26 + [True] * 74
    )
    assert reception.instead == "`frozen_imu`"
    assert not reception.fresh(300 * MS)
    assert receive(302) is not None


def test_joint_that_jumps_is_no_state() -> None:
    scene = Lockstep()
    scene.run(0.1)
    moved = np.where(np.arange(12) == 1, 2.0, scene.robot.joint_pos)

    assert scene.receive(low_state(GO2, tick=scene.now_ms + 1, joint_pos=moved)) is None
    assert "FR_thigh_joint jumps" in scene.driver.reception.instead


def test_tick_goes_on_at_its_end() -> None:
    scene = Lockstep()
    last = 2**32 - 1
    pose = scene.robot.joint_pos

    assert scene.receive(low_state(GO2, tick=last, joint_pos=pose)) is not None
    scene.now_ms += 2
    assert scene.receive(low_state(GO2, tick=last + 2, joint_pos=pose)) is not None
    assert not scene.driver.reception.restarted


@pytest.mark.parametrize("factor", [180.0 / np.pi, 1.0])
def test_turn_shows_the_unit_of_the_angular_velocity(factor: float) -> None:
    scene = Lockstep(remote_required=False)
    rate = 0.8
    for i in range(1000):
        scene.now_ms += 2
        scene.receive(
            low_state(
                GO2,
                tick=scene.now_ms,
                joint_pos=scene.robot.joint_pos,
                yaw=rate * 0.002 * i,
                imu__gyroscope=(0.0, 0.0, rate * factor),
            )
        )

    obstacles = scene.link.obstacles(scene.now_ms * MS)

    assert any("rad/s" in text for text in obstacles) == (factor != 1.0)
    assert bool(scene.driver.fault()) == (factor != 1.0)


@pytest.mark.real_data
def test_recorded_states_are_those_of_their_robots(shared_data: Path) -> None:
    folder = shared_data / "unitree" / "golden"
    go2 = read_state((folder / "go_lowstate_stand.bin").read_bytes(), GO2)
    g1 = read_state((folder / "hg_lowstate_fault.bin").read_bytes(), G1)
    battery = read_battery((folder / "hg_bmsstate.bin").read_bytes())

    assert isinstance(go2, UnitreeState)
    np.testing.assert_allclose(go2.joint_pos[:3], [-0.1, 0.8, -1.5], atol=1e-6)
    assert isinstance(g1, UnitreeState)
    assert g1.machine == 5
    assert g1.motor_errors[3] == 0x40000000
    assert g1.remote.holds("L2", "B")
    assert battery is not None
    assert battery == pytest.approx((76.0, -3.1, 52.0))


@pytest.mark.parametrize("size", [0, 4, 167])
def test_battery_that_is_cut_off_is_none(size: int) -> None:
    assert read_battery((b"\0\1\0\0" + bytes(164))[:size]) is None
