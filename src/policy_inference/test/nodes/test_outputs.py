# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What each kind of output says, and what it refuses to say."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from policy_msgs.msg import JointCommand
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.contract import JointContract
from policy_inference.bundle.load import load_bundle
from policy_inference.errors import PolicyError
from policy_inference.interfaces import JointTargets, Mode
from policy_inference.nodes.outputs import OUTPUTS, Output

from .bundles import JOINTS, write_bundle
from .harness import Robot, ns

pytestmark = pytest.mark.ros
STAMP_NS = 12_345_678_901
HOLDS: Mapping[str, object] = {"safety.on_fault": "hold_measured"}


@pytest.fixture
def contract(tmp_path: Path) -> Callable[..., JointContract]:
    """Make a contract with changes."""
    return lambda changes=None: (
        load_bundle(write_bundle(tmp_path / "b", changes), kind=JointBundle).contract
    )


@pytest.fixture
def sent(robot: Robot) -> Callable[..., list[Any]]:
    """Publish with an output of a kind; return the messages that arrive."""

    def send(
        kind: str, contract: JointContract, publish: Callable[[Output], None], count: int = 1
    ) -> list[Any]:
        output, received = Output(robot.node, kind, contract, valid_for_s=1.25), list[Any]()
        topic, message, _ = OUTPUTS[kind]
        robot.node.create_subscription(message, topic, received.append, 100)
        wanted = 1 if kind != "joint_command" else 2
        robot.until(lambda: output.publisher.get_subscription_count() >= wanted, "a listener")
        publish(output)
        robot.until(lambda: len(received) >= count, f"{count} messages")
        return received

    return send


def targets(mode: Mode = Mode.RUN) -> JointTargets:
    targets = JointTargets(len(JOINTS))
    targets.mode = mode
    for i, row in enumerate(targets.block):
        row[:] = (i + 0.25, i + 0.5)
    return targets


def test_joint_command_carries_all_targets_by_name(
    contract: Callable[..., JointContract], sent: Callable[..., list[Any]]
) -> None:
    command: JointCommand = sent(
        "joint_command", contract(), lambda o: o.publish(targets(), STAMP_NS)
    )[0]
    assert list(command.names) == list(JOINTS)
    fields = (
        command.position,
        command.velocity,
        command.effort,
        command.stiffness,
        command.damping,
        command.effort_limit,
    )
    by_name = targets()
    assert [list(field) for field in fields] == [
        row.tolist()
        for row in (
            by_name.position,
            by_name.velocity,
            by_name.effort,
            by_name.stiffness,
            by_name.damping,
            by_name.effort_limit,
        )
    ]
    assert ns(command.stamp) == STAMP_NS
    assert ns(command.valid_for) == 1_250_000_000


RENAMED: Mapping[str, object] = {"joints.robot_names": {"left": "{name}_joint", "right": "rr"}}


@pytest.mark.parametrize(
    ("kind", "names"),
    [("joint_command", "names"), ("joint_trajectory", "joint_names"), ("joint_state", "name")],
)
def test_outputs_call_the_joints_as_the_robot_does(
    contract: Callable[..., JointContract], sent: Callable[..., list[Any]], kind: str, names: str
) -> None:
    renamed = contract({**HOLDS, **RENAMED})
    message = sent(kind, renamed, lambda o: o.publish(targets(), STAMP_NS))[0]
    assert list(getattr(message, names)) == ["left_joint", "rr"]


@pytest.mark.parametrize("mode", [Mode.STAND, Mode.READY, Mode.RUN, Mode.HOLD])
def test_joint_command_names_the_mode(
    contract: Callable[..., JointContract], sent: Callable[..., list[Any]], mode: Mode
) -> None:
    command = sent("joint_command", contract(), lambda o: o.publish(targets(mode), 0))[0]
    assert command.mode == getattr(JointCommand, f"MODE_{mode.name}")


@pytest.mark.parametrize("on_fault", ["damp", "hold_measured", "torque_off"])
def test_mode_of_a_fault_says_what_the_contract_does_then(
    contract: Callable[..., JointContract], sent: Callable[..., list[Any]], on_fault: str
) -> None:
    command = sent(
        "joint_command",
        contract({"safety.on_fault": on_fault}),
        lambda o: o.publish(targets(Mode.DAMP), 0),
    )[0]
    assert command.mode == getattr(JointCommand, f"MODE_{on_fault.upper()}")


