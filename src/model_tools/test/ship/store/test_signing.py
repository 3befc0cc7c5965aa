# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Bundles that are signed, and robots that take no others."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
)
from onnx import helper

from model_tools.ship.store.sign import read_private_key
from policy_inference import onnx_file
from policy_inference.bundle.signature import PUBLIC_KEY_VARIABLE, trusted_keys
from policy_inference.errors import PolicyError

from .conftest import Bundles, Keys
from .stores import NAME, in_use, problems, run

Caplog = pytest.LogCaptureFixture


def test_signed_bundle_is_installed_used_and_verified(
    tmp_path: Path,
    bundles: Bundles,
    keys: Keys,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    private, public = keys()
    root = tmp_path / "models"
    monkeypatch.setenv(PUBLIC_KEY_VARIABLE, str(public))
    for version in ("1.0.0", "1.1.0"):
        bundle = bundles(version)
        assert run("sign", bundle, "--key", private) == 0
        assert run("install", bundle, "--activate", "--root", root) == 0
    assert run("rollback", NAME, "--root", root) == 0
    assert run("verify", "--root", root) == 0
    capsys.readouterr()
    run("list", "--root", root)
    trusted = trusted_keys()
    assert trusted
    assert capsys.readouterr().out.count(next(iter(trusted.keys))[:12]) == 2


def unsigned(bundle: Path, other: Path) -> None:
    (bundle / "policy.yaml.sig").unlink()


def by_another(bundle: Path, other: Path) -> None:
    assert run("sign", bundle, "--key", other, "--force") == 0


def altered(bundle: Path, other: Path) -> None:
    file = bundle / "policy.yaml"
    file.write_text(file.read_text().replace("effort_limit: 1,", "effort_limit: 99,"))


def no_base64(bundle: Path, other: Path) -> None:
    (bundle / "policy.yaml.sig").write_text("signed, the team")


def too_short(bundle: Path, other: Path) -> None:
    (bundle / "policy.yaml.sig").write_bytes(base64.b64encode(b"short"))


FORGED = {
    "unsigned": (
        unsigned,
        "policy.yaml.sig: expected a signature in base64, since public keys are configured",
        "found nothing; have the bundle signed",
    ),
    "another key": (
        by_another,
        "policy.yaml.sig: expected a signature of policy.yaml as it is, by",
        "found an invalid signature",
    ),
    "altered": (
        altered,
        "policy.yaml.sig: expected a signature of policy.yaml as it is, by a key",
        "found an invalid signature",
    ),
    "no base64": (no_base64, "policy.yaml.sig: expected a signature in base64", "other text"),
    "too short": (
        too_short,
        "policy.yaml.sig: expected a signature of policy",
        "an invalid signature",
    ),
}


@pytest.mark.parametrize("kind", FORGED)
def test_bundle_without_a_trusted_signature_is_refused_at_every_step(
    tmp_path: Path,
    bundles: Bundles,
    keys: Keys,
    caplog: Caplog,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    (private, public), (other, _) = keys(), keys("other")
    root, (forge, *expected) = tmp_path / "models", FORGED[kind]
    for version in ("1.0.0", "1.1.0"):
        bundle = bundles(version)
        run("sign", bundle, "--key", private)
        assert run("install", bundle, "--activate", "--root", root, "--public-key", public) == 0
    source = bundles("1.2.0")
    run("sign", source, "--key", private)
    forge(source, other)
    forge(root / NAME / "1.0.0", other)
    for args in (
        ["install", source],
        ["activate", NAME, "1.0.0"],
        ["rollback", NAME],
        ["verify", NAME, "1.0.0"],
    ):
        caplog.clear()
        expected_status = 1 if "verify" in args else 4
        assert run(*args, "--root", root, "--public-key", public) == expected_status
        said = caplog.text + capsys.readouterr().out  # that of verify is its result
        assert all(words in said for words in expected), said
        assert in_use(root) == ("1.1.0", ["1.0.0"])
    assert run("verify", NAME, "1.1.0", "--root", root, "--public-key", public) == 0


def test_files_are_covered_by_the_hashes_in_what_is_signed(
    tmp_path: Path, bundles: Bundles, keys: Keys, caplog: Caplog
) -> None:
    private, public = keys()
    bundle = bundles()
    run("sign", bundle, "--key", private)
    (bundle / "policy.onnx").write_bytes(b"else")
    assert run("install", bundle, "--root", tmp_path, "--public-key", public) == 4
    assert "policy.onnx: expected sha256" in caplog.text


def test_several_keys_in_a_file_or_a_folder(tmp_path: Path, bundles: Bundles, keys: Keys) -> None:
    (first, public), (second, other) = keys(), keys("other")
    together = tmp_path / "both.txt"
    together.write_bytes(b"# of two teams\n" + public.read_bytes() + other.read_bytes())
    for place in (together, tmp_path):
        for private in (first, second):
            bundle = bundles()
            run("sign", bundle, "--key", private)
            root = tmp_path / f"{place.name}-{private.name}"
            assert run("install", bundle, "--root", root, "--public-key", place) == 0


def test_key_given_beside_the_environments_only_adds_to_the_demand(
    keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (_, public), (_, other) = keys(), keys("other")
    monkeypatch.setenv(PUBLIC_KEY_VARIABLE, str(public))
    folder = trusted_keys(str(tmp_path))
    assert folder
    assert folder.keys.keys() == trusted_keys("").keys.keys()  # type: ignore[union-attr]  # set
    with pytest.raises(PolicyError, match="both are configured, found none"):
        trusted_keys(str(other))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "found No such file"),
        (b"", "found none"),
        (b"ssh-ed25519 AAAA me", "found none"),
        ("private", "found a private key that cannot be read as one"),
        ("other kind", "found a key of another kind"),
    ],
)
def test_what_is_no_public_key_is_never_taken_for_none_configured(
    tmp_path: Path,
    keys: Keys,
    bundles: Bundles,
    caplog: Caplog,
    content: bytes | str | None,
    found: str,
) -> None:
    private, _ = keys()
    place = tmp_path / "configured"
    if content == "private":
        content = private.read_bytes()
    elif content == "other kind":
        content = (
            ec.generate_private_key(ec.SECP256R1())
            .public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
    if content is not None:
        place.write_bytes(content)  # type: ignore[arg-type]  # bytes by now
    assert run("install", bundles(), "--root", tmp_path / "models", "--public-key", place) == 4
    assert f"{place}: expected Ed25519 public keys in PEM, {found}" in caplog.text
    assert not (tmp_path / "models").exists()


def test_variable_that_is_empty_is_no_way_around_keys(
    tmp_path: Path, bundles: Bundles, caplog: Caplog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PUBLIC_KEY_VARIABLE, "")
    assert run("install", bundles(), "--root", tmp_path / "models") == 4
    assert f"{PUBLIC_KEY_VARIABLE}: expected the path of a public key, found nothing" in caplog.text


def test_encrypted_key_needs_its_password(
    bundles: Bundles, keys: Keys, caplog: Caplog, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = keys(password="open sesame")
    bundle = bundles()
    for wrong in ("wrong", ""):
        caplog.clear()
        monkeypatch.setenv("POLICY_INFERENCE_KEY_PASSWORD", wrong)
        assert run("sign", bundle, "--key", private) == 4
        assert f"{private}: expected an Ed25519 private key in PEM, found: " in caplog.text
    assert not (bundle / "policy.yaml.sig").exists()
    monkeypatch.setenv("POLICY_INFERENCE_KEY_PASSWORD", "open sesame")
    assert run("sign", bundle, "--key", private) == 0
    trusted = trusted_keys(str(public))
    assert trusted
    assert trusted.signer(bundle / "policy.yaml", (bundle / "policy.yaml").read_bytes())


def test_encrypted_key_without_a_terminal_names_the_variable(bundles: Bundles, keys: Keys) -> None:
    private, _ = keys(password="open sesame")
    sign = ("sign", str(bundles()), "--key", str(private))
    command = [sys.executable, "-m", "model_tools.cli", *sign]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, start_new_session=True, capture_output=True, text=True
    )
    assert done.returncode == 4
    assert "found no terminal to ask at; set POLICY_INFERENCE_KEY_PASSWORD" in done.stderr
    assert "Traceback" not in done.stderr


def test_only_a_whole_bundle_is_signed_and_only_once_without_force(
    bundles: Bundles, keys: Keys, caplog: Caplog
) -> None:
    private, public = keys()
    bundle = bundles()
    assert run("sign", bundle, "--key", public) == 4
    assert f"{public}: expected an Ed25519 private key in PEM" in caplog.text
    assert run("sign", bundle, "--key", private) == 0
    assert run("sign", bundle, "--key", private) == 4
    assert "--force replaces it" in caplog.text
    (bundle / "golden.npz").write_bytes(b"else")
    before = (bundle / "policy.yaml.sig").read_bytes()
    assert run("sign", bundle, "--key", private, "--force") == 4
    assert "golden.npz: expected sha256" in caplog.text
    assert (bundle / "policy.yaml.sig").read_bytes() == before


def openssl(*args: object) -> bytes:
    try:
        return subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True).stdout
    except FileNotFoundError:
        pytest.skip("no command openssl")


