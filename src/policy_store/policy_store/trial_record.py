# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The record of a bundle's trials: `ROOT/NAME/trials.jsonl`, one line of JSON per event.

Lines are only ever appended, by one process at a time, and each is synced to disk before anything
depends on it. The `current` link stays on the previous version until a trial is kept, so nothing
has to be undone when a trial fails, even if the power is cut. If the record contains the start of a
RUN without its end, and the RUN's process no longer exists, the trial was interrupted and has
failed.

The record is not a database, because the node's user owns this one file and may not create others
beside it. SQLite needs a journal or a log beside the file, even for reading after a power cut, and
syncs four times per event.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import secrets
import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Any

from policy_core.bundle.schema import Reader, entry
from policy_core.bundle.store import TRIALS_FILE, named_folder
from policy_core.errors import PolicyError, printable
from policy_core.safe_files import lock_within, open_regular, read_at_most
from policy_store.trial_file import TrialSettings

CUT = "the power was cut, or the node was killed, while the policy ran"
THIS_PROCESS = f"{secrets.token_hex(16)} {os.getpid()}"
"""Identifier of this process as a runner, in records."""
_LARGEST_BYTES = 1 << 24
_LEAST_ROOM_BYTES = 1 << 20
"""Minimum free space for a trial or a RUN to begin, so that its end can still be recorded."""
_LOCKED_WITHIN_S = 2.0
_FLOCK = "@hhqqi4x"
"""Format of `struct flock` in fcntl(2): type, whence, start, length, process."""
_PRESENCES = 1 << 62
"""Offset of the bytes whose locks represent processes; no record is that long."""


class TrialEvent(str, Enum):
    """An event of a trial, as recorded."""

    BEGUN = "begun"
    RUN_BEGAN = "run_began"
    RUN_ENDED = "run_ended"
    GATE_FAILED = "gate_failed"
    CUT = "cut"
    PASSED = "passed"
    KEPT = "kept"
    ENDED = "ended"
    ROLLED_BACK = "rolled_back"
    """The node runs the previous version again."""
    ALLOWED = "allowed"
    """An operator has cleared the mark on a failed version (`--again`)."""


class TrialState(str, Enum):
    """State of a trial."""

    OPEN = "open"
    """Nodes run the version; no gate has failed, and the trial's time is not up."""
    PASSED = "passed"
    """The time is up, and no gate failed; RUN is refused until the version is kept."""
    FAILED = "failed"
    """A gate failed, or the power was cut during RUN; the version is marked bad."""
    KEPT = "kept"
    """The version is in use."""
    ENDED = "ended"
    """A person ended the trial, or another version was activated, even after this one was kept."""


_UNDECIDED = (TrialState.OPEN, TrialState.PASSED)
_TRANSITIONS: Mapping[TrialEvent, tuple[tuple[TrialState, ...], TrialState]] = {
    TrialEvent.GATE_FAILED: ((TrialState.OPEN,), TrialState.FAILED),
    TrialEvent.CUT: ((TrialState.OPEN,), TrialState.FAILED),
    TrialEvent.PASSED: ((TrialState.OPEN,), TrialState.PASSED),
    TrialEvent.KEPT: ((TrialState.PASSED, TrialState.KEPT), TrialState.KEPT),
    TrialEvent.ENDED: ((*_UNDECIDED, TrialState.KEPT), TrialState.ENDED),
}
"""For each event, the states that it changes, and the new state. In any other state, the event is
late, for example from a node whose trial has since been ended, and changes nothing.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialLine:
    """A line of the record; unknown keys are ignored."""

    trial: int = entry("number of the trial in the record, from 1")
    event: str = entry("value of a `TrialEvent`")
    time: str = entry("wall-clock time of the event, ISO 8601 in UTC; no decision depends on it")
    version: str = entry(
        "version on trial; for `rolled_back`, the version that runs again", default=""
    )
    version_before: str = entry("version in use when the trial began", default="")
    settings: TrialSettings | None = entry("content of the `trial.yaml`", default=None)
    unchecked_gates: tuple[str, ...] = entry(
        "gates that could be judged, but that the `trial.yaml` sets to null", default=()
    )
    bundle_sha256: str = entry("SHA-256 of the `policy.yaml`", default="")
    trial_sha256: str = entry("SHA-256 of the `trial.yaml`", default="")
    runner: str | None = entry("process in which a RUN began", default=None)
    counts: dict[str, float] = entry("totals over all runs so far", default={}, minimum=0)
    reason: str = entry("why the trial failed or ended", default="")
    gate: str = entry("name of the gate that failed", default="")
    value: float = entry("value measured for that gate", default=0.0, minimum=0)
    limit: float = entry("limit of that gate", default=0.0, minimum=0)


_KEYS = {key.name for key in fields(TrialLine)}


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionTrial(TrialLine):
    """A trial as recorded: its first line, updated by the lines that follow.

    Attributes:
        file: The record.
        settings: The trial's settings.
        state: State of the trial.
        runner: The process in which the policy runs; None between runs.
        is_bad: True if the version is marked bad.
        is_recorded: True if the state is in the record; False if it follows from an interrupted
            RUN.
        begun_time: Time of the first line; `time` is that of the last line.
    """

    file: Path
    settings: TrialSettings
    state: TrialState = TrialState.OPEN
    is_bad: bool = False
    is_recorded: bool = True
    begun_time: str

    @property
    def name(self) -> str:
        """Bundle name."""
        return self.file.parent.name

    @property
    def run_time_s(self) -> float:
        """Total RUN time, s, as of the end of the last RUN."""
        return self.counts.get("run_time_s", 0.0)

    @property
    def nodes_take_it(self) -> bool:
        """True if nodes use this version when given the bundle's name."""
        return self.state in _UNDECIDED

    def __str__(self) -> str:
        """Return e.g. ``lite3_walk 1.3.0``."""
        return f"{self.name} {self.version}"

    def after(self, line: TrialLine) -> VersionTrial:
        """Return the trial after one of its events."""
        event = TrialEvent(line.event)
        counts, is_bad = line.counts or self.counts, self.is_bad and event is not TrialEvent.ALLOWED
        changed = replace(self, time=line.time, counts=counts, runner=line.runner, is_bad=is_bad)
        before, state = _TRANSITIONS.get(event, ((), self.state))
        if self.state not in before:
            return changed
        why = {key: getattr(line, key) for key in ("reason", "gate", "value", "limit")}
        return replace(changed, state=state, is_bad=state is TrialState.FAILED, **why)

    def append(self, event: TrialEvent, **values: object) -> None:
        """Append an event of this trial to the record; see `append_event`."""
        append_event(self.file, self.trial, event, **values)

    def failed(self, reason: str) -> VersionTrial:
        """Return the trial as failed for this reason, or unchanged if it is already decided."""
        if not self.nodes_take_it:
            return self
        return replace(self, state=TrialState.FAILED, is_bad=True, runner=None, reason=reason)


