# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A shadow beside a node's policy: compared and reported; whatever it does, no command changes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from policy_msgs.srv import LoadBundle
from rclpy.lifecycle import TransitionCallbackReturn
from rosbags.highlevel import AnyReader
from std_srvs.srv import SetBool

from policy_inference.flight.message_types import message_types
from policy_inference.nodes.joint_policy_node import JointPolicyNode
from policy_inference.testing.process import children

from .bundles import CONTRACT, JOINTS, RATE_HZ, write_version
from .harness import Robot, Stage
from .shadows import FAULTS, MISCHIEF, assert_commands_stay, register_faulty, settled

pytestmark = pytest.mark.ros
TICKS = 30


@pytest.fixture(autouse=True)
def backends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the backend of these tests."""
    register_faulty(tmp_path / "site", monkeypatch)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle with golden rows."""
    return write_version(tmp_path / "two_joints", "1.2.3")


@pytest.fixture
def double(tmp_path: Path) -> Path:
    """A bundle of the same robot whose actions are twice as large."""
    terms = [{**CONTRACT["action"]["terms"][0], "scale": 0.2}]
    return write_version(tmp_path / "double", "2.0.0", {"action.terms": terms})


def walk(robot: Robot, ticks: int = TICKS, each: Callable[[int], None] = lambda _: None) -> None:
    """Tick with sensor values that change."""
    for number in range(ticks):
        robot.position = [0.2 + 0.1 * math.sin(number), -0.2 + 0.05 * math.cos(number)]
        robot.velocity = [0.3 * math.cos(number), 0.1]
        robot.ang_vel = 0.2 * math.sin(0.7 * number)
        each(number)
        robot.tick()


class TestShadow:
    def test_twice_the_scale_is_a_distance_in_rad_and_in_steps(
        self, active: Callable[..., JointPolicyNode], robot: Robot, double: Path
    ) -> None:
        active(use_sim_time=True, shadow_bundle=str(double))
        robot.runs()
        walk(robot)

        found = settled(robot)

        assert found.bundle_name == "two_joints"
        assert (found.bundle_version, found.bundle, found.mode) == (
            "2.0.0",
            str(double),
            "followed",
        )
        assert found.compared
        assert (found.failed, found.not_finite, found.beyond_limits) == (0, 0, 0)
        assert list(found.joints) == list(JOINTS)
        assert all(
            0.0 < a <= b <= c for a, b, c in zip(found.mean, found.rms, found.max, strict=True)
        )
        np.testing.assert_allclose(found.max_steps, np.array(found.max) / 10.0)
        values = {entry.key: entry.value for entry in robot.diagnostics[-1].status[0].values}
        assert values["shadow.ticks_compared"] == str(found.compared)
        assert values["shadow.rms_largest"] == f"{max(found.rms):.6f}"
        differences = values["shadow.contract_differences"].split("; ")
        assert [one.partition(":")[0] for one in differences] == ["action.scale"]
        assert float(values["shadow.gain_error_largest"]) > 0.0

    @pytest.mark.parametrize("mode", ["followed", "free"])
    def test_same_bundle_on_another_backend_does_not_diverge(
        self,
        active: Callable[..., JointPolicyNode],
        robot: Robot,
        bundle: Path,
        tmp_path: Path,
        mode: str,
    ) -> None:
        active(
            use_sim_time=True,
            shadow_bundle=str(bundle),
            shadow_backend="faulty",
            shadow_mode=mode,
            backend_options=f"faulty.fault={tmp_path / 'fault'}",
        )
        robot.runs()
        walk(robot)

        found = settled(robot)

        assert (found.backend, found.mode) == ("faulty", mode)
        assert found.compared
        # A tick in which a free shadow is late has no target of its own, which it remembers.
        is_late = bool(found.skipped or found.lost)
        assert list(found.max) == [0.0, 0.0] or (mode == "free" and is_late)

    def test_without_a_shadow_the_status_has_none(self, lockstep: Robot) -> None:
        lockstep.tick()
        assert not lockstep.reported(lambda status: status.ticks, "a status").shadow

    def test_recording_has_what_the_shadow_made_of_each_tick(
        self, active: Callable[..., JointPolicyNode], robot: Robot, double: Path, tmp_path: Path
    ) -> None:
        node = active(
            use_sim_time=True,
            shadow_bundle=str(double),
            flight__folder=str(tmp_path / "flights"),
            flight__min_free_mb=0.0,
        )
        robot.is_met()
        answer = robot.call(SetBool, "joint_policy_node/record_run", SetBool.Request(data=True))
        assert answer.success, answer.message
        robot.runs()
        walk(robot)
        found = settled(robot)
        node.trigger_deactivate()

        (folder,) = (tmp_path / "flights").glob("*-run")
        with AnyReader([folder], default_typestore=message_types()) as reader:
            read: list[tuple[str, Any]] = [
                (connection.topic, reader.deserialize(data, connection.msgtype))
                for connection, _, data in reader.messages()
            ]
        ticks = {m.tick: m for topic, m in read if topic == "/policy_tick"}
        shadows = [m for topic, m in read if topic == "/shadow_tick"]
        (info,) = [m for topic, m in read if topic == "/flight_info"]
        ran = [number for number, tick in ticks.items() if tick.outputs and len(tick.target)]
        assert sorted(m.tick for m in shadows) == sorted(ran)
        compared = [m for m in shadows if m.outcome == m.COMPARED]
        assert len(compared) == found.compared
        for message in compared:
            (output,) = ticks[message.tick].outputs
            raw = np.frombuffer(output.data.tobytes(), np.float32).astype(np.float64)
            np.testing.assert_array_equal(
                message.active_target, 0.1 * raw + CONTRACT["stand"]["position"]
            )
        distance = np.abs([m.target - m.active_target for m in compared])
        np.testing.assert_array_equal(distance.max(axis=0), found.max)
        settings = {entry.key: entry.value for entry in info.settings}
        assert settings["shadow.bundle_sha256"] == found.bundle_sha256
        assert settings["parameter.shadow_mode"] == "followed"


