# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Signed statements about a bundle: the version of a channel, what is revoked, what may go back.

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
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Literal, TypeVar

from model_tools.errors import ToolError
from model_tools.ship.store.durable import make_folders, write_text
from policy_inference.bundle.contract import NAME, VERSION
from policy_inference.bundle.schema import Reader, entry, parse_yaml, read_bytes
from policy_inference.bundle.signature import TrustedKeys, signature_of
from policy_inference.errors import BundleError

FOLDER = "statements"
"""Beside the versions of a bundle: what a robot has accepted."""
REVOKED_TAG, CHANNEL_TAG = "revoked", "channel-"
STATEMENT_FILE, STATEMENT_SIGNATURE = "statement.yaml", "statement.yaml.sig"
"""Titles of the layers at a registry."""
CHANNEL_NAME = "^[a-z0-9][a-z0-9-]{0,63}$"
_DIGEST = "^sha256:[0-9a-f]{64}$"
_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"
_MOST_SERIAL = 1 << 53
_log = logging.getLogger("model_tools")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelStatement:
    """Which version robots that follow a channel run."""

    kind: Literal["channel"] = entry("channel")
    name: str = entry("name of the bundle", pattern=NAME)
    channel: str = entry("name of the channel", pattern=CHANNEL_NAME)
    serial: int = entry("higher than that of the statement before", minimum=1, maximum=_MOST_SERIAL)
    issued: str = entry("when it was written, UTC, such as 2026-11-22T08:00:00Z", pattern=_TIME)
    expires: str = entry("from when on no robot takes it any more, UTC", pattern=_TIME)
    version: str = entry("of the bundle", pattern=VERSION)
    digest: str = entry("of its manifest, as `model_tools push` prints it", pattern=_DIGEST)

    @property
    def tag(self) -> str:
        """By which it is found."""
        return CHANNEL_TAG + self.channel


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationStatement:
    """Which versions no robot takes any more."""

    kind: Literal["revocations"] = entry("revocations")
    name: str = entry("name of the bundle", pattern=NAME)
    serial: int = entry("higher than that of the statement before", minimum=1, maximum=_MOST_SERIAL)
    issued: str = entry("when it was written, UTC, such as 2026-11-22T08:00:00Z", pattern=_TIME)
    versions: dict[str, str] = entry("the reason, by version")

    @property
    def tag(self) -> str:
        """By which it is found."""
        return REVOKED_TAG


@dataclass(frozen=True, slots=True, kw_only=True)
class DowngradeStatement:
    """Which older version robots may go back to, through the registry."""

    kind: Literal["downgrade"] = entry("downgrade")
    name: str = entry("name of the bundle", pattern=NAME)
    version: str = entry("of the bundle", pattern=VERSION)
    digest: str = entry("of its manifest", pattern=_DIGEST)
    issued: str = entry("when it was written, UTC, such as 2026-11-22T08:00:00Z", pattern=_TIME)
    expires: str = entry("from when on it allows nothing any more, UTC", pattern=_TIME)


Statement = ChannelStatement | RevocationStatement | DowngradeStatement
_KINDS: Mapping[str, type[Statement]] = {
    "channel": ChannelStatement,
    "revocations": RevocationStatement,
    "downgrade": DowngradeStatement,
}
S = TypeVar("S", ChannelStatement, RevocationStatement, DowngradeStatement)
_SIGN_AGAIN: Mapping[type[Statement], str] = {
    ChannelStatement: "sign and push the channel",
    RevocationStatement: "sign and push the revocations",
    DowngradeStatement: "sign the downgrade",
}


