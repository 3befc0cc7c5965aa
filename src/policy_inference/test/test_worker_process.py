# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Workers: they end with the process that started them, and leave nothing behind."""

import functools
import logging
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from policy_inference import worker_process
from policy_inference.testing.process import has_ended, open_descriptors
from policy_inference.worker_process import PrivateWorker, ProcessGroup, WorkerProcess

STUBBORN = """
import pathlib, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).write_text("up")
while True:
    signal.pause()
"""
PARENT = """
import signal
from pathlib import Path
from policy_inference.worker_process import WorkerProcess
signal.pthread_sigmask(signal.SIG_BLOCK, {blocked!r})
worker = WorkerProcess({words!r}, folder=Path({folder!r}))
signal.pause()
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in which this process finds modules."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture
def up(tmp_path: Path) -> Path:
    """Return a pipe whose reader waits for a worker that writes its path."""
    os.mkfifo(tmp_path / "up")
    return tmp_path / "up"


@pytest.mark.parametrize("blocked", [set[signal.Signals](), signal.valid_signals()])
@pytest.mark.parametrize("kind", ["module", "command"])
def test_a_worker_ends_with_a_parent_that_is_killed(
    tmp_path: Path, modules: Path, up: Path, kind: str, blocked: set[signal.Signals]
) -> None:
    (modules / "waits_for_ever.py").write_text(
        "import os, pathlib, signal, sys\n"
        "pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))\nsignal.pause()\n"
    )
    words = {
        "module": ["-m", "waits_for_ever", str(up)],
        "command": ["bash", "-c", f"echo $$ > {up}; exec sleep 600"],
    }[kind]
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            PARENT.format(words=words, folder=str(tmp_path), blocked=[*map(int, blocked)]),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    ended = os.pidfd_open(int(up.read_text()))
    try:
        parent.kill()
        parent.wait()
        assert select.select([ended], [], [], 10.0)[0], "the worker has lived on"
    finally:
        os.close(ended)


def test_a_worker_that_handles_the_end_of_its_parent_finishes_first(
    tmp_path: Path, modules: Path, up: Path
) -> None:
    (modules / "finishes.py").write_text(
        "import pathlib, signal, sys\n"
        "def finish(*_):\n    pathlib.Path(sys.argv[2]).write_text('finished')\n    sys.exit(0)\n"
        "signal.signal(signal.SIGIO, finish)\n"
        "pathlib.Path(sys.argv[1]).write_text('up')\nsignal.pause()\n"
    )
    os.mkfifo(tmp_path / "finished")
    words = ["-m", "finishes", str(up), str(tmp_path / "finished")]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(words=words, folder=str(tmp_path), blocked=[])],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    up.read_text()
    parent.kill()
    parent.wait()
    assert (tmp_path / "finished").read_text() == "finished"


@pytest.mark.parametrize(
    ("words", "interpreter", "named"),
    [
        (["no_such_command"], sys.executable, "no_such_command"),
        (["-m", "policy_inference.worker_process"], "/no/such/python", "/no/such/python"),
    ],
)
def test_what_is_not_there_is_named_and_leaves_no_descriptor(
    words: list[str], interpreter: str, named: str
) -> None:
    before = open_descriptors()
    with pytest.raises(FileNotFoundError) as caught:
        WorkerProcess(words, interpreter=interpreter)
    assert caught.value.filename == named
    assert not open_descriptors() - before


@pytest.mark.parametrize(
    ("imports", "required"),
    [
        ([], set[str]()),
        (["testkit.robots", "alone"], {"testkit", "alone.py"}),
        (["theirs.robot"], {"theirs", "robot_driver"}),
    ],
    ids=["only the worker", "modules that are not installed", "a package that requires the suite"],
)
def test_another_interpreter_finds_what_is_required_of_the_suite_and_nothing_else_of_ours(
    tmp_path: Path,
    modules: Path,
    monkeypatch: pytest.MonkeyPatch,
    imports: list[str],
    required: set[str],
) -> None:
    (modules / "alone.py").touch()
    (modules / "theirs").mkdir()
    (modules / "theirs-1.0.dist-info").mkdir()
    (modules / "theirs-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\nRequires-Dist: robot-driver>=0.1\n"
        "Requires-Dist: numpy\nRequires-Dist: robot_sim; extra == 'test'\n"
    )
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$PYTHONPATH|$PYTHONSTARTUP|"$(ls "$PYTHONPATH")\n')
    python.chmod(0o755)
    monkeypatch.setenv("PYTHONSTARTUP", "ours")
    with (tmp_path / "log").open("wb") as output:
        words = ["-m", "policy_inference.backends.child"]
        WorkerProcess(words, interpreter=str(python), imports=imports, output=output).end(30.0)
    path, startup, found = (tmp_path / "log").read_text().strip().split("|")
    assert set(found.split()) == {"policy_core", "policy_inference", "policy_store", *required}
    assert startup == ""
    assert not Path(path).exists()


def test_one_that_does_not_listen_is_forced_and_one_that_stays_even_then_is_left_behind(
    modules: Path, up: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker_process, "LEAVE_TIMEOUT_S", 0.05)
    (modules / "stubborn.py").write_text(STUBBORN)
    worker = WorkerProcess(["-m", "stubborn", str(up)])
    up.read_text()
    monkeypatch.setattr(worker, "kill", lambda: None)  # as where the kernel does not come to it
    before = open_descriptors()
    with caplog.at_level(logging.WARNING, "policy_inference"):
        worker.end(0.0)
    assert f"process {worker.pid} does not end" in caplog.text
    assert before - open_descriptors(), "its lifeline is closed"
    has_ended(worker.pid)
    assert worker.status == -signal.SIGIO
    worker = WorkerProcess(["-m", "stubborn", str(up)])
    up.read_text()
    worker.end(0.0)
    assert worker.status == -signal.SIGKILL


def test_an_interruption_ends_what_it_has_started_in_its_session(
    up: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> bool:
        monkeypatch.undo()
        raise KeyboardInterrupt

    script = f"(echo $BASHPID > {up}; exec sleep 600) & wait"
    worker = WorkerProcess(["bash", "-c", script])
    ended = os.pidfd_open(int(up.read_text()))
    monkeypatch.setattr(worker, "ends_within", interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            worker.run_to_end()
        assert worker.status == -signal.SIGKILL
        assert select.select([ended], [], [], 10.0)[0], "its child has lived on"
    finally:
        os.close(ended)


def test_the_last_words_of_a_private_worker_are_bounded_and_its_folder_goes(modules: Path) -> None:
    (modules / "talks.py").write_text(
        "import sys\n"
        "from policy_inference.worker_process import talk_through\n"
        "print('before', flush=True)\n"
        "talk_through(int(sys.argv[1]))\n"
        "print('x' * 100_000)\nprint('the end')\n"
    )
    before = open_descriptors()
    worker = PrivateWorker("talks", [])
    assert worker.ends_within(30.0)
    folder, said = worker.folder, worker.said(30.0)
    worker.end()
    assert len(said) <= 4096
    assert said.endswith("the end")
    assert not folder.exists()
    assert not open_descriptors() - before


def test_the_first_of_a_group_that_ends_gives_the_status_and_the_others_are_stopped(
    modules: Path, tmp_path: Path, up: Path
) -> None:
    (modules / "waits.py").write_text(
        "import pathlib, signal, sys\n"
        f"signal.signal(signal.SIGTERM, lambda *_: pathlib.Path({str(tmp_path)!r}, 'left')"
        ".touch())\n"
        "pathlib.Path(sys.argv[1]).write_text('up')\nsignal.pause()\n"
    )
    (modules / "ends.py").write_text("import sys\nsys.exit(3)\n")
    with ProcessGroup[WorkerProcess]() as processes:
        processes.add(WorkerProcess(["-m", "waits", str(up)]))
        up.read_text()
        processes.add(WorkerProcess(["-m", "ends"]))
        assert processes.wait() == 3
    assert (tmp_path / "left").exists()


HANGS = """
import ctypes
from policy_store.signals import stopped_by_signals