def new_line(trial: int, event: TrialEvent, **values: object) -> dict[str, Any]:
    """Return the line of the record for an event that happens now, as a mapping."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {"trial": trial, "event": event.value, "time": now, **values}


def parse_line(value: object, file: Path) -> TrialLine:
    """Return a parsed line of the record, with texts that are safe for terminals and ROS.

    Raises:
        ValueError: The line is invalid.
    """
    if not isinstance(value, dict):
        raise ValueError(value)
    texts = {key: printable(one) for key, one in value.items() if isinstance(one, str)}
    reader = Reader(str(file))
    line: TrialLine | None = reader.section(
        TrialLine, {key: one for key, one in {**value, **texts}.items() if key in _KEYS}
    )
    if line is None or reader.problems:
        raise ValueError(reader.problems)
    return line


def append_event(
    file: Path,
    trial: int,
    event: TrialEvent,
    require: Callable[[], None] | None = None,
    /,
    **values: object,
) -> None:
    """Append an event of a trial to an existing record, and wait until it is on the disk.

    Args:
        file: The record; never the target of a link, because the installer may be root.
        trial: The trial's number.
        event: The event.
        require: Function that raises an OSError if the event must not happen; no other process
            appends while it runs.
        values: Further values of the line, for JSON.
    """
    line = json.dumps(new_line(trial, event, **values), allow_nan=False).encode() + b"\n"
    handle = open_regular(file, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW)
    try:
        lock_within(handle, _LOCKED_WITHIN_S)
        if require is not None:
            require()
        end = os.pread(handle, os.fstat(handle).st_size, 0).rfind(b"\n") + 1  # of complete lines
        try:
            os.ftruncate(handle, end)
            while line:
                line = line[os.write(handle, line) :]
            os.fsync(handle)
        except OSError:
            with suppress(OSError):
                os.ftruncate(handle, end)
            raise
    finally:
        os.close(handle)


def read_trials(model: Path) -> list[VersionTrial]:
    """Return the trials of the bundle in `ROOT/NAME`, in order; an interrupted trial has failed.

    An incomplete line at the end of the record is ignored, since nothing depended on it yet. An
    unreadable line fails the trial of the line before it, if that trial was undecided.
    """
    file = model / TRIALS_FILE
    try:
        content = read_at_most(file, _LARGEST_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise PolicyError(
            f"{error.filename or file}: expected a readable trial record, found: "
            f"{error.strerror}; let this user read it"
        ) from error
    found = dict[int, VersionTrial]()
    last = 0
    for at, text in enumerate(content.split(b"\n")[:-1], 1):
        try:
            line = parse_line(json.loads(text), file)
            last = line.trial
            found[last] = found[last].after(line) if last in found else _begun(line, file)
        except (ValueError, RecursionError):
            if last in found:
                found[last] = found[last].failed(f"{file}: line {at} cannot be read")
    return [
        replace(trial.failed(CUT), is_recorded=False)
        if trial.state is TrialState.OPEN and trial.runner and not _is_alive(trial.runner, file)
        else trial
        for trial in found.values()
    ]


def _begun(line: TrialLine, file: Path) -> VersionTrial:
    texts = (line.version, line.version_before, line.bundle_sha256, line.trial_sha256)
    if TrialEvent(line.event) is not TrialEvent.BEGUN or line.settings is None or not all(texts):
        raise ValueError(line)
    values: dict[str, Any] = {key: getattr(line, key) for key in _KEYS}
    return VersionTrial(**values, file=file, begun_time=line.time)


def put_on_record(
    model: Path, settings: TrialSettings, *, unchecked_gates: Sequence[str] = (), **values: str
) -> VersionTrial:
    """Append a trial's start to the record of the bundle in `ROOT/NAME`; return the trial.

    Args:
        model: Folder that has a record.
        settings: The trial's settings.
        unchecked_gates: See `TrialLine`.
        values: `version`, `version_before`, `bundle_sha256`, `trial_sha256` of a `TrialLine`.
    """
    number = max((trial.trial for trial in read_trials(model)), default=0) + 1
    begun: dict[str, object] = {
        **values,
        "settings": asdict(settings),
        "unchecked_gates": list(unchecked_gates),
    }
    append_event(model / TRIALS_FILE, number, TrialEvent.BEGUN, **begun)
    return read_trials(model)[-1]


def newest_trial(model: Path) -> VersionTrial | None:
    """Return the newest trial of the bundle in `ROOT/NAME`; None if there is none."""
    return next(reversed(read_trials(model)), None)


def bad_trial(model: Path, version: str) -> VersionTrial | None:
    """Return the trial that marked a version bad; None if the version is not marked."""
    tried = [trial for trial in read_trials(model) if trial.version == version]
    return tried[-1] if tried and tried[-1].is_bad else None


def trial_of_bundle(bundle: str) -> VersionTrial | None:
    """Return the newest trial of the bundle that a node is asked to run; None if there is none.

    Args:
        bundle: NAME or NAME@VERSION; a path has no trial.
    """
    model = named_folder(bundle)
    if model is None:
        return None
    name, _, version = bundle.partition("@")
    newest = newest_trial(model)
    if not version or newest is None:
        return newest
    if bad := bad_trial(model, version):
        raise PolicyError(
            f"bundle: expected a version that did not fail its trial, found {bad}: {bad.reason}; "
            f"`policy_store activate {name} {version} --again` allows it again"
        )
    return newest if newest.version == version else None


def require_room(place: Path) -> None:
    """Raise an OSError if a record's disk has too little space for the lines of a trial."""
    disk = os.statvfs(place)
    if disk.f_bavail * disk.f_frsize < _LEAST_ROOM_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place))


