# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Lines of the record of trials, written so that a power cut leaves each whole or not there.

One process appends at a time, to a file that is there: the node's user needs no right to make files
beside the installed versions.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path

from policy_core.safe_files import lock_within, open_regular

_LOCKED_WITHIN_S = 2.0
_FLOCK = "@hhqqi4x"
"""`struct flock` of fcntl(2): type, whence, start, length, process."""
_PRESENCES = 1 << 62
"""Where the bytes begin that stand for processes: no record is as long."""


class TrialEvent(str, Enum):
    """What the record has lines of."""

    BEGUN = "begun"
    RUN_BEGAN = "run_began"
    RUN_ENDED = "run_ended"
    GATE_FAILED = "gate_failed"
    CUT = "cut"
    PASSED = "passed"
    KEPT = "kept"
    ENDED = "ended"
    ROLLED_BACK = "rolled_back"
    """The version before runs again on the node."""
    ALLOWED = "allowed"
    """A newer order takes the mark off a version that failed."""


def append_event(
    file: Path,
    number: int,
    event: TrialEvent,
    require: Callable[[], None] | None = None,
    /,
    **values: object,
) -> None:
    """Append an event of a trial to a record that is there, and wait until it is on the disk.

    Args:
        file: The record.
        number: Of the trial.
        event: What happened.
        require: Raises an OSError if it may not happen; no other process appends meanwhile.
        values: More of the line, as JSON has it.

    Raises:
        OSError: It cannot be written, or may not happen; the record is as it was.
    """
    line = _line(number, event, values)
    with _locked(file) as handle:
        if require is not None:
            require()
        end = _end_of_lines(handle)
        try:
            os.ftruncate(handle, end)
            _write(handle, line)
        except OSError:
            with suppress(OSError):
                os.ftruncate(handle, end)
            raise


def _line(number: int, event: TrialEvent, values: Mapping[str, object]) -> bytes:
    now = datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    entry = {"trial": number, "event": event.value, "time": now, **values}
    return json.dumps(entry, allow_nan=False).encode() + b"\n"


@contextmanager
def _locked(file: Path) -> Iterator[int]:
    """Open a record alone; never the target of a link, since the installer may be root."""
    handle = open_regular(file, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW)
    try:
        lock_within(handle, _LOCKED_WITHIN_S)
        yield handle
    finally:
        os.close(handle)


def _end_of_lines(handle: int) -> int:
    """Return the size of the record without a line that was cut off."""
    size = os.fstat(handle).st_size
    block = 1 << 16
    while size:
        start = max(0, size - block)
        if (at := os.pread(handle, size - start, start).rfind(b"\n")) >= 0:
            return start + at + 1
        size = start
    return 0


def _write(handle: int, line: bytes) -> None:
    while line:
        line = line[os.write(handle, line) :]
    os.fsync(handle)


def this_process() -> str:
    """Return what no other process is, on this machine and since it was started.

    That is boot, id, start, and PID namespace, since each container counts from 1. A process that
    is started later with the same id has another start.
    """
    return _process(os.getpid())


def show_presence(file: Path) -> int:
    """Show processes of other PID namespaces, which cannot see it, that this one is there.

    Returns:
        The descriptor that must stay open meanwhile. The kernel closes it, whatever ends the
        process.

    Raises:
        OSError: The record cannot be opened, or has no locks.
    """
    handle = open_regular(file, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.fcntl(handle, fcntl.F_OFD_SETLK, _presence(fcntl.F_WRLCK, this_process()))
    except OSError:
        os.close(handle)
        raise
    return handle


def is_alive(process: str, file: Path) -> bool:
    """Return whether a process is there.

    Args:
        process: Named as by `this_process`; without a namespace it is in this one.
        file: Record in which it shows its presence.
    """
    found = re.fullmatch(r"((\S+) ([0-9]{1,9}) [0-9]+)(?: (\S+))?", process)
    try:
        if found is None or found[2] != _boot():
            return False
        if found[4] not in (None, _namespace()):
            return _is_present(process, file)
        return _process(int(found[3])).rpartition(" ")[0] == found[1]
    except OSError:
        return False


def _is_present(process: str, file: Path) -> bool:
    """Return whether a process of another PID namespace holds its byte.

    As a reader asks: only who may write the record can hold one against that.
    """
    handle = open_regular(file, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        asked = _presence(fcntl.F_RDLCK, process)
        kind: int = struct.unpack(_FLOCK, fcntl.fcntl(handle, fcntl.F_OFD_GETLK, asked))[0]
    finally:
        os.close(handle)
    return kind != fcntl.F_UNLCK


def _presence(kind: int, process: str) -> bytes:
    """Return the lock of a byte of its own, far behind the end of the record."""
    name = hashlib.sha256(process.encode("utf-8", "replace")).digest()
    start = _PRESENCES + int.from_bytes(name[:7], "big")
    return struct.pack(_FLOCK, kind, os.SEEK_SET, start, 1, 0)


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def _namespace() -> str:
    return str(Path("/proc/self/ns/pid").readlink())


def _process(pid: int) -> str:
    # The name, in brackets, may have anything in it; the start is the 20th field after it.
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    if fields[0] in "ZX":  # it was killed, and its parent has not asked for its status yet
        raise ProcessLookupError(pid)
    return f"{_boot()} {pid} {fields[19]} {_namespace()}"
