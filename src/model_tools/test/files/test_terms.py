# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Columns of a model input by the terms of its observation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_tools.files.terms import term_columns, value_name
from model_tools.make.nominal import unmoved
from model_tools.prove.calibration.collection import Fields
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.contract import JointContract
from policy_core.bundle.load import load_bundle, parse_contract
from policy_core.bundle.schema import read_bytes
from policy_inference.comparison.rows import Rows

from ..tiny_bundle import make_bundle


@pytest.mark.parametrize(
    ("order", "expected"),
    [("clip_then_scale", [2.0, -2.0, 1.0]), ("scale_then_clip", [1.0, -1.0, 1.0])],
)
def test_values_are_scaled_and_clipped_in_the_contract_s_order(
    tmp_path: Path, order: str, expected: list[float]
) -> None:
    make_bundle(tmp_path, last="{term: last_action, scale: 2.0, clip: [-1.0, 1.0]}")
    last = list(term_columns(load_bundle(tmp_path, kind=JointBundle).contract, "obs"))[-1]

    values = np.array([3.0, -3.0, 0.5])[:, np.newaxis] * np.ones(2)

    np.testing.assert_array_equal(last.observed(values, order)[:, 0], expected)


@pytest.mark.parametrize(
    ("history", "last", "names"),
    [
        (
            "",
            "{term: last_action}",
            {0: "joint_pos of hip", 3: "joint_vel of knee", 4: "last_action of hip"},
        ),
        (
            "history: {length: 3, layout: per_frame, order: newest_first}, ",
            "{term: base_ang_vel}",
            {
                6: "base_ang_vel[2], in the newest frame",
                7: "joint_pos of hip, 1 frames before the newest",
                20: "base_ang_vel[2], 2 frames before the newest",
            },
        ),
        (
            "history: {length: 2, layout: per_term, order: oldest_first}, ",
            "{term: last_action, history_length: 3}",
            {
                1: "joint_pos of knee, 1 frames before the newest",
                2: "joint_pos of hip, in the newest frame",
                8: "last_action of hip, 2 frames before the newest",
                13: "last_action of knee, in the newest frame",
            },
        ),
    ],
)
def test_a_value_is_named_by_term_joint_and_frame(
    tmp_path: Path, history: str, last: str, names: dict[int, str]
) -> None:
    file = make_bundle(tmp_path) / "policy.yaml"
    text = file.read_text("utf-8").replace("{obs: {terms", f"{{obs: {{{history}terms")
    text = text.replace("{term: last_action}", last)
    width = {"": 6, "{term: base_ang_vel}": 21}.get(history and last, max(names) + 1)
    file.write_text(text.replace("obs: {shape: [1, 6]}", f"obs: {{shape: [1, {width}]}}"), "utf-8")
    contract = parse_contract(read_bytes(file), file, kind=JointContract)
    assert {column: value_name(contract, "obs", column) for column in names} == names
    assert len({value_name(contract, "obs", column) for column in range(width)}) == width


def _turning_first(folder: Path) -> JointBundle:
    """Return a bundle that sees the yaw rate x 0.5, then vx x 2, of a velocity command."""
    last = "{term: velocity_command, parts: [wz, vx], scale: [0.5, 2.0]}"
    file = make_bundle(folder, last=last) / "policy.yaml"
    text = file.read_text("utf-8")
    file.write_text(f"{text}velocity_command: {{min: [-1, 0, -1], max: [1, 0, 1]}}\n", "utf-8")
    return load_bundle(folder, kind=JointBundle)


def test_parts_of_a_command_are_judged_as_the_axes_that_they_are(tmp_path: Path) -> None:
    bundle, obs = _turning_first(tmp_path), np.zeros((3, 6), np.float32)
    rows = Rows(source="a test", inputs={"obs": obs}, outputs={})
    assert unmoved(bundle.contract, rows) == ["forward", "turning"]
    obs[:, 4] = [0.0, 0.1, 0.2]
    assert unmoved(bundle.contract, rows) == ["forward"]


def test_a_command_is_taken_back_out_of_its_parts_in_si_units(tmp_path: Path) -> None:
    bundle = _turning_first(tmp_path)
    rows = np.zeros(2, [("tensors", [("obs", np.float32, 6)]), ("sensed", [])])
    rows["tensors"]["obs"][:, 4:] = [[0.25, 1.0], [-0.5, 0.0]]
    np.testing.assert_allclose(
        Fields(bundle, ()).of(rows)["velocity_command"], [[0.5, 0.0, 0.5], [0.0, 0.0, -1.0]]
    )
