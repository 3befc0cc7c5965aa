# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Corrections by a person become a dataset that LeRobot loads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from lerobot_bridge.cli import main
from lerobot_bridge.dataset_form import INTERVENTION, SUCCESS
from lerobot_bridge.episode import read_sidecar

from ..e2e.taken_over import RATE_HZ, taken_over

CORRECTIONS, CHUNK, ACTION = 2, 10, "action"


@pytest.mark.slow
def test_frames_of_corrections_and_of_success_are_flagged_as_lerobot_expects(
    tmp_path: Path,
) -> None:
    with taken_over(tmp_path, "so101_reach", 60.0) as corrected:
        corrected.runs()
        corrected.is_corrected(CORRECTIONS)
        corrected.ask_recorder("success")
        corrected.ask_recorder("finish")
    spans = read_sidecar(corrected.session / "episode_0000").interventions or ()
    assert len(spans) == CORRECTIONS
    root = tmp_path / "dataset"
    words = [str(corrected.session), "--mapping", "so101_reach", "--images", "--processes", "1"]
    assert main(["convert", *words, "--output", str(root)]) == 0
    loaded = LeRobotDataset(
        "corrected", root=root, delta_timestamps={ACTION: [step / RATE_HZ for step in range(CHUNK)]}
    )
    corrected_s = sum(end - begin for begin, end in spans) * 1e-9

    assert loaded.num_episodes == 1
    feature = loaded.meta.features[INTERVENTION]
    assert (feature["dtype"], tuple(feature["shape"])) == ("bool", (1,))
    flags = np.array(loaded.hf_dataset[INTERVENTION]).astype(bool).reshape(-1)
    assert flags.sum() == pytest.approx(corrected_s * RATE_HZ, abs=2 * CORRECTIONS)
    assert np.diff(flags.astype(int)).clip(0).sum() == CORRECTIONS
    assert not flags[: round(0.3 * RATE_HZ)].any(), "nothing is there from before the takeover"
    success = np.array(loaded.hf_dataset[SUCCESS]).astype(bool).reshape(-1)
    assert success.tolist() == [False] * (len(success) - 1) + [True]
    steps = np.diff(np.array(loaded.hf_dataset["timestamp"]).reshape(-1))
    np.testing.assert_allclose(steps, 1.0 / RATE_HZ, atol=1e-4)
