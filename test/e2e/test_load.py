# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A robot gets another version of its policy between two walks, or while it stands."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from policy_msgs.msg import JointCommand
from policy_msgs.srv import LoadBundle

from .conftest import WALKING_MPS
from .rig import Rig

pytestmark = pytest.mark.ros

SHIPPED = Path(__file__).resolve().parents[2] / "config" / "bundles" / "lite3_walk"
NEWEST = "9.8.7"
STANDING_M = 0.2
FIELDS = ("mode", "position", "velocity", "effort", "stiffness", "damping", "effort_limit")


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """A version of the policy that ships, with another number."""
    bundle = shutil.copytree(SHIPPED, tmp_path / "newer")
    change(bundle, r"^version: .*$", f'version: "{NEWEST}"')
    return bundle


@pytest.fixture
def stander(walker: Rig) -> Rig:
    """A robot that stands, and is about to stay so."""
    walker.operator.demand("stand")
    walker.operator.wait_for_mode("READY")
    walker.wait_for_commanded(JointCommand.MODE_READY)
    walker.operator.wait(0.5)
    return walker


def change(bundle: Path, old: str, new: str) -> None:
    file = bundle / "policy.yaml"
    text, count = re.subn(old, new, file.read_text("utf-8"), count=1, flags=re.MULTILINE)
    assert count == 1
    file.write_text(text, "utf-8")


def load(rig: Rig, bundle: Path | str, backend: str = "") -> Any:
    """Ask for a load; return the answer."""
    node = rig.operator.node
    client = node.create_client(LoadBundle, "joint_policy_node/load")
    rig.wait_until(client.service_is_ready, "the service load")
    answer = client.call_async(LoadBundle.Request(bundle=str(bundle), backend=backend))
    rig.wait_until(answer.done, "the answer to load")
    node.destroy_client(client)
    return answer.result()


def lie_down(rig: Rig) -> None:
    """Damp from a stand: of the poses that are left by a walk, one may not stand up from all."""
    rig.operator.let_go()
    rig.operator.demand("stand")
    rig.operator.wait_for_mode("READY")
    rig.operator.demand("damp")
    rig.operator.wait(1.0)


def assert_it_walks(rig: Rig, version: str) -> None:
    """Check that the robot, whose policy runs, walks with a version."""
    rig.operator.move(WALKING_MPS)
    rig.wait_until(lambda: rig.forward_mps > WALKING_MPS / 2, "a robot that walks")
    rig.operator.wait(1.0)
    assert (rig.operator.mode, rig.operator.status.bundle_version) == ("RUN", version)
    assert rig.height_m > STANDING_M


@pytest.mark.slow
def test_another_version_walks_after_the_first(walker: Rig, newer: Path) -> None:
    response = load(walker, newer)
    assert not response.success
    assert "the mode is RUN; ask for damp or stand first" in response.message
    lie_down(walker)
    response = load(walker, newer)
    assert response.success, response.message
    walker.operator.stand_up()
    assert_it_walks(walker, NEWEST)
    lie_down(walker)
    assert load(walker, "lite3_walk").success
    walker.operator.stand_up()
    assert_it_walks(walker, version_of(SHIPPED))


def test_standing_robot_gets_another_version_and_does_not_move(stander: Rig, newer: Path) -> None:
    height_m, before = stander.height_m, stander.commands[-1]
    seen = len(stander.commands) - 1
    response = load(stander, newer)
    assert response.success, response.message
    stander.wait_until(
        lambda: stander.commands[-1].sequence >= before.sequence + 50, "commands of a second"
    )
    commands = stander.commands[seen:]
    sequence = [command.sequence for command in commands]
    # One who listens beside the robot may lose some; they are numbered on.
    assert sequence == sorted(set(sequence))
    assert all(getattr(c, name) == getattr(before, name) for c in commands for name in FIELDS)
    # It may still settle by a millimetre or two after standing up.
    assert stander.height_m == pytest.approx(height_m, abs=4e-3)
    assert stander.operator.status.ticks_missed == 0
    assert before.mode == JointCommand.MODE_READY
    stander.operator.demand("run")
    assert_it_walks(stander, NEWEST)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (r"^rate_hz: .*$", "rate_hz: 100", "rate_hz: expected 50"),
        (
            r"^  duration_s: .*$",
            "  duration_s: 3.5",
            "stand.duration_s is another; ask for damp first",
        ),
        (r"file: policy.onnx", "file: other.onnx", "expected the file that policy.yaml names"),
    ],
)
def test_version_that_does_not_fit_leaves_the_robot_standing(
    stander: Rig, newer: Path, old: str, new: str, expected: str
) -> None:
    version = stander.operator.status.bundle_version
    change(newer, old, new)
    response = load(stander, newer)
    assert not response.success
    assert expected in response.message
    assert stander.operator.mode == "READY"
    assert stander.operator.status.bundle_version == version
    stander.operator.demand("run")
    stander.operator.wait(1.0)
    assert stander.operator.mode == "RUN"


def version_of(bundle: Path) -> str:
    found = re.search(r'^version: "(.*)"$', (bundle / "policy.yaml").read_text("utf-8"), re.M)
    assert found
    return found[1]
