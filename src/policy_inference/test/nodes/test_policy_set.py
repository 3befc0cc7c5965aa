# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The node of a policy set: switches by service, the way back, what it reports and refuses."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import rclpy
import yaml
from policy_msgs.msg import PolicyStatus
from policy_msgs.srv import LoadBundle, SwitchState
from rclpy.lifecycle import TransitionCallbackReturn
from std_msgs.msg import String

from policy_inference.interfaces import Mode
from policy_inference.nodes.policy_set_node import PolicySetNode

from .bundles import write_version
from .harness import Robot, StageOf

pytestmark = pytest.mark.ros
STATES: Mapping[str, Any] = {
    "walk": {"members": ["walk"], "stand": True, "to": {"crouch": {"blend_s": 0.1}}},
    "crouch": {"members": ["crouch"], "to": {"walk": {"blend_s": 0.1}}, "way_back": "walk"},
}


class SetRobot(Robot):
    """A robot beside a node that runs a set."""

    policy_node = "policy_set_node"

    def switch(self, state: str) -> SwitchState.Response:
        """Ask for a switch."""
        request = SwitchState.Request(state=state)
        return self.call(SwitchState, f"{self.policy_node}/switch", request)

    def ticks(self, count: int) -> None:
        for _ in range(count):
            self.tick()


Stage = StageOf[SetRobot, PolicySetNode]


def write_set(folder: Path, *, wrong_by: float = 0.0, version: str = "1.0.0") -> Path:
    """Write a set of two policies, whose golden rows may be wrong; return its folder."""
    members = {}
    for name, stiffness in (("walk", 30.0), ("crouch", 50.0)):
        changes = {"name": name, "joints.stiffness": stiffness}
        wrong = wrong_by if name == "crouch" else 0.0
        write_version(folder / name, "1.0.0", changes, wrong_by=wrong)
        sha256 = hashlib.sha256((folder / name / "policy.yaml").read_bytes()).hexdigest()
        members[name] = {"bundle": f"../{name}", "sha256": sha256}
    stated = {
        "schema_version": 1,
        "kind": "set",
        "name": "gaits",
        "version": version,
        "members": members,
        "initial": "walk",
        "states": STATES,
    }
    (folder / "set").mkdir()
    (folder / "set" / "set.yaml").write_text(yaml.safe_dump(stated, sort_keys=False), "utf-8")
    return folder / "set"


@pytest.fixture
def stage(new_log: Callable[[], str]) -> Iterator[Stage]:
    """Nodes of sets and a robot; all ends with the test."""
    rclpy.init(args=[])
    stage = StageOf(SetRobot, PolicySetNode, new_log)
    yield stage
    stage.close()
    rclpy.shutdown()


@pytest.fixture
def robot(stage: Stage, tmp_path: Path) -> SetRobot:
    """A robot that walks."""
    node = stage.node(bundle=str(write_set(tmp_path)), use_sim_time=True)
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    stage.robot.runs()
    return stage.robot


def test_a_switch_by_service_changes_what_is_commanded(robot: SetRobot) -> None:
    response = robot.switch("crouch")
    assert (response.success, response.message) == (True, "crouch is asked for")
    robot.ticks(6)
    assert robot.tick().stiffness[0] == 50.0
    status = robot.reported(lambda status: status.policy_set[0].switches == 1, "the switch")
    assert_reports(status, state="crouch", last_from="walk", last_to="crouch", asked="")
    assert robot.hears("walk -> crouch: asked for")


def assert_reports(status: PolicyStatus, **expected: object) -> None:
    (found,) = status.policy_set
    assert {key: getattr(found, key) for key in expected} == expected
    assert list(found.states) == ["walk", "crouch"]


def test_a_refused_switch_says_why(robot: SetRobot) -> None:
    response = robot.switch("trot")
    assert not response.success
    assert "expected a state that walk leads to (crouch), found 'trot'" in response.message
    robot.request("damp")
    assert "the mode is DAMP, expected RUN" in robot.switch("crouch").message


def test_a_switch_by_topic_is_made_or_its_refusal_is_logged(robot: SetRobot) -> None:
    topic = robot.node.create_publisher(String, "policy_set_node/switch_to", 1)
    robot.until(lambda: topic.get_subscription_count() == 1, "the subscription")
    topic.publish(String(data="trot"))
    robot.hears("expected a state that walk leads to (crouch), found 'trot'")
    topic.publish(String(data="crouch"))
    robot.until(lambda: robot.tick().stiffness[0] == 50.0, "the gains of crouch")
    robot.reported(lambda status: status.policy_set[0].state == "crouch", "the state")


def test_stand_goes_by_the_way_back(robot: SetRobot) -> None:
    robot.switch("crouch")
    robot.ticks(7)
    assert robot.ask("stand").message == "RUN"
    robot.until(lambda: robot.tick().mode == Mode.STAND, "STAND")
    status = robot.reported(lambda status: status.policy_set[0].switches == 2, "the way back")
    assert_reports(status, state="walk")


def test_a_member_that_computes_something_else_here_is_refused_at_configure(
    stage: Stage, tmp_path: Path
) -> None:
    node = stage.node(bundle=str(write_set(tmp_path, wrong_by=0.1)))
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert "the policy is not the same function here" in stage.robot.hears("crouch")


def test_another_set_can_be_loaded_at_rest(robot: SetRobot, tmp_path: Path) -> None:
    other = write_set(tmp_path / "other", version="2.0.0")
    load = LoadBundle.Request(bundle=str(other))
    refused = robot.call(LoadBundle, "policy_set_node/load", load)
    assert "the mode is RUN" in refused.message
    robot.request("damp")
    robot.tick()
    loaded = robot.call(LoadBundle, "policy_set_node/load", load)
    assert loaded.success, loaded.message
    robot.reported(lambda status: status.bundle_version == "2.0.0", "the new version")


def test_a_load_during_a_blend_is_refused_and_the_blend_goes_on(
    robot: SetRobot, tmp_path: Path
) -> None:
    robot.switch("crouch")
    robot.ticks(2)
    load = LoadBundle.Request(bundle=str(write_set(tmp_path / "other", version="2.0.0")))
    refused = robot.call(LoadBundle, "policy_set_node/load", load)
    assert "the mode is RUN" in refused.message
    robot.ticks(6)
    assert robot.tick().stiffness[0] == 50.0


def test_a_flood_of_requests_is_answered_and_stops_no_tick(robot: SetRobot) -> None:
    client = robot.node.create_client(SwitchState, "policy_set_node/switch")
    answers = [
        client.call_async(SwitchState.Request(state=("crouch", "walk", "trot")[number % 3]))
        for number in range(300)
    ]
    robot.ticks(20)
    robot.until(lambda: all(answer.done() for answer in answers), "all answers")
    messages = {answer.result().message for answer in answers}
    assert "crouch is asked for" in messages
    assert any("found 'trot'" in message for message in messages)
    assert robot.tick().mode == Mode.RUN


def test_a_policy_alone_is_no_set(stage: Stage, tmp_path: Path) -> None:
    write_set(tmp_path)
    node = stage.node(bundle=str(tmp_path / "walk"))
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    stage.robot.hears("kind: expected set, found joint; joint_policy_node runs this policy")
