# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Parts in OUTPUT.parts, the processes that make them, and the report."""

import importlib
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lerobot_bridge.converting.convert import Conversion
from lerobot_bridge.converting.parts_folder import (
    LOCK,
    LOG,
    finish,
    locked,
    parts_name,
    read_parts,
    remove_parts,
    remove_unfinished,
    unfinished,
)
from lerobot_bridge.converting.processes import Refused, run_apart
from lerobot_bridge.converting.report import conversion_report
from lerobot_bridge.dataset_form import DatasetForm
from lerobot_bridge.episode import Episode
from lerobot_bridge.mapping import RobotMapping
from model_tools.errors import ToolError
from policy_store.report import Note, Tone
from testkit.wording import refusal

from ..bags import arm_mapping
from ..mapping_cases import MAPPING, rolling_arm

NAME = "wave_0000_0123456789abcdef"
MADE = {"parts": [["part_000", 12]]}
ROWS = "part_000/data/rows.parquet"


@pytest.fixture
def parts_folder(tmp_path: Path) -> Path:
    """Return a folder of parts that a command left behind."""
    found = tmp_path / "cubes.parts"
    with locked(found):
        (found / LOG).touch()
    return found


def finished(folder: Path) -> Path:
    growing = unfinished(folder / NAME, 42)
    (growing / ROWS).parent.mkdir(parents=True)
    (growing / ROWS).write_bytes(b"rows")
    finish(growing, folder / NAME, MADE)
    return folder / NAME


def part_names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


def test_parts_count_as_finished_once_they_have_their_name(parts_folder: Path) -> None:
    part = finished(parts_folder)
    assert read_parts(part) == MADE
    assert read_parts(parts_folder) is None
    assert part_names(parts_folder) == {LOCK, LOG, NAME}


def test_only_what_is_ours_is_removed(parts_folder: Path, tmp_path: Path) -> None:
    finished(parts_folder)
    unfinished(parts_folder / NAME, 43).mkdir()
    theirs = {".git.old", "notes", "wave_0001_0123456789abcdef"}
    for name in theirs:
        (parts_folder / name).mkdir()

    remove_unfinished(parts_folder)
    assert part_names(parts_folder) == theirs | {LOCK, LOG, NAME}
    with locked(parts_folder):
        remove_parts(parts_folder)
    assert part_names(parts_folder) == theirs | {LOCK}


def a_link(place: Path) -> None:
    (place.parent / "elsewhere").mkdir()
    place.symlink_to(place.parent / "elsewhere")


def other_folder(place: Path) -> None:
    place.mkdir()
    (place / "notes.txt").touch()


@pytest.mark.parametrize("make", [a_link, Path.touch, other_folder])
def test_files_of_other_programs_are_left_alone(
    make: Callable[[Path], object], tmp_path: Path
) -> None:
    place = tmp_path / "cubes.parts"
    make(place)
    before = sorted(tmp_path.rglob("*"))

    with refusal(ToolError), locked(place):
        pass
    assert sorted(tmp_path.rglob("*")) == before


def test_one_command_at_a_time_works_there(tmp_path: Path) -> None:
    folder = tmp_path / "cubes.parts"
    with locked(folder):
        with refusal(ToolError), locked(folder):
            pass
        assert (folder / LOCK).is_file()
    with locked(folder):
        pass
    assert not folder.exists()


FIELDS = MAPPING["vectors"]["observation.state"][1]["fields"]


@pytest.mark.parametrize(
    ("key", "columns"),
    [("joints", MAPPING["joints"]), ("vectors/observation.state/1/fields", FIELDS)],
)
def test_another_order_of_columns_makes_other_parts(
    key: str, columns: dict[str, Any], tmp_path: Path
) -> None:
    def name(mapping: RobotMapping, topics: dict[str, str]) -> str:
        return parts_name(Episode(bag=tmp_path, task=""), mapping, topics, False, DatasetForm())

    one = name(rolling_arm(), {"a": "b", "c": "d"})
    assert one == name(rolling_arm(), {"c": "d", "a": "b"})
    other = rolling_arm(**{key: dict(reversed(columns.items()))})
    assert one != name(other, {"a": "b", "c": "d"})


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
        {name: partial(function, job) for name, job in jobs.items()},
        at_once=2,
        needs="policy_core.errors",
        log=tmp_path / "log.txt",
        **more,
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


def test_the_report_has_warnings_and_what_was_left_out() -> None:
    made = {
        "parts": [["part_000", 20], ["part_001", 10]],
        "too_short": 0,
        "closed_up": 0,
        "left_out": [],
        "warnings": ["values <>", "repeated"],
    }
    found = Conversion(
        made=[(Episode(bag=Path("one"), task="wave"), made)],
        refused=[(Episode(bag=Path("two"), task="wave"), "two publishers")],
    )

    report = conversion_report("cubes", found, arm_mapping(), {})

    assert [each["frames"] for each in report.document["episodes"]] == [20, 10]
    notes = [part for part in report.parts if isinstance(part, Note)]
    assert [note.verdict.tone for note in notes] == [Tone.WARN, Tone.WARN, Tone.BAD]
