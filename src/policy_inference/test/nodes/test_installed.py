# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The node takes installed versions by name, and only signed ones where keys are configured."""

import base64
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from rclpy.lifecycle import TransitionCallbackReturn

from policy_inference.interfaces import Mode
from policy_inference.nodes.joint_policy_node import JointPolicyNode

from .bundles import revoke, write_bundle, write_record
from .harness import Stage, entities

pytestmark = pytest.mark.ros
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
NAME = "two_joints"
SIGNATURE = "policy.yaml.sig"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two installed versions, the first of them in use."""
    model = tmp_path / "models" / NAME
    monkeypatch.setenv("POLICY_INFERENCE_MODELS", str(model.parent))
    for version in ("1.2.3", "1.3.0"):
        write_record(write_bundle(model / version, {"version": version}))
    (model / "current").symlink_to("1.2.3")
    monkeypatch.chdir(model)  # where no folder has the name of the bundle
    return model


@pytest.fixture
def sign(tmp_path: Path) -> Callable[[Path], Path]:
    """Return what signs a bundle and gives the file of the public key."""
    key, public = Ed25519PrivateKey.generate(), tmp_path / "public.pem"
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )

    def apply(bundle: Path) -> Path:
        signature = key.sign((bundle / "policy.yaml").read_bytes())
        (bundle / SIGNATURE).write_bytes(base64.b64encode(signature) + b"\n")
        return public

    return apply


@pytest.mark.parametrize(("name", "version"), [(NAME, "1.2.3"), (f"{NAME}@1.3.0", "1.3.0")])
def test_name_means_an_installed_version_whose_folder_is_logged(
    stage: Stage, model: Path, name: str, version: str
) -> None:
    assert stage.node(bundle=name).trigger_configure() is SUCCESS
    stage.robot.hears(f"{NAME} {version} ({model / version}) on onnx")


def test_version_that_is_not_installed_is_refused(stage: Stage, model: Path) -> None:
    assert stage.node(bundle=f"{NAME}@9.0.0").trigger_configure() is FAILURE
    stage.robot.hears("expected an installed version of two_joints (1.2.3, 1.3.0), found '9.0.0'")


@pytest.mark.parametrize("named", [NAME, f"{NAME}@1.2.3", "path", "link"])
def test_version_that_is_revoked_on_this_robot_is_refused(
    stage: Stage, model: Path, named: str
) -> None:
    revoke(model, "1.2.3", "falls on stairs")
    places = {"path": str(model / "1.2.3"), "link": str(model / "current")}
    assert stage.node(bundle=places.get(named, named)).trigger_configure() is FAILURE
    stage.robot.hears("1.2.3: this version is revoked: falls on stairs; put another one into use")


def test_version_that_is_not_revoked_is_taken(stage: Stage, model: Path) -> None:
    revoke(model, "1.3.0", "limps")
    assert stage.node(bundle=NAME).trigger_configure() is SUCCESS


def test_signed_bundle_walks(
    active: Callable[..., JointPolicyNode], stage: Stage, model: Path, sign: Callable[[Path], Path]
) -> None:
    public = sign(model / "1.2.3")
    active(bundle=NAME, public_key=str(public), use_sim_time=True)
    assert stage.robot.runs().commands[-1].mode == Mode.RUN


@pytest.mark.parametrize("by", ["parameter", "environment"])
@pytest.mark.parametrize("kind", ["unsigned", "altered", "signature of another bundle", "model"])
def test_bundle_that_the_key_did_not_sign_is_refused_and_leaves_nothing(
    stage: Stage,
    model: Path,
    sign: Callable[[Path], Path],
    kind: str,
    by: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle, other = model / "1.2.3", model / "1.3.0"
    public = sign(bundle)
    sign(other)
    if kind == "unsigned":
        (bundle / SIGNATURE).unlink()
    elif kind == "altered":
        contract = bundle / "policy.yaml"
        contract.write_text(contract.read_text().replace("effort_limit: 20", "effort_limit: 90"))
    elif kind == "model":
        (bundle / "policy.onnx").write_bytes(b"else")
    else:
        shutil.copy(other / SIGNATURE, bundle / SIGNATURE)
    parameters = {"bundle": NAME}
    if by == "parameter":
        parameters["public_key"] = str(public)
    else:
        monkeypatch.setenv("POLICY_INFERENCE_PUBLIC_KEY", str(public))
    node = stage.node(**parameters)
    before = entities(node)
    assert node.trigger_configure() is FAILURE
    place = "policy.onnx: expected sha256" if kind == "model" else f"{SIGNATURE}: expected a signa"
    log = stage.robot.hears(f"{bundle / place}")
    assert log.count("[ERROR]") == len(log.splitlines()) == 1
    assert entities(node) == before


def test_parameter_cannot_replace_the_keys_of_the_environment(
    stage: Stage,
    model: Path,
    sign: Callable[[Path], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    public = sign(model / "1.2.3")
    other = tmp_path / "other.pem"
    other.write_bytes(
        Ed25519PrivateKey.generate()
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    monkeypatch.setenv("POLICY_INFERENCE_PUBLIC_KEY", str(other))
    assert stage.node(bundle=NAME, public_key=str(public)).trigger_configure() is FAILURE
    stage.robot.hears("since both are configured, found none")
