# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Tokens and certificates that the service refuses when it starts."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from policy_core.errors import PolicyError
from policy_inference.service.credentials import read_certificate, read_token
from testkit.wording import refusal

from .certificates import Certificate, make_certificate


def write_token(folder: Path, content: bytes, mode: int = 0o640) -> Path:
    file = folder / "token"
    file.write_bytes(content)
    file.chmod(mode)
    return file


def test_a_token_is_the_content_of_its_file_less_the_line_end(tmp_path: Path) -> None:
    assert read_token(write_token(tmp_path, b"0123456789abcdef\n")) == b"0123456789abcdef"


@pytest.mark.parametrize("mode", [0o644, 0o642, 0o604], ids=oct)
def test_a_token_that_others_can_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    file = write_token(tmp_path, b"0123456789abcdef", mode)
    with refusal(PolicyError):
        read_token(file)


@pytest.mark.parametrize("content", [b"", b"\n", b"0123456789abcde\n", b"x" * 257], ids=len)
def test_a_token_too_short_or_too_long_is_refused(tmp_path: Path, content: bytes) -> None:
    with refusal(PolicyError):
        read_token(write_token(tmp_path, content))


@pytest.mark.parametrize(
    "wrong", ["", "other key", "readable", "passphrase", "cert", "key", "client_ca"]
)
def test_certificates_and_keys_that_cannot_be_used_are_refused(
    ca: Certificate, tmp_path: Path, wrong: str
) -> None:
    made = make_certificate(tmp_path, "service", ca)
    files = {"cert": made.cert, "key": made.key, "client_ca": ca.cert}
    if wrong == "other key":
        files["key"] = ca.key
    elif wrong == "readable":
        made.key.chmod(0o644)
    elif wrong == "passphrase":
        encrypt_key(made.key)
    elif wrong in files:
        files[wrong] = write_token(tmp_path, b"something else", 0o600)
    if not wrong:
        found = read_certificate(files["cert"], files["key"], files["client_ca"])
        assert found == tuple(file.read_bytes() for file in files.values())
        return
    with refusal(PolicyError):
        read_certificate(files["cert"], files["key"], files["client_ca"])


def encrypt_key(file: Path) -> None:
    key = serialization.load_pem_private_key(file.read_bytes(), None)
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
