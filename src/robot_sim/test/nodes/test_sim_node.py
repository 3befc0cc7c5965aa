# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The simulated robot on its topics, in lockstep and in real time."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import rclpy
from grid_map_msgs.msg import GridMap
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_srvs.srv import Trigger

from policy_inference.messages.camera import read_depth
from policy_inference.messages.elevation import read_elevation
from robot_sim.arm_figures import SO101
from robot_sim.errors import SimError
from robot_sim.figures import LITE3
from robot_sim.trace import Trace
from testkit.ros_time import ns
from testkit.wording import check_wording, lines_with, refusal

from .harness import DEADLINE_S, PERIOD_NS, Stage, stamps_ns

pytestmark = pytest.mark.ros
MS = 1_000_000


class TestLockstep:
    def test_time_stands_still_until_a_command_of_its_time_comes(self, sim_stage: Stage) -> None:
        sim_stage.run(lockstep=True)
        sim_stage.until(lambda: len(sim_stage.times_ns) >= 4, "time to be repeated")
        assert set(sim_stage.times_ns) == {0}
        assert set(stamps_ns(sim_stage.joint_states)) == {0}
        sim_stage.ticks(2)
        shown = len(sim_stage.times_ns)
        sim_stage.command(PERIOD_NS)
        sim_stage.until(lambda: len(sim_stage.times_ns) >= shown + 2, "time to be repeated")
        assert sim_stage.times_ns[-1] == 2 * PERIOD_NS
        sim_stage.command(2 * PERIOD_NS)
        sim_stage.shows(3 * PERIOD_NS)

    def test_time_passes_no_faster_than_asked_for(self, sim_stage: Stage) -> None:
        sim_stage.run(lockstep=True, lockstep_speed=0.5)
        sim_stage.ticks(1)
        began_s = time.monotonic()
        sim_stage.ticks(10, first=1)
        assert time.monotonic() - began_s > 9 * 0.04

    def test_sensors_carry_the_time_that_follows_them(self, sim_stage: Stage) -> None:
        sim_stage.run(lockstep=True)
        sim_stage.ticks(5)
        stage = sim_stage
        for messages in (stage.joint_states, stage.imus, stage.odometry, stage.contacts):
            assert sorted(set(stamps_ns(messages))) == [i * PERIOD_NS for i in range(6)]

    def test_sensors_show_the_world_of_their_time(self, sim_stage: Stage) -> None:
        sim_stage.run(lockstep=True)
        sim_stage.ticks(10)
        world = sim_stage.node.world.sense()
        (last,) = [m for m in sim_stage.joint_states if ns(m.header.stamp) == 10 * PERIOD_NS][-1:]
        assert list(last.position) == world.joint_pos.tolist()

    def test_silence_of_two_seconds_damps_and_time_goes_on_until_a_command_comes(
        self, sim_stage: Stage
    ) -> None:
        node = sim_stage.run(lockstep=True)
        sim_stage.ticks(3, valid_for_ns=60_000 * MS)
        assert not node.world.damped
        sim_stage.until(lambda: sim_stage.times_ns[-1] > 4 * PERIOD_NS, "time without commands")
        assert node.world.damped
        check_wording(*lines_with(sim_stage.log, "command"))

        def answers() -> bool:
            sim_stage.command(sim_stage.times_ns[-1])
            return not node.world.damped

        sim_stage.until(answers, "drives that follow again")

    def test_service_puts_a_fallen_robot_down_and_time_goes_on(self, sim_stage: Stage) -> None:
        node = sim_stage.run(lockstep=True, faults=["push:left+0.3=900"])
        sim_stage.ticks(60)
        assert not node.world.upright
        client = sim_stage.listener.create_client(Trigger, "sim_node/set_upright")
        answer = client.call_async(Trigger.Request())
        sim_stage.until(answer.done, "an answer")
        assert answer.result().success
        sim_stage.ticks(1, first=60)
        assert node.world.tilt_rad < 0.1

    def test_node_ends_after_its_duration_and_leaves_a_trace(
        self, sim_stage: Stage, tmp_path: Path
    ) -> None:
        node = sim_stage.run(lockstep=True, duration_s=0.1, trace_file=str(tmp_path / "walk.npz"))
        for tick in range(5):
            sim_stage.shows(tick * PERIOD_NS)
            sim_stage.command(tick * PERIOD_NS)
        sim_stage.ends()
        node.save()
        trace = Trace.load(tmp_path / "walk.npz")
        np.testing.assert_allclose(trace.time_s, np.arange(5) * 0.02)
        assert np.isnan(trace.target[0]).all()
        np.testing.assert_array_equal(trace.target[1], LITE3.standing_rad)

    def test_a_depth_camera_shows_its_images_and_how_it_measures(self, sim_stage: Stage) -> None:
        images, infos = list[Image](), list[CameraInfo]()
        given = {"depth_camera": True, "depth_height": 6, "depth_width": 10}
        node = sim_stage.make(lockstep=True, faults=["covered:depth_camera@0.15"], **given)
        listener = sim_stage.listener
        listener.create_subscription(Image, "depth_camera/image", images.append, 10)
        listener.create_subscription(CameraInfo, "depth_camera/camera_info", infos.append, 10)
        heard = ("depth_camera/image", "depth_camera/camera_info")
        sim_stage.until(lambda: all(map(node.count_subscribers, heard)), "listeners")
        sim_stage.begin()
        sim_stage.ticks(12)
        sim_stage.until(lambda: len(images) >= 2 and infos, "images")
        depths = [read_depth(each, (6, 10)) for each in (images[0], images[-1])]
        assert np.isfinite(depths[0]).any()
        assert np.isnan(depths[1]).all()
        assert (infos[0].height, infos[0].k[2], infos[0].k[5]) == (6, 4.5, 2.5)

    def test_a_mapper_shows_the_terrain_until_a_fault_silences_it(self, sim_stage: Stage) -> None:
        maps = list[GridMap]()
        faults = ["drop:elevation_map@0.5", "bias:odom.position@0.5=0.3"]
        terrain = {"elevation_map": True, "terrain": "stairs", "step_m": 0.1}
        node = sim_stage.make(lockstep=True, faults=faults, **terrain)
        sim_stage.listener.create_subscription(GridMap, "elevation_map", maps.append, 10)
        sim_stage.until(lambda: node.count_subscribers("elevation_map"), "a listener")
        sim_stage.begin()
        sim_stage.ticks(40)
        sim_stage.until(lambda: len(maps) >= 4, "maps")
        assert {ns(each.header.stamp) % (100 * MS) for each in maps} == {0}
        assert max(ns(each.header.stamp) for each in maps) < 500 * MS
        assert np.ptp(read_elevation(maps[-1], "elevation").heights) == pytest.approx(0.5)


