# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The bundle of a SmolVLA policy against what LeRobot answered for the same noise."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from model_tools.make.act.act_contract import ActRequest
from model_tools.make.act.act_export import export_checkpoint
from model_tools.make.act.smolvla_config import LANGUAGE_MODEL, Language, read_smolvla_config
from model_tools.make.act.smolvla_graphs import KEYS, VALUES
from policy_inference.backends.registry import open_models
from policy_inference.bundle.bundle import ChunkBundle
from policy_inference.bundle.load import load_bundle
from policy_inference.core.chunks.graphs import ChunkGraphs, ChunkObservation
from policy_inference.core.chunks.real_time import PrefixGuidance, PrefixSchedule
from policy_inference.interfaces import Backend

from . import words
from .test_real_checkpoints import _module

pytestmark = pytest.mark.real_data
LANGUAGE = Language(prompt="reach the bright square", patch_positions="repeated")
NORMALISED, JOINT_UNITS = 1e-4, 1e-3


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    return shared_data / "flow" / "tiny_smolvla"


@pytest.fixture(scope="module")
def inputs(folder: Path) -> ModuleType:
    return _module(folder.parent / "inputs.py")


@pytest.fixture(scope="module")
def golden(folder: Path) -> Mapping[str, Any]:
    return dict(np.load(folder / "golden.npz"))


@pytest.fixture(scope="module", autouse=True)
def tokenizers() -> Iterator[None]:
    """Need no package that only makes tokens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "tokenizers", words)
        yield


@pytest.fixture(scope="module", params=[11, 19])
def bundle(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> ChunkBundle:
    output = tmp_path_factory.mktemp("smolvla") / "bundle"
    export_checkpoint(
        ActRequest(
            checkpoint=folder,
            output=output,
            robot="so101",
            units="degrees",
            rate_hz=30.0,
            name="tiny",
            opset=request.param,
            language=LANGUAGE,
        )
    )
    return load_bundle(output, kind=ChunkBundle)


@pytest.fixture
def models(bundle: ChunkBundle) -> Iterator[Mapping[str, Backend]]:
    with open_models(bundle.models, ["onnx"]) as opened:
        yield opened


def observation_of(
    inputs: ModuleType, bundle: ChunkBundle, seed: int, step: int
) -> ChunkObservation:
    return ChunkObservation(
        images={
            name: inputs.image(k, seed, step, camera.height, camera.width)
            for k, (name, camera) in enumerate(bundle.contract.cameras.items())
        },
        state=inputs.state(seed, step).astype(np.float64),
    )


def test_the_prompt_has_lerobots_tokens(folder: Path, golden: Mapping[str, Any]) -> None:
    tokens = golden["s0/tokens"][golden["s0/token_mask"]]
    np.testing.assert_array_equal(read_smolvla_config(folder, LANGUAGE).tokens, tokens)


@pytest.mark.parametrize("seed", [0, 1])
def test_prefix_steps_and_chunk_are_lerobots(
    bundle: ChunkBundle,
    models: Mapping[str, Backend],
    inputs: ModuleType,
    golden: Mapping[str, Any],
    seed: int,
) -> None:
    graphs, head = ChunkGraphs(bundle.contract, models), f"s{seed}"
    chunk = graphs.run(observation_of(inputs, bundle, seed, 0), golden[f"{head}/noise"])

    language = models[f"graphs.{LANGUAGE_MODEL}"]
    features = [language.inputs[camera.tensor][0] for camera in bundle.contract.cameras.values()]
    embedded = golden[f"{head}/prefix_embs"][0]
    np.testing.assert_allclose(np.concatenate(features), embedded[:8], rtol=0, atol=NORMALISED)
    seen = golden[f"{head}/prefix_pad_mask"][0]
    for name in (KEYS, VALUES):
        wanted = golden[f"{head}/cache_{name}"][:, seen].transpose(0, 2, 1, 3)
        found = language.outputs[name].reshape(wanted.shape)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=NORMALISED)
    assert graphs.denoiser is not None
    np.testing.assert_allclose(
        graphs.denoiser.path[:-1], golden[f"{head}/x_t"][1:], rtol=0, atol=NORMALISED
    )
    np.testing.assert_allclose(
        graphs.denoiser.path[-1], golden[f"{head}/actions_padded"], rtol=0, atol=NORMALISED
    )
    np.testing.assert_allclose(
        graphs.normalised, golden[f"{head}/chunk_norm"], rtol=0, atol=NORMALISED
    )
    np.testing.assert_allclose(chunk, golden[f"{head}/chunk"], rtol=0, atol=JOINT_UNITS)


@pytest.mark.parametrize("schedule", ["linear", "exp", None])
@pytest.mark.parametrize("seed", [0, 1])
def test_chunks_that_continue_another_are_lerobots(
    bundle: ChunkBundle,
    models: Mapping[str, Backend],
    inputs: ModuleType,
    golden: Mapping[str, Any],
    schedule: PrefixSchedule | None,
    seed: int,
) -> None:
    graphs, head = ChunkGraphs(bundle.contract, models), f"s{seed}/rtc"
    guide = None
    if schedule is not None:
        planned = golden[f"{head}/prev"].astype(np.float64)
        more = bundle.contract.columns - planned.shape[1]
        guide = PrefixGuidance(
            np.pad(planned, ((0, 0), (0, more))),
            3,
            bundle.contract.rows,
            schedule=schedule,
            horizon=8,
            largest_weight=10.0,
        )
    graphs.run(observation_of(inputs, bundle, seed, 4), golden[f"{head}/noise"], guide)

    wanted = golden[f"{head}/{schedule.upper() if schedule else 'unguided'}"]
    np.testing.assert_allclose(graphs.normalised, wanted, rtol=0, atol=NORMALISED)


def test_a_chain_of_chunks_is_lerobots(
    bundle: ChunkBundle,
    models: Mapping[str, Backend],
    inputs: ModuleType,
    golden: Mapping[str, Any],
) -> None:
    graphs, contract = ChunkGraphs(bundle.contract, models), bundle.contract
    actions = list[Any]()
    for step in golden["inference_steps"].tolist():
        noise = inputs.noise(80000 + step, (1, contract.rows, contract.columns))
        chunk = graphs.run(observation_of(inputs, bundle, 7, step), noise)
        actions.append(chunk[: contract.chunk.steps])
    wanted = golden["select_action"]
    found = np.concatenate(actions)[: len(wanted)]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=JOINT_UNITS)
