# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The computer of a Go2 or G1 follows only valid commands, and reports the true state."""

import json
from typing import Any

import numpy as np
import pytest

from robot_sim import unitree_messages as messages
from robot_sim.driven import NS_PER_S
from robot_sim.errors import SimError
from robot_sim.rotation import yaw_rad
from robot_sim.unitree_host import BATTERY, LOW_STATE, SECONDARY_IMU, UnitreeHost
from robot_sim.unitree_state import MODELS, UnitreeFault
from testkit.wording import check_wording, refusal

from .unitree_robot import CHECK, RELEASE, SELECT, STAND_DOWN, Unitree

ROBOTS = pytest.mark.parametrize("robot", MODELS)

DISOBEYED: dict[str, list[tuple[dict[str, Any], str]]] = {
    "go2": [
        ({"crc": 1}, "wrong_crc"),
        ({"head": (0xFE, 0xEE)}, "wrong_head"),
        ({"motors_q": np.nan}, "unfit_command"),
        ({"motors_kp": -1.0}, "unfit_command"),
    ],
    "g1": [
        ({"crc": 1 << 31}, "wrong_crc"),
        ({"mode_machine": 6}, "wrong_mode_machine"),
        ({"mode_pr": 1}, "wrong_mode_pr"),
    ],
}
"""Changes of a command that are not obeyed, and the kind as which they are counted."""


@pytest.fixture
def released_go2() -> Unitree:
    """Return a lying Go2 whose own controller is released."""
    robot = Unitree(pose="lying")
    robot.release()
    robot.events.clear()
    return robot


def go2_of_faults(*texts: str) -> Unitree:
    return Unitree(faults=list(texts))


