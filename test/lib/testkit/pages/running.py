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

from testkit.pages.commands import PageCommand
from testkit.pages.example_files import write_example_files
from testkit.pages.needs import NEEDS
from testkit.pages.programs import ROOT

_LEAVE_TIMEOUT_S = 30.0
_POLL_S = 0.05
_TAIL_CHARACTERS = 3000
_STOPPED_STATUSES = (0, 128 + signal.SIGINT, -signal.SIGINT)
"""Exit statuses of a command that ran until Ctrl-C."""
_KILLED_STATUSES = tuple(128 + number for number in (signal.SIGINT, signal.SIGKILL, signal.SIGTERM))
_BACKGROUND_S = 3.0
"""How long a command in the background (`&`) is waited for, whether it fails."""
_NOT_FOUND = re.compile(r"^bash: line \d+: .*: command not found$", re.M)
_SCRIPT = """
. "{state}"
save() {{
  local status=$?
  {{ export -p; echo "cd \\"$PWD\\""; }} > "{state}"
  echo $status > "{status}"
}}
trap 'save; exit 0' EXIT
set -ea
{text}
set +a -- $? "${{PIPESTATUS[@]}}"
[ $1 = 0 ] || exit $1
# In a pipe, each command must succeed, or end because nothing reads on (SIGPIPE).
[ $# = 2 ] || for status; do [ $status = 0 ] || [ $status = 141 ] || exit $status; done
save
trap - EXIT
for job in $(printf '%s\n' $(jobs -p) $! | sort -u); do wait $job; done
"""
"""Fails where any part of the command fails; then stays as long as what is in the background."""


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
        self._background = list[tuple[int, subprocess.Popen[bytes], Path, float]]()
        self._left = list[subprocess.Popen[bytes]]()

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
        """Stop what still runs, the newest first; return problems by line.

        What runs in the background (`&`) goes on, and may not have failed.
        """
        problems = dict[int, str]()
        for line, process, log, began_s in self._background:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, began_s + _BACKGROUND_S - time.monotonic()))
            if process.returncode not in (None, 0, *_KILLED_STATUSES):
                problems[line] = f"status {process.returncode} in the background\n{_tail(log)}"
        while self._running:
            line, (process, log, expected_status) = self._running.popitem()
            _interrupt(process)
            if process.returncode not in (*_STOPPED_STATUSES, expected_status):
                problems[line] = f"status {process.returncode} after Ctrl-C\n{_tail(log)}"
        return problems

    def close(self) -> None:
        """Stop what the commands left in the background (`&`)."""
        for process in self._left:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def _problem(self, command: PageCommand) -> str:
        """Run a command with what comes before and after it; return what went wrong, or ""."""
        options, text = command.options, command.to_run()
        write_example_files(f"{options.before}\n{text}", self._work, self._home)
        if options.before:
            problem = self._run_to_end(command, "before", options.before, 0)
            if problem:
                return f"before: {options.before}\n{problem}"
        if options.ready:
            return self._run_until_ready(command)
        problem = self._run_to_end(command, "", text, options.status)
        if not problem and options.after:
            problem = self._run_to_end(command, "after", options.after, 0)
        return problem

    def _run_to_end(self, command: PageCommand, part: str, text: str, expected_status: int) -> str:
        name, limit_s = f"{command.line}{part}", command.options.limit_s
        status_file = self._folder / "logs" / f"{name}.status"
        script = _SCRIPT.format(state=self._state, status=status_file, text=text)
        began_s = time.monotonic()
        process, log = self._start(name, script)
        while not (status := _read_whole_line(status_file)) and process.poll() is None:
            if time.monotonic() > began_s + limit_s:
                _interrupt(process)
                return (
                    f"expected an end within {limit_s:g} s (if it runs until Ctrl-C, give it "
                    f"`ready`)\n{_tail(log)}"
                )
            time.sleep(_POLL_S)
        status = status or _read_whole_line(status_file)
        if status:
            self._background.append((command.line, process, log, began_s))
        else:
            status = f"{process.returncode}"
        if _has_members(process.pid):
            self._left.append(process)
        if status != f"{expected_status}":
            return f"expected status {expected_status}, found {status}\n{_tail(log)}"
        if _NOT_FOUND.search(log.read_text("utf-8", "replace")):
            return f"expected commands that exist\n{_tail(log)}"
        return ""

    def _run_until_ready(self, command: PageCommand) -> str:
        options = command.options
        script = f'. "{self._state}"\nset -ea\n{command.to_run()}'
        process, log = self._start(f"{command.line}", script)
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
                ["bash", "-c", text],
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


def _read_whole_line(path: Path) -> str:
    """Return the line that a file holds, or "" while there is none."""
    line = path.read_text("utf-8") if path.exists() else ""
    return line.strip() if line.endswith("\n") else ""


def _tail(log: Path) -> str:
    return log.read_text("utf-8", "replace")[-_TAIL_CHARACTERS:]
