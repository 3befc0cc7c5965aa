# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Transitions: what is published in which state, and that nothing is left behind."""

import itertools
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from policy_inference.interfaces import Mode
from policy_inference.nodes import policy_node
from policy_inference.nodes.joint_policy_node import JointPolicyNode

from .bundles import MISSING, write_bundle
from .harness import Robot, Stage, entities, is_damp

pytestmark = pytest.mark.ros
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


def state_of(robot: Robot) -> str:
    return str(robot.call(GetState, "joint_policy_node/get_state").current_state.label)


def change(robot: Robot, transition: int) -> bool:
    """Ask for a transition as a stranger does; return whether it succeeded."""
    request = ChangeState.Request(transition=Transition(id=transition))
    return bool(robot.call(ChangeState, "joint_policy_node/change_state", request).success)


@pytest.mark.parametrize(
    "transitions", [50, pytest.param(500, marks=[pytest.mark.acceptance, pytest.mark.slow])]
)
def test_robot_stands_and_runs_after_many_transitions_and_an_estop(
    stage: Stage, bundle: Path, transitions: int
) -> None:
    node, robot = stage.node(bundle=str(bundle), use_sim_time=True), stage.robot
    cycle = itertools.cycle(
        [
            node.trigger_configure,
            node.trigger_activate,
            node.trigger_deactivate,
            node.trigger_cleanup,
        ]
    )
    for count, transition in zip(range(transitions), cycle, strict=False):
        assert transition() is SUCCESS
        if count == transitions // 2:
            assert robot.ask("estop").success
    while not node.running:
        assert next(cycle)() is SUCCESS
    robot.is_met()
    refused = robot.ask("stand")
    assert not refused.success
    assert "ask for reset first" in refused.message
    robot.request("reset")
    robot.runs()


def test_unconfigured_node_has_neither_topics_nor_requests(stage: Stage) -> None:
    found = entities(stage.node())
    own = [name for kind in ("publishers", "subscriptions", "services") for name in found[kind]]
    assert not [n for n in own if n.endswith(("joint_command", "joint_states", "run", "status"))]


def test_configured_node_publishes_nothing(stage: Stage, bundle: Path) -> None:
    node, robot = stage.node(bundle=str(bundle)), stage.robot
    assert node.trigger_configure() is SUCCESS
    # What is asked and answered afterwards shows that the node had its chance.
    assert state_of(robot) == "inactive"
    robot.send()
    assert not robot.ask("run").success
    assert (robot.commands, robot.statuses, robot.diagnostics) == ([], [], [])


