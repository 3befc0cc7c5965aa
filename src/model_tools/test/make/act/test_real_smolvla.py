# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The bundle of a SmolVLA policy against what LeRobot answered for the same noise."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from model_tools.make.act.checkpoint import read_checkpoint
from model_tools.make.act.smolvla_config import LANGUAGE_MODEL, Language, SmolvlaConfig
from model_tools.make.act.smolvla_graphs import KEYS, VALUES
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.interfaces import Backend
from policy_core.members.chunk.graphs import ChunkGraphs, ChunkObservation
from policy_inference.backends.registry import open_models

from .exports import exported
from .test_real_checkpoints import _module

pytestmark = pytest.mark.real_data
LANGUAGE = Language(prompt="reach the bright square", patch_positions="repeated")
NORMALISED, JOINT_UNITS = 1e-4, 1e-3


@pytest.fixture(scope="module")
def smolvla_folder(shared_data: Path) -> Path:
    return shared_data / "flow" / "tiny_smolvla"


@pytest.fixture(scope="module")
def smolvla_inputs(smolvla_folder: Path) -> ModuleType:
    return _module(smolvla_folder.parent / "inputs.py")


@pytest.fixture(scope="module")
def smolvla_golden(smolvla_folder: Path) -> Mapping[str, Any]:
    return dict(np.load(smolvla_folder / "golden.npz"))


@pytest.fixture(scope="module", params=[11, 19])
def smolvla_bundle(
    smolvla_folder: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> ChunkBundle:
    output = tmp_path_factory.mktemp("smolvla") / "bundle"
    return exported(smolvla_folder, output=output, opset=request.param, language=LANGUAGE)


@pytest.fixture
def models(smolvla_bundle: ChunkBundle) -> Iterator[Mapping[str, Backend]]:
    with open_models(smolvla_bundle.models, ["onnx"]) as opened:
        yield opened


def smolvla_observation(
    smolvla_inputs: ModuleType, smolvla_bundle: ChunkBundle, seed: int, step: int
) -> ChunkObservation:
    return ChunkObservation(
        images={
            name: smolvla_inputs.image(k, seed, step, camera.height, camera.width)
            for k, (name, camera) in enumerate(smolvla_bundle.contract.cameras.items())
        },
        state=smolvla_inputs.state(seed, step).astype(np.float64),
    )


def test_the_prompt_has_lerobots_tokens(
    smolvla_folder: Path, smolvla_golden: Mapping[str, Any]
) -> None:
    tokens = smolvla_golden["s0/tokens"][smolvla_golden["s0/token_mask"]]
    config = read_checkpoint(smolvla_folder, LANGUAGE).config
    assert isinstance(config, SmolvlaConfig)
    np.testing.assert_array_equal(config.tokens, tokens)


@pytest.mark.parametrize("seed", [0, 1])
def test_prefix_steps_and_chunk_are_lerobots(
    smolvla_bundle: ChunkBundle,
    models: Mapping[str, Backend],
    smolvla_inputs: ModuleType,
    smolvla_golden: Mapping[str, Any],
    seed: int,
) -> None:
    graphs, head = ChunkGraphs(smolvla_bundle.contract, models), f"s{seed}"
    chunk = graphs.run(
        smolvla_observation(smolvla_inputs, smolvla_bundle, seed, 0),
        smolvla_golden[f"{head}/noise"],
    )

    language = models[f"graphs.{LANGUAGE_MODEL}"]
    features = [
        language.inputs[camera.tensor][0] for camera in smolvla_bundle.contract.cameras.values()
    ]
    embedded = smolvla_golden[f"{head}/prefix_embs"][0]
    np.testing.assert_allclose(np.concatenate(features), embedded[:8], rtol=0, atol=NORMALISED)
    seen = smolvla_golden[f"{head}/prefix_pad_mask"][0]
    for name in (KEYS, VALUES):
        wanted = smolvla_golden[f"{head}/cache_{name}"][:, seen].transpose(0, 2, 1, 3)
        found = language.outputs[name].reshape(wanted.shape)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=NORMALISED)
    assert graphs.denoiser is not None
    np.testing.assert_allclose(
        graphs.denoiser.path[:-1], smolvla_golden[f"{head}/x_t"][1:], rtol=0, atol=NORMALISED
    )
    np.testing.assert_allclose(
        graphs.denoiser.path[-1], smolvla_golden[f"{head}/actions_padded"], rtol=0, atol=NORMALISED
    )
    np.testing.assert_allclose(
        graphs.normalised, smolvla_golden[f"{head}/chunk_norm"], rtol=0, atol=NORMALISED
    )
    np.testing.assert_allclose(chunk, smolvla_golden[f"{head}/chunk"], rtol=0, atol=JOINT_UNITS)
