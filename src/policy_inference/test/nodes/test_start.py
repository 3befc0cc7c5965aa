# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a node's process imports, and when: little for its start, nothing beside its ticks."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from .bundles import write_bundle

pytestmark = pytest.mark.ros
Modules = Mapping[str, set[str]]
UNNEEDED = {
    "cryptography",
    "cv2",
    "http",
    "jsonschema",
    "onnx",
    "pkg_resources",
    "prometheus_client",
    "scipy",
    "setuptools",
    "ssl",
}
"""What other commands need, or a node with keys or cameras."""
RECORDER = {"rosbags", "ruamel", "sqlite3"}
"""What recordings are written with: an active node needs it."""
PROCESS = """
import json, sys
import rclpy
from policy_inference.nodes.joint_policy_node import JointPolicyNode

bundle, folder = sys.argv[1:]
rclpy.init(args=["--ros-args", "-p", f"bundle:={bundle}", "-p", f"flight.folder:={folder}"])
node, found = JointPolicyNode(), {}
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


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Modules:
    """Names of the modules of a node's process, by what it has reached."""
    folder = tmp_path_factory.mktemp("start")
    bundle = write_bundle(folder / "bundle")
    done = subprocess.run(
        [sys.executable, "-c", PROCESS, bundle, folder / "flights"],
        check=True,
        timeout=120.0,
        stdout=subprocess.PIPE,
        text=True,
    )
    return {reached: set(names) for reached, names in json.loads(done.stdout).items()}


def test_configured_node_has_imported_nothing_of_other_commands(modules: Modules) -> None:
    assert not modules["configured"] & UNNEEDED


def test_what_writes_recordings_is_imported_at_activation(modules: Modules) -> None:
    assert not modules["configured"] & RECORDER
    assert modules["active"] >= RECORDER


def test_nothing_is_imported_once_the_node_ticks(modules: Modules) -> None:
    assert modules["at work"] <= modules["active"]


def test_modules_are_left_out_of_collections(tmp_path: Path) -> None:
    """They would be walked through again and again, and hold up what runs meanwhile."""
    (tmp_path / "some_node.py").write_text(
        "import gc\nlisted = [[]]\nat_import = gc.isenabled()\n"
        "def main():\n"
        "    print(at_import, gc.isenabled(), any(each is listed for each in gc.get_objects()))\n",
        "utf-8",
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from policy_inference.command_line import node_command\nnode_command('some_node')()",
        ],
        cwd=tmp_path,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert done.stdout.split() == ["False", "True", "False"]