def test_node_that_is_halted_while_it_starts_stops_once_it_has(
    stage: Stage, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, order = stage.node(bundle=str(bundle)), list[str]()
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


def test_active_node_damps_until_it_is_asked(lockstep: Robot) -> None:
    for _ in range(5):
        lockstep.tick()
    assert all(is_damp(command) for command in lockstep.commands)


def test_node_damps_even_before_the_first_message(
    active: Callable[..., object], robot: Robot
) -> None:
    active()
    robot.until(lambda: robot.commands, "a command")
    assert is_damp(robot.commands[0])


def test_deactivation_ends_with_the_fault_command(
    active: Callable[..., JointPolicyNode], robot: Robot
) -> None:
    node = active(use_sim_time=True)
    robot.runs()
    last = robot.commands[-1].sequence
    assert node.trigger_deactivate() is SUCCESS
    robot.until(lambda: robot.commands[-1].sequence > last, "the fault command")
    assert is_damp(robot.commands[-1])
    assert "not acknowledged" not in robot.log
    sent = len(robot.commands)
    robot.show_time()
    assert state_of(robot) == "inactive"
    assert all(is_damp(command) for command in robot.commands[sent:])
    assert not robot.answers()


def test_node_can_be_activated_again_and_starts_in_damp(
    active: Callable[..., JointPolicyNode], robot: Robot
) -> None:
    node = active(use_sim_time=True)
    robot.runs()
    node.trigger_deactivate()
    assert node.trigger_activate() is SUCCESS
    robot.is_met()
    assert is_damp(robot.tick())
    robot.until(lambda: robot.tick().mode == Mode.DAMP, "damping")
    robot.request("stand")
    assert robot.tick().mode == Mode.STAND


def test_counts_begin_again_with_each_activation(
    active: Callable[..., JointPolicyNode], robot: Robot
) -> None:
    node = active(use_sim_time=True)
    robot.is_met()
    for _ in range(40):
        robot.tick()
    node.trigger_deactivate()
    robot.commands.clear()
    node.trigger_activate()
    robot.is_met()
    assert robot.answers()[0].sequence < 40
    robot.statuses.clear()
    status = robot.reported(lambda s: s.ticks > 0, "a status")
    assert status.ticks < 40
    assert status.ticks_missed == 0


def test_time_between_configure_and_activate_counts_neither_as_missed_nor_as_slow(
    stage: Stage, bundle: Path
) -> None:
    node, robot = stage.node(bundle=str(bundle), use_sim_time=True), stage.robot
    node.trigger_configure()
    for _ in range(100):
        robot.show_time()
    node.trigger_activate()
    robot.is_met()
    status = robot.reported(lambda s: s.ticks > 0, "a status")
    assert status.ticks_missed == 0
    assert "rate reached" not in robot.log


def test_cleanup_closes_everything(stage: Stage, bundle: Path) -> None:
    node = stage.node(bundle=str(bundle))
    before = entities(node)
    node.trigger_configure()
    assert entities(node) != before
    assert node.trigger_cleanup() is SUCCESS
    assert entities(node) == before


@pytest.mark.slow
def test_ten_rounds_leave_neither_entities_nor_threads(stage: Stage, bundle: Path) -> None:
    node = stage.node(bundle=str(bundle))
    entities_before, threads_before = entities(node), threading.active_count()
    for _ in range(10):
        assert node.trigger_configure() is SUCCESS
        assert node.trigger_activate() is SUCCESS
        assert node.trigger_deactivate() is SUCCESS
        assert node.trigger_cleanup() is SUCCESS
    assert entities(node) == entities_before
    assert threading.active_count() == threads_before


def test_another_bundle_can_be_configured_after_cleanup(
    stage: Stage, bundle: Path, tmp_path: Path
) -> None:
    node = stage.node(bundle=str(bundle))
    node.trigger_configure()
    other = Parameter("bundle", value=str(write_bundle(tmp_path / "other", {"version": "9.9.9"})))
    assert "clean the node up first" in node.set_parameters([other])[0].reason
    node.trigger_cleanup()
    assert node.set_parameters([other])[0].successful
    assert node.trigger_configure() is SUCCESS
    node.trigger_activate()
    stage.robot.reported(lambda s: s.bundle_version == "9.9.9", "the other bundle's version")


def test_transitions_work_as_services(stage: Stage, bundle: Path) -> None:
    stage.node(bundle=str(bundle))
    robot = stage.robot
    for transition, state in (
        (Transition.TRANSITION_CONFIGURE, "inactive"),
        (Transition.TRANSITION_ACTIVATE, "active"),
        (Transition.TRANSITION_DEACTIVATE, "inactive"),
        (Transition.TRANSITION_CLEANUP, "unconfigured"),
    ):
        assert change(robot, transition)
        assert state_of(robot) == state


@pytest.mark.parametrize(
    ("way", "transition"),
    [
        ([], Transition.TRANSITION_UNCONFIGURED_SHUTDOWN),
        ([Transition.TRANSITION_CONFIGURE], Transition.TRANSITION_INACTIVE_SHUTDOWN),
        (
            [Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE],
            Transition.TRANSITION_ACTIVE_SHUTDOWN,
        ),
    ],
    ids=["unconfigured", "inactive", "active"],
)
def test_shutdown_from_every_state_closes_everything(
    stage: Stage, bundle: Path, way: list[int], transition: int
) -> None:
    node = stage.node(bundle=str(bundle))
    before = entities(node)
    for step in way:
        assert change(stage.robot, step)
    assert change(stage.robot, transition)
    assert state_of(stage.robot) == "finalized"
    assert entities(node) == before


def test_shutdown_while_active_ends_with_the_fault_command(
    active: Callable[..., JointPolicyNode], robot: Robot
) -> None:
    node = active(use_sim_time=True)
    robot.runs()
    last = robot.commands[-1].sequence
    assert node.trigger_shutdown() is SUCCESS
    robot.until(lambda: robot.commands[-1].sequence > last, "the fault command")
    assert is_damp(robot.commands[-1])


def test_transition_that_is_not_possible_is_refused_and_the_node_lives(
    active: Callable[..., JointPolicyNode], robot: Robot
) -> None:
    active(use_sim_time=True)
    robot.runs()
    assert not change(robot, Transition.TRANSITION_ACTIVATE)
    # In the words of this node, or of rclpy since Kilted.
    robot.hears("transition")
    assert robot.tick().mode == Mode.RUN
    assert state_of(robot) == "active"


def test_error_of_the_set_up_is_logged_whole_and_leaves_nothing(
    stage: Stage, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object) -> None:
        raise ZeroDivisionError("from deep inside")

    node = stage.node(bundle=str(bundle))
    before = entities(node)
    monkeypatch.setattr(policy_node, "ControlLoop", break_down)
    assert node.trigger_configure() is FAILURE
    text = stage.robot.hears("from deep inside")
    assert "Traceback" in text
    assert "break_down" in text
    assert entities(node) == before
    monkeypatch.undo()
    assert node.trigger_configure() is SUCCESS


def test_tightened_limits_are_in_force(
    active: Callable[..., JointPolicyNode], robot: Robot
) -> None:
    active(use_sim_time=True, safety__effort_scale=0.5, safety__max_tilt_rad=0.2)
    robot.runs()
    assert list(robot.tick().effort_limit) == [10.0, 10.0]
    robot.quat_xyzw = (0.15, 0.0, 0.0, 0.9887)
    assert is_damp(robot.tick())


def test_bundle_without_nominal_is_warned_of(stage: Stage, tmp_path: Path) -> None:
    node = stage.node(bundle=str(write_bundle(tmp_path / "b", {"nominal": MISSING})))
    node.trigger_configure()
    stage.robot.hears("the bundle has no `nominal`")
    node.trigger_activate()
    status = stage.robot.reported(lambda s: True, "a status")
    assert not status.nominal_known
