# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command `model_tools calibrate --live` writes the rows that a recording of the same gives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from model_tools import cli

from ..small_bag import every, joint_states, write_bag
from ..tiny_bundle import make_bundle

PLAYER = Path(__file__).with_name("player.py")


@pytest.mark.ros
@pytest.mark.acceptance  # 14 s; `test_live` shows in less what `LiveSource` gives
def test_what_is_played_gives_the_rows_of_the_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_bundle(Path("tiny"))
    bag = write_bag(tmp_path / "bag", joint_states(every(20, 1000, 3000)))
    args = ["calibrate", "--bundle", "tiny", "--samples", "all", "--allow-poor", "--output"]
    assert cli.main([*args, "bag.npz", "--bag", str(bag)]) == 0

    player = subprocess.Popen([sys.executable, str(PLAYER), str(bag), "--rate", "4"])
    try:
        # A process of its own, which can be given up where nothing is heard.
        live = [sys.executable, "-m", "model_tools", *args, "live.npz", "--live"]
        subprocess.run(live, check=True, timeout=120)
    finally:
        assert player.wait(30) == 0

    with np.load("bag.npz") as recorded, np.load("live.npz") as live:
        assert len(recorded["obs"]) > 90
        for name in ("obs", "actions", "joint_pos", "time", "episode"):
            np.testing.assert_allclose(live[name], recorded[name], rtol=0.0, atol=1e-6)