def test_keys_and_signatures_are_openssls(
    tmp_path: Path, bundles: Bundles, capsys: pytest.CaptureFixture[str]
) -> None:
    """The documented lines, and a check of the signature that does not use this suite."""
    private, public, bundle = tmp_path / "private.pem", tmp_path / "keys/public.pem", bundles()
    public.parent.mkdir()
    openssl("genpkey", "-algorithm", "ed25519", "-out", private)
    openssl("pkey", "-in", private, "-pubout", "-out", public)
    assert run("sign", bundle, "--key", private) == 0
    assert run("install", bundle, "--root", tmp_path / "m", "--public-key", public.parent) == 0
    raw = tmp_path / "raw.sig"
    raw.write_bytes(base64.b64decode((bundle / "policy.yaml.sig").read_bytes()))
    assert b"Verified" in openssl(
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        public,
        "-rawin",
        "-in",
        bundle / "policy.yaml",
        "-sigfile",
        raw,
    )
    der = tmp_path / "public.der"
    openssl("pkey", "-pubin", "-in", public, "-outform", "DER", "-out", der)
    digest = openssl("dgst", "-sha256", "-r", der).split()[0].decode()
    assert f"signed by {digest}" in capsys.readouterr().out


def test_unsigned_bundles_are_welcome_where_no_key_is_configured(
    tmp_path: Path, bundles: Bundles
) -> None:
    assert PUBLIC_KEY_VARIABLE not in os.environ
    assert run("install", bundles(), "--activate", "--root", tmp_path) == 0
    assert problems(tmp_path) == []


