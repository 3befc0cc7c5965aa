# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Exported and shipped policies hold an arm whose camera has frozen."""

from __future__ import annotations

from pathlib import Path

import pytest

from policy_inference.bundle.bundle import ChunkBundle
from policy_inference.bundle.load import load_bundle

from .small_checkpoints import config_of, write_checkpoint
from .test_act_export import exported

BUNDLES = Path(__file__).resolve().parents[5] / "config" / "bundles"


def frozen_after_s(bundle: ChunkBundle) -> dict[str, float | None]:
    return {name: camera.camera_frozen_s for name, camera in bundle.contract.cameras.items()}


def test_an_exported_policy_states_when_a_camera_is_frozen(tmp_path: Path) -> None:
    bundle, _ = exported(write_checkpoint(tmp_path / "checkpoint", config_of()))
    assert frozen_after_s(bundle) == {"front": 0.5, "wrist": 0.5}


@pytest.mark.parametrize("name", ["so101_reach", "so101_reach_diffusion", "so101_reach_flow"])
def test_so_do_the_policies_of_the_suite(name: str) -> None:
    bundle = load_bundle(BUNDLES / name, kind=ChunkBundle)
    assert frozen_after_s(bundle) == {"front": 0.5, "wrist": 0.5}