class TestState:
    @ROBOTS
    def test_it_is_published_500_times_per_second_with_the_time_in_ms(self, robot: str) -> None:
        unitree = Unitree(robot)
        ticks = []
        for _ in range(20):
            for topic, data in unitree.host.step():
                if topic == LOW_STATE:
                    state = messages.decode(f"{unitree.family}.LowState", data)
                    ticks.append(int(state["tick"]))
        assert ticks == list(range(2, 21, 2))

    @ROBOTS
    def test_it_shows_the_world_in_the_order_of_the_motors(self, robot: str) -> None:
        unitree = Unitree(robot)
        unitree.host.world.push([60.0, 40.0, 0.0], 0.1)
        state, truth = unitree.run(0.15), unitree.host.world.sense()
        names = unitree.host.model.motors
        places = [truth.joint_names.index(name) for name in names]
        motors = state["motor_state"][: len(names)]
        np.testing.assert_allclose(motors["q"], truth.joint_pos[places], rtol=1e-6)
        np.testing.assert_allclose(motors["dq"], truth.joint_vel[places], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(motors["tau_est"], truth.joint_effort[places], rtol=1e-5)
        assert (motors["mode"] == 1).all()
        assert not state["motor_state"][len(names) :].tobytes().strip(b"\0")
        imu = state["imu_state"]
        np.testing.assert_allclose(np.roll(imu["quaternion"], -1), truth.quat_xyzw, rtol=1e-5)
        np.testing.assert_allclose(imu["gyroscope"], truth.ang_vel_body, rtol=1e-5)
        np.testing.assert_allclose(imu["accelerometer"], truth.lin_acc_body, rtol=1e-4)
        assert imu["rpy"][0] == pytest.approx(2.0 * imu["quaternion"][1], abs=0.02)
        assert messages.crc(state) == int(state["crc"])

    def test_a_go2_has_head_feet_battery_and_remote(self) -> None:
        robot = Unitree()
        state, truth = robot.run(1.0), robot.host.world.sense()
        assert (*state["head"], int(state["level_flag"])) == (0xFE, 0xEF, 0xFF)
        names = robot.host.world.foot_names
        for force, foot in zip(state["foot_force"], ("FR", "FL", "RR", "RL"), strict=True):
            of_floor = truth.foot_force_world[names.index(f"{foot}_foot")]
            assert force == pytest.approx(np.linalg.norm(of_floor), abs=1.0)
        assert state["foot_force"].sum() == pytest.approx(15.2 * 9.81, rel=0.1)
        assert state["bms_state"]["soc"] == 85
        assert 20.0 < state["power_v"] < 35.0
        assert state["wireless_remote"].tobytes() == bytes(40)
        assert 20 < state["motor_state"]["temperature"][0] < 60

    def test_a_g1_has_its_machine_a_second_imu_and_a_battery_of_its_own(self) -> None:
        robot = Unitree("g1")
        state = robot.run(1.0)
        truth = robot.host.world.sense_body("torso_link")
        assert (int(state["mode_machine"]), int(state["mode_pr"])) == (5, 0)
        torso = messages.decode("hg.IMUState", robot.sent[SECONDARY_IMU])
        np.testing.assert_allclose(np.roll(torso["quaternion"], -1), truth[0], rtol=1e-5)
        np.testing.assert_allclose(torso["gyroscope"], truth[1], rtol=1e-5)
        np.testing.assert_allclose(torso["accelerometer"], truth[2], rtol=1e-5)
        assert messages.decode("hg.BmsState", robot.sent[BATTERY])["soc"] == 85


class TestItsOwnController:
    @pytest.mark.parametrize("name", ["ai", "mcf"])
    def test_it_holds_the_robot_standing_and_says_its_name(self, name: str) -> None:
        robot = Unitree(mode=name)
        robot.run(1.0)
        assert robot.height_m > 0.28
        assert json.loads(robot.ask(CHECK).data) == {"form": "0", "name": name}
        assert robot.happened == []

    @pytest.mark.slow
    def test_it_lies_down_stands_up_and_damps_when_asked(self) -> None:
        robot = Unitree()
        assert robot.ask(STAND_DOWN, service="sport").code == 0
        robot.run(3.0)
        assert robot.height_m < 0.12
        robot.ask(1004, service="sport")
        robot.run(3.0)
        assert robot.height_m > 0.28
        robot.ask(1001, service="sport")
        robot.run(2.0)
        assert robot.host.world.damped
        assert robot.height_m < 0.15
        assert robot.happened == ["standing_down", "standing_up", "damping"]

    def test_release_takes_a_moment_then_the_joints_are_limp(self) -> None:
        robot = Unitree()
        assert robot.ask(RELEASE).code == 0
        robot.run(0.2)
        assert json.loads(robot.ask(CHECK).data)["name"] == "ai"
        robot.run(0.2)
        assert json.loads(robot.ask(CHECK).data) == {"form": "0", "name": ""}
        state = robot.run(1.0)
        assert np.abs(state["motor_state"]["tau_est"]).max() == 0.0
        assert robot.height_m < 0.2
        assert robot.happened == ["mode_released"]

    def test_a_mode_that_is_selected_has_the_joints_and_stands_up(
        self, released_go2: Unitree
    ) -> None:
        assert released_go2.ask(SELECT, '{"name":"normal"}').code == 0
        assert json.loads(released_go2.ask(CHECK).data)["name"] == "normal"
        released_go2.send(released_go2.command())
        released_go2.run(3.0)
        assert released_go2.ignored == {"not_released": 1}
        assert released_go2.height_m > 0.28
        assert released_go2.happened == ["mode_selected", "standing_up"]

    @pytest.mark.parametrize(
        ("api", "parameter", "code"),
        [
            (SELECT, "no JSON", 7001),
            (SELECT, "{}", 7001),
            (SELECT, "[]", 7001),
            (SELECT, '{"name":"flying"}', 7004),
            (1099, "{}", 3203),
        ],
    )
    def test_what_cannot_be_done_has_a_code(self, api: int, parameter: str, code: int) -> None:
        robot = Unitree()
        assert robot.ask(api, parameter).code == code
        assert robot.ask(1099, service="sport").code == 3203
        assert robot.host.mode == "ai"


class TestCommands:
    def test_each_motor_has_its_own_place(self) -> None:
        for robot in MODELS:
            unitree = Unitree(robot, pose="lying")
            unitree.release()
            wanted = unitree.state()["motor_state"]["q"][: len(unitree.standing)].astype(float)
            for motor in range(len(wanted)):
                effort = np.zeros(len(messages.blank(f"{unitree.family}.LowCmd")["motor_cmd"]))
                effort[motor] = 1.0
                unitree.send(unitree.command(wanted, stiffness=0.0, damping=0.0, motors_tau=effort))
                state = unitree.run(0.002)
                assert np.flatnonzero(state["motor_state"]["tau_est"]).tolist() == [motor]

    def test_watchdog_damps_after_its_time_until_the_next_command(self) -> None:
        robot = Unitree(pose="lying", watchdog_s=0.1)
        robot.release()
        robot.run(0.5)
        robot.events.clear()
        robot.run(0.05, robot.command())
        began = robot.host.world.time_ns - 2_000_000
        robot.run(0.2)
        assert robot.host.world.damped
        assert robot.happened == ["following", "watchdog", "damped"]
        assert robot.events[1].time_ns - began == NS_PER_S // 10
        robot.run(0.01, robot.command())
        assert not robot.host.world.damped

    def test_a_motor_that_is_not_on_is_limp(self, released_go2: Unitree) -> None:
        modes = np.zeros(20)
        modes[:12] = 1
        modes[[2, 5]] = 0, 10
        state = released_go2.run(0.01, released_go2.command(motors_mode=modes))
        torque = np.abs(state["motor_state"]["tau_est"][:12])
        assert torque[[2, 5]].tolist() == [0.0, 0.0]
        assert (np.delete(torque, [2, 5]) > 0.0).all()
        assert released_go2.ignored == {"motor_mode": 5}

    @ROBOTS
    def test_what_it_does_not_obey_changes_nothing_and_is_counted_and_reported_once(
        self, robot: str
    ) -> None:
        unitree = Unitree(robot, pose="lying")
        unitree.release()
        for changes, kind in DISOBEYED[robot]:
            unitree.events.clear()
            before = unitree.ignored.get(kind, 0)
            for position in (0.0, 0.1, 0.2):
                pose = np.full_like(unitree.standing, position)
                unitree.send(unitree.command(pose, **changes))
            state = unitree.run(0.01)
            assert np.abs(state["motor_state"]["tau_est"]).max() == 0.0
            assert unitree.ignored[kind] == before + 3
            (event,) = unitree.events
            assert event.what == "ignored"
            check_wording(event.who)

    def test_commands_before_the_release_change_nothing(self) -> None:
        robot = Unitree()
        robot.run(0.1, robot.command(np.zeros(12)))
        assert robot.ignored == {"not_released": 50}
        assert robot.height_m > 0.28


class TestFaults:
    def test_buttons_and_sticks_of_the_remote(self) -> None:
        robot = go2_of_faults(
            "press:L2@0.01+0.01", "press:B@0.01+0.01", "stick:forward@0.01=0.5", "stick:left=0.25"
        )
        before = messages.remote_bytes(set(), {"lx": -0.25})
        pressed = messages.remote_bytes({"L2", "B"}, {"lx": -0.25, "ly": 0.5})
        assert robot.run(0.008)["wireless_remote"].tobytes() == before
        assert robot.run(0.008)["wireless_remote"].tobytes() == pressed
        robot.plan("off:remote", "press:A")
        assert robot.run(0.01)["wireless_remote"].tobytes() == bytes(40)

    def test_its_own_controller_comes_back(self) -> None:
        robot = go2_of_faults("returned:host@3.2")
        robot.release()
        robot.run(0.1, robot.command())
        robot.run(0.3)
        robot.run(0.1, robot.command())
        assert robot.host.mode == "ai"
        assert robot.ignored == {"not_released": 50}
        assert robot.happened[-2:] == ["mode_returned", "standing_up"]
        robot.ask(RELEASE)
        robot.run(0.4)
        assert robot.host.mode == ""

    def test_a_controller_that_does_not_go(self) -> None:
        robot = go2_of_faults("stubborn:host+1")
        assert robot.ask(RELEASE).code == 0
        robot.run(1.1)
        assert robot.host.mode == "ai"
        robot.ask(RELEASE)
        robot.run(0.4)
        assert robot.host.mode == ""

    def test_a_person_turns_it(self) -> None:
        robot = Unitree(pose="lying", faults=["turned:host@0.1"])
        robot.run(2.2)
        assert yaw_rad(robot.host.world.sense().quat_xyzw) == pytest.approx(np.pi / 2, abs=0.05)

    def test_after_a_restart_its_own_controller_stands_up_and_the_tick_begins_at_0(self) -> None:
        robot = go2_of_faults("restart:host@4+0.1")
        robot.release()
        robot.run(1.0, robot.command())
        robot.sent.clear()
        robot.run(0.3 + max(0.0, 4.0 - robot.host.world.time_ns / NS_PER_S))
        assert robot.host.mode == "ai"
        assert int(robot.state()["tick"]) < 2000
        assert robot.happened[-4:] == ["stopped", "damped", "started", "standing_up"]


@pytest.mark.parametrize(
    "text",
    ["explode:state", "press:Z", "crc:imu", "motors:state", "loss:state=1.5", "occupied:host"],
)
def test_bad_faults_are_refused_with_what_is_known(text: str) -> None:
    with refusal(SimError):
        UnitreeFault.parse(text)


@pytest.mark.parametrize(
    "options", [{"robot": "lite3"}, {"mode": "lazy"}, {"watchdog_s": -1.0}, {"pose": "flying"}]
)
def test_bad_parameter_is_refused(options: dict[str, Any]) -> None:
    with refusal(SimError):
        UnitreeHost(**{"robot": "go2", **options})


def test_humanoid_that_hangs_stays_upright_without_its_controller_until_it_is_let_down() -> None:
    robot = Unitree("g1", faults=["hung:host@0+1.5"])
    robot.ask(RELEASE)
    robot.run(1.5)
    assert robot.host.world.tilt_rad < 0.05
    assert not robot.host.mode
    robot.run(1.5)
    assert robot.host.world.tilt_rad > 1.0
