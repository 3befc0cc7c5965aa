# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Columns of a model input by the terms of its observation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_tools.terms import columns, term_columns
from policy_inference.bundle.load import load_bundle, read_contract

from .tiny_bundle import make_bundle

OURS = Path(__file__).resolve().parents[3] / "config" / "bundles" / "lite3_walk"


def test_terms_stand_one_after_another() -> None:
    contract = read_contract(OURS / "policy.yaml")

    assert columns(contract, "obs") == {
        "base_ang_vel": slice(0, 3), "projected_gravity": slice(3, 6),
        "velocity_command": slice(6, 9), "joint_pos_rel": slice(9, 21),
        "joint_vel": slice(21, 33), "last_action": slice(33, 45)}


def test_terms_of_one_name_are_told_apart_by_their_place(tmp_path: Path) -> None:
    make_bundle(tmp_path, last="{term: joint_pos, joints: [knee, hip]}")

    found = columns(load_bundle(tmp_path).contract, "obs")

    assert found == {"joint_pos[0]": slice(0, 2), "joint_vel": slice(2, 4),
                     "joint_pos[2]": slice(4, 6)}


def test_frames_of_the_past_have_no_columns(tmp_path: Path) -> None:
    file = make_bundle(tmp_path) / "policy.yaml"
    text = file.read_text("utf-8").replace("{obs: {terms", "{obs: {history: {length: 2}, terms")
    file.write_text(text.replace("obs: {shape: [1, 6]}", "obs: {shape: [1, 12]}"), "utf-8")

    assert columns(read_contract(file), "obs") == {}


@pytest.mark.parametrize(("order", "expected"), [
    ("clip_then_scale", [2.0, -2.0, 1.0]), ("scale_then_clip", [1.0, -1.0, 1.0]),
])  # fmt: skip
def test_values_are_scaled_and_clipped_in_the_contract_s_order(
    tmp_path: Path, order: str, expected: list[float]
) -> None:
    make_bundle(tmp_path, last="{term: last_action, scale: 2.0, clip: [-1.0, 1.0]}")
    last = list(term_columns(load_bundle(tmp_path).contract, "obs"))[-1]

    values = np.array([3.0, -3.0, 0.5])[:, np.newaxis] * np.ones(2)

    np.testing.assert_array_equal(last.observed(values, order)[:, 0], expected)
