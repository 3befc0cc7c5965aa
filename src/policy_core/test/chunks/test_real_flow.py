# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Flow steps and real-time chunking against what LeRobot computed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from policy_core.interfaces import F64, Tensor
from policy_core.members.chunk.denoising import FlowMethod
from policy_core.members.chunk.real_time import PrefixGuidance, guidance_weight, prefix_weights

pytestmark = pytest.mark.real_data
SCHEDULES = ("ZEROS", "ONES", "LINEAR", "EXP")


@pytest.fixture(scope="module")
def flow_folder(shared_data: Path) -> Path:
    return shared_data / "flow"


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("rows", [8, 16])
def test_prefix_weights_are_lerobots_for_each_delay_and_horizon(
    flow_folder: Path, schedule: str, rows: int
) -> None:
    table = np.load(flow_folder / "rtc.npz")[f"weights/{schedule}/{rows}"]
    for delay, horizon in np.ndindex(table.shape[:2]):
        found = prefix_weights(schedule.lower(), delay, horizon, rows)  # type: ignore[arg-type]  # one of them
        np.testing.assert_allclose(found, table[delay, horizon], rtol=0.0, atol=3e-7)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_guided_velocities_are_lerobots(flow_folder: Path, schedule: str) -> None:
    data = np.load(flow_folder / "rtc.npz")
    compared = 0
    for number, case in enumerate(json.loads(str(data["cases"]))):
        head, planned = f"case{number}/{schedule}", data[f"case{number}/prev"]
        planned = planned.reshape(-1, *planned.shape[-2:])
        for step, time in enumerate(data[f"case{number}/time"]):
            x, velocity, wanted = (
                data[f"{head}/{key}"][step].reshape(-1, case["T"], case["A"])
                for key in ("x_t", "v_t", "out")
            )
            for one in range(len(x)):
                guide = PrefixGuidance(
                    padded(planned[min(one, len(planned) - 1)], case["A"]),
                    case["delay"],
                    case["T"],
                    schedule=schedule.lower(),  # type: ignore[arg-type]  # one of them
                    horizon=case["horizon"],
                    largest_weight=case["max_guidance_weight"],
                )
                found = guide(x[one], velocity[one], float(time))
                np.testing.assert_allclose(
                    found, wanted[one], rtol=0.0, atol=1e-6 * np.abs(wanted).max()
                )
                compared += 1
    assert compared >= 50


def padded(planned: Tensor, columns: int) -> F64:
    """Return planned steps with columns of zeros, as LeRobot adds them to narrower ones."""
    wide = np.zeros((len(planned), columns))
    wide[:, : planned.shape[1]] = planned
    return wide


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("folder", "field"), [("flow_head", "chunk_norm"), ("tiny_smolvla", "actions_padded")]
)
def test_eulers_steps_are_lerobots(flow_folder: Path, folder: str, field: str, seed: int) -> None:
    golden, method = np.load(flow_folder / folder / "golden.npz"), FlowMethod(10)
    x_t, v_t = golden[f"s{seed}/x_t"], golden[f"s{seed}/v_t"]
    wanted = [*x_t[1:], golden[f"s{seed}/{field}"]]
    for step in range(10):
        found = method.advance(step, x_t[step], v_t[step].reshape(x_t[step].shape), None)
        np.testing.assert_allclose(found, wanted[step], rtol=0.0, atol=1e-6)


def test_the_weight_of_the_correction_is_lerobots() -> None:
    times = [1.0 - step / 10 for step in range(10)]
    found = [float(guidance_weight(time, 10.0)) for time in times]
    np.testing.assert_allclose(
        found, [10, 9.11, 4.25, 2.76, 2.17, 2, 2.17, 2.76, 4.25, 9.11], atol=5e-3
    )
