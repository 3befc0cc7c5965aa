# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The plan of a controller that runs without Python: what it holds, and what has none."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy_core.bundle.bundle import Bundle
from policy_core.bundle.load import load_bundle
from policy_core.plan import read_plan
from policy_inference.commands.main import main
from testkit.wording import check_wording

BUNDLES = Path(__file__).resolve().parents[2] / "config" / "bundles"


def plan_of(folder: Path, file: Path, *more: str) -> dict[str, Any]:
    assert main(["controller-plan", str(folder), "--output", str(file), *more]) == 0
    sha256, values = read_plan(file.read_bytes(), file)
    assert sha256.hex() == load_bundle(folder, kind=Bundle).sha256
    return values


def test_a_plan_names_joints_fields_and_models_with_rows_that_prove_them(tmp_path: Path) -> None:
    found = plan_of(BUNDLES / "lite3_walk", tmp_path / "walk.polplan")
    assert len(found["host.joints"]) == 12
    assert set(found["host.commanded"]) == {0}
    fields = {found[f"host.fields.{i}.name"]: found[f"host.fields.{i}.source"] for i in range(5)}
    assert fields == {
        ("joint_pos",): ("position",),
        ("joint_vel",): ("velocity",),
        ("quat_xyzw",): ("orientation",),
        ("ang_vel_body",): ("angular_velocity",),
        ("velocity_command",): ("command",),
    }
    [file] = found["host.models.0.file"]
    assert zlib.crc32(Path(file).read_bytes()) == found["host.models.0.crc32"]
    assert len(found["host.models.0.inputs.0.values"]) == 256 * 45
    assert np.isnan(found["host.stiffness"]).all()  # those of standing are others
    assert found["words.common.wrong_mode"] != ""


def test_a_set_has_a_model_of_each_member_and_texts_of_each_switch(tmp_path: Path) -> None:
    found = plan_of(BUNDLES / "lite3_gaits", tmp_path / "gaits.polplan")
    members = found["words.members"]
    assert [found[f"host.models.{i}.member"] for i in range(len(members))] == [
        (name,) for name in members
    ]
    switches = {name.split(".")[2] for name in found if name.startswith("words.switches.")}
    assert switches <= {str(i) for i in range(len(found["words.states"]))}
    assert switches


def test_a_chunk_policy_has_actions_and_neither_models_nor_cameras(tmp_path: Path) -> None:
    found = plan_of(BUNDLES / "so101_reach", tmp_path / "reach.polplan")
    assert found["host.actions"] == found["host.joints"]
    assert "host.models.0.file" not in found
    assert [found[f"inputs.{i}.name"] for i in range(2) if f"inputs.{i}.name" in found] == [
        ("joint_states",)
    ]


@pytest.mark.parametrize(
    ("bundle", "more"),
    [
        ("lite3_so101", []),
        ("lite3_walk", ["--limit", "max_tilt_rad=3"]),
        ("lite3_walk", ["--limit", "tilt=0.5"]),
        ("lite3_walk", ["--library", "no_such_library.so"]),
    ],
    ids=lambda case: " ".join(case) if isinstance(case, list) else case,
)
def test_what_has_no_plan_is_refused_and_nothing_is_written(
    bundle: str, more: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "plan"
    assert main(["controller-plan", str(BUNDLES / bundle), "--output", str(file), *more]) > 0
    assert not file.exists()
    check_wording(caplog.messages[-1])
