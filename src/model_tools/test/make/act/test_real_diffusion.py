# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Bundles of Diffusion Policies against what LeRobot answered for the same noise."""

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import ChunkContract
from policy_core.interfaces import F32, Backend, Tensor
from policy_core.members.chunk.graphs import ChunkGraphs, ChunkObservation
from policy_inference.backends.registry import open_models

from .exports import exported
from .test_real_checkpoints import _module

pytestmark = [pytest.mark.real_data, pytest.mark.slow]
NORMALISED, JOINT_UNITS = 2e-5, 1e-3
"""The issue asks for 1e-4 of normalised values; a unit of a joint is a degree or a percent."""
VARIANTS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "state_only": {
        "ddpm20": {},
        "ddim20": {"method": "ddim"},
        "ddim7": {"method": "ddim", "steps": 7},
    },
    "two_cameras": {
        "ddpm10": {},
        "ddpm100": {"steps": 100},
        "ddim10": {"method": "ddim"},
        "ddim16": {"method": "ddim", "steps": 16},
        "ddim10_unclipped": {"method": "ddim", "clip": None},
    },
    "resized": {"ddim8": {}, "ddpm8": {"method": "ddpm"}},
}


@pytest.fixture(scope="module")
def flow(shared_data: Path) -> Path:
    return shared_data / "flow"


@pytest.fixture(scope="module")
def flow_inputs(flow: Path) -> ModuleType:
    module = _module(flow / "inputs.py")
    sys.modules["inputs"] = module  # as weights.py imports it
    return module


@pytest.fixture(scope="module")
def bundles(
    flow: Path, flow_inputs: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, ChunkBundle]:
    safetensors = pytest.importorskip("safetensors.numpy")
    weights, found = _module(flow / "weights.py"), dict[str, ChunkBundle]()
    for name in VARIANTS:
        folder = tmp_path_factory.mktemp(name)
        checkpoint = folder / "checkpoint"
        checkpoint.mkdir()
        for file in (flow / name).iterdir():
            (checkpoint / file.name).write_bytes(file.read_bytes())
        if not (checkpoint / "model.safetensors").exists():
            tensors = weights.assemble(flow / name)
            safetensors.save_file(tensors, checkpoint / "model.safetensors")
        found[name] = exported(checkpoint, name=name, opset=11 if name == "two_cameras" else 17)
    return found


class Watched:
    """A back end that keeps what the denoising step was given."""

    def __init__(self, backend: Backend, tensor: str) -> None:
        self.name, self.details = backend.name, backend.details
        self.inputs, self.outputs = backend.inputs, backend.outputs
        self._backend, self._tensor = backend, tensor
        self.given = list[Tensor]()

    def run(self) -> None:
        self.given.append(self.inputs[self._tensor][0].copy())
        self._backend.run()

    def close(self) -> None:
        self._backend.close()


def varied(contract: ChunkContract, change: Mapping[str, Any]) -> ChunkContract:
    """Return the contract of the same weights under another sampler."""
    denoising = contract.denoising
    assert denoising is not None
    schedule = denoising.schedule
    assert schedule is not None
    kept = {key: value for key, value in change.items() if key != "clip"}
    if "clip" in change:
        schedule = dataclasses.replace(schedule, clip=change["clip"])
    return dataclasses.replace(
        contract, denoising=dataclasses.replace(denoising, schedule=schedule, **kept)
    )


def diffusion_observation(
    flow_inputs: ModuleType, contract: ChunkContract, seed: int
) -> ChunkObservation:
    """Return the observations of the first steps of a sequence."""
    seen = [
        ChunkObservation(
            images={
                name: flow_inputs.image(k, seed, step, camera.height, camera.width)
                for k, (name, camera) in enumerate(contract.cameras.items())
            },
            state=flow_inputs.state(seed, step).astype(np.float64),
            environment=flow_inputs.target(seed, step) if contract.environment_state else None,
        )
        for step in range(contract.observation_steps)
    ]
    return dataclasses.replace(seen[-1], earlier=seen[:-1])


def noise_of(golden: Mapping[str, Tensor], head: str) -> F32:
    """Return all noise of a chunk [draws, rows, actions]."""
    first, more = golden[f"{head}/noise"], golden[f"{head}/step_noise"]
    draws = [first, *([more.reshape(-1, *first.shape[1:])] if more.size else [])]
    return np.concatenate(draws).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "variant"), [(name, each) for name, all_of in VARIANTS.items() for each in all_of]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_each_step_and_the_chunk_are_lerobots_for_the_same_noise(
    flow: Path,
    flow_inputs: ModuleType,
    bundles: Mapping[str, ChunkBundle],
    name: str,
    variant: str,
    seed: int,
) -> None:
    golden, head = np.load(flow / name / "golden.npz"), f"{variant}/s{seed}"
    contract = varied(bundles[name].contract, VARIANTS[name][variant])
    denoising = contract.denoising
    assert denoising is not None
    with open_models(bundles[name].models, ["onnx"]) as models:
        key = f"graphs.{contract.policy_graph}"
        step = Watched(models[key], denoising.tensor)
        graphs = ChunkGraphs(contract, {**models, key: step})
        chunk = graphs.run(
            diffusion_observation(flow_inputs, contract, seed), noise_of(golden, head)
        )

    steps = contract.chunk.steps
    unclipped = 20.0 if "unclipped" in variant else 1.0
    for row, number in enumerate(golden[f"{head}/kept"]):
        np.testing.assert_allclose(
            step.given[number],
            golden[f"{head}/x_t"][row].reshape(step.given[number].shape),
            rtol=0.0,
            atol=unclipped * NORMALISED,
        )
    np.testing.assert_allclose(
        graphs.normalised[:steps], golden[f"{head}/chunk_norm"], rtol=0, atol=unclipped * NORMALISED
    )
    np.testing.assert_allclose(
        chunk[:steps], golden[f"{head}/chunk"], rtol=0, atol=unclipped * JOINT_UNITS
    )
