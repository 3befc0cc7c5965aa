# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Lines of a process: passed on in order, counted where they are not read, never waited for."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testkit.numbers import numbers_in
from testkit.wording import check_wording

TIMEOUT_S = 30.0
LINE = "x" * 99
MANY = 40_000
"""Lines of 100 bytes that neither a pipe nor the pump has room for."""
Process = subprocess.Popen[bytes]


@pytest.fixture
def start_pumped() -> Iterator[Callable[..., Process]]:
    """Run some lines of Python whose log is pumped."""
    running = list[Process]()

    def run(code: str, **streams: int) -> Process:
        lines = f"from policy_inference.log_pump import pump_log\npump_log()\n{code}"
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
        running.append(subprocess.Popen([sys.executable, "-c", lines], **pipes))  # type: ignore[call-overload]  # mypy sees other types
        return running[-1]

    yield run
    for process in running:
        process.kill()
        process.communicate(timeout=TIMEOUT_S)


def said_by(process: Process) -> tuple[list[str], list[str]]:
    out, err = process.communicate(timeout=TIMEOUT_S)
    return out.decode().splitlines(), err.decode().splitlines()


def test_lines_come_in_their_order_and_whole(start_pumped: Callable[..., Process]) -> None:
    process = start_pumped(
        "import os\nfor number in range(2000):\n"
        "    os.write(2, b'line %d\\n' % number)\n    print('out', number)"
    )
    out, err = said_by(process)
    assert err == [f"line {number}" for number in range(2000)]
    assert out == [f"out {number}" for number in range(2000)]


def test_process_never_waits_for_a_reader_who_gets_the_number_of_lost_lines(
    start_pumped: Callable[..., Process],
) -> None:
    process = start_pumped(
        "import os, sys\nleft = " + str(MANY) + "\nwhile left:\n    try:\n"
        f"        os.write(2, b'{LINE}\\n')\n        left -= 1\n"
        "    except BlockingIOError:\n"  # faster than the pump: nothing is counted
        "        os.sched_yield()\n"
        "print('done', flush=True)\nsys.stdin.read()",
        stdin=subprocess.PIPE,
    )
    assert process.stdout
    assert process.stdin
    assert process.stdout.readline() == b"done\n"  # though stderr was not read
    process.stdin.close()
    process.stdin = None
    _, err = said_by(process)
    lost = [int(line.split()[0]) for line in err if line != LINE]
    check_wording(*{line.partition(" ")[2] for line in err if line != LINE})
    assert err.count(LINE) + sum(lost) == MANY
    assert err.count(LINE) > 5000


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGKILL)", "sys.exit(3)"])
def test_last_words_of_a_process_that_ends_in_any_way_come_out(
    start_pumped: Callable[..., Process], end: str
) -> None:
    process = start_pumped(f"import os, signal, sys\nos.write(2, b'last words\\n')\n{end}")
    assert said_by(process)[1][:1] == ["last words"]


def test_interruption_of_the_whole_group_ends_no_pump(start_pumped: Callable[..., Process]) -> None:
    process = start_pumped(
        "import os, signal\nsignal.signal(signal.SIGINT, lambda *_: None)\n"
        "os.killpg(0, signal.SIGINT)\nos.write(2, b'goes on\\n')",
        start_new_session=True,
    )
    assert said_by(process) == ([], ["goes on"])
    assert process.returncode == 0


def test_reader_that_has_gone_harms_no_other(start_pumped: Callable[..., Process]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = start_pumped(
        "import os\nfor _ in range(1000):\n    os.write(2, b'for nobody\\n')\nprint('done')",
        stderr=writing,
    )
    os.close(writing)
    out, _ = process.communicate(timeout=TIMEOUT_S)
    assert out == b"done\n"
    assert process.returncode == 0


def test_child_that_outlives_the_process_is_heard(start_pumped: Callable[..., Process]) -> None:
    process = start_pumped(
        "import os, signal, subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import os, sys; sys.stdin.read(); "
        'os.write(2, b"child\\\\n")\'], stdin=0)\nos.kill(os.getpid(), signal.SIGKILL)',
        stdin=subprocess.PIPE,
    )
    assert process.wait(TIMEOUT_S) == -signal.SIGKILL
    assert process.stdin
    process.stdin.close()
    process.stdin = None
    assert said_by(process)[1] == ["child"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_pump_that_has_ended_is_reported(
    start_pumped: Callable[..., Process], tmp_path: Path, number: signal.Signals
) -> None:
    told = tmp_path / "told"
    process = start_pumped(
        "import os, sys\nfrom policy_inference.log_pump import log_problem\n"
        "before = log_problem()\n"
        "with open(f'/proc/self/task/{os.getpid()}/children') as children:\n"
        "    pump = int(children.read())\n"
        f"os.kill(pump, {number.value})\nos.waitid(os.P_PID, pump, os.WEXITED | os.WNOWAIT)\n"
        f"with open({str(told)!r}, 'w') as file:\n"
        "    print(before, pump, log_problem(), log_problem(), sep='\\n', file=file)"
    )
    assert process.wait(TIMEOUT_S) == 0
    before, pump, *problems = told.read_text("utf-8").splitlines()
    assert before == ""
    assert problems[1:] == problems[:1]
    assert {float(pump), float(-number)} <= set(numbers_in(problems[0]))
    check_wording(problems[0].replace(pump, "PID"))
