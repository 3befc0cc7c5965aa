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
from testkit.ros_time import ns
from testkit.wording import refusal

from .bundles import JOINTS, write_bundle
from .harness import Robot

pytestmark = pytest.mark.ros
MakeContract = Callable[..., JointContract]
SentWith = Callable[..., list[Any]]
STAMP_NS = 12_345_678_901
HOLDS: Mapping[str, object] = {"safety.on_fault": "hold_measured"}


@pytest.fixture
def make_contract(tmp_path: Path) -> MakeContract:
    """Make a contract with changes."""
    return lambda changes=None: (
        load_bundle(write_bundle(tmp_path / "b", changes), kind=JointBundle).contract
    )


@pytest.fixture
def sent_with(partner: Robot) -> SentWith:
    """Publish with an output of a kind; return the messages that arrive."""

    def send(
        kind: str, contract: JointContract, publish: Callable[[Output], None], count: int = 1
    ) -> list[Any]:
        output, received = Output(partner.node, kind, contract, valid_for_s=1.25), list[Any]()
        topic, message, _ = OUTPUTS[kind]
        partner.node.create_subscription(message, topic, received.append, 100)
        wanted = 1 if kind != "joint_command" else 2
        partner.until(lambda: output.publisher.get_subscription_count() >= wanted, "a listener")
        publish(output)
        partner.until(lambda: len(received) >= count, f"{count} messages")
        return received

    return send


def made_targets(mode: Mode = Mode.RUN) -> JointTargets:
    targets = JointTargets(len(JOINTS))
    targets.mode = mode
    for i, row in enumerate(targets.block):
        row[:] = (i + 0.25, i + 0.5)
    return targets


def test_joint_command_carries_all_targets_by_name(
    make_contract: MakeContract, sent_with: SentWith
) -> None:
    command: JointCommand = sent_with(
        "joint_command", make_contract(), lambda o: o.publish(made_targets(), STAMP_NS)
    )[0]
    assert list(command.names) == list(JOINTS)
    by_name = made_targets()
    for field in ("position", "velocity", "effort", "stiffness", "damping", "effort_limit"):
        assert list(getattr(command, field)) == getattr(by_name, field).tolist()
    assert ns(command.stamp) == STAMP_NS
    assert ns(command.valid_for) == 1_250_000_000


RENAMED: Mapping[str, object] = {"joints.robot_names": {"left": "{name}_joint", "right": "rr"}}


@pytest.mark.parametrize(
    ("output", "names"),
    [("joint_command", "names"), ("joint_trajectory", "joint_names"), ("joint_state", "name")],
)
def test_outputs_call_the_joints_as_the_robot_does(
    make_contract: MakeContract, sent_with: SentWith, output: str, names: str
) -> None:
    renamed = make_contract({**HOLDS, **RENAMED})
    message = sent_with(output, renamed, lambda o: o.publish(made_targets(), STAMP_NS))[0]
    assert list(getattr(message, names)) == ["left_joint", "rr"]


@pytest.mark.parametrize("mode", [Mode.STAND, Mode.READY, Mode.RUN, Mode.HOLD])
def test_joint_command_names_the_mode(
    make_contract: MakeContract, sent_with: SentWith, mode: Mode
) -> None:
    command = sent_with(
        "joint_command", make_contract(), lambda o: o.publish(made_targets(mode), 0)
    )[0]
    assert command.mode == getattr(JointCommand, f"MODE_{mode.name}")


@pytest.mark.parametrize("on_fault", ["damp", "hold_measured", "torque_off"])
def test_mode_of_a_fault_says_what_the_contract_does_then(
    make_contract: MakeContract, sent_with: SentWith, on_fault: str
) -> None:
    command = sent_with(
        "joint_command",
        make_contract({"safety.on_fault": on_fault}),
        lambda o: o.publish(made_targets(Mode.DAMP), 0),
    )[0]
    assert command.mode == getattr(JointCommand, f"MODE_{on_fault.upper()}")


def test_command_that_expires_before_the_next_but_one_is_refused(
    make_contract: MakeContract, partner: Robot
) -> None:
    with refusal(PolicyError):
        Output(partner.node, "joint_command", make_contract(), valid_for_s=0.03)


def test_sequence_counts_up(make_contract: MakeContract, sent_with: SentWith) -> None:
    def publish(output: Output) -> None:
        for _ in range(3):
            output.publish(made_targets(), 0)

    commands = sent_with("joint_command", make_contract(), publish, count=3)
    assert [command.sequence for command in commands] == [0, 1, 2]


def test_sequence_begins_again_with_each_start(
    make_contract: MakeContract, sent_with: SentWith
) -> None:
    def publish(output: Output) -> None:
        output.publish(made_targets(), 0)
        output.start()
        output.publish(made_targets(), 0)

    assert [c.sequence for c in sent_with("joint_command", make_contract(), publish, count=2)] == [
        0,
        0,
    ]


def test_position_array_carries_positions(make_contract: MakeContract, sent_with: SentWith) -> None:
    message: Float64MultiArray = sent_with(
        "position_array", make_contract(HOLDS), lambda o: o.publish(made_targets(), 0)
    )[0]
    assert message.data.tolist() == [0.25, 0.5]


def test_joint_trajectory_reaches_the_positions_within_a_period(
    make_contract: MakeContract, sent_with: SentWith
) -> None:
    message: JointTrajectory = sent_with(
        "joint_trajectory", make_contract(HOLDS), lambda o: o.publish(made_targets(), 0)
    )[0]
    assert list(message.joint_names) == list(JOINTS)
    assert [list(point.positions) for point in message.points] == [[0.25, 0.5]]
    assert ns(message.points[0].time_from_start) == 20_000_000


def test_joint_trajectory_starts_when_it_is_received(
    make_contract: MakeContract, sent_with: SentWith
) -> None:
    """A stamp of 0 says so; one in the past would be rejected by controllers."""
    message = sent_with(
        "joint_trajectory", make_contract(HOLDS), lambda o: o.publish(made_targets(), STAMP_NS)
    )[0]
    assert ns(message.header.stamp) == 0


def test_joint_state_carries_names_positions_and_stamp(
    make_contract: MakeContract, sent_with: SentWith
) -> None:
    message: JointState = sent_with(
        "joint_state", make_contract(HOLDS), lambda o: o.publish(made_targets(), STAMP_NS)
    )[0]
    assert (list(message.name), list(message.position)) == (list(JOINTS), [0.25, 0.5])
    assert ns(message.header.stamp) == STAMP_NS


@pytest.mark.parametrize("output", ["position_array", "joint_trajectory", "joint_state"])
@pytest.mark.parametrize("on_fault", ["damp", "torque_off"])
def test_positions_cannot_express_damping_or_no_torque(
    make_contract: MakeContract, partner: Robot, output: str, on_fault: str
) -> None:
    with refusal(PolicyError):
        Output(partner.node, output, make_contract({"safety.on_fault": on_fault}), valid_for_s=0.1)
    assert partner.node.count_publishers(OUTPUTS[output][0]) == 0


@pytest.mark.parametrize("action_kind", ["velocity", "effort"])
def test_positions_cannot_express_other_kinds_of_actions(
    make_contract: MakeContract, partner: Robot, action_kind: str
) -> None:
    terms = [{"joints": ["left"], "kind": action_kind}, {"joints": ["right"], "kind": "position"}]
    with refusal(PolicyError):
        Output(partner.node, "position_array", make_contract({**HOLDS, "action.terms": terms}), 0.1)