class TestCommands:
    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"names": LITE3.joint_names[:-1]}, "HR_Knee_joint"),
            ({"stiffness": [float("nan")] * 12}, "stiffness"),
        ],
        ids=["missing", "nan"],
    )
    def test_bad_command_is_refused_and_the_one_before_holds_until_it_expires(
        self, sim_stage: Stage, changes: dict[str, object], said: str
    ) -> None:
        node = sim_stage.run(lockstep=True)
        sim_stage.ticks(2, valid_for_ns=50 * MS)
        sim_stage.ticks(1, first=2, **changes)
        assert not node.world.damped
        assert any(said in line for line in lines_with(sim_stage.log, "refused"))
        sim_stage.ticks(2, first=3, **changes)
        assert node.world.damped


class TestFaults:
    def test_faults_can_be_switched_while_it_runs(self, sim_stage: Stage) -> None:
        sim_stage.run(lockstep=True)
        sim_stage.ticks(2)
        assert sim_stage.set("faults", ["drop:imu"]) == ""
        silent_from = len(sim_stage.imus)
        sim_stage.ticks(3, first=2)
        assert len(sim_stage.imus) - silent_from <= 1
        assert sim_stage.joint_states[-1].header.stamp == sim_stage.odometry[-1].header.stamp
        assert sim_stage.set("faults", [""]) == ""
        sim_stage.ticks(2, first=5)
        assert stamps_ns(sim_stage.imus)[-1] == 7 * PERIOD_NS

    def test_unknown_fault_is_refused_and_the_plan_stays(self, sim_stage: Stage) -> None:
        sim_stage.run(lockstep=True, faults=["drop:imu"])
        sim_stage.ticks(1)
        check_wording(sim_stage.set("faults", ["melt:imu"]))
        sim_stage.ticks(2, first=1)
        assert sim_stage.imus == []

    def test_a_fault_that_is_refused_leaves_the_mapper_as_it_was(self, sim_stage: Stage) -> None:
        maps = list[GridMap]()
        node = sim_stage.make(lockstep=True, elevation_map=True)
        sim_stage.listener.create_subscription(GridMap, "elevation_map", maps.append, 10)
        sim_stage.until(lambda: node.count_subscribers("elevation_map"), "a listener")
        sim_stage.begin()
        sim_stage.ticks(1)
        assert sim_stage.set("faults", ["drop:elevation_map", "melt:imu"])
        maps.clear()
        sim_stage.ticks(10, first=1)
        sim_stage.until(lambda: maps, "maps")

    def test_a_fault_of_a_camera_that_is_off_is_refused(self, sim_stage: Stage) -> None:
        sim_stage.run(lockstep=True)
        sim_stage.ticks(1)
        check_wording(sim_stage.set("faults", ["covered:depth_camera"]))


