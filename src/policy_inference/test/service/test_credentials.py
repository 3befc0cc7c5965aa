# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Tokens and certificates that the service refuses when it starts."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from policy_core.errors import PolicyError
from policy_inference.service.credentials import read_token, server_context
from testkit.wording import check_wording, refusal

from .certificates import DAY, Certificate, make_certificate


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


def test_a_certificate_that_ends_within_30_days_is_warned_of(
    ca: Certificate, tmp_path: Path
) -> None:
    made = make_certificate(tmp_path, "service", ca, ends=12.5 * DAY)

    check_wording(*server_context(made.cert, made.key)[1])


TIMES = {"expired": (-2 * DAY, timedelta(seconds=-1)), "not yet": (DAY, 2 * DAY)}
WRONG = ["CA", "chain", "other key", "readable", "passphrase", "cert", "key", "client_ca"]


@pytest.mark.parametrize("wrong", ["", *TIMES, *WRONG])
def test_certificates_and_keys_that_cannot_be_used_are_refused(
    ca: Certificate, tmp_path: Path, wrong: str
) -> None:
    begins, ends = TIMES.get(wrong, (-DAY, 365 * DAY))
    made = make_certificate(tmp_path, "service", ca, begins=begins, ends=ends)
    old = make_certificate(tmp_path, "old", begins=-2 * DAY, ends=-DAY)
    files = {"cert": made.cert, "key": made.key, "client_ca": ca.cert}
    if wrong == "CA":
        files["client_ca"] = old.cert
    elif wrong == "chain":
        made.cert.write_bytes(made.cert.read_bytes() + old.cert.read_bytes())
    elif wrong == "other key":
        files["key"] = ca.key
    elif wrong == "readable":
        made.key.chmod(0o644)
    elif wrong == "passphrase":
        encrypt_key(made.key)
    elif wrong in files:
        files[wrong] = write_token(tmp_path, b"something else", 0o600)
    if not wrong:
        assert server_context(files["cert"], files["key"], files["client_ca"])[1] == ()
        return
    with refusal(PolicyError):
        server_context(files["cert"], files["key"], files["client_ca"])


def encrypt_key(file: Path) -> None:
    key = serialization.load_pem_private_key(file.read_bytes(), None)
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )


def test_of_several_cas_those_that_are_not_valid_are_warned_of(
    ca: Certificate, tmp_path: Path
) -> None:
    made = make_certificate(tmp_path, "service", ca)
    old = make_certificate(tmp_path, "old", begins=-2 * DAY, ends=-DAY)
    both = tmp_path / "both.pem"
    both.write_bytes(ca.cert.read_bytes() + old.cert.read_bytes())

    check_wording(*server_context(made.cert, made.key, both)[1])


def test_a_file_that_is_not_there_is_named(ca: Certificate, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "none")):
        server_context(ca.cert, tmp_path / "none")


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o660], ids=oct)
def test_a_secret_that_clients_can_read_or_change_is_refused(
    ca: Certificate, tmp_path: Path, mode: int
) -> None:
    token = write_token(tmp_path, b"0123456789abcdef", mode)
    made = make_certificate(tmp_path, "service", ca)
    made.key.chmod(mode)
    clients = token.stat().st_gid

    for read in (
        lambda: read_token(token, clients),
        lambda: server_context(made.cert, made.key, None, clients),
    ):
        with refusal(PolicyError):
            read()


def test_a_secret_of_another_group_than_the_clients_is_taken(tmp_path: Path) -> None:
    token = write_token(tmp_path, b"0123456789abcdef")

    assert read_token(token, token.stat().st_gid + 1) == b"0123456789abcdef"
    assert read_token(token, None) == b"0123456789abcdef"
