# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What each kind of output says, and what it refuses to say."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from policy_msgs.msg import JointCommand

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.contract import JointContract
from policy_core.bundle.load import load_bundle
from policy_core.errors import PolicyError
from policy_core.interfaces import JointTargets, Mode
from policy_inference.nodes.outputs import CHUNKS, OUTPUTS, Output, open_output
from testkit.kernel.contracts import contract_of
from testkit.ros_time import ns
from testkit.wording import refusal

from .bundles import JOINTS, write_bundle
from .harness import Robot

pytestmark = pytest.mark.ros
MakeContract = Callable[..., JointContract]
SentWith = Callable[..., Any]
STAMP_NS = 12_345_678_901
HOLDS: Mapping[str, object] = {"safety.on_fault": "hold_measured"}
LEGS = ["hip", "knee", "ankle"]


@pytest.fixture
def make_contract(tmp_path: Path) -> MakeContract:
    return lambda changes=None: (
        load_bundle(write_bundle(tmp_path / "b", changes), kind=JointBundle).contract
    )


@pytest.fixture
def sent_with(partner: Robot) -> SentWith:
    """Publish targets with an output of a kind; return the message that arrives."""

    def send(kind: str, contract: JointContract, targets: JointTargets, stamp_ns: int = 0) -> Any:
        output, received = Output(partner.node, kind, contract, valid_for_s=1.25), list[Any]()
        topic, message, _ = OUTPUTS[kind]
        partner.node.create_subscription(message, topic, received.append, 100)
        wanted = 1 if kind != "joint_command" else 2
        partner.until(lambda: output.publisher.get_subscription_count() >= wanted, "a listener")
        output.publish(targets, stamp_ns)
        partner.until(lambda: received, "a message")
        return received[0]

    return send


def made_targets(mode: Mode = Mode.RUN) -> JointTargets:
    targets = JointTargets(len(JOINTS))
    targets.mode = mode
    for i, row in enumerate(targets.block):
        row[:] = (i + 0.25, i + 0.5)
    return targets


def test_command_that_expires_before_the_next_but_one_is_refused(
    make_contract: MakeContract, partner: Robot
) -> None:
    with refusal(PolicyError):
        Output(partner.node, "joint_command", make_contract(), valid_for_s=0.03)


RENAMED = {"joints.robot_names": {"left": "{name}_joint", "right": "rr"}}
POSITIONS = [0.25, 0.5]
READ: Mapping[str, tuple[Callable[[Any], object], object]] = {
    "joint_command": (lambda it: list(it.names), ["left_joint", "rr"]),
    "position_array": (lambda it: it.data.tolist(), POSITIONS),
    # Starts when it is received, since its stamp is 0: controllers reject one in the past.
    "joint_trajectory": (
        lambda it: (
            it.joint_names,
            ns(it.header.stamp),
            [(list(p.positions), ns(p.time_from_start)) for p in it.points],
        ),
        (["left_joint", "rr"], 0, [(POSITIONS, 20_000_000)]),
    ),
    "joint_state": (
        lambda it: (it.name, ns(it.header.stamp), list(it.position)),
        (["left_joint", "rr"], STAMP_NS, POSITIONS),
    ),
}


@pytest.mark.parametrize("output", READ)
def test_outputs_have_positions_times_and_the_robots_names_of_joints(
    make_contract: MakeContract, sent_with: SentWith, output: str
) -> None:
    read, expected = READ[output]
    contract = make_contract({**HOLDS, **RENAMED})
    assert read(sent_with(output, contract, made_targets(), STAMP_NS)) == expected


@pytest.mark.parametrize(
    ("on_fault", "mode", "name"),
    [
        *(("damp", mode, mode.name) for mode in (Mode.STAND, Mode.READY, Mode.RUN, Mode.HOLD)),
        *((fault, Mode.DAMP, fault.upper()) for fault in ("damp", "hold_measured", "torque_off")),
    ],
)
def test_mode_of_a_joint_command_is_the_policys_or_what_a_fault_does(
    make_contract: MakeContract, sent_with: SentWith, on_fault: str, mode: Mode, name: str
) -> None:
    contract = make_contract({"safety.on_fault": on_fault})
    command = sent_with("joint_command", contract, made_targets(mode))
    assert command.mode == getattr(JointCommand, f"MODE_{name}")


@pytest.mark.parametrize(
    "changes",
    [
        {"safety.on_fault": "damp"},
        {**HOLDS, "action.terms": [{"joints": LEGS, "kind": "velocity"}]},
        {
            **HOLDS,
            "action.gains": {"damping": {"output": "kd", "min": 1.0, "max": 9.0}},
            "model.outputs.kd": {"shape": [1, 3]},
        },
    ],
    ids=["damp", "velocity", "gains"],
)
def test_positions_express_positions_only(partner: Robot, changes: Mapping[str, object]) -> None:
    with refusal(PolicyError):
        Output(partner.node, "position_array", contract_of(changes), valid_for_s=0.1)
    assert partner.node.count_publishers(OUTPUTS["position_array"][0]) == 0


def test_chunks_alone_are_the_output_of_a_chunk_policy_alone(
    make_contract: MakeContract, partner: Robot
) -> None:
    with refusal(PolicyError):
        open_output(partner.node, CHUNKS, make_contract(), 0.1)
