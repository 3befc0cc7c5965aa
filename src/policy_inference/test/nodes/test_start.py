# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a node's process imports, and when: little for its start, nothing beside its ticks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .bundles import write_bundle

pytestmark = pytest.mark.ros
PROCESS = """
import json, sys
import rclpy
from policy_inference.nodes.joint_policy_node import JointPolicyNode

bundle, folder = sys.argv[1:]
rclpy.init(args=["--ros-args", "-p", f"bundle:={bundle}", "-p", f"flight.folder:={folder}"])
node, found = JointPolicyNode(), {"imported": [*sys.modules]}
node.trigger_configure()
found["configured"] = [*sys.modules]
node.trigger_activate()
found["active"] = [*sys.modules]
for _ in range(3):
    node.loop.await_tick(10.0)
node.report()
found["at work"] = [*sys.modules]
node.leave()
print(json.dumps(found))
"""


@pytest.mark.slow
def test_node_imports_what_it_needs_in_its_transitions_and_nothing_once_it_ticks(
    tmp_path: Path,
) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    done = subprocess.run(
        [sys.executable, "-c", PROCESS, bundle, tmp_path / "flights"],
        check=True,
        timeout=120.0,
        stdout=subprocess.PIPE,
        text=True,
    )
    modules = {reached: set(names) for reached, names in json.loads(done.stdout).items()}
    # What a node without keys, cameras or a shadow does not need.
    others = {"cryptography", "cv2", "onnx", "rosbags", "scipy", "policy_inference.shadow"}
    assert not modules["configured"] & others
    assert modules["at work"] <= modules["active"]
