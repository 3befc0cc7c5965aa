# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Robot files of others: a model that allocates much for a few bytes is refused before that."""

from __future__ import annotations

from pathlib import Path

import mujoco  # noqa: F401  # takes more memory than the tests allow
import pytest

from robot_sim.model_file import load_spec
from testkit.fuzzing import bounded

PART = '<body name="part"><geom size="1"/></body>'
THOUSAND = f'<replicate count="1000">{PART}</replicate>'


def mujoco_text(inside: str) -> str:
    return f"<mujoco>{inside}</mujoco>"


def worldbody(inside: str) -> str:
    return mujoco_text(f"<worldbody>{inside}</worldbody>")


HOSTILE = {
    "replicate": worldbody(f'<replicate count="10000000000">{PART}</replicate>'),
    "digits": worldbody(f'<replicate count="{"9" * 400}">{PART}</replicate>'),
    "as a character": worldbody(f'<replicate count="&#49;00000000">{PART}</replicate>'),
    "nested": worldbody(f'<replicate count="1000">{THOUSAND}</replicate>'),
    "included": worldbody('<replicate count="1000"><include file="parts/more.xml"/></replicate>'),
    "included beside it": worldbody('<include file="parts/between.xml"/>'),
    "attached": mujoco_text(
        '<asset><model name="more" file="parts/more.xml"/></asset><worldbody>'
        '<replicate count="1000"><attach model="more" body="part"/></replicate></worldbody>'
    ),
    "heights": mujoco_text(
        '<asset><hfield name="h" nrow="100000" ncol="100000" size="1 1 1 1"/></asset>'
    ),
    "pixels": mujoco_text(
        '<asset><texture name="t" type="2d" builtin="checker" width="30000" height="20000"/>'
        "</asset>"
    ),
    "user values": mujoco_text('<size nuser_body="100000000"/>'),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_model_that_asks_for_more_than_any_robot_needs_is_refused(
    tmp_path: Path, kind: str
) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "more.xml").write_text(worldbody(THOUSAND))
    (tmp_path / "parts" / "between.xml").write_text(
        worldbody(f'{THOUSAND}<include file="more.xml"/>')
    )
    file = tmp_path / "robot.xml"
    file.write_text(HOSTILE[kind])

    with bounded(largest_bytes=1 << 26), pytest.raises(ValueError, match="more than"):
        load_spec(file)


def test_model_with_usual_parts_is_read(tmp_path: Path) -> None:
    file = tmp_path / "robot.xml"
    file.write_text(worldbody(f'<replicate count="20">{PART}</replicate>'))
    assert load_spec(file).compile().nbody == 21


@pytest.mark.parametrize("text", ["no XML", worldbody('<include file="none.xml"/>')])
def test_file_that_mujoco_cannot_read_is_left_to_it(tmp_path: Path, text: str) -> None:
    file = tmp_path / "robot.xml"
    file.write_text(text)
    with pytest.raises(ValueError, match="XML"):
        load_spec(file)
