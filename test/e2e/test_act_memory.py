# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""An arm under a chunk policy for half an hour of simulated time: the node does not grow."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.demos.arm_operator import ArmOperator
from examples.demos.runner import Processes

pytestmark = [pytest.mark.ros, pytest.mark.acceptance]

_MINUTE = 60 * 30
"""Ticks."""
_SETTLED, _END = 5 * _MINUTE, 30 * _MINUTE
_GROWTH_MB = 5.0
_WITHIN_S = 1800.0


def resident_mb(pid: int) -> float:
    """Return what a process holds in memory."""
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024.0


def wait_for_tick(operator: ArmOperator, tick: int) -> None:
    operator.wait_until(lambda: operator.status.ticks >= tick, f"tick {tick}", _WITHIN_S)


def test_memory_is_steady_over_half_an_hour(tmp_path: Path) -> None:
    with Processes() as nodes:
        nodes.start("arm_sim_node", {"lockstep": True, "compressed": True}, tmp_path / "arm.log")
        policy = nodes.start(
            "act_policy_node",
            {
                "bundle": "so101_reach",
                "mode": "asynchronous",
                "image_transport": "compressed",
                "use_sim_time": True,
            },
            tmp_path / "policy.log",
        )
        with ArmOperator(use_sim_time=True, watch=nodes.check) as operator:
            operator.wait_for_robot()
            operator.stand_up()
            measured_mb = []
            for ticks in (_SETTLED, _END):
                wait_for_tick(operator, ticks)
                measured_mb.append(resident_mb(policy.pid))
            mode, chunks = operator.mode, operator.chunks

    assert mode == "RUN"
    assert chunks > _END / 90
    assert measured_mb[1] - measured_mb[0] < _GROWTH_MB, f"after 5 and 30 minutes: {measured_mb}"
