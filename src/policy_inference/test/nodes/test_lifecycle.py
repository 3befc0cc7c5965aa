# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Transitions: what is published in which state, and that nothing is left behind."""

import threading
from pathlib import Path

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.lifecycle import TransitionCallbackReturn

from policy_core.interfaces import Mode
from policy_inference.nodes import policy_node
from policy_inference.nodes.joint_policy_node import JointPolicyNode
from testkit.ros_time import ns

from .harness import Activate, Robot, Stage, entities, is_damp

pytestmark = pytest.mark.ros
CONFIGURE, ACTIVATE = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


def lifecycle_state(robot: Robot) -> str:
    return str(robot.call(GetState, "joint_policy_node/get_state").current_state.label)


def test_configured_node_publishes_nothing(node_stage: Stage, bundle_in_use: Path) -> None:
    node, robot = node_stage.node(bundle=str(bundle_in_use)), node_stage.robot
    assert node.trigger_configure() is SUCCESS
    # What is asked and answered afterwards shows that the node had its chance.
    assert lifecycle_state(robot) == "inactive"
    robot.send()
    assert not robot.ask("run").success
    assert (robot.commands, robot.statuses, robot.diagnostics) == ([], [], [])


def test_node_that_is_halted_while_it_starts_stops_once_it_has(
    node_stage: Stage, bundle_in_use: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, order = node_stage.node(bundle=str(bundle_in_use)), list[str]()
    begun, goes_on, start, stop = threading.Event(), threading.Event(), node.start, node.stop

    def start_slowly() -> None:
        begun.set()
        assert goes_on.wait(15.0)
        start()
        order.append("started")

    def stop_at_once() -> None:
        stop()
        order.append("stopped")

    monkeypatch.setattr(node, "start", start_slowly)
    monkeypatch.setattr(node, "stop", stop_at_once)
    assert node.trigger_configure() is SUCCESS
    activates, halts = (threading.Thread(target=act) for act in (node.trigger_activate, node.halt))
    activates.start()
    assert begun.wait(15.0)
    halts.start()
    halts.join(0.1)  # it would be through by then
    goes_on.set()
    for thread in (activates, halts):
        thread.join()
    assert order == ["started", "stopped"]


@pytest.mark.parametrize(
    ("transition", "state"), [("deactivate", "inactive"), ("shutdown", "finalized")]
)
def test_end_of_activity_is_the_fault_command(
    lockstep_node: JointPolicyNode, lockstep: Robot, transition: str, state: str
) -> None:
    last = lockstep.runs().commands[-1].sequence
    assert getattr(lockstep_node, f"trigger_{transition}")() is SUCCESS
    lockstep.until(lambda: lockstep.commands[-1].sequence > last, "the fault command")
    assert is_damp(lockstep.commands[-1])
    assert not lockstep.logged("WARN")
    sent = len(lockstep.commands)
    lockstep.show_time()
    assert lifecycle_state(lockstep) == state
    assert all(is_damp(command) for command in lockstep.commands[sent:])
    assert not lockstep.answers()


def test_node_that_is_activated_again_starts_in_damp_and_counts_from_zero(
    lockstep_node: JointPolicyNode, lockstep: Robot
) -> None:
    lockstep.runs().ticks(40)
    lockstep_node.trigger_deactivate()
    lockstep.commands.clear()
    assert lockstep_node.trigger_activate() is SUCCESS
    lockstep.is_met()
    assert is_damp(lockstep.answers()[0])
    assert lockstep.answers()[0].sequence < 40
    lockstep.statuses.clear()
    status = lockstep.reported(lambda s: s.ticks > 0, "a status")
    assert status.ticks < 40
    assert status.ticks_missed == 0
    lockstep.request("stand")
    assert lockstep.tick().mode == Mode.STAND


def test_rounds_of_transitions_leave_neither_entities_nor_threads(
    node_stage: Stage, bundle_in_use: Path
) -> None:
    node = node_stage.node(bundle=str(bundle_in_use))
    entities_before, threads_before = entities(node), threading.active_count()
    for _ in range(3):
        assert node.trigger_configure() is SUCCESS
        assert entities(node) != entities_before
        assert node.trigger_activate() is SUCCESS
        assert node.trigger_deactivate() is SUCCESS
        assert node.trigger_cleanup() is SUCCESS
    for transition in (CONFIGURE, ACTIVATE, Transition.TRANSITION_ACTIVE_SHUTDOWN):
        # As a stranger asks for it.
        request = ChangeState.Request(transition=Transition(id=transition))
        robot = node_stage.robot
        assert robot.call(ChangeState, "joint_policy_node/change_state", request).success
    assert lifecycle_state(node_stage.robot) == "finalized"
    assert entities(node) == entities_before
    assert threading.active_count() == threads_before


def test_error_of_the_set_up_is_logged_whole_and_leaves_nothing(
    node_stage: Stage, bundle_in_use: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object) -> None:
        raise ZeroDivisionError("from deep inside")

    node = node_stage.node(bundle=str(bundle_in_use))
    before = entities(node)
    monkeypatch.setattr(policy_node, "BetweenTicks", break_down)
    assert node.trigger_configure() is FAILURE
    node_stage.robot.hears("Traceback", "break_down", "from deep inside", level="ERROR")
    assert entities(node) == before
    monkeypatch.undo()
    assert node.trigger_configure() is SUCCESS


def test_what_a_node_is_started_with_is_in_force(activate: Activate, partner: Robot) -> None:
    limits = {"safety__effort_scale": 0.5, "safety__max_tilt_rad": 0.2}
    activate(use_sim_time=True, command_valid_for_s=0.25, **limits)
    command = partner.runs().tick()
    assert ns(command.valid_for) == 250_000_000
    assert list(command.effort_limit) == [10.0, 10.0]
    partner.quat_xyzw = (0.15, 0.0, 0.0, 0.9887)
    assert is_damp(partner.tick())
