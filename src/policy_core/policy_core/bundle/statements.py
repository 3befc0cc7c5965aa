# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Signed statements about a bundle: a channel's version, revocations, allowed downgrades.

A statement is a YAML file with keys that no contract has, so neither can pass for the other.
`policy_store pull` checks the signature and keeps the newest channel and revocation statements next
to the installed versions, where nodes read the revocations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from policy_core.bundle.contract import NAME, VERSION
from policy_core.bundle.schema import Reader, entry, parse_yaml, read_bytes
from policy_core.bundle.store import REVOKED_TAG, STATEMENTS, kept_file
from policy_core.errors import BundleError, PolicyError

CHANNEL_TAG = "channel-"
CHANNEL_NAME = "^[a-z0-9][a-z0-9-]{0,63}$"
_DIGEST = "^sha256:[0-9a-f]{64}$"
_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"
_MOST_SERIAL = 1 << 53


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelStatement:
    """Statement of the version that the robots on a channel run."""

    kind: Literal["channel"] = entry("kind of statement")
    name: str = entry("name of the bundle", pattern=NAME)
    channel: str = entry("name of the channel", pattern=CHANNEL_NAME)
    serial: int = entry(
        "number higher than that of the previous statement", minimum=1, maximum=_MOST_SERIAL
    )
    issued: str = entry(
        "time at which the statement was written, UTC, such as 2026-11-22T08:00:00Z", pattern=_TIME
    )
    expires: str = entry(
        "time from which robots no longer accept the statement, UTC", pattern=_TIME
    )
    version: str = entry("version of the bundle", pattern=VERSION)
    digest: str = entry(
        "digest of the bundle's manifest, as printed by `model_tools push`", pattern=_DIGEST
    )

    @property
    def tag(self) -> str:
        """Tag under which the statement is published."""
        return CHANNEL_TAG + self.channel


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationStatement:
    """Statement of the versions that robots must no longer use."""

    kind: Literal["revocations"] = entry("kind of statement")
    name: str = entry("name of the bundle", pattern=NAME)
    serial: int = entry(
        "number higher than that of the previous statement", minimum=1, maximum=_MOST_SERIAL
    )
    issued: str = entry(
        "time at which the statement was written, UTC, such as 2026-11-22T08:00:00Z", pattern=_TIME
    )
    versions: dict[str, str] = entry("reason for the revocation, by version")

    @property
    def tag(self) -> str:
        """Tag under which the statement is published."""
        return REVOKED_TAG


@dataclass(frozen=True, slots=True, kw_only=True)
class DowngradeStatement:
    """Statement of an older version that robots may pull from the registry again."""

    kind: Literal["downgrade"] = entry("kind of statement")
    name: str = entry("name of the bundle", pattern=NAME)
    version: str = entry("version of the bundle", pattern=VERSION)
    digest: str = entry("digest of the bundle's manifest", pattern=_DIGEST)
    issued: str = entry(
        "time at which the statement was written, UTC, such as 2026-11-22T08:00:00Z", pattern=_TIME
    )
    expires: str = entry(
        "time from which the statement no longer allows the version, UTC", pattern=_TIME
    )


Statement = ChannelStatement | RevocationStatement | DowngradeStatement
_KINDS: Mapping[str, type[Statement]] = {
    "channel": ChannelStatement,
    "revocations": RevocationStatement,
    "downgrade": DowngradeStatement,
}


def parse_statement(content: bytes, place: object) -> Statement:
    """Parse a statement; `policy_store` checks its signature before keeping it.

    Raises:
        BundleError: Lists every problem.
    """
    reader, value = Reader(str(place)), parse_yaml(content, place)
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        reader.problem("kind", f"one of {', '.join(_KINDS)}", kind)
        raise BundleError(*reader.problems)
    statement = reader.section(_KINDS[kind], value)
    if statement is not None:
        for key in ("issued", "expires"):
            text = getattr(statement, key, None)
            if text is not None and parse_time(text) is None:
                reader.problem(key, "an existing date and time", text)
        expires = getattr(statement, "expires", "")
        if expires and expires <= statement.issued:  # text order is time order
            reader.problem("expires", f"a time after `issued` ({statement.issued})", expires)
        for version in getattr(statement, "versions", ()):
            if not re.fullmatch(VERSION, version):  # it would revoke nothing
                reader.problem("versions", "versions of the bundle, such as 1.2.0", version)
    if reader.problems or statement is None:
        raise BundleError(*reader.problems)
    return statement  # type: ignore[no-any-return]  # `section` returns what it was given


def kept(model: Path, tag: str) -> ChannelStatement | RevocationStatement | None:
    """Return the newest statement with this tag that this robot has accepted, or None.

    Its signature was checked on arrival and is not checked again, since the folder is as well
    protected as the installed versions next to it.

    Raises:
        PolicyError: The file is damaged.
    """
    file = kept_file(model, tag)
    return _kept(file) if file.exists() else None


def kept_statements(model: Path) -> list[ChannelStatement | RevocationStatement]:
    """Return the newest accepted statement for each tag.

    Raises:
        PolicyError: A file is damaged.
    """
    folder = model / STATEMENTS
    return [_kept(file) for file in sorted(folder.glob("*.yaml"))] if folder.is_dir() else []


def revoked_versions(model: Path) -> Mapping[str, str]:
    """Return the reason for each revoked version of a bundle, as far as this robot knows.

    Raises:
        PolicyError: The stored statement is damaged.
    """
    statement = kept(model, REVOKED_TAG)
    return statement.versions if isinstance(statement, RevocationStatement) else {}


def _kept(file: Path) -> ChannelStatement | RevocationStatement:
    try:
        statement = parse_statement(read_bytes(file), file)
    except BundleError as error:
        text = f"{error}; the statement is corrupt: delete it, and the next pull will restore it"
        raise PolicyError(*text.split("\n")) from error
    assert not isinstance(statement, DowngradeStatement)  # downgrade statements are not stored
    return statement


def parse_time(text: str) -> datetime | None:
    """Parse a time; return None for a date that does not exist, such as the 30th of February."""
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        return None
