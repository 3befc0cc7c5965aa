# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The record of the trials of a bundle: `ROOT/NAME/trials.jsonl`, a line of JSON per event.

Lines are only ever appended, each synced to the disk before anything depends on it. The link
`current` stays on the version before until a trial is kept, so nothing has to be undone when a
trial fails, whatever moment the power is cut at. A RUN that began and did not end in the record,
of a process that is no longer there, is a trial that was cut: it has failed.
"""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

from policy_core.bundle.store import TRIALS_FILE, named_folder
from policy_core.errors import BundleError, PolicyError, printable
from policy_core.safe_files import read_at_most
from policy_inference.trial.journal import (
    TrialEvent,
    append_event,
    is_alive,
    this_process,
)
from policy_inference.trial.settings import TrialSettings, recorded_settings

CUT = "the power was cut, or the node was killed, while the policy ran"
_LARGEST_BYTES = 1 << 24
_UNREADABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError)
_LEAST_ROOM_BYTES = 1 << 20
"""Below this the record takes no trial and no RUN that begins, so that its end still has room."""


class TrialState(str, Enum):
    """Where a trial has come to."""

    OPEN = "open"
    """The version runs, as far as its gates and its time allow."""
    PASSED = "passed"
    """The time is used up and no gate failed; RUN is refused until the version is kept."""
    FAILED = "failed"
    """A gate failed, or the power was cut during RUN; the version is marked bad."""
    KEPT = "kept"
    """The version is the one in use."""
    ENDED = "ended"
    """It was ended by a person or by the activation of another version, or taken back after that
    it was kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionTrial:
    """A trial as its record has it.

    Attributes:
        file: The record.
        number: Of the trial in the record, from 1.
        version: On trial.
        version_before: In use when it began: the way back.
        settings: What was asked for.
        bundle_sha256, trial_sha256: Of the `policy.yaml` and of the `trial.yaml`.
        state: Where it has come to.
        reason: Why it failed or ended, in words.
        gate: That failed; empty where none did.
        value, limit: Of that gate.
        counts: Totals of RUN so far: `run_time_s`, `ticks`, `hold_ticks`, `missed_ticks`, `falls`,
            `latched_faults`.
        runner: The process in which the policy runs; None between runs.
        is_bad: Whether the version is marked bad.
        is_recorded: Whether a line of the record says so; else it follows from a RUN that was cut.
        begun_time, changed_time: Of the wall clock, ISO 8601 in UTC; nothing is decided by them.
    """

    file: Path
    number: int
    version: str
    version_before: str
    settings: TrialSettings
    bundle_sha256: str
    trial_sha256: str
    state: TrialState = TrialState.OPEN
    reason: str = ""
    gate: str = ""
    value: float = 0.0
    limit: float = 0.0
    counts: Mapping[str, float] = field(default_factory=dict)
    runner: str | None = None
    is_bad: bool = False
    is_recorded: bool = True
    begun_time: str
    changed_time: str

    @property
    def name(self) -> str:
        """Name of the bundle."""
        return self.file.parent.name

    @property
    def run_time_s(self) -> float:
        """RUN time so far, at the end of the last RUN."""
        return self.counts.get("run_time_s", 0.0)

    @property
    def nodes_take_it(self) -> bool:
        """Whether nodes take this version for the bundle's name."""
        return self.state in (TrialState.OPEN, TrialState.PASSED)

    def __str__(self) -> str:
        """Return e.g. ``lite3_walk 1.3.0``."""
        return f"{self.name} {self.version}"


