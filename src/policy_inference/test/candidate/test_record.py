# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The record of a trial: what a power cut leaves of it, and who decides."""

import dataclasses
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given

from policy_core.bundle.store import ROOT_VARIABLE, TRIALS_FILE
from policy_core.errors import PolicyError, RefusedError, printable
from policy_inference.candidate.running import TrialWriter
from policy_store.trial_file import TrialSettings
from policy_store.trial_record import (
    CUT,
    TrialEvent,
    TrialState,
    VersionTrial,
    append_event,
    bad_trial,
    begin_run,
    newest_trial,
    read_trials,
    trial_of_bundle,
)
from testkit.fuzzing import bounded, changed_bytes
from testkit.wording import refusal

BROKE = {"reason": "tilt_rad 0.6, limit 0.5", "gate": "tilt_rad", "value": 0.6, "limit": 0.5}

BEGUN = {
    "version": "1.1.0",
    "version_before": "1.0.0",
    "settings": dataclasses.asdict(TrialSettings(run_time_s=60.0)),
    "bundle_sha256": "a" * 64,
    "trial_sha256": "b" * 64,
}
RECORDS = [
    b"".join(
        json.dumps({"trial": 1, "event": event, "time": "2026-11-22T08:00:00Z"} | values).encode()
        + b"\n"
        for event, values in (
            ("begun", BEGUN),
            ("run_began", {"runner": "boot 1 1"}),
            ("run_ended", {"counts": {"run_time_s": 12.5, "ticks": 625}}),
            ("gate_failed", BROKE),
        )
    )
]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Record of a bundle whose version 1.1.0 is on trial."""
    file = tmp_path / "walker" / TRIALS_FILE
    file.parent.mkdir()
    file.touch()
    note_trial(file, 1, "1.1.0")
    return file


def note_trial(file: Path, number: int, version: str) -> None:
    append_event(file, number, TrialEvent.BEGUN, **{**BEGUN, "version": version})


def newest_of(file: Path) -> VersionTrial:
    found = newest_trial(file.parent)
    assert found is not None
    return found


def test_trial_goes_from_begun_to_kept(journal: Path) -> None:
    assert newest_of(journal).state is TrialState.OPEN
    begin_run(newest_of(journal))
    assert newest_of(journal).runner is not None
    append_event(journal, 1, TrialEvent.RUN_ENDED, counts={"run_time_s": 12.5})
    assert (newest_of(journal).runner, newest_of(journal).run_time_s) == (None, 12.5)
    append_event(journal, 1, TrialEvent.PASSED, counts={"run_time_s": 60.0})
    assert (newest_of(journal).state, newest_of(journal).nodes_take_it) == (TrialState.PASSED, True)
    append_event(journal, 1, TrialEvent.KEPT)
    assert (newest_of(journal).state, newest_of(journal).nodes_take_it) == (TrialState.KEPT, False)


def test_clock_that_is_wrong_decides_nothing(journal: Path) -> None:
    """It stands in 1970 after a boot without a network, or jumps."""
    future, past = "2106-01-01T00:00:00Z", "1970-01-01T00:00:00Z"
    append_event(journal, 1, TrialEvent.PASSED, counts={"run_time_s": 60.0}, time=future)
    append_event(journal, 1, TrialEvent.KEPT, time=past)
    assert (newest_of(journal).state, newest_of(journal).time) == (TrialState.KEPT, past)
    append_event(journal, 2, TrialEvent.BEGUN, **{**BEGUN, "version": "1.2.0"}, time=past)
    assert (newest_of(journal).version, newest_of(journal).nodes_take_it) == ("1.2.0", True)


def test_broken_gate_is_on_record_with_its_figures(journal: Path) -> None:
    append_event(journal, 1, TrialEvent.GATE_FAILED, **BROKE)
    append_event(journal, 1, TrialEvent.ROLLED_BACK, version="1.0.0")
    trial = newest_of(journal)
    assert (trial.state, trial.is_bad, trial.nodes_take_it) == (TrialState.FAILED, True, False)
    assert (trial.gate, trial.value, trial.limit) == ("tilt_rad", 0.6, 0.5)
    assert bad_trial(journal.parent, "1.1.0") == trial
    append_event(journal, 1, TrialEvent.ALLOWED)
    assert bad_trial(journal.parent, "1.1.0") is None


def test_what_comes_late_from_an_ended_trial_changes_nothing(journal: Path) -> None:
    append_event(journal, 1, TrialEvent.ENDED, reason="by a person")
    note_trial(journal, 2, "1.2.0")
    append_event(journal, 1, TrialEvent.GATE_FAILED, **BROKE)
    first, second = read_trials(journal.parent)
    assert (first.state, second.state) == (TrialState.ENDED, TrialState.OPEN)


def test_line_that_was_cut_off_did_not_happen_and_does_no_harm(journal: Path) -> None:
    whole = journal.read_bytes()
    for at in range(1, 40):
        journal.write_bytes(whole + b'{"trial": 1, "event": "passed", "time": "2026"}\n'[:at])
        assert newest_of(journal).state is TrialState.OPEN
        append_event(journal, 1, TrialEvent.RUN_ENDED, counts={"run_time_s": 1.0})
        assert newest_of(journal).run_time_s == 1.0
        assert len(journal.read_bytes().splitlines()) == 2


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe\n",
        b'{"trial": 1, "event": "odd", "time": ""}\n',
        b'{"trial": 1, "event": "run_ended", "time": "", "counts": {"ticks": "x"}}\n',
        b"[" * 5000 + b"\n",
        b'{"trial": 1, "event": "run_ended", "time": "", "counts": {"run_time_s": 1e999}}\n',
        b'{"trial": 1, "event": "run_ended", "time": "", "counts": {"n": 1%s}}\n' % (b"0" * 400),
        b'{"trial": 1, "event": ["run_began"], "time": ""}\n',
    ],
)
def test_line_that_cannot_be_read_ends_the_trial(journal: Path, line: bytes) -> None:
    with journal.open("ab") as record:
        record.write(line)
    append_event(journal, 1, TrialEvent.PASSED, counts={})
    assert newest_of(journal).state is TrialState.FAILED
    assert "line 2" in newest_of(journal).reason


def test_words_of_a_record_command_no_terminal_and_can_be_sent(journal: Path) -> None:
    broke = BROKE | {"reason": "\x1b[2J\ud800"}
    append_event(journal, 1, TrialEvent.GATE_FAILED, **broke)
    assert newest_of(journal).reason == r"\x1b[2J\ud800"


@pytest.mark.fuzz
@given(content=changed_bytes(*RECORDS))
def test_changed_records_are_read_as_far_as_they_can_be(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("walker")
    (folder / TRIALS_FILE).write_bytes(content)
    with bounded():
        for trial in read_trials(folder):
            assert math.isfinite(trial.run_time_s)
            assert printable(trial.reason) == trial.reason


# A container counts its processes from 1, and sees no others; nor do they see its own.
CONTAINED = (
    *("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"),
    "--mount-proc",
)


@pytest.mark.parametrize("prefix", [(), CONTAINED], ids=["here", "in a container"])
def test_run_of_a_process_is_seen_until_it_is_killed(
    journal: Path, prefix: tuple[str, ...]
) -> None:
    if prefix and (not shutil.which(prefix[0]) or subprocess.run([*prefix, "true"]).returncode):
        pytest.skip("no PID namespaces for this user")
    code = (
        "import sys, time; from pathlib import Path\n"
        "from policy_store.trial_record import newest_trial\n"
        "from policy_inference.candidate.running import TrialWriter\n"
        "TrialWriter().begin_run(newest_trial(Path(sys.argv[1])))\n"
        "print('began', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [*prefix, sys.executable, "-c", code, str(journal.parent)], stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        before = newest_of(journal)
        assert child.stdout.readline() == b"began\n"
        assert newest_of(journal).state is TrialState.OPEN
        with refusal(OSError):  # at the same moment
            begin_run(before)
        child.send_signal(signal.SIGKILL)
        child.stdout.read()  # until that in the container has ended, too
    trial = newest_of(journal)
    assert (trial.state, trial.reason, trial.is_recorded) == (TrialState.FAILED, CUT, False)


def test_run_from_before_the_last_boot_was_cut(journal: Path) -> None:
    others = ("a b c", f"x {'9' * 5000} 1", "\ud800 1 1", "")
    for runner in (f"another-boot {os.getpid()} 12345", f"x {os.getpid()}", *others):
        append_event(journal, 1, TrialEvent.RUN_BEGAN, runner=runner)
        wanted = TrialState.FAILED if runner else TrialState.OPEN
        assert newest_of(journal).state is wanted


class TestWhatANodeTakes:
    @pytest.fixture(autouse=True)
    def store(self, journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(ROOT_VARIABLE, str(journal.parents[1]))

    def test_name_stands_for_the_trial(self, journal: Path) -> None:
        assert trial_of_bundle("walker") == newest_of(journal)
        assert trial_of_bundle("walker@1.1.0") == newest_of(journal)
        assert trial_of_bundle("walker@1.0.0") is None
        assert trial_of_bundle("other") is None
        assert trial_of_bundle(str(journal.parent)) is None

    def test_version_that_failed_is_refused_by_its_number(self, journal: Path) -> None:
        append_event(journal, 1, TrialEvent.GATE_FAILED, **BROKE)
        with refusal(PolicyError):
            trial_of_bundle("walker@1.1.0")

    def test_record_that_cannot_be_read_is_an_error(self, journal: Path) -> None:
        journal.unlink()
        journal.mkdir()
        with refusal(PolicyError):
            trial_of_bundle("walker")


class TestWriter:
    def test_run_is_on_record_when_it_is_granted(self, journal: Path) -> None:
        writer = TrialWriter()
        writer.begin_run(newest_of(journal))
        assert newest_of(journal).runner is not None
        writer.put(newest_of(journal), TrialEvent.RUN_ENDED, counts={"run_time_s": 2.0})
        writer.close()
        assert (newest_of(journal).runner, newest_of(journal).run_time_s) == (None, 2.0)
        assert not writer.left_behind

    @pytest.mark.parametrize("linked", [False, True])
    def test_run_needs_a_record_that_can_be_written_and_is_no_link(
        self, journal: Path, tmp_path: Path, linked: bool
    ) -> None:
        trial, writer, other = newest_of(journal), TrialWriter(), tmp_path / "other"
        journal.rename(other)
        if linked:
            journal.symlink_to(other)
        before = other.read_bytes()
        with refusal(RefusedError):
            writer.begin_run(trial)
        writer.close()
        assert other.read_bytes() == before

    def test_full_disk_refuses_the_run_before_it_begins(
        self, journal: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before, writer = journal.read_bytes(), TrialWriter()
        full = os.statvfs_result((4096, 4096, 100, 10, 10, 10, 10, 10, 0, 255))
        with monkeypatch.context() as patch:
            patch.setattr(os, "statvfs", lambda path: full)
            with refusal(RefusedError):
                writer.begin_run(newest_of(journal))
        assert journal.read_bytes() == before
        writer.close()
