# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Acceptance of signed statements about a bundle, and their order.

A statement is a YAML file with its signature next to it (`FILE.sig`), made by `model_tools sign`
with the same key as for bundles. A statement cannot pass for a contract, or vice versa, since their
YAML keys differ.

**Order** is by `serial`: a robot keeps the newest statement for each tag, and refuses a lower
serial, or different content with the same serial. **Time** is the robot's clock, but never earlier
than the `issued` time of any accepted statement: a clock that is behind (no battery, no network
yet) does not make an expired statement valid again, nor a new statement invalid. A statement issued
far ahead of the clock is refused, because it would make all others expired.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TypeVar

from policy_core.bundle.signature import TrustedKeys
from policy_core.bundle.statements import (
    ChannelStatement,
    DowngradeStatement,
    RevocationStatement,
    kept_statements,
    parse_statement,
    parse_time,
    revoked_versions,
)
from policy_core.bundle.store import kept_file
from policy_core.errors import PolicyError
from policy_store.durable import make_folders, write_text, writing

STATEMENT_FILE, STATEMENT_SIGNATURE = "statement.yaml", "statement.yaml.sig"
"""Titles of a statement's layers in a registry."""
_EARLIEST = datetime(2026, 12, 1, tzinfo=timezone.utc)
"""A clock that shows an earlier time was never set."""
_MOST_AHEAD = timedelta(days=366)
"""Longest time for which a robot may be switched off with a clock that stands still meanwhile."""
_log = logging.getLogger("policy_store")
S = TypeVar("S", ChannelStatement, RevocationStatement, DowngradeStatement)


def signed_statement(
    content: bytes, signature: bytes, place: str, cls: type[S], trusted: TrustedKeys
) -> S:
    """Return a statement after checking that a trusted key has signed it.

    `place` is the statement's name in messages, `cls` the required kind.
    """
    trusted.find_signer(Path(place), content, signature, "its author must sign it again")
    statement = parse_statement(content, place)
    if not isinstance(statement, cls):
        raise PolicyError(
            f"{place}: expected a {cls.__name__.removesuffix('Statement').lower()} statement, "
            f"found one of kind {statement.kind}"
        )
    if _is_ahead(statement.issued):
        raise PolicyError(
            f"{place}: expected a statement issued at most {_MOST_AHEAD.days} days ahead of this "
            f"computer's clock ({_now().isoformat(timespec='seconds')}), found `issued` "
            f"{statement.issued}; if this clock is wrong, set it; otherwise its author must sign a "
            "corrected one"
        )
    return statement


def keep(model: Path, statement: ChannelStatement | RevocationStatement, content: bytes) -> None:
    """Store an accepted statement; it replaces the previous one atomically."""
    file = kept_file(model, statement.tag)
    with writing(model.parent):
        make_folders(file.parent)
        write_text(file, content.decode("utf-8"))


def refuse_revoked(model: Path, version: str) -> None:
    """Raise PolicyError if this robot knows that a version is revoked."""
    reason = revoked_versions(model).get(version)
    if reason is not None:
        raise PolicyError(
            f"{model / version}: expected a version that is not revoked, found a revoked one: "
            f"{reason}"
        )


def require_newer(
    new: ChannelStatement | RevocationStatement,
    before: ChannelStatement | RevocationStatement | None,
    place: str,
    remedy: str = "the registry may be replaying an old statement: ask the signer for the current "
    "serial",
) -> None:
    """Raise PolicyError unless a statement is newer than or identical to the last accepted one."""
    if before is None or new.serial > before.serial or new == before:
        return
    found = "different content with" if new.serial == before.serial else "the older"
    raise PolicyError(
        f"{place}: expected a serial above {before.serial} (the last one accepted), or the same "
        f"statement, found {found} serial {new.serial}; {remedy}"
    )


def require_valid(issued: str, expires: str, model: Path | None, place: str) -> None:
    """Raise PolicyError if a statement has expired; the module docstring covers wrong clocks.

    `model` is the bundle's folder with previously accepted statements, or None.
    """
    clock = _now()
    if clock < _utc(issued):
        _log.warning(
            "%s: this computer's clock (%s) is behind the time when the statement was issued (%s)",
            place,
            clock.isoformat(timespec="seconds"),
            issued,
        )
    accepted = [] if model is None else kept_statements(model)
    known = [statement.issued for statement in accepted if not _is_ahead(statement.issued)]
    now = max([clock, *map(_utc, known)])
    if now >= _utc(expires):
        raise PolicyError(
            f"{place}: expected a statement that has not expired, found one that expired at "
            f"{expires} (now: {now.isoformat(timespec='seconds')}); if this clock is wrong, set "
            "it; the version in use stays in use, and you can pull a version by its digest"
        )


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _is_ahead(issued: str) -> bool:
    return _utc(issued) > max(_now(), _EARLIEST) + _MOST_AHEAD


def _utc(text: str) -> datetime:
    time = parse_time(text)
    assert time is not None  # `parse_statement` checked it
    return time
