# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""MakeVersion that are signed, and robots that take no others."""

import base64
import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from model_tools.ship.sign import read_private_key
from policy_core import onnx_file
from policy_core.bundle.load import PUBLIC_KEY_VARIABLE, trusted_keys
from testkit.edits import reword
from testkit.store import NAME, MakeVersion, in_use, make_keys, tool, tool_refused, verify_problems
from testkit.wording import check_wording

Forge = Callable[[Path, Path], object]


FORGED: dict[str, Forge] = {
    "unsigned": lambda bundle, _: (bundle / "policy.yaml.sig").unlink(),
    "another key": lambda bundle, other: tool("sign", bundle, "--key", other, "--force"),
    "altered": lambda bundle, _: reword(
        bundle / "policy.yaml", ("effort_limit: 1,", "effort_limit: 99,")
    ),
    "no base64": lambda bundle, _: (bundle / "policy.yaml.sig").write_text("signed, the team"),
    "too short": lambda bundle, _: (bundle / "policy.yaml.sig").write_bytes(
        base64.b64encode(b"short")
    ),
}


@pytest.mark.parametrize("kind", FORGED)
def test_bundle_without_a_trusted_signature_is_refused_at_every_step(
    tmp_path: Path, make_version: MakeVersion, kind: str
) -> None:
    (private, public), (other, _) = make_keys(tmp_path), make_keys(tmp_path, "other")
    root = tmp_path / "models"
    options = ("--root", root, "--public-key", public)
    for version in ("1.0.0", "1.1.0"):
        bundle = make_version(version)
        assert tool("sign", bundle, "--key", private) == 0
        assert tool("install", bundle, "--activate", *options) == 0
    source = make_version("1.2.0")
    assert tool("sign", source, "--key", private) == 0
    for folder in (source, root / NAME / "1.0.0"):
        FORGED[kind](folder, other)
    for args in (["install", source], ["activate", NAME, "1.0.0"], ["rollback", NAME]):
        tool_refused(*args, *options)
        assert in_use(root) == ("1.1.0", ["1.0.0"])
    assert tool("verify", NAME, "1.0.0", *options) == 1
    assert tool("verify", NAME, "1.1.0", *options) == 0


def test_several_keys_in_a_file_or_a_folder(tmp_path: Path, make_version: MakeVersion) -> None:
    (first, public), (second, other) = make_keys(tmp_path), make_keys(tmp_path, "other")
    together = tmp_path / "both.txt"
    together.write_bytes(b"# of two teams\n" + public.read_bytes() + other.read_bytes())
    for place in (together, tmp_path):
        for private in (first, second):
            bundle = make_version()
            tool("sign", bundle, "--key", private)
            root = tmp_path / f"{place.name}-{private.name}"
            assert tool("install", bundle, "--root", root, "--public-key", place) == 0


@pytest.mark.parametrize("kind", ["absent", "empty", "of ssh", "private", "elliptic"])
def test_what_is_no_public_key_is_never_taken_for_none_configured(
    tmp_path: Path, make_version: MakeVersion, kind: str
) -> None:
    place, elliptic = tmp_path / "configured", ec.generate_private_key(ec.SECP256R1()).public_key()
    contents = {
        "empty": b"",
        "of ssh": b"ssh-ed25519 AAAA me",
        "private": make_keys(tmp_path)[0].read_bytes(),
        "elliptic": elliptic.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    }
    if kind in contents:
        place.write_bytes(contents[kind])
    tool_refused("install", make_version(), "--root", tmp_path / "models", "--public-key", place)
    assert not (tmp_path / "models").exists()


def test_variable_that_is_empty_is_no_way_around_keys(
    tmp_path: Path, make_version: MakeVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PUBLIC_KEY_VARIABLE, "")
    tool_refused("install", make_version(), "--root", tmp_path / "models")


