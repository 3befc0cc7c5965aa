# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a node recorded while an arm reached gives the same commands when it is replayed."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.demos.arm_operator import ArmOperator
from examples.demos.runner import Processes
from policy_core.interfaces import Mode
from testkit.recordings import recorded_runs, whole_recordings
from testkit.replays import replayed_from_states

pytestmark = pytest.mark.ros

_EPISODE_S = 120.0


@pytest.mark.acceptance
@pytest.mark.parametrize(
    ("mode", "lockstep", "states"),
    [
        ("asynchronous", True, "some"),
        ("synchronous", True, "each"),
        pytest.param(
            "asynchronous", False, "each", marks=[pytest.mark.acceptance, pytest.mark.real_time]
        ),
    ],
)
def test_an_episode_of_an_arm_is_replayed(
    tmp_path: Path, mode: str, lockstep: bool, states: str
) -> None:
    before = whole_recordings()
    with Processes() as nodes:
        nodes.start("arm_sim_node", {"lockstep": lockstep}, tmp_path / "arm.log")
        nodes.start(
            "act_policy_node",
            {
                "bundle": "so101_reach",
                "mode": mode,
                "use_sim_time": lockstep,
                "simulated_latency_s": 0.08,
            },
            tmp_path / "policy.log",
        )
        with ArmOperator(use_sim_time=lockstep, watch=nodes.check) as operator:
            operator.wait_for_robot()
            operator.record_run(on=True)
            operator.run_episode(_EPISODE_S)
            operator.record_run(on=False)
            operator.wait_until(lambda: bool(recorded_runs(before)), "a recording", 10.0)
    (path,) = recorded_runs(before)
    found = replayed_from_states(path, states)
    stages = found.replayer.stages
    assert stages["target"].judged == (found.flight.mode == Mode.RUN).sum() > 30
    assert stages["inputs"].judged > 0