def parse_statement(content: bytes, place: object) -> Statement:
    """Return a statement; its signature is the business of `signed_statement`.

    Raises:
        BundleError: With everything that is wrong.
    """
    reader, value = Reader(str(place)), parse_yaml(content, place)
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        reader.problem("kind", f"one of {', '.join(_KINDS)}", kind)
        raise BundleError(reader.problems)
    statement = reader.section(_KINDS[kind], value)
    if statement is not None:
        for key in ("issued", "expires"):
            text = getattr(statement, key, None)
            if text is not None and time_of(text) is None:
                reader.problem(key, "a time that exists", text)
        expires = getattr(statement, "expires", "")
        if expires and expires <= statement.issued:  # as text they are in the order of time
            reader.problem("expires", f"a time after `issued`, {statement.issued}", expires)
        for version in getattr(statement, "versions", ()):
            if not re.fullmatch(VERSION, version):  # it would revoke nothing
                reader.problem("versions", "versions of the bundle, such as 1.2.0", version)
    if reader.problems or statement is None:
        raise BundleError(reader.problems)
    return statement  # type: ignore[no-any-return]  # `section` returns what it was given


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

    Raises:
        BundleError: It is not signed, or is no such statement.
    """
    again = f"its author must {_SIGN_AGAIN[cls]} again"
    trusted.signer_of(Path(place), content, io.BytesIO(signature), again)
    statement = parse_statement(content, place)
    if not isinstance(statement, cls):
        raise ToolError(f"{place}: expected a {cls.__name__}, found one of {statement.kind}")
    return statement


def read_signed(file: Path, cls: type[S], trusted: TrustedKeys | None, option: str) -> S:
    """Return a signed statement from a file, whose signature lies beside it as `FILE.sig`.

    Raises:
        BundleError: As `signed_statement`.
        ToolError: No keys are configured, with which it could be checked.
    """
    if trusted is None:
        raise ToolError(
            f"{option}: expected public keys that check the statement, found none; name them with "
            "--public-key"
        )
    return signed_statement(
        read_bytes(file), read_bytes(signature_of(file)), str(file), cls, trusted
    )


def kept(model: Path, tag: str) -> ChannelStatement | RevocationStatement | None:
    """Return the newest statement that this robot has accepted, None where there is none.

    It was checked when it came; the folder is as safe as the installed versions beside it.

    Raises:
        ToolError: It is damaged.
    """
    file = _kept_file(model, tag)
    return _kept(file) if file.exists() else None


def require_kept_whole(model: Path) -> None:
    """Raise an error where a statement that this robot has accepted is damaged.

    Raises:
        ToolError: One is.
    """
    for file in _kept_files(model):
        _kept(file)


def _kept(file: Path) -> ChannelStatement | RevocationStatement:
    try:
        statement = parse_statement(read_bytes(file), file)
    except BundleError as error:
        raise ToolError(
            f"{error}; the statement is damaged: remove it, and the next pull brings it again"
        ) from error
    assert not isinstance(statement, DowngradeStatement)  # these are not kept
    return statement


def keep(model: Path, statement: ChannelStatement | RevocationStatement, content: bytes) -> None:
    """Keep a statement that was accepted; it replaces the one before at once."""
    file = _kept_file(model, statement.tag)
    make_folders(file.parent)
    write_text(file, content.decode("utf-8"))


def revoked_versions(model: Path) -> Mapping[str, str]:
    """Return why versions of an installed bundle are revoked, by version, as this robot knows it.

    Raises:
        ToolError: The statement that it has kept is damaged.
    """
    statement = kept(model, REVOKED_TAG)
    return statement.versions if isinstance(statement, RevocationStatement) else {}


def refuse_revoked(model: Path, version: str) -> None:
    """Raise an error where a version is revoked, as this robot knows it.

    Raises:
        ToolError: It is; or as `revoked_versions`.
    """
    reason = revoked_versions(model).get(version)
    if reason is not None:
        raise ToolError(
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

    Raises:
        ToolError: It is older, or another one with the same serial.
    """
    if before is None or new.serial > before.serial or new == before:
        return
    found = "other content with" if new.serial == before.serial else "the older"
    raise ToolError(
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

    Raises:
        ToolError: It has expired, or a statement that was kept is damaged.
    """
    clock = datetime.now(timezone.utc)
    if clock < _utc(issued):
        _log.warning(
            "%s: the clock of this computer (%s) is behind the time of this statement (%s)",
            place,
            clock.isoformat(timespec="seconds"),
            issued,
        )
    files = [] if model is None else _kept_files(model)
    now = max([clock, *(_utc(_kept(file).issued) for file in files)])
    if now >= _utc(expires):
        raise ToolError(
            f"{place}: expected a statement that has not expired, found that it did at {expires}, "
            f"and that it is {now.isoformat(timespec='seconds')} now; if that time is wrong, set "
            "the clock; what is in use stays in use, and a version can be pulled by its digest"
        )


def require_begun(statement: Statement, place: Path) -> None:
    """Raise an error where a statement was issued in the future, by the clock of this computer.

    A robot that accepts it believes that it is that late, and calls channels expired until then.

    Raises:
        ToolError: It was, by more than a day.
    """
    now = datetime.now(timezone.utc)
    if _utc(statement.issued) - now > timedelta(days=1):
        raise ToolError(
            f"{place}: expected a statement that was issued by now, "
            f"{now.isoformat(timespec='seconds')}, found `issued` {statement.issued}; correct it, "
            "or the clock of this computer"
        )


def time_of(text: str) -> datetime | None:
    """Return a time, None where it does not exist, such as the 30th of February."""
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        return None


def _utc(text: str) -> datetime:
    time = time_of(text)
    assert time is not None  # `parse_statement` checked it
    return time


def _kept_files(model: Path) -> list[Path]:
    folder = model / FOLDER
    return sorted(folder.glob("*.yaml")) if folder.is_dir() else []


def _kept_file(model: Path, tag: str) -> Path:
    return model / FOLDER / f"{tag}.yaml"
