# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A shadow sees what an arm's cameras see; `replay` computes its figures again, bit for bit."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from model_tools.prove.replaying.recording import FlightRecording
from model_tools.prove.replaying.shadowing import recorded_divergence, shadow_flight
from policy_inference.bundle.bundle import ChunkBundle
from policy_inference.bundle.load import bundle_folder, load_bundle
from policy_inference.interfaces import ShadowMode
from robot_sim.demo.processes import Processes
from robot_sim.nodes.arm_operator import ArmOperator

from .reach_bundle import write_reach

pytestmark = pytest.mark.ros
_EPISODE_S = 120.0
_SHADOW = "so101_reach"


def recordings() -> set[Path]:
    """Return what is there and whole."""
    folder = Path(os.environ["ROS_HOME"], "flights")
    return {path for path in folder.glob("*") if not path.name.startswith(".")}


@pytest.mark.parametrize(
    "mode", [ShadowMode.FOLLOWED, pytest.param(ShadowMode.FREE, marks=pytest.mark.slow)]
)
def test_figures_of_the_node_are_those_of_the_replayed_recording(
    tmp_path: Path, mode: ShadowMode
) -> None:
    before = recordings()
    with Processes() as nodes:
        nodes.start("arm_sim_node", {"lockstep": True}, tmp_path / "arm.log")
        nodes.start(
            "act_policy_node",
            {
                "bundle": str(write_reach(tmp_path / "red")),
                "n_action_steps": 30,
                "realign": True,
                "use_sim_time": True,
                "simulated_latency_s": 0.08,
                "shadow_bundle": _SHADOW,
                "shadow_mode": mode.value,
            },
            tmp_path / "policy.log",
        )
        with ArmOperator(use_sim_time=True, watch=nodes.check) as operator:
            operator.wait_for_robot()
            operator.record_run(on=True)
            operator.run_episode(_EPISODE_S)
            operator.record_run(on=False)
            operator.wait_until(lambda: bool(recordings() - before), "a recording", 10.0)
            counted = operator.status.shadow[0]
    (path,) = recordings() - before
    recording = FlightRecording(path)
    shadow = load_bundle(bundle_folder(_SHADOW), kind=ChunkBundle)

    found = shadow_flight(recording, shadow, [], {}, mode).divergence

    assert counted.bundle_sha256 == shadow.sha256
    recorded = recorded_divergence(recording)
    assert recorded is not None
    assert recorded.compared > 0
    assert found.counts == recorded.counts
    assert found.rules == recorded.rules
    for name in ("mean", "rms", "max"):
        np.testing.assert_array_equal(getattr(found, name), getattr(recorded, name))
    assert 0.01 < found.max.max() < 3.0
