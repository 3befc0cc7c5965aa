# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A node at work takes installed versions by name; signed ones only, where keys are configured."""

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from diagnostic_msgs.msg import DiagnosticStatus

from policy_inference.bundle.bundle import CONTRACT_FILE, SIGNATURE_FILE
from policy_inference.bundle.store import CURRENT, ROOT_VARIABLE
from policy_inference.interfaces import Mode
from policy_inference.nodes.joint_policy_node import JointPolicyNode

from .bundles import revoke, write_record, write_version
from .harness import Robot
from .test_health import diagnosed
from .test_load import loaded, refusal
from .test_status import newest

pytestmark = pytest.mark.ros
VERSIONS = ("1.2.4", "1.3.0")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Root with two versions, the older of which is in use."""
    root = tmp_path / "models"
    for version in VERSIONS:
        write_version(root / "two_joints" / version, version)
        write_record(root / "two_joints" / version)
    (root / "two_joints" / CURRENT).symlink_to(VERSIONS[0])
    monkeypatch.setenv(ROOT_VARIABLE, str(root))
    return root / "two_joints"


def test_installed_version_is_taken_by_its_name(
    active: Callable[..., JointPolicyNode], robot: Robot, store: Path
) -> None:
    node = active(bundle="two_joints", use_sim_time=True)
    robot.is_met()
    assert newest(robot).bundle_version == "1.2.4"
    loaded(robot, "two_joints@1.3.0")
    assert newest(robot).bundle_version == "1.3.0"
    assert node.get_parameter("bundle").value == "two_joints@1.3.0"
    loaded(robot, "two_joints")
    assert newest(robot).bundle == str(store / "1.2.4")
    assert "expected an installed version of two_joints (1.2.4, 1.3.0), found '9.9.9'" in refusal(
        robot, "two_joints@9.9.9"
    )


def test_revoked_version_is_not_loaded_and_the_one_that_runs_goes_on(
    active: Callable[..., JointPolicyNode], robot: Robot, store: Path
) -> None:
    active(bundle="two_joints", use_sim_time=True)
    robot.is_met()
    revoke(store, "1.3.0", "limps")
    assert "1.3.0: this version is revoked: limps" in refusal(robot, "two_joints@1.3.0")
    assert newest(robot).bundle_version == "1.2.4"


def test_version_that_is_revoked_while_it_runs_goes_on_and_says_so(
    active: Callable[..., JointPolicyNode], robot: Robot, store: Path
) -> None:
    active(bundle="two_joints", use_sim_time=True)
    robot.runs()
    revoke(store, "1.2.4", "falls on stairs")
    text = "1.2.4: this version is revoked: falls on stairs"
    found = robot.reported(lambda status: robot.tick() and text in status.reason, "revoked")
    assert found.mode == Mode.RUN
    assert diagnosed(robot, text).level == DiagnosticStatus.WARN
    assert robot.hears(text)


def test_bundle_without_a_trusted_signature_is_refused(
    active: Callable[..., JointPolicyNode], robot: Robot, store: Path, tmp_path: Path
) -> None:
    key = Ed25519PrivateKey.generate()
    public = tmp_path / "public.pem"
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )

    def sign(version: str) -> None:
        contract = store / version / CONTRACT_FILE
        signature = base64.b64encode(key.sign(contract.read_bytes()))
        contract.with_name(SIGNATURE_FILE).write_bytes(signature)

    sign("1.2.4")
    active(bundle="two_joints", public_key=str(public), use_sim_time=True)
    robot.is_met()
    assert "expected a signature in base64" in refusal(robot, "two_joints@1.3.0")
    assert newest(robot).bundle_version == "1.2.4"
    sign("1.3.0")
    loaded(robot, "two_joints@1.3.0")
    contract = store / "1.2.4" / CONTRACT_FILE
    contract.write_text(contract.read_text("utf-8") + "\n", "utf-8")
    assert "found an invalid signature" in refusal(robot, "two_joints@1.2.4")
