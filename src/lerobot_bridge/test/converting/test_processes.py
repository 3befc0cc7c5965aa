# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Work in processes of its own: all is done, what fails is named, nothing is left running."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lerobot_bridge.converting.processes import Refused, run_apart
from model_tools.errors import ToolError
from testkit.wording import refusal

WORK = """
import os
import pathlib
import signal
import sys
import sys
import time
from policy_core.errors import RobotError


def half(job, tell):
    tell(0.5)
    print(job, "halved")
    if job % 2:
        raise RobotError(str(job))
    return job // 2


def told(job, tell):
    return os.getpid(), os.environ["OMP_NUM_THREADS"]


def killed(job, tell):
    os.kill(os.getpid(), signal.SIGKILL)


def full(job, tell):
    raise OSError(28, "No space left on device", "file")


def wrong(job, tell):
    raise LookupError("unforeseen")


def waits(job, tell):
    pathlib.Path(job).write_text(str(os.getpid()))
    if job.endswith("last"):
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    name = f"work_{os.getpid()}"
    (tmp_path / f"{name}.py").write_text(WORK, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module(name)


def done(
    function: Callable[[Any, Any], Any], jobs: dict[str, Any], tmp_path: Path, **more: Any
) -> dict[str, Any]:
    return run_apart(
        function, jobs, at_once=2, needs="policy_core.errors", log=tmp_path / "log.txt", **more
    )


def test_each_job_has_its_result_or_the_reason_why_not(work: Any, tmp_path: Path) -> None:
    told = list[float]()

    found = done(work.half, {"a": 8, "b": 3, "c": 4}, tmp_path, on_progress=told.append)

    assert found == {"a": 4, "b": Refused("3"), "c": 2}
    assert told == sorted(told)
    assert told[-1] == 3.0
    assert "8 halved" in (tmp_path / "log.txt").read_text()


def test_each_job_has_a_process_and_one_thread_for_its_mathematics(
    work: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    found = done(work.told, {"a": 0, "b": 0}, tmp_path)

    assert len({os.getpid(), found["a"][0], found["b"][0]}) == 3
    assert "OMP_NUM_THREADS" not in os.environ


def test_a_process_that_is_killed_is_named_with_the_remedy(work: Any, tmp_path: Path) -> None:
    with refusal(ToolError):
        done(work.killed, {"b": 0}, tmp_path)


def test_a_full_disk_ends_the_work(work: Any, tmp_path: Path) -> None:
    with refusal(OSError) as found:
        done(work.full, {"a": 0}, tmp_path)
    assert (found.value.errno, found.value.filename) == (28, "file")


def test_where_one_fails_the_others_are_ended(work: Any, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="last"):
        done(work.waits, {name: str(tmp_path / name) for name in ("first", "last")}, tmp_path)

    for file in (tmp_path / name for name in ("first", "last") if (tmp_path / name).exists()):
        with pytest.raises(ProcessLookupError):
            os.kill(int(file.read_text()), signal.SIG_DFL)
