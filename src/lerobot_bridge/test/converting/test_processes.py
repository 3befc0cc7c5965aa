# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Work in processes of its own: all is done, what fails is named, nothing is left running."""

from __future__ import annotations

import importlib
import os
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
import signal
from policy_core.errors import RobotError


def half(job, tell):
    tell(0.5)
    print(job, "halved")
    if job % 2:
        raise RobotError(str(job))
    return job // 2


def killed(job, tell):
    os.kill(os.getpid(), signal.SIGKILL)


def full(job, tell):
    raise OSError(28, "No space left on device", "file")


def wrong(job, tell):
    raise LookupError("unforeseen")

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


def test_a_process_that_is_killed_is_named_with_the_remedy(work: Any, tmp_path: Path) -> None:
    with refusal(ToolError):
        done(work.killed, {"b": 0}, tmp_path)


def test_an_error_of_the_program_is_in_the_log(work: Any, tmp_path: Path) -> None:
    with refusal(ToolError):
        done(work.wrong, {"a": 0}, tmp_path)
    assert "LookupError: unforeseen" in (tmp_path / "log.txt").read_text()


def test_a_full_disk_ends_the_work(work: Any, tmp_path: Path) -> None:
    with refusal(OSError) as found:
        done(work.full, {"a": 0}, tmp_path)
    assert (found.value.errno, found.value.filename) == (28, "file")