def trials_of(model: Path) -> list[VersionTrial]:
    """Return the trials of the bundle in `ROOT/NAME`, in their order; a cut one has failed.

    A line that was cut off at the end of the record is left out, since nothing depended on it yet.
    A line in its middle that cannot be read ends the trial that it belongs to.

    Raises:
        PolicyError: The record cannot be read.
    """
    file = model / TRIALS_FILE
    try:
        content = read_at_most(file, _LARGEST_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise PolicyError(
            f"{error.filename or file}: expected the record of trials, found: "
            f"{error.strerror}; let this user read it"
        ) from error
    found = dict[int, VersionTrial]()
    last = 0
    for at, line in enumerate(content.split(b"\n")[:-1], 1):
        try:
            event = json.loads(line)
            last = _whole(event["trial"])
            found[last] = _after(found.get(last), last, event, file)
        except (*_UNREADABLE, BundleError):
            if last in found:
                found[last] = _failed(found[last], f"{file}: line {at} cannot be read")
    return [
        replace(_failed(trial, CUT), is_recorded=False)
        if trial.state is TrialState.OPEN and trial.runner and not is_alive(trial.runner, file)
        else trial
        for trial in found.values()
    ]


def _failed(trial: VersionTrial, reason: str) -> VersionTrial:
    if trial.state not in (TrialState.OPEN, TrialState.PASSED):
        return trial
    return replace(trial, state=TrialState.FAILED, is_bad=True, runner=None, reason=reason)


def _whole(value: object) -> int:
    if type(value) is not int:
        raise TypeError(value)
    return value


def _number(value: Any) -> float:
    """Return a number that can be counted on; JSON has 1e999, which is none."""
    if not 0.0 <= value < math.inf:
        raise ValueError(value)
    return float(value)


def _text(value: object) -> str:
    """Return a text as a terminal may show it and ROS can send it."""
    if not isinstance(value, str):
        raise TypeError(value)
    return printable(value)


def _after(
    trial: VersionTrial | None, number: int, event: Mapping[str, Any], file: Path
) -> VersionTrial:
    """Return a trial after an event of it."""
    what, moment = TrialEvent(event["event"]), _text(event["time"])
    if trial is None:
        if what is not TrialEvent.BEGUN:
            raise ValueError(what)
        return VersionTrial(
            file=file,
            number=number,
            version=_text(event["version"]),
            version_before=_text(event["version_before"]),
            settings=recorded_settings(event["settings"], file),
            bundle_sha256=_text(event["bundle_sha256"]),
            trial_sha256=_text(event["trial_sha256"]),
            begun_time=moment,
            changed_time=moment,
        )
    counts = {_text(key): _number(value) for key, value in event.get("counts", {}).items()}
    runner = event.get("runner")
    trial = replace(
        trial,
        changed_time=moment,
        counts=counts or trial.counts,
        runner=None if runner is None else _text(runner),
    )
    if what is TrialEvent.ALLOWED:
        return replace(trial, is_bad=False)
    if what is TrialEvent.KEPT and trial.state in (TrialState.PASSED, TrialState.KEPT):
        return replace(trial, state=TrialState.KEPT)
    # What comes late from a node whose trial was ended meanwhile changes nothing any more.
    if trial.state is TrialState.OPEN and what in (TrialEvent.GATE_FAILED, TrialEvent.CUT):
        return replace(
            _failed(trial, _text(event["reason"])),
            gate=_text(event.get("gate", "")),
            value=_number(event.get("value", 0.0)),
            limit=_number(event.get("limit", 0.0)),
        )
    if trial.state is TrialState.OPEN and what is TrialEvent.PASSED:
        return replace(trial, state=TrialState.PASSED)
    if what is TrialEvent.ENDED and (trial.nodes_take_it or trial.state is TrialState.KEPT):
        return replace(trial, state=TrialState.ENDED, reason=_text(event["reason"]))
    return trial


def newest_trial(model: Path) -> VersionTrial | None:
    """Return the trial that decides about the bundle in `ROOT/NAME`; None without any.

    Raises:
        PolicyError: As `trials_of`.
    """
    return next(reversed(trials_of(model)), None)


def bad_trial(model: Path, version: str) -> VersionTrial | None:
    """Return the trial for which a version is marked bad; None where it is not.

    Raises:
        PolicyError: As `trials_of`.
    """
    tried = [trial for trial in trials_of(model) if trial.version == version]
    return tried[-1] if tried and tried[-1].is_bad else None


def trial_of_bundle(bundle: str) -> VersionTrial | None:
    """Return the newest trial of what a node is asked to run; None without one.

    Args:
        bundle: NAME or NAME@VERSION; a path has no trial.

    Raises:
        PolicyError: As `trials_of`; or that version is marked bad.
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
            f"`model_tools activate {name} {version} --again` allows it again"
        )
    return newest if newest.version == version else None


def require_room(place: Path) -> None:
    """Raise an OSError where the disk of a record has too little room for what a trial writes."""
    disk = os.statvfs(place)
    if disk.f_bavail * disk.f_frsize < _LEAST_ROOM_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place))


def begin_run(trial: VersionTrial) -> None:
    """Record that the policy runs in this process.

    Raises:
        OSError: It cannot be written, or there is too little room for what follows, or it runs in
            another process.
    """

    def require_alone() -> None:
        try:
            found = [one for one in trials_of(trial.file.parent) if one.number == trial.number]
        except PolicyError as error:
            raise OSError(errno.EIO, str(error), str(trial.file)) from error
        runner = next((one.runner for one in found), None)
        if runner not in (None, this_process()):
            raise OSError(errno.EBUSY, "another process runs it", str(trial.file))

    require_room(trial.file)
    append_event(
        trial.file, trial.number, TrialEvent.RUN_BEGAN, require_alone, runner=this_process()
    )
