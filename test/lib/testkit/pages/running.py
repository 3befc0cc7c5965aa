# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the commands of a page one after another, as a user who reads it from top to bottom."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path

from testkit.pages.commands import ROOT, PageCommand
from testkit.pages.example_files import write_example_files
from testkit.pages.needs import NEEDS

_LEAVE_TIMEOUT_S = 30.0
_POLL_S = 0.05
_TAIL_CHARACTERS = 3000
_STOPPED_STATUSES = (0, 128 + signal.SIGINT, -signal.SIGINT)
"""Exit statuses of a command that ran until Ctrl-C."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """What came of a command.

    Attributes:
        page: Path of the page in the checkout.
        line: Line of the page.
        command: The command as the page shows it.
        ran: The command that ran.
        result: `passed`, `failed`, `skipped` (by the page), `elsewhere` (a target that `.ci/run`
            makes) or `missing` (something it needs).
        duration_s: Duration, s.
        detail: Why it failed or did not run.
    """

    page: str
    line: int
    command: str
    ran: str = ""
    result: str
    duration_s: float = 0.0
    detail: str = ""

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def run_page(commands: Sequence[PageCommand], folder: Path) -> list[CommandResult]:
    """Run the commands of one page; return their results.

    Args:
        commands: The page's commands, in order.
        folder: An empty folder. The commands run in a folder in it, which links to the checkout.
    """
    results = list[CommandResult]()
    with closing(_Shell(folder)) as shell:
        for _, section in groupby(commands, lambda command: command.section):
            shell.return_to_checkout()
            try:
                results += [shell.run(command) for command in section]
            finally:
                problems = shell.interrupt()
            for number, result in enumerate(results):
                if result.line in problems and result.result == "passed":
                    results[number] = replace(result, result="failed", detail=problems[result.line])
    return results


class _Shell:
    """A user's terminal, and others beside it for commands that run until they are stopped.

    Variables last from one command to the next; the working folder, until the section ends.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._work, self._home = folder, folder / "work", folder / "home"
        for made in (self._work, self._home, folder / "logs"):
            made.mkdir()
        for entry in ROOT.iterdir():
            # CMake refuses a build folder of another source folder.
            if entry.name not in (".git", "build", "out"):
                (self._work / entry.name).symlink_to(entry)
        self._state = folder / "state.bash"
        self._state.touch()
        # What one page installs and records is no other page's.
        self._environment = os.environ | {
            "HOME": str(self._home),
            "ROS_HOME": str(self._home / ".ros"),
            "POLICY_INFERENCE_MODELS": str(folder / "models"),
        }
        self._running = dict[int, tuple[subprocess.Popen[bytes], Path, int]]()
        self._background = list[subprocess.Popen[bytes]]()

    def return_to_checkout(self) -> None:
        with self._state.open("a") as state:
            state.write(f'cd "{self._work}"\n')

    def run(self, command: PageCommand) -> CommandResult:
        """Run a command to its end, or until it is ready if it runs until it is stopped."""
        options = command.options
        result = CommandResult(
            page=command.page, line=command.line, command=command.text, result="passed"
        )
        if options.skip:
            return replace(result, result="skipped", detail=options.skip)
        if command.is_made_by_ci():
            return replace(result, result="elsewhere", detail="a target of .ci/run")
        missing = [need for need in filter(None, options.needs.split(",")) if not NEEDS[need]()]
        if missing:
            return replace(result, result="missing", detail=", ".join(missing))
        began_s = time.monotonic()
        problem = self._problem(command)
        return replace(
            result,
            ran=command.to_run(),
            result="failed" if problem else "passed",
            duration_s=round(time.monotonic() - began_s, 2),
            detail=problem,
        )

    def interrupt(self) -> dict[int, str]:
        """Stop what still runs, the newest first; return problems by line."""
        problems = dict[int, str]()
        while self._running:
            line, (process, log, expected_status) = self._running.popitem()
            _interrupt(process)
            if process.returncode not in (*_STOPPED_STATUSES, expected_status):
                problems[line] = f"status {process.returncode} after Ctrl-C\n{_tail(log)}"
        return problems

    def close(self) -> None:
        """Stop what the commands left in the background (`&`)."""
        for process in self._background:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def _problem(self, command: PageCommand) -> str:
        """Run a command with what comes before and after it; return what went wrong, or ""."""
        options, text = command.options, command.to_run()
        write_example_files(f"{options.before}\n{text}", self._work, self._home)
        if options.before:
            problem = self._run_to_end(f"{command.line}.before", options.before, 0, options.limit_s)
            if problem:
                return f"before: {options.before}\n{problem}"
        if options.ready:
            return self._run_until_ready(command)
        problem = self._run_to_end(f"{command.line}", text, options.status, options.limit_s)
        if not problem and options.after:
            problem = self._run_to_end(f"{command.line}.after", options.after, 0, options.limit_s)
        return problem

    def _run_to_end(self, name: str, text: str, expected_status: int, limit_s: float) -> str:
        save = f'status=$?; {{ export -p; echo "cd \\"$PWD\\""; }} > "{self._state}"; exit $status'
        process, log = self._start(name, f"{text}\n{save}")
        try:
            status = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            _interrupt(process)
            return f"expected an end within {limit_s:g} s\n{_tail(log)}"
        if _has_members(process.pid):
            self._background.append(process)
        if status == expected_status:
            return ""
        return f"expected status {expected_status}, found {status}\n{_tail(log)}"

    def _run_until_ready(self, command: PageCommand) -> str:
        options = command.options
        process, log = self._start(f"{command.line}", command.to_run())
        self._running[command.line] = process, log, options.status
        ends_s = time.monotonic() + options.limit_s
        while not re.search(options.ready, log.read_text("utf-8", "replace")):
            if process.poll() is not None:
                return f"expected it to run, found status {process.returncode}\n{_tail(log)}"
            if time.monotonic() > ends_s:
                return f"expected {options.ready!r} within {options.limit_s:g} s\n{_tail(log)}"
            time.sleep(_POLL_S)
        return ""

    def _start(self, name: str, text: str) -> tuple[subprocess.Popen[bytes], Path]:
        log = self._folder / "logs" / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", f'set -a; . "{self._state}"\n{text}'],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        return process, log


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    """Press Ctrl-C; kill what does not end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LEAVE_TIMEOUT_S)
            return


def _has_members(group: int) -> bool:
    with suppress(ProcessLookupError):
        os.killpg(group, 0)
        return True
    return False


def _tail(log: Path) -> str:
    return log.read_text("utf-8", "replace")[-_TAIL_CHARACTERS:]