def stop():
    print("asked", flush=True)

native, lock = ctypes.CDLL(None), ctypes.create_string_buffer(64)
with stopped_by_signals(stop, {within_s}):
    print("ready", flush=True)
    for _ in range(2):
        native.pthread_mutex_lock(lock)  # the second one never returns
"""

block = functools.partial(signal.pthread_sigmask, signal.SIG_BLOCK, signal.valid_signals())


@pytest.mark.slow
@pytest.mark.parametrize("before", [None, block], ids=["as usual", "blocked by the parent"])
@pytest.mark.parametrize(
    ("signals", "within_s", "why"),
    [
        ((signal.SIGTERM, signal.SIGINT), 600, "asked twice to exit"),
        ((signal.SIGTERM,), 0.1, "0.1 s after"),
    ],
)
def test_a_call_that_never_returns_keeps_no_service_from_ending(
    signals: tuple[signal.Signals, ...], within_s: float, why: str, before: Any
) -> None:
    command = [sys.executable, "-c", HANGS.format(within_s=within_s)]
    streams: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, preexec_fn=before, **streams) as process:
        assert process.stdout is not None
        try:
            for number, line in zip(signals, ("ready", "asked"), strict=False):
                assert process.stdout.readline().strip() == line
                process.send_signal(number)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 1
    assert why in said


COMMAND_HANGS = """
import argparse, ctypes, sys, types
from policy_store import command_line, signals

signals.HANGS_AFTER_S = 0.1

def run(_):
    native, lock = ctypes.CDLL(None), ctypes.create_string_buffer(64)
    print("ready", flush=True)
    for _ in range(2):
        native.pthread_mutex_lock(lock)  # the second one never returns

verb = types.ModuleType("verb", "Hangs.")
verb.add_arguments, verb.run = lambda parser: None, run
sys.exit(command_line.run_command("tool", "Tools.", {"hang": verb}, ["hang"]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("before", [None, block], ids=["as usual", "blocked by the parent"])
def test_a_call_that_never_returns_keeps_no_command_from_ending(
    before: Callable[[], object] | None,
) -> None:
    """Such as of a model that never ends: self-test ignored every SIGTERM."""
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND_HANGS], text=True, stderr=subprocess.PIPE, preexec_fn=before
    ) as process:
        assert process.stderr is not None  # what a verb prints itself goes there
        try:
            assert process.stderr.readline().strip() == "ready"
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 128 + signal.SIGTERM
