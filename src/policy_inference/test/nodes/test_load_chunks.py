# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A node that is active replaces its chunk policy, or says why not and goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import rclpy
from policy_msgs.srv import LoadBundle
from rclpy.lifecycle import TransitionCallbackReturn

from policy_inference.interfaces import Mode
from policy_inference.nodes.act_policy_node import ActPolicyNode

from .arm import Arm, seen
from .bundles import write_bundle
from .colour_bundle import STEPS, write_colours
from .harness import StageOf

pytestmark = pytest.mark.ros
OFFSET_RAD = 0.25


@pytest.fixture
def arm(new_log: Callable[[], str], tmp_path: Path) -> Iterator[Arm]:
    """An arm beside an active node, in lockstep."""
    rclpy.init(args=[])
    stage = StageOf(Arm, ActPolicyNode, new_log)
    node = stage.node(
        bundle=str(write_colours(tmp_path / "colours")), use_sim_time=True, status_rate_hz=50.0
    )
    assert node.trigger_configure() is TransitionCallbackReturn.SUCCESS
    assert node.trigger_activate() is TransitionCallbackReturn.SUCCESS
    yield stage.robot
    stage.close()
    rclpy.shutdown()


@pytest.fixture
def ready(arm: Arm) -> Arm:
    """An arm that stands."""
    arm.is_met()
    arm.tick()
    arm.request("stand")
    arm.until(lambda: arm.tick().mode == Mode.READY, "READY")
    return arm


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another version, whose targets are greater by an offset."""
    return write_colours(tmp_path / "other", {"version": "2.0.0"}, offset_rad=OFFSET_RAD)


def load(arm: Arm, bundle: Path, backend: str = "") -> LoadBundle.Response:
    request = LoadBundle.Request(bundle=str(bundle), backend=backend)
    return arm.call(LoadBundle, "act_policy_node/load", request)


def refusal(arm: Arm, bundle: Path) -> str:
    """Ask for a load that must be refused; return the reason."""
    response = load(arm, bundle)
    assert not response.success
    return str(response.message)


def runs(arm: Arm) -> Arm:
    """Ask for RUN in READY, and tick until the policy commands."""
    arm.request("run")
    arm.until(lambda: arm.tick().mode == Mode.RUN, "RUN")
    return arm


def commanded(offset_rad: float = 0.0) -> object:
    """Return the positions that the first steps of a chunk command."""
    return pytest.approx([value + offset_rad for value in seen()], abs=0.01 * STEPS)


def test_in_ready_the_command_does_not_change_and_the_new_policy_runs(
    ready: Arm, other: Path
) -> None:
    before = ready.tick()
    response = load(ready, other)
    assert response.success, response.message
    assert response.message.startswith(f"colours 2.0.0 ({other}) on onnx: ")
    after = ready.tick()
    assert after.sequence == before.sequence + 1
    for field in ("mode", "position", "stiffness", "damping", "effort_limit"):
        assert getattr(after, field) == getattr(before, field)
    assert runs(ready).commands[-1].position == commanded(OFFSET_RAD)
    status = ready.reported(lambda status: status.bundle_version == "2.0.0", "the new version")
    assert status.bundle == str(other)


def test_chunks_of_the_new_policy_are_published(ready: Arm, other: Path) -> None:
    assert load(ready, other).success
    runs(ready)
    ready.until(lambda: ready.tick() and ready.chunks, "a chunk")
    assert ready.chunks[-1].data[:4].tolist() == commanded(OFFSET_RAD)


def test_in_damp_the_new_policy_stands_up_and_runs(arm: Arm, other: Path) -> None:
    arm.runs()
    arm.request("damp")
    assert load(arm, other).success
    assert arm.runs().commands[-1].position == commanded(OFFSET_RAD)


def test_a_policy_that_runs_is_not_replaced(ready: Arm, other: Path) -> None:
    runs(ready)
    assert refusal(ready, other) == ("load refused: the mode is RUN; ask for damp or stand first")
    assert ready.tick().mode == Mode.RUN


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rate_hz": 25}, "rate_hz: expected 20, as the policy in use has it, found 25"),
        ({"stand.stiffness": 50.0}, "stand.stiffness"),
        (
            {"joints.robot_names": {".*": "{name}_joint"}},
            "joints.names: expected red, green, blue, grip, as the policy in use has it",
        ),
    ],
)
def test_a_bundle_that_does_not_fit_the_node_is_refused_and_the_policy_in_use_goes_on(
    ready: Arm, tmp_path: Path, changes: Mapping[str, object], reason: str
) -> None:
    bundle = write_colours(tmp_path / "other", changes, offset_rad=OFFSET_RAD)
    assert reason in refusal(ready, bundle)
    assert runs(ready).commands[-1].position == commanded()


def test_a_bundle_without_golden_rows_is_refused(ready: Arm, tmp_path: Path) -> None:
    bundle = write_colours(tmp_path / "other")
    assert "golden: expected a file of golden vectors, found nothing" in refusal(ready, bundle)


def test_graphs_that_compute_something_else_than_the_golden_rows_are_refused(
    ready: Arm, other: Path
) -> None:
    contract = other / "policy.yaml"
    text = contract.read_text("utf-8").replace(f"- {OFFSET_RAD}", f"- {2 * OFFSET_RAD}")
    contract.write_text(text, "utf-8")
    assert "the policy is not the same function here" in refusal(ready, other)
    assert runs(ready).commands[-1].position == commanded()


def test_a_joint_policy_is_refused(ready: Arm, tmp_path: Path) -> None:
    assert "kind: expected chunk, found joint" in refusal(ready, write_bundle(tmp_path / "joint"))