class TestRealTime:
    @pytest.mark.parametrize(
        ("options", "joints_ns", "imu_ns"),
        [
            ({}, 2 * MS, 5 * MS),
            ({"joint_state_rate_hz": 250.0, "imu_rate_hz": 100.0}, 4 * MS, 10 * MS),
        ],
        ids=["own rates", "chosen"],
    )
    def test_each_sensor_comes_at_its_rate_and_there_is_no_simulated_time(
        self, sim_stage: Stage, options: dict[str, float], joints_ns: int, imu_ns: int
    ) -> None:
        sim_stage.run(**options)
        sim_stage.until(lambda: len(sim_stage.contacts) >= 20, "contact forces")
        for messages, period_ns in (
            (sim_stage.joint_states, joints_ns),
            (sim_stage.imus, imu_ns),
            (sim_stage.contacts, 10 * MS),
            (sim_stage.odometry, 10 * MS),
        ):
            steps_ns = [b - a for a, b in pairwise(stamps_ns(messages))]
            # If the machine is too slow for real time, some stamps jump when the clock is reset.
            assert np.median(steps_ns) == pytest.approx(period_ns, abs=1)
            assert min(steps_ns) >= period_ns - 1
        assert sim_stage.listener.count_publishers("/clock") == 0

    def test_drives_follow_a_command_until_it_expires(self, sim_stage: Stage) -> None:
        node = sim_stage.run()
        sim_stage.until(lambda: sim_stage.contacts, "contact forces")
        assert node.world.damped
        sim_stage.command(0, valid_for_ns=200 * MS)
        sim_stage.until(lambda: not node.world.damped, "drives that follow")
        sim_stage.until(lambda: node.world.damped, "drives that damp")


@pytest.mark.parametrize(
    "parameters",
    [{"period_s": 0.0031}, {"imu_rate_hz": 300.0}, {"trace_file": "/not/there/walk.npz"}],
    ids=str,
)
def test_bad_parameter_is_refused(sim_stage: Stage, parameters: dict[str, object]) -> None:
    with refusal(SimError):
        sim_stage.make(**parameters)


def test_a_lite3_with_an_arm_publishes_its_joints_and_its_cameras(sim_stage: Stage) -> None:
    images = list[Image]()
    sim_stage.run(lockstep=True, arm=True)
    sim_stage.listener.create_subscription(Image, "front/image_raw", images.append, 10)
    sim_stage.until(lambda: images and sim_stage.joint_states, "joints and an image")
    assert [*sim_stage.joint_states[0].name] == [*LITE3.joint_names, *SO101.joint_names]
    assert (images[0].height, images[0].width) == (96, 128)
    assert set(stamps_ns(images)) == {0}


def block() -> None:
    """Block all signals, as the parent process may have done."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def start_sim_node(
    *parameters: str, before: Callable[[], None] | None = None
) -> subprocess.Popen[str]:
    words = [word for parameter in parameters for word in ("-p", parameter)]
    return subprocess.Popen(
        ["sim_node", "--ros-args", *words],
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=before,
    )


def test_bad_parameters_end_with_status_2_and_one_clear_line() -> None:
    process = start_sim_node("pose:=flying")
    output, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 2, output
    check_wording(output)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "before"), [(signal.SIGINT, None), (signal.SIGTERM, block)])
def test_signal_ends_it_and_the_trace_is_written(
    tmp_path: Path, number: signal.Signals, before: Callable[[], None] | None
) -> None:
    process = start_sim_node(f"trace_file:={tmp_path / 'walk.npz'}", before=before)
    rclpy.init(args=[])
    node, heard = Node("listener"), list[JointState]()
    node.create_subscription(JointState, "joint_states", heard.append, 1)
    while process.poll() is None and len(heard) < 20:
        rclpy.spin_once(node, timeout_sec=DEADLINE_S)
    process.send_signal(number)
    output, _ = process.communicate(timeout=DEADLINE_S)
    node.destroy_node()
    rclpy.shutdown()
    assert process.returncode == 0, output
    assert "Traceback" not in output
    assert len(Trace.load(tmp_path / "walk.npz").time_s) > 0


def test_what_is_no_argument_of_ros_is_refused() -> None:
    refused = subprocess.run(["sim_node", "lockstep"], capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2
    assert "unrecognized" in refused.stderr