def beside_it(model: Path) -> None:
    """Move the weights into a second file, which is there."""
    proto = onnx.load(model)
    onnx.save(proto, model, save_as_external_data=True, size_threshold=0, location="weights.data")


def nowhere(model: Path) -> None:
    beside_it(model)
    (model.parent / "weights.data").unlink()


def constant_in_a_subgraph(model: Path) -> None:
    """Add a branch whose Constant is in a file elsewhere."""
    proto = onnx.load(model)
    tensor = onnx.TensorProto(data_type=onnx.TensorProto.FLOAT, dims=[1], name="far")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="elsewhere.data")
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["far"], value=tensor)], "b", [], []
    )
    proto.graph.node.append(helper.make_node("If", ["c"], ["o"], then_branch=branch))
    model.write_bytes(proto.SerializeToString())


@pytest.mark.parametrize("move", [beside_it, nowhere, constant_in_a_subgraph])
def test_model_with_weights_outside_is_neither_signed_nor_installed_nor_whole(
    tmp_path: Path,
    bundles: Bundles,
    keys: Keys,
    caplog: Caplog,
    monkeypatch: pytest.MonkeyPatch,
    move: Callable[[Path], None],
) -> None:
    """All hashes and the signature hold: no hash covers the second file."""
    (private, public), root = keys(), tmp_path / "models"
    bundle = bundles()
    model, contract = bundle / "policy.onnx", bundle / "policy.yaml"
    before = hashlib.sha256(model.read_bytes()).hexdigest()
    move(model)
    text = contract.read_text().replace(before, hashlib.sha256(model.read_bytes()).hexdigest())
    contract.write_text(text)

    assert run("sign", bundle, "--key", private) == 4
    assert not (bundle / "policy.yaml.sig").exists()

    signature = read_private_key(private, lambda: b"").sign(contract.read_bytes())
    (bundle / "policy.yaml.sig").write_bytes(base64.b64encode(signature))
    install = ("install", bundle, "--activate", "--root", root, "--public-key", public)
    assert run(*install) == 4
    assert in_use(root) == (None, [])

    with monkeypatch.context() as patch:  # as versions before 0.1 installed it
        patch.setattr(onnx_file, "problem_of", lambda *_: None)
        assert run(*install) == 0
    caplog.clear()
    assert run("verify", "--root", root, "--public-key", public) == 1
    [problem] = problems(root)
    assert "policy.onnx: expected all weights in this file" in problem