@pytest.mark.parametrize(("fault", "reason"), [*FAULTS, *MISCHIEF])
def test_commands_are_bit_for_bit_those_without_a_shadow(
    stage: Stage, bundle: Path, tmp_path: Path, fault: str, reason: str
) -> None:
    robot = stage.robot

    def begin() -> None:
        robot.position, robot.velocity, robot.ang_vel = robot.stand, (0.0, 0.0), 0.0
        robot.tick()

    assert_commands_stay(
        stage, bundle, tmp_path, begin, partial(walk, robot), fault=fault, reason=reason
    )


def test_shadow_can_take_no_priority_and_goes_first_where_memory_runs_out(
    active: Callable[..., JointPolicyNode], bundle: Path
) -> None:
    before = children()
    active(use_sim_time=True, shadow_bundle=str(bundle))
    (process,) = children() - before
    place = Path(f"/proc/{process}")
    limits = (place / "limits").read_text("ascii")
    for name in ("Max realtime priority", "Max nice priority"):
        assert re.search(rf"{name} +0 +0 ", limits), limits
    assert (place / "oom_score_adj").read_text("ascii") == "1000\n"


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"rate_hz": 2 * RATE_HZ}, "rate_hz: expected 50, as the active policy has it"),
            (
                {"joints.robot_names": {"left": "third"}},
                "joints.names: expected left, right, as the active policy has it, found right, t",
            ),
        ],
    )
    def test_node_is_not_configured_with_a_bundle_that_cannot_be_compared(
        self,
        stage: Stage,
        bundle: Path,
        tmp_path: Path,
        changes: Mapping[str, object],
        reason: str,
    ) -> None:
        other = write_version(tmp_path / "other", "3.0.0", changes)
        node = stage.node(bundle=str(bundle), shadow_bundle=str(other))

        assert node.trigger_configure() is TransitionCallbackReturn.FAILURE

        assert reason in stage.robot.hears(reason)

    def test_shadow_must_compute_what_its_golden_rows_say(
        self, stage: Stage, bundle: Path, tmp_path: Path
    ) -> None:
        wrong = write_version(tmp_path / "wrong", "3.0.0", wrong_by=0.5)
        node = stage.node(bundle=str(bundle), shadow_bundle=str(wrong))

        assert node.trigger_configure() is TransitionCallbackReturn.FAILURE

        stage.robot.hears("the policy is not the same function here")


class TestLoad:
    def load(self, robot: Robot, bundle: Path) -> None:
        request = LoadBundle.Request(bundle=str(bundle))
        response = robot.call(LoadBundle, "joint_policy_node/load", request)
        assert response.success, response.message

    def test_shadow_goes_on_beside_the_policy_that_was_loaded(
        self,
        active: Callable[..., JointPolicyNode],
        robot: Robot,
        bundle: Path,
        double: Path,
    ) -> None:
        active(use_sim_time=True, shadow_bundle=str(double))
        robot.runs()
        walk(robot, 10)
        before = settled(robot)
        assert max(before.max) > 0.0
        self.load(robot, double)
        since = len(robot.commands)
        robot.statuses.clear()
        robot.runs()
        walk(robot, 10)

        found = settled(robot, since)

        assert (found.bundle_version, found.problem) == ("2.0.0", "")
        assert found.compared
        assert max(found.max) == 0.0

    def test_shadow_that_cannot_go_on_ends_with_the_reason(
        self,
        active: Callable[..., JointPolicyNode],
        robot: Robot,
        bundle: Path,
        double: Path,
    ) -> None:
        active(use_sim_time=True, shadow_bundle=str(double))
        robot.is_met()
        (double / "policy.onnx").unlink()
        self.load(robot, bundle)
        robot.statuses.clear()
        robot.runs()

        status = robot.reported(lambda status: status.shadow[0].problem, "the reason")

        assert "policy.onnx" in status.shadow[0].problem