def test_command_that_expires_before_the_next_but_one_is_refused(
    contract: Callable[..., JointContract], robot: Robot
) -> None:
    with pytest.raises(PolicyError, match=r"at least two periods \(0.04 s at 50 Hz\), found 0.03"):
        Output(robot.node, "joint_command", contract(), valid_for_s=0.03)


def test_sequence_counts_up(
    contract: Callable[..., JointContract], sent: Callable[..., list[Any]]
) -> None:
    def publish(output: Output) -> None:
        for _ in range(3):
            output.publish(targets(), 0)

    commands = sent("joint_command", contract(), publish, count=3)
    assert [command.sequence for command in commands] == [0, 1, 2]


def test_sequence_begins_again_with_each_start(
    contract: Callable[..., JointContract], sent: Callable[..., list[Any]]
) -> None:
    def publish(output: Output) -> None:
        output.publish(targets(), 0)
        output.start()
        output.publish(targets(), 0)

    assert [c.sequence for c in sent("joint_command", contract(), publish, count=2)] == [0, 0]


def test_position_array_carries_positions(
    contract: Callable[..., JointContract], sent: Callable[..., list[Any]]
) -> None:
    message: Float64MultiArray = sent(
        "position_array", contract(HOLDS), lambda o: o.publish(targets(), 0)
    )[0]
    assert message.data.tolist() == [0.25, 0.5]


def test_joint_trajectory_reaches_the_positions_within_a_period(
    contract: Callable[..., JointContract], sent: Callable[..., list[Any]]
) -> None:
    message: JointTrajectory = sent(
        "joint_trajectory", contract(HOLDS), lambda o: o.publish(targets(), 0)
    )[0]
    assert list(message.joint_names) == list(JOINTS)
    assert [list(point.positions) for point in message.points] == [[0.25, 0.5]]
    assert ns(message.points[0].time_from_start) == 20_000_000


def test_joint_trajectory_starts_when_it_is_received(
    contract: Callable[..., JointContract], sent: Callable[..., list[Any]]
) -> None:
    """A stamp of 0 says so; one in the past would be rejected by controllers."""
    message = sent("joint_trajectory", contract(HOLDS), lambda o: o.publish(targets(), STAMP_NS))[0]
    assert ns(message.header.stamp) == 0


def test_joint_state_carries_names_positions_and_stamp(
    contract: Callable[..., JointContract], sent: Callable[..., list[Any]]
) -> None:
    message: JointState = sent(
        "joint_state", contract(HOLDS), lambda o: o.publish(targets(), STAMP_NS)
    )[0]
    assert (list(message.name), list(message.position)) == (list(JOINTS), [0.25, 0.5])
    assert ns(message.header.stamp) == STAMP_NS


@pytest.mark.parametrize("kind", ["position_array", "joint_trajectory", "joint_state"])
@pytest.mark.parametrize("on_fault", ["damp", "torque_off"])
def test_positions_cannot_express_damping_or_no_torque(
    contract: Callable[..., JointContract], robot: Robot, kind: str, on_fault: str
) -> None:
    with pytest.raises(
        PolicyError,
        match=rf"output '{kind}' cannot express safety.on_fault: "
        rf"{on_fault} .* use the output 'joint_command'",
    ):
        Output(robot.node, kind, contract({"safety.on_fault": on_fault}), valid_for_s=0.1)
    assert robot.node.count_publishers(OUTPUTS[kind][0]) == 0


@pytest.mark.parametrize("action_kind", ["velocity", "effort"])
def test_positions_cannot_express_other_kinds_of_actions(
    contract: Callable[..., JointContract], robot: Robot, action_kind: str
) -> None:
    terms = [{"joints": ["left"], "kind": action_kind}, {"joints": ["right"], "kind": "position"}]
    with pytest.raises(PolicyError, match=f"the policy commands {action_kind}"):
        Output(robot.node, "position_array", contract({**HOLDS, "action.terms": terms}), 0.1)
