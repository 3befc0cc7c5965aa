# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Processes share tasks; what ends one of them costs only its own task."""

import multiprocessing
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from model_tools.errors import ToolError
from model_tools.prove.evaluation.pool import LocalPool, NotDone
from testkit.wording import check_wording


def double(number: int) -> int:
    """Do a task: most are doubled, and some go wrong."""
    if number == 90:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 91:
        raise ToolError("91: expected another number")
    if number == 92:
        time.sleep(60.0)
    if number == 93:
        raise ZeroDivisionError("a defect")
    return 2 * number


def double_at_second_attempt(path: str) -> str:
    """Die once."""
    if not Path(path).exists():
        Path(path).touch()
        os._exit(7)
    return "done"


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_is_done_once_on_any_number_of_processes(workers: int) -> None:
    done = dict(LocalPool(double, workers, time_limit_s=30.0).run(range(9)))
    assert done == {number: 2 * number for number in range(9)}


@pytest.mark.slow
def test_what_goes_wrong_is_named_and_costs_its_own_task_alone() -> None:
    pool = LocalPool(double, 2, time_limit_s=3.0)
    done = dict(pool.run([1, 90, 91, 2, 92, 93, 3]))
    assert {number: done[number] for number in (1, 2, 3)} == {1: 2, 2: 4, 3: 6}
    reasons = [done[number] for number in (90, 91, 92, 93)]
    assert all(isinstance(reason, NotDone) for reason in reasons)
    check_wording(*reasons)


@pytest.mark.slow
def test_a_task_whose_process_died_once_is_done_by_another(tmp_path: Path) -> None:
    pool = LocalPool(double_at_second_attempt, 1, time_limit_s=30.0)
    task = str(tmp_path / "died")
    assert list(pool.run([task])) == [(task, "done")]


def test_closing_the_results_ends_the_processes() -> None:
    results = LocalPool(double, 2, time_limit_s=60.0).run([1, 92, 92])
    assert next(results) == (1, 2)
    results.close()
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("preload", ["", "policy_core.errors"])
def test_processes_end_with_a_parent_that_is_killed(tmp_path: Path, preload: str) -> None:
    (tmp_path / "waiting.py").write_text(
        "import os, pathlib, time\n"
        "def wait(path):\n"
        "    pathlib.Path(path).write_text(str(os.getpid()))\n"
        "    time.sleep(600)\n"
    )
    os.mkfifo(tmp_path / "pid")
    program = (
        "import waiting\n"
        "from model_tools.prove.evaluation.pool import LocalPool\n"
        "if __name__ == '__main__':\n"
        f"    pool = LocalPool(waiting.wait, 1, preload={preload!r})\n"
        f"    list(pool.run([{str(tmp_path / 'pid')!r}]))\n"
    )
    (tmp_path / "program.py").write_text(program)
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])},
    )
    ended = os.pidfd_open(int((tmp_path / "pid").read_text()))
    try:
        parent.kill()
        parent.wait()
        assert select.select([ended], [], [], 10.0)[0], "the worker has lived on"
    finally:
        os.close(ended)
