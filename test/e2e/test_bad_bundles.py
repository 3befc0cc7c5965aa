# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A bundle that cannot or must not be used: one clear line, status 2, and never a command."""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import rclpy
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from policy_msgs.msg import JointCommand
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile

from examples.demos.runner import start_node
from model_tools.cli import main as model_tools
from testkit.waiting import PATIENCE_S

pytestmark = pytest.mark.ros

WHOLE = Path(__file__).resolve().parents[2] / "config" / "bundles" / "lite3_walk"


@pytest.fixture
def heard_commands() -> Iterator[list[JointCommand]]:
    """Everything that is published on joint_command meanwhile."""
    context, received = Context(), list[JointCommand]()
    rclpy.init(context=context)
    node = Node("listener", context=context)
    node.create_subscription(JointCommand, "joint_command", received.append, QoSProfile(depth=100))
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    ended = threading.Event()

    def spin() -> None:
        while not ended.is_set():
            executor.spin_once(timeout_sec=0.1)

    spinner = threading.Thread(target=spin)
    spinner.start()
    yield received
    ended.set()
    spinner.join()
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.mark.slow
def test_a_bundle_that_cannot_be_used_ends_the_node_with_its_reason(
    tmp_path: Path, heard_commands: list[JointCommand]
) -> None:
    bundle = shutil.copytree(WHOLE, tmp_path / "bundle")
    (bundle / "policy.onnx").write_bytes(b"else")
    node = start_node("joint_policy_node", {"bundle": str(bundle)}, tmp_path / "node.log")
    assert node.wait(PATIENCE_S) == 2
    problems = re.findall(r"^\[(?:ERROR|FATAL)\].*", node.output(), re.MULTILINE)
    assert any("policy.onnx: expected sha256" in line for line in problems)
    assert "Traceback" not in node.output()
    assert not heard_commands


@pytest.mark.slow
def test_robot_with_a_key_takes_installed_versions_only_if_they_were_signed(
    tmp_path: Path, heard_commands: list[JointCommand], monkeypatch: pytest.MonkeyPatch
) -> None:
    key, root = Ed25519PrivateKey.generate(), tmp_path / "models"
    public, private = tmp_path / "public.pem", tmp_path / "private.pem"
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert model_tools(["install", str(WHOLE), "--activate", "--root", str(root)]) == 0
    monkeypatch.setenv("POLICY_INFERENCE_MODELS", str(root))
    monkeypatch.setenv("POLICY_INFERENCE_PUBLIC_KEY", str(public))
    node = start_node("joint_policy_node", {"bundle": "lite3_walk"}, tmp_path / "node.log")
    assert node.wait(PATIENCE_S) == 2
    assert f"{root}/lite3_walk/0.2.1/policy.yaml.sig: expected" in node.output()
    assert not heard_commands

    signed = shutil.copytree(WHOLE, tmp_path / "signed")
    contract = signed / "policy.yaml"
    contract.write_text(contract.read_text("utf-8").replace('version: "0.2.1"', 'version: "0.2.2"'))
    assert model_tools(["sign", str(signed), "--key", str(private)]) == 0
    assert model_tools(["install", str(signed), "--activate", "--root", str(root)]) == 0
    node = start_node("joint_policy_node", {"bundle": "lite3_walk"}, tmp_path / "second.log")
    ends_s = time.monotonic() + 60.0
    try:
        while not heard_commands:
            node.check()  # it ends by itself where it is refused
            assert time.monotonic() < ends_s, node.output()
            threading.Event().wait(0.05)
    finally:
        node.stop()
    assert f"({root}/lite3_walk/0.2.2)" in node.output()