def begin_run(trial: VersionTrial) -> None:
    """Record that a RUN begins in this process, which must hold its lock from `show_presence`.

    Raises:
        OSError: The disk is full, another process runs the policy, or the record cannot be written.
    """

    def require_alone() -> None:
        try:
            found = [one for one in read_trials(trial.file.parent) if one.trial == trial.trial]
        except PolicyError as error:
            raise OSError(errno.EIO, str(error), str(trial.file)) from error
        if any(one.runner not in (None, THIS_PROCESS) for one in found):
            raise OSError(errno.EBUSY, "another process runs it", str(trial.file))

    require_room(trial.file)
    append_event(trial.file, trial.trial, TrialEvent.RUN_BEGAN, require_alone, runner=THIS_PROCESS)


def show_presence(file: Path, runner: str = THIS_PROCESS) -> int:
    """Show that a runner exists by locking the byte of the record that represents it.

    The kernel releases the lock when the process exits for any reason, even in another container.
    Only users who may write the record can hold such a lock.

    Returns:
        The descriptor, which must stay open as long as the runner exists.
    """
    handle = open_regular(file, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.fcntl(handle, fcntl.F_OFD_SETLK, _lock_request(runner, fcntl.F_WRLCK))
    except OSError:
        os.close(handle)
        raise
    return handle


def _is_alive(runner: str, file: Path) -> bool:
    if runner == THIS_PROCESS:
        return True
    try:
        handle = open_regular(file)
        try:
            lock = fcntl.fcntl(handle, fcntl.F_OFD_GETLK, _lock_request(runner, fcntl.F_RDLCK))
        finally:
            os.close(handle)
    except OSError:
        return False
    return bool(struct.unpack(_FLOCK, lock)[0] != fcntl.F_UNLCK)


def _lock_request(runner: str, kind: int) -> bytes:
    name = hashlib.sha256(runner.encode("utf-8", "replace")).digest()
    start = _PRESENCES + int.from_bytes(name[:7], "big")
    return struct.pack(_FLOCK, kind, os.SEEK_SET, start, 1, 0)