def test_encrypted_key_needs_its_password(
    make_version: MakeVersion,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    private, public = make_keys(tmp_path, password="open sesame")
    bundle = make_version()
    for wrong in ("wrong", ""):
        caplog.clear()
        monkeypatch.setenv("POLICY_INFERENCE_KEY_PASSWORD", wrong)
        assert tool("sign", bundle, "--key", private) == 4
        assert str(private) in caplog.messages[-1]  # the rest is OpenSSL's
    assert not (bundle / "policy.yaml.sig").exists()
    monkeypatch.setenv("POLICY_INFERENCE_KEY_PASSWORD", "open sesame")
    assert tool("sign", bundle, "--key", private) == 0
    trusted = trusted_keys(str(public))
    assert trusted
    assert trusted.signer(bundle / "policy.yaml", (bundle / "policy.yaml").read_bytes())


def test_only_a_whole_bundle_is_signed_and_only_once_without_force(
    make_version: MakeVersion, tmp_path: Path
) -> None:
    private, public = make_keys(tmp_path)
    bundle = make_version()
    assert tool("sign", bundle, "--key", public) == 4
    assert tool("sign", bundle, "--key", private) == 0
    tool_refused("sign", bundle, "--key", private)
    (bundle / "golden.npz").write_bytes(b"else")
    before = (bundle / "policy.yaml.sig").read_bytes()
    tool_refused("sign", bundle, "--key", private, "--force")
    assert (bundle / "policy.yaml.sig").read_bytes() == before


def openssl(*args: object) -> bytes:
    try:
        return subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True).stdout
    except FileNotFoundError:
        pytest.skip("no command openssl")


def test_keys_and_signatures_are_openssls(
    tmp_path: Path, make_version: MakeVersion, capsys: pytest.CaptureFixture[str]
) -> None:
    """The documented lines, and a check of the signature that does not use this suite."""
    private, public, bundle = (
        tmp_path / "private.pem",
        tmp_path / "keys/public.pem",
        make_version(),
    )
    public.parent.mkdir()
    openssl("genpkey", "-algorithm", "ed25519", "-out", private)
    openssl("pkey", "-in", private, "-pubout", "-out", public)
    assert tool("sign", bundle, "--key", private) == 0
    assert tool("install", bundle, "--root", tmp_path / "m", "--public-key", public.parent) == 0
    raw = tmp_path / "raw.sig"
    raw.write_bytes(base64.b64decode((bundle / "policy.yaml.sig").read_bytes()))
    verify = ("pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-sigfile", raw)
    assert b"Verified" in openssl(*verify, "-in", bundle / "policy.yaml")
    der = tmp_path / "public.der"
    openssl("pkey", "-pubin", "-in", public, "-outform", "DER", "-out", der)
    digest = openssl("dgst", "-sha256", "-r", der).split()[0].decode()
    assert digest in capsys.readouterr().out


def test_model_with_weights_outside_is_neither_signed_nor_installed_nor_whole(
    tmp_path: Path, make_version: MakeVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All hashes and the signature hold: no hash covers the second file."""
    (private, public), root = make_keys(tmp_path), tmp_path / "models"
    bundle = make_version()
    model, contract = bundle / "policy.onnx", bundle / "policy.yaml"
    before = hashlib.sha256(model.read_bytes()).hexdigest()
    # Moves the weights into a second file.
    proto = onnx.load(model)
    onnx.save(proto, model, save_as_external_data=True, size_threshold=0, location="weights.data")
    reword(contract, (before, hashlib.sha256(model.read_bytes()).hexdigest()))

    assert tool("sign", bundle, "--key", private) == 4
    assert not (bundle / "policy.yaml.sig").exists()

    signature = read_private_key(private, lambda: b"").sign(contract.read_bytes())
    (bundle / "policy.yaml.sig").write_bytes(base64.b64encode(signature))
    install = ("install", bundle, "--activate", "--root", root, "--public-key", public)
    assert tool(*install) == 4
    assert in_use(root) == (None, [])

    with monkeypatch.context() as patch:  # as versions before 0.1 installed it
        patch.setattr(onnx_file, "find_model_problem", lambda *_, **__: None)
        assert tool(*install) == 0
    assert tool("verify", "--root", root, "--public-key", public) == 1
    check_wording(*verify_problems(root))
