# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""OUTPUT.parts: what counts as finished, what is removed, and whose folder it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lerobot_bridge.converting.parts_folder import (
    LOCK,
    LOG,
    finish,
    locked,
    made_of,
    name_of,
    remove_parts,
    remove_unfinished,
    unfinished,
)
from lerobot_bridge.dataset_form import DatasetForm
from lerobot_bridge.episode import Episode
from lerobot_bridge.mapping import RobotMapping
from model_tools.errors import ToolError
from testkit.wording import refusal

from ..mapping_cases import MAPPING, rolling_arm

NAME = "wave_0000_0123456789abcdef"
MADE = {"parts": [["part_000", 12]]}
ROWS = "part_000/data/rows.parquet"


@pytest.fixture
def parts_folder(tmp_path: Path) -> Path:
    """Return the folder of a command at work."""
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
    assert made_of(part) == MADE
    assert made_of(parts_folder) is None
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


def test_a_folder_with_nothing_in_it_goes(tmp_path: Path) -> None:
    with locked(tmp_path / "cubes.parts"):
        pass
    assert not list(tmp_path.iterdir())


def a_link(place: Path) -> None:
    (place.parent / "elsewhere").mkdir()
    place.symlink_to(place.parent / "elsewhere")


def other_folder(place: Path) -> None:
    place.mkdir()
    (place / "notes.txt").touch()


@pytest.mark.parametrize(
    "make",
    [a_link, Path.touch, other_folder],
    ids=["link elsewhere", "file", "folder without lock"],
)
def test_files_of_other_programs_are_left_alone(
    make: Callable[[Path], object], tmp_path: Path
) -> None:
    place = tmp_path / "cubes.parts"
    make(place)
    before = sorted(tmp_path.rglob("*"))

    with (
        refusal(ToolError),
        locked(place),
    ):
        pass
    assert sorted(tmp_path.rglob("*")) == before


def test_one_command_at_a_time_works_there(tmp_path: Path) -> None:
    folder = tmp_path / "cubes.parts"
    with locked(folder):
        with (
            refusal(ToolError),
            locked(folder),
        ):
            pass
        assert (folder / LOCK).is_file()
    with locked(folder):
        pass
    assert not folder.exists()


def reversed_joints() -> RobotMapping:
    return rolling_arm(joints=dict(reversed(MAPPING["joints"].items())))


def reversed_fields() -> RobotMapping:
    key = "vectors/observation.state/1/fields"
    fields = MAPPING["vectors"]["observation.state"][1]["fields"]
    return rolling_arm(**{key: dict(reversed(fields.items()))})


@pytest.mark.parametrize("other", [reversed_joints, reversed_fields])
def test_another_order_of_columns_makes_other_parts(
    other: Callable[[], RobotMapping], tmp_path: Path
) -> None:
    def name(mapping: RobotMapping, topics: dict[str, str]) -> str:
        return name_of(Episode(bag=tmp_path, task=""), mapping, topics, False, DatasetForm())

    one = name(rolling_arm(), {"a": "b", "c": "d"})
    assert one == name(rolling_arm(), {"c": "d", "a": "b"})
    assert one != name(other(), {"a": "b", "c": "d"})
