# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A shadow beside a node's chunk policy sees its images; whatever it does, no command changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from policy_msgs.srv import LoadBundle
from rclpy.lifecycle import TransitionCallbackReturn
from rosbags.highlevel import AnyReader
from std_srvs.srv import SetBool

from policy_inference.flight.message_types import message_types
from policy_inference.nodes.act_policy_node import ActPolicyNode

from .arm import Arm
from .colour_bundle import JOINTS, SIZE, write_colours
from .harness import StageOf
from .shadows import FAULTS, MISCHIEF, assert_commands_stay, register_faulty, settled

pytestmark = pytest.mark.ros
ArmStage = StageOf[Arm, ActPolicyNode]
OFFSET_RAD = 0.25
TICKS = 30


@pytest.fixture(autouse=True)
def backends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the backend of these tests."""
    register_faulty(tmp_path / "site", monkeypatch)


@pytest.fixture
def stage(new_log: Callable[[], str]) -> Iterator[ArmStage]:
    """Nodes and an arm; all ends with the test."""
    rclpy.init(args=[])
    stage = StageOf(Arm, ActPolicyNode, new_log)
    yield stage
    stage.close()
    rclpy.shutdown()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle with golden rows."""
    return write_colours(tmp_path / "colours", offset_rad=0.0)


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another version, whose targets are greater by an offset."""
    return write_colours(tmp_path / "other", {"version": "2.0.0"}, offset_rad=OFFSET_RAD)


@pytest.fixture
def start(stage: ArmStage, bundle: Path) -> Callable[..., Arm]:
    """Configure and activate a node in lockstep, with parameters; return the arm."""

    def start_one(**parameters: object) -> Arm:
        node = stage.node(
            **{"bundle": str(bundle), "use_sim_time": True, "status_rate_hz": 50.0, **parameters}
        )
        assert node.trigger_configure() is TransitionCallbackReturn.SUCCESS
        assert node.trigger_activate() is TransitionCallbackReturn.SUCCESS
        return stage.robot

    return start_one


def move(arm: Arm, ticks: int = TICKS, each: Callable[[int], None] = lambda _: None) -> None:
    """Tick with images that change."""
    for number in range(ticks):
        arm.colours["front"] = (60 + 11 * number % 180, 7 * number % 200, 100)
        arm.colours["wrist"] = (5 * number % 200, 0, 0)
        each(number)
        arm.tick()


class TestChunkShadow:
    @pytest.mark.parametrize("mode", ["synchronous", "asynchronous", "ensemble"])
    def test_greater_targets_are_a_distance_in_rad(
        self, start: Callable[..., Arm], other: Path, mode: str
    ) -> None:
        arm = start(mode=mode, shadow_bundle=str(other)).runs()
        move(arm)

        found = settled(arm)

        assert (found.bundle_name, found.bundle_version) == ("colours", "2.0.0")
        assert (found.bundle, found.mode, found.problem) == (str(other), "followed", "")
        assert found.compared
        assert (found.failed, found.not_finite, found.beyond_limits) == (0, 0, 0)
        assert list(found.joints) == list(JOINTS)
        for distance in (found.mean, found.rms, found.max):
            np.testing.assert_allclose(distance, OFFSET_RAD, atol=1e-5)
        assert not found.max_steps  # the contract has no nominal step
        values = {entry.key: entry.value for entry in arm.diagnostics[-1].status[0].values}
        assert values["shadow.ticks_compared"] == str(found.compared)
        assert values["shadow.max_largest"] == f"{max(found.max):.6f}"

    @pytest.mark.parametrize("transport", ["raw", "compressed"])
    def test_same_bundle_on_another_backend_does_not_diverge(
        self, start: Callable[..., Arm], bundle: Path, tmp_path: Path, transport: str
    ) -> None:
        arm = start(
            image_transport=transport,
            shadow_bundle=str(bundle),
            shadow_backend="faulty",
            shadow_mode="free",
            backend_options=f"faulty.fault={tmp_path / 'fault'}",
        )
        if transport == "compressed":
            arm.encodings = dict.fromkeys(arm.encodings, "jpeg")
        arm.runs()
        move(arm)

        found = settled(arm)

        assert (found.backend, found.mode) == ("faulty", "free")
        assert found.compared
        assert list(found.max) == [0.0] * len(JOINTS)

    def test_recording_has_the_chunks_of_the_shadow_and_what_came_of_each_tick(
        self, start: Callable[..., Arm], other: Path, tmp_path: Path
    ) -> None:
        arm = start(
            shadow_bundle=str(other),
            flight__folder=str(tmp_path / "flights"),
            flight__min_free_mb=0.0,
        )
        arm.is_met()
        answer = arm.call(SetBool, "act_policy_node/record_run", SetBool.Request(data=True))
        assert answer.success, answer.message
        arm.runs()
        move(arm)
        found = settled(arm)
        answer = arm.call(SetBool, "act_policy_node/record_run", SetBool.Request(data=False))
        assert answer.success, answer.message
        arm.until(lambda: arm.tick() and [*(tmp_path / "flights").glob("*-run")], "the recording")

        (folder,) = (tmp_path / "flights").glob("*-run")
        with AnyReader([folder], default_typestore=message_types()) as reader:
            read: list[tuple[str, Any]] = [
                (connection.topic, reader.deserialize(data, connection.msgtype))
                for connection, _, data in reader.messages()
            ]
        shadows = [m for topic, m in read if topic == "/shadow_tick"]
        inferences = [m for topic, m in read if topic == "/shadow_inference"]
        active = {m.observation_ns: m for topic, m in read if topic == "/chunk_inference"}
        assert len([m for m in shadows if m.outcome == m.COMPARED]) == found.compared
        assert inferences
        for message in inferences:
            assert message.steps == SIZE
            theirs = active[message.observation_ns].data
            np.testing.assert_allclose(message.data, theirs + OFFSET_RAD, atol=1e-5)
        assert {m.tick for m in inferences} <= {m.tick for m in shadows}


@pytest.mark.parametrize(("fault", "reason"), [*FAULTS, *MISCHIEF])
def test_commands_are_bit_for_bit_those_without_a_shadow(
    stage: ArmStage, bundle: Path, tmp_path: Path, fault: str, reason: str
) -> None:
    walk = partial(move, stage.robot)
    begin = partial(move, stage.robot, 1)
    assert_commands_stay(stage, bundle, tmp_path, begin, walk, fault=fault, reason=reason)


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"rate_hz": 30}, "rate_hz: expected 20, as the active policy has it, found 30"),
            (
                {"pairing": {"rule": "newest"}},
                "pairing.rule: expected frame_time, as the active policy has it, found newest",
            ),
        ],
    )
    def test_node_is_not_configured_with_a_bundle_that_cannot_be_compared(
        self,
        stage: ArmStage,
        bundle: Path,
        tmp_path: Path,
        changes: Mapping[str, object],
        reason: str,
    ) -> None:
        wrong = write_colours(tmp_path / "wrong", changes, offset_rad=0.0)
        node = stage.node(bundle=str(bundle), shadow_bundle=str(wrong))

        assert node.trigger_configure() is TransitionCallbackReturn.FAILURE

        assert reason in stage.robot.hears(reason)

    def test_shadow_without_golden_rows_is_refused(
        self, stage: ArmStage, bundle: Path, tmp_path: Path
    ) -> None:
        unproven = write_colours(tmp_path / "unproven")
        node = stage.node(bundle=str(bundle), shadow_bundle=str(unproven))

        assert node.trigger_configure() is TransitionCallbackReturn.FAILURE

        stage.robot.hears("golden")


def test_shadow_goes_on_beside_the_policy_that_was_loaded(
    start: Callable[..., Arm], other: Path
) -> None:
    arm = start(shadow_bundle=str(other)).runs()
    move(arm, 10)
    assert max(settled(arm).max) > 0.0
    response = arm.call(LoadBundle, "act_policy_node/load", LoadBundle.Request(bundle=str(other)))
    assert response.success, response.message
    since = len(arm.commands)
    arm.statuses.clear()
    arm.runs()
    move(arm, 10)

    found = settled(arm, since)

    assert (found.bundle_version, found.problem) == ("2.0.0", "")
    assert found.compared
    assert max(found.max) == 0.0
