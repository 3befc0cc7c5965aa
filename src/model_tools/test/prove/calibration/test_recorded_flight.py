# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A recording of a whole flight gives samples of the walk only."""

import json
from pathlib import Path

import pytest

from model_tools.cli import main
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle

from ..identification.test_identify import BUNDLE, Robot, record_walk


@pytest.mark.slow
def test_a_robot_that_stands_up_walks_and_is_damped_is_not_said_to_have_other_joints(
    tmp_path: Path,
) -> None:
    """In STAND and DAMP, joints do not follow the policy's targets."""
    bundle = load_bundle(BUNDLE, kind=JointBundle)
    flight = record_walk(tmp_path / "flight", bundle, Robot(), 20.0, damp_at_s=13.0)
    files = ("--output", tmp_path / "calib.npz", "--report", tmp_path / "report")

    arguments = ("--bundle", BUNDLE, "--bag", flight, "--samples", "all", *files)
    assert main(["calibrate", *map(str, arguments)]) == 0

    coverage = json.loads((tmp_path / "report" / "coverage.json").read_text("utf-8"))
    stand_s = bundle.contract.stand.duration_s
    assert 0 < (13.0 - stand_s) * bundle.contract.rate_hz - coverage["rows"] < 60
    assert coverage["verdict"]["problems"] == []
    assert not [text for text in coverage["verdict"]["warnings"] if "follow" in text]
