# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Flow steps and real-time chunking against what LeRobot computed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy_inference.bundle.chunk_contract import StepTime
from policy_inference.core.chunks.denoising import FlowMethod, embedded
from policy_inference.core.chunks.real_time import PrefixGuidance, guidance_weight, prefix_weights
from policy_inference.interfaces import F32, F64, Tensor

pytestmark = pytest.mark.real_data
SCHEDULES = ("ZEROS", "ONES", "LINEAR", "EXP")
TIME = StepTime(
    tensor="time", size=64, first_frequency=2 * np.pi / 0.004, last_frequency=2 * np.pi / 4.0
)


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


class FlowHead:
    """The network of the recordings in numpy; its formula is in their README."""

    def __init__(self, folder: Path) -> None:
        load = pytest.importorskip("safetensors.numpy").load_file
        self._w: Mapping[str, F32] = load(folder / "model.safetensors")
        self.statistics: Mapping[str, Any] = json.loads((folder / "config.json").read_text())[
            "statistics"
        ]

    def encode(self, condition: F32) -> F32:
        return self._linear("encoder_out", _silu(self._linear("encoder_in", condition)))

    def velocity(self, x: F32, time: float, encoded: F32) -> F32:
        u = _silu(self._linear("time_in", embedded(TIME, (time,))[0]) + encoded)
        h = self._linear("action_in", x) + self._w["position"]
        for block in range(3):
            a, b, c, d = np.split(self._linear(f"modulate.{block}", u), 4)
            y = (_normed(h) * (1 + a) + b).T
            mixed = _silu(self._linear(f"mix_in.{block}", y))
            h = h + self._linear(f"mix_out.{block}", mixed).T
            y = _normed(h) * (1 + c) + d
            hidden = _silu(self._linear(f"mlp_in.{block}", y))
            h = h + self._linear(f"mlp_out.{block}", hidden)
        return self._linear("action_out", _normed(h))

    def _linear(self, name: str, x: F32) -> F32:
        found: F32 = x @ self._w[f"{name}.weight"].T + self._w[f"{name}.bias"]
        return found


def _silu(x: F32) -> F32:
    found: F32 = x / (1 + np.exp(-x))
    return found


def _normed(x: F32) -> F32:
    found: F32 = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return found


def sampled_chunk(
    head: FlowHead, encoded: F32, noise: F32, guide: PrefixGuidance | None = None
) -> tuple[F32, list[F32]]:
    """Return a normalised chunk, and x before each step."""
    method, x, trail = FlowMethod(10), noise[0], []
    for step, time in enumerate(method.times):
        trail.append(x)
        velocity = head.velocity(x, time, encoded)
        x = method.advance(step, x, guide(x, velocity, time) if guide else velocity, None)
    return x, trail


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_step_of_a_flow_and_its_chunk_are_those_of_the_training(
    flow_folder: Path, seed: int
) -> None:
    golden, head = (
        np.load(flow_folder / "flow_head" / "golden.npz"),
        FlowHead(flow_folder / "flow_head"),
    )
    encoded = head.encode(golden[f"s{seed}/condition"])

    chunk, trail = sampled_chunk(head, encoded, golden[f"s{seed}/noise"])

    np.testing.assert_allclose(trail, golden[f"s{seed}/x_t"], rtol=0.0, atol=1e-4)
    np.testing.assert_allclose(chunk, golden[f"s{seed}/chunk_norm"], rtol=0.0, atol=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("folder", ["flow_head", "tiny_smolvla"])
def test_eulers_steps_are_lerobots(flow_folder: Path, folder: str, seed: int) -> None:
    golden, method = np.load(flow_folder / folder / "golden.npz"), FlowMethod(10)
    x_t, v_t = golden[f"s{seed}/x_t"], golden[f"s{seed}/v_t"]
    field = "chunk_norm" if folder == "flow_head" else "actions_padded"
    wanted = [*x_t[1:], golden[f"s{seed}/{field}"]]
    for step in range(10):
        found = method.advance(step, x_t[step], v_t[step].reshape(x_t[step].shape), None)
        np.testing.assert_allclose(found, wanted[step], rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("kind", ["none", *SCHEDULES])
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_a_chain_of_chunks_is_lerobots(flow_folder: Path, kind: str, seed: int) -> None:
    golden, head = (
        np.load(flow_folder / "flow_head" / "golden.npz"),
        FlowHead(flow_folder / "flow_head"),
    )
    wanted = golden[f"chain/{kind}/s{seed}/chunks"]
    actions, delay, every = golden[f"chain/{kind}/s{seed}/actions"], 3, 8
    mean, std = (np.array(head.statistics["action"][key]) for key in ("mean", "std"))
    from_state = head.statistics["state"]
    condition = _first_condition(flow_folder, seed, from_state)
    noise_of = _inputs(flow_folder).noise
    left: F32 | None = None
    for number in range(6):
        noise = noise_of(7000 + 100 * seed + number, (1, 32, 6))
        guide = None
        if left is not None and kind != "none":
            guide = PrefixGuidance(
                left.astype(np.float64),
                delay,
                32,
                schedule=kind.lower(),  # type: ignore[arg-type]  # one of them
                horizon=24,
                largest_weight=10.0,
            )
        chunk, _ = sampled_chunk(head, head.encode(condition), noise, guide)
        np.testing.assert_allclose(chunk, wanted[number], rtol=0.0, atol=1e-4)
        done = np.concatenate([chunk[:delay] if left is None else left[:delay], chunk[delay:every]])
        np.testing.assert_allclose(
            done * std + mean, actions[number * every : (number + 1) * every], rtol=0.0, atol=2e-3
        )
        joints = (done * std + mean)[-1]
        state = (joints - np.array(from_state["mean"])) / (np.array(from_state["std"]) + 1e-8)
        condition = np.concatenate([state, condition[6:]]).astype(np.float32)
        left = chunk[every:]


def _inputs(flow: Path) -> Any:
    import importlib.util

    spec = importlib.util.spec_from_file_location("flow_inputs", flow / "inputs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _first_condition(flow: Path, seed: int, statistics: Mapping[str, Any]) -> F32:
    inputs = _inputs(flow)
    mean, std = (np.array(statistics[key]) for key in ("mean", "std"))
    joints = (inputs.state(seed) - mean) / (std + 1e-8)
    return np.concatenate([joints, inputs.target(seed)]).astype(np.float32)


def test_the_weight_of_the_correction_is_lerobots() -> None:
    times = [1.0 - step / 10 for step in range(10)]
    found = [float(guidance_weight(time, 10.0)) for time in times]
    np.testing.assert_allclose(
        found, [10, 9.11, 4.25, 2.76, 2.17, 2, 2.17, 2.76, 4.25, 9.11], atol=5e-3
    )
