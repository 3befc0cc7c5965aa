# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which signed statements about a bundle are accepted, and in which order.

A statement is a YAML file with its signature beside it (`FILE.sig`), made by `model_tools sign`
with the key of the bundles. No statement is a contract, and no contract is a statement: their keys
in YAML differ.

**Order** is by `serial`: a robot keeps the newest statement of each kind, and refuses a lower
serial and other content with the same one. **Time** is the robot's clock, but never earlier than
`issued` of a statement that the robot has accepted: a clock that is behind (no battery, no network
yet) neither makes an expired statement valid again nor a new one invalid.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TypeVar

from policy_core.bundle.schema import read_bytes
from policy_core.bundle.signature import TrustedKeys, signature_path
from policy_core.bundle.statements import (
    ChannelStatement,
    DowngradeStatement,
    RevocationStatement,
    Statement,
    kept_statements,
    parse_statement,
    parse_time,
    revoked_versions,
)
from policy_core.bundle.store import kept_file
from policy_core.errors import PolicyError
from policy_store.durable import make_folders, write_text

STATEMENT_FILE, STATEMENT_SIGNATURE = "statement.yaml", "statement.yaml.sig"
"""Titles of the layers at a registry."""
_log = logging.getLogger("policy_store")


S = TypeVar("S", ChannelStatement, RevocationStatement, DowngradeStatement)
_SIGN_AGAIN: Mapping[type[Statement], str] = {
    ChannelStatement: "sign and push the channel",
    RevocationStatement: "sign and push the revocations",
    DowngradeStatement: "sign the downgrade",
}


def signed_statement(
    content: bytes, signature: bytes, place: str, cls: type[S], trusted: TrustedKeys
) -> S:
    """Return a statement, once a trusted key is known to have signed it.

    Args:
        content: Of the file.
        signature: Of the file beside it.
        place: What messages call it.
        cls: Which kind it must be.
        trusted: The keys of which one must have signed it.
    """
    again = f"its author must {_SIGN_AGAIN[cls]} again"
    trusted.find_signer(Path(place), content, io.BytesIO(signature), again)
    statement = parse_statement(content, place)
    if not isinstance(statement, cls):
        raise PolicyError(f"{place}: expected a {cls.__name__}, found one of {statement.kind}")
    return statement


def read_signed(file: Path, cls: type[S], trusted: TrustedKeys | None, option: str) -> S:
    """Return a signed statement from a file, whose signature lies beside it as `FILE.sig`."""
    if trusted is None:
        raise PolicyError(
            f"{option}: expected public keys that check the statement, found none; name them with "
            "--public-key"
        )
    return signed_statement(
        read_bytes(file), read_bytes(signature_path(file)), str(file), cls, trusted
    )


def keep(model: Path, statement: ChannelStatement | RevocationStatement, content: bytes) -> None:
    """Keep a statement that was accepted; it replaces the one before at once."""
    file = kept_file(model, statement.tag)
    make_folders(file.parent)
    write_text(file, content.decode("utf-8"))


def refuse_revoked(model: Path, version: str) -> None:
    """Raise an error where a version is revoked, as this robot knows it."""
    reason = revoked_versions(model).get(version)
    if reason is not None:
        raise PolicyError(
            f"{model / version}: expected a version that is not revoked, found that it is: {reason}"
        )


def require_newer(
    new: ChannelStatement | RevocationStatement,
    before: ChannelStatement | RevocationStatement | None,
    place: str,
    remedy: str = "the registry may be showing an old state on purpose: compare with who signs the "
    "statements",
) -> None:
    """Raise an error unless a statement follows the one before, or is the same one.

    Args:
        new: The statement.
        before: That was accepted before; None for none.
        place: What messages call the new one.
        remedy: What the error says to do.
    """
    if before is None or new.serial > before.serial or new == before:
        return
    found = "other content with" if new.serial == before.serial else "the older"
    raise PolicyError(
        f"{place}: expected a serial above {before.serial}, which was accepted before, or the same "
        f"statement, found {found} serial {new.serial}; {remedy}"
    )


def require_valid(issued: str, expires: str, model: Path | None, place: str) -> None:
    """Raise an error where a statement has expired; see the module for a clock that is wrong.

    Args:
        issued: When it was written.
        expires: Until when it holds.
        model: Folder of the installed versions, with the statements that were accepted before;
            None for none.
        place: What messages call it.
    """
    clock = datetime.now(timezone.utc)
    if clock < _utc(issued):
        _log.warning(
            "%s: the clock of this computer (%s) is behind the time of this statement (%s)",
            place,
            clock.isoformat(timespec="seconds"),
            issued,
        )
    accepted = [] if model is None else kept_statements(model)
    now = max([clock, *(_utc(statement.issued) for statement in accepted)])
    if now >= _utc(expires):
        raise PolicyError(
            f"{place}: expected a statement that has not expired, found that it did at {expires}, "
            f"and that it is {now.isoformat(timespec='seconds')} now; if that time is wrong, set "
            "the clock; what is in use stays in use, and a version can be pulled by its digest"
        )


def require_begun(statement: Statement, place: Path) -> None:
    """Raise an error where a statement was issued in the future, by the clock of this computer.

    A robot that accepts it believes that it is that late, and calls channels expired until then.
    """
    now = datetime.now(timezone.utc)
    if _utc(statement.issued) - now > timedelta(days=1):
        raise PolicyError(
            f"{place}: expected a statement that was issued by now, "
            f"{now.isoformat(timespec='seconds')}, found `issued` {statement.issued}; correct it, "
            "or the clock of this computer"
        )


def _utc(text: str) -> datetime:
    time = parse_time(text)
    assert time is not None  # `parse_statement` checked it
    return time
