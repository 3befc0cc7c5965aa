# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A shadow sees what an arm's cameras see; `replay` computes its answers again, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_tools.prove.replaying.recording import FlightRecording
from model_tools.prove.replaying.shadowing import shadow_flight
from policy_inference.bundle.bundle import ChunkBundle
from policy_inference.bundle.load import bundle_folder, load_bundle
from policy_inference.interfaces import ShadowMode
from robot_sim.demo.processes import Processes
from robot_sim.nodes.arm_operator import ArmOperator
from testkit.recordings import recorded_runs, whole_recordings

from .reach_bundle import write_reach

pytestmark = pytest.mark.ros
_EPISODE_S = 120.0
_SHADOW = "so101_reach"


@pytest.mark.slow
@pytest.mark.parametrize("mode", ShadowMode)
def test_answers_in_a_recording_are_computed_again(tmp_path: Path, mode: ShadowMode) -> None:
    before = whole_recordings()
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
            operator.wait_until(lambda: bool(recorded_runs(before)), "a recording", 10.0)
            assert operator.status.shadow[0].bundle_name == _SHADOW
    (path,) = recorded_runs(before)
    recording = FlightRecording(path)
    shadow = load_bundle(bundle_folder(_SHADOW), kind=ChunkBundle)

    found = shadow_flight(recording, shadow, [], {}, mode)

    # The last ticks may be without an answer: the shadow was behind when the recording ended.
    recorded = sorted(recording.shadow_answers(), key=lambda answer: answer.tick)
    assert all(answer.tick in found.answers for answer in recorded)
    for answer in recorded:
        again = found.answers[answer.tick]
        assert (again.outcome, again.rules, again.beyond_limits) == (
            answer.outcome,
            answer.rules,
            answer.beyond_limits,
        )
        if answer.target is not None:
            np.testing.assert_array_equal(again.target, answer.target)
            np.testing.assert_array_equal(again.active_target, answer.active_target)
    assert sum(answer.target is not None for answer in recorded) > 0
    assert 0.01 < found.divergence.max.max() < 3.0
