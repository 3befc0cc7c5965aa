# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Tokens and certificates that the service refuses when it starts."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from policy_inference.errors import PolicyError
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


def test_a_certificate_that_is_valid_for_long_warns_of_nothing(
    ca: Certificate, tmp_path: Path
) -> None:
    made = make_certificate(tmp_path, "service", ca)

    assert server_context(made.cert, made.key, ca.cert)[1] == ()


def test_a_certificate_that_ends_within_30_days_is_warned_of(
    ca: Certificate, tmp_path: Path
) -> None:
    made = make_certificate(tmp_path, "service", ca, ends=12.5 * DAY)

    check_wording(*server_context(made.cert, made.key)[1])


@pytest.mark.parametrize(
    ("begins", "ends"),
    [(-2 * DAY, timedelta(seconds=-1)), (DAY, 2 * DAY)],
    ids=["expired", "not yet"],
)
def test_a_certificate_out_of_its_time_is_refused(
    ca: Certificate, tmp_path: Path, begins: timedelta, ends: timedelta
) -> None:
    made = make_certificate(tmp_path, "service", ca, begins=begins, ends=ends)

    with refusal(PolicyError):
        server_context(made.cert, made.key)


def test_an_expired_ca_of_clients_is_refused(ca: Certificate, tmp_path: Path) -> None:
    made = make_certificate(tmp_path, "service", ca)
    old = make_certificate(tmp_path, "old", begins=-2 * DAY, ends=-DAY)

    with refusal(PolicyError):
        server_context(made.cert, made.key, old.cert)


def test_each_certificate_of_a_chain_must_be_valid(ca: Certificate, tmp_path: Path) -> None:
    made = make_certificate(tmp_path, "service", ca)
    old = make_certificate(tmp_path, "old", begins=-2 * DAY, ends=-DAY)
    made.cert.write_bytes(made.cert.read_bytes() + old.cert.read_bytes())

    with refusal(PolicyError):
        server_context(made.cert, made.key)


def test_of_several_cas_those_that_are_not_valid_are_warned_of(
    ca: Certificate, tmp_path: Path
) -> None:
    made = make_certificate(tmp_path, "service", ca)
    old = make_certificate(tmp_path, "old", begins=-2 * DAY, ends=-DAY)
    both = tmp_path / "both.pem"
    both.write_bytes(ca.cert.read_bytes() + old.cert.read_bytes())

    check_wording(*server_context(made.cert, made.key, both)[1])


def test_the_key_of_another_certificate_is_refused(ca: Certificate, tmp_path: Path) -> None:
    made = make_certificate(tmp_path, "service", ca)

    with refusal(PolicyError):
        server_context(made.cert, ca.key)


def test_a_key_that_others_can_read_is_refused(ca: Certificate) -> None:
    ca.key.chmod(0o644)

    with refusal(PolicyError):
        server_context(ca.cert, ca.key)


def test_a_key_with_a_passphrase_is_refused_without_asking_for_it(ca: Certificate) -> None:
    key = serialization.load_pem_private_key(ca.key.read_bytes(), None)
    ca.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )

    with refusal(PolicyError):
        server_context(ca.cert, ca.key)


@pytest.mark.parametrize("which", ["cert", "key", "client_ca"])
def test_files_that_hold_something_else_are_refused(
    ca: Certificate, tmp_path: Path, which: str
) -> None:
    other = write_token(tmp_path, b"something else", 0o600)
    files = {"cert": ca.cert, "key": ca.key, "client_ca": ca.cert, which: other}

    with refusal(PolicyError):
        server_context(files["cert"], files["key"], files["client_ca"])


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
