# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Robot files of others: what a few bytes of MJCF would make MuJoCo allocate is refused first."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_tools.files.mjcf import require_bounded_mjcf
from policy_inference.testing.fuzzing import bounded

PART = '<body><geom size="1"/></body>'


def model(inside: str) -> str:
    return f"<mujoco>{inside}</mujoco>"


HOSTILE = {
    "replicate": f'<worldbody><replicate count="10000000000">{PART}</replicate></worldbody>',
    "exponent": f'<worldbody><replicate count="1e10">{PART}</replicate></worldbody>',
    "nested": '<worldbody><replicate count="1000"><replicate count="1000">'
    f"{PART}</replicate></replicate></worldbody>",
    "as a character": f'<worldbody><replicate count="&#49;00000000">{PART}</replicate></worldbody>',
    "heights": '<asset><hfield name="h" nrow="100000" ncol="100000" size="1 1 1 1"/></asset>',
    "included": '<include file="more.xml"/>',
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_model_that_asks_for_more_than_any_robot_needs_is_refused(
    tmp_path: Path, kind: str
) -> None:
    (tmp_path / "more.xml").write_text(model(HOSTILE["replicate"]))
    file = tmp_path / "robot.xml"
    file.write_text(model(HOSTILE[kind]))

    with bounded(largest_bytes=1 << 26), pytest.raises(ValueError, match="more than"):
        require_bounded_mjcf(file)


def test_model_with_usual_parts_is_left_to_mujoco(tmp_path: Path) -> None:
    file = tmp_path / "robot.xml"
    file.write_text(model(f'<worldbody><replicate count="20">{PART}</replicate></worldbody>'))
    require_bounded_mjcf(file)
    file.write_text("no XML")
    require_bounded_mjcf(file)
