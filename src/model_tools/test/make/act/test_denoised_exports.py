# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Diffusion Policies, flows and SmolVLA from their checkpoints: what their bundles answer."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file

from model_tools.errors import ToolError
from model_tools.files.arrays import read_tensors
from model_tools.make.act.checkpoint import read_checkpoint
from model_tools.make.act.smolvla_config import LANGUAGE_MODEL, Language, SmolvlaConfig
from model_tools.make.act.smolvla_graphs import KEYS
from model_tools.make.act.unet_graphs import ENCODER, STEP
from model_tools.ship.model_repository import write_repository
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.interfaces import F64
from policy_core.members.chunk.normalise import VectorNormaliser
from policy_inference.comparison.chunks import NORMALISED_CHUNK, PATH
from testkit.wording import refusal

from . import words
from .conftest import CopyCheckpoint
from .exports import (
    LANGUAGE,
    PROMPT,
    VLM,
    exported,
    played_rows,
    smolvla_config,
    written_checkpoint_of,
)
from .plain_smolvla import PlainSmolvla

FLOW = {"objective": "flow_matching", "n_obs_steps": 1}
OLD_SCHEDULER = {"noise_scheduler_type": "DDPM", "use_film_scale_modulation": False}
SAMPLED = {"down_dims": [8, 8, 16], "prediction_type": "sample", "clip_sample": False}
SELF_ATTENTION = {"attention_mode": "self_attn"}


@pytest.fixture
def smolvla_checkpoint(checkpoint_like: CopyCheckpoint) -> Path:
    return checkpoint_like("smolvla")


@pytest.fixture(scope="module")
def smolvla_made(tmp_path_factory: pytest.TempPathFactory) -> ChunkBundle:
    """The bundle of a SmolVLA policy, to be read."""
    return exported(written_checkpoint_of("smolvla", tmp_path_factory.mktemp("smolvla") / "c"))


@pytest.mark.parametrize(
    ("kind", "opset", "changed"),
    [
        ("diffusion", 11, {}),
        ("diffusion", 17, OLD_SCHEDULER),
        ("diffusion", 19, FLOW),
        ("diffusion", 11, SAMPLED),
        ("smolvla", 19, {}),
        ("smolvla", 17, SELF_ATTENTION),
        ("smolvla", 11, {"self_attn_every_n_layers": 0, "num_vlm_layers": 2}),
    ],
)
def test_a_bundle_answers_its_golden_rows(
    tmp_path: Path, kind: str, opset: int, changed: dict[str, Any]
) -> None:
    smolvla_made = exported(written_checkpoint_of(kind, tmp_path / "c", **changed), opset=opset)
    golden: Any = smolvla_made.golden()

    found = played_rows(smolvla_made, golden)

    np.testing.assert_allclose(found["chunk"], golden["chunk"], rtol=0.0, atol=1e-3)
    assert np.abs(np.diff(found[NORMALISED_CHUNK], axis=0)).max() > 0.01
    size, joints = smolvla_made.contract.chunk.size, len(smolvla_made.contract.action.joints)
    np.testing.assert_array_equal(found[PATH][:, -1, -size:, :joints], found[NORMALISED_CHUNK])


@pytest.mark.parametrize("changed", [{}, SELF_ATTENTION, {"self_attn_every_n_layers": 3}])
def test_a_chunk_is_that_of_the_network_in_plain_numpy(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    """With padding and masks, which the graphs leave out."""
    inputs = smolvla_config()["input_features"]
    for name in ("front", "wrist"):
        inputs[f"observation.images.{name}"]["shape"] = [3, 16, 16]
    folder = written_checkpoint_of("smolvla", tmp_path / "c", input_features=inputs, **changed)
    smolvla_made = exported(folder)
    golden: Any = smolvla_made.golden()
    contract = smolvla_made.contract
    assert contract.state is not None
    config = json.loads((folder / "config.json").read_text())
    read = read_checkpoint(folder, LANGUAGE)
    assert isinstance(read.config, SmolvlaConfig)
    plain = PlainSmolvla(dict(read.tensors), config, VLM)
    images = [golden[f"cameras.{name}"][0].transpose(2, 0, 1) / 255.0 for name in contract.cameras]
    normaliser = VectorNormaliser(contract.state.normalisation, 6)
    state = normaliser.apply(golden["state"][0].astype(np.float64))
    tokens = list(read.config.tokens)
    assert len(tokens) < plain.config["tokenizer_max_length"]

    actions = plain.chunk(images, tokens, state, golden["noise"][0, 0].astype(np.float64))

    found = played_rows(smolvla_made, golden)
    np.testing.assert_allclose(found[PATH][0, -1], actions, rtol=0.0, atol=2e-5)


def test_the_contract_states_what_checkpoint_and_prompt_say(smolvla_made: ChunkBundle) -> None:
    contract, denoising = smolvla_made.contract, smolvla_made.contract.denoising
    assert denoising is not None
    assert (denoising.method, denoising.steps, denoising.columns) == ("flow", 5, 8)
    assert (contract.policy_graph, contract.observing_graph) == (STEP, LANGUAGE_MODEL)
    assert list(contract.graphs) == [ENCODER, LANGUAGE_MODEL, STEP]
    assert contract.prompt == PROMPT
    assert "counted" in contract.description
    np.testing.assert_allclose(denoising.time.first_frequency, 2 * np.pi / 0.004)
    np.testing.assert_allclose(denoising.time.last_frequency, 2 * np.pi / 4.0)
    # Two images of 2 x 2 tokens, four of the prompt with its line break, and the state.
    assert contract.graphs[LANGUAGE_MODEL].outputs[KEYS].shape == (1, 3 * 2, 2 * 4 + 4 + 1, 4)


def test_the_contract_states_the_schedule_of_a_diffusion(tmp_path: Path) -> None:
    contract = exported(
        written_checkpoint_of("diffusion", tmp_path / "c", **OLD_SCHEDULER)
    ).contract
    denoising = contract.denoising
    assert denoising is not None
    assert denoising.schedule is not None
    assert (denoising.method, denoising.steps, denoising.observations) == ("ddpm", 5, 2)
    assert (denoising.schedule.prediction, denoising.schedule.clip) == ("epsilon", 1.0)
    assert (contract.chunk.size, contract.chunk.steps, contract.rows) == (7, 4, 8)
    assert contract.policy_graph == STEP


def test_a_flow_has_no_schedule_and_golden_rows_of_the_training_need_its_noise(
    tmp_path: Path,
) -> None:
    smolvla_checkpoint = written_checkpoint_of("diffusion", tmp_path / "c", **FLOW)
    smolvla_made = exported(smolvla_checkpoint)
    denoising = smolvla_made.contract.denoising
    assert denoising is not None
    assert (denoising.method, denoising.schedule) == ("flow", None)
    assert denoising.time.first_frequency == 100.0
    golden, file = smolvla_made.golden(), tmp_path / "rows.npz"
    np.savez(file, allow_pickle=True, **golden)
    exported(smolvla_checkpoint, golden=file, force=True)

    noise = golden["noise"].astype(np.float32)
    for wrong in (noise[:, :, 1:], noise + 1.0):
        np.savez(file, allow_pickle=True, **{**golden, "noise": wrong})
        with refusal(ToolError):
            exported(smolvla_checkpoint, golden=file, force=True)


def test_a_checkpoint_of_lerobot_06_says_its_patch_positions(tmp_path: Path) -> None:
    smolvla_checkpoint = written_checkpoint_of("smolvla", tmp_path / "c", pretrained_revision=None)
    assert (
        "counted"
        in exported(smolvla_checkpoint, language=Language(prompt=PROMPT)).contract.description
    )


def test_cameras_of_two_sizes_have_an_encoder_each(tmp_path: Path) -> None:
    inputs = smolvla_config()["input_features"]
    inputs["observation.images.wrist"]["shape"] = [3, 24, 32]
    smolvla_made = exported(written_checkpoint_of("smolvla", tmp_path / "c", input_features=inputs))
    encoders = [camera.encoder for camera in smolvla_made.contract.cameras.values()]
    assert encoders == [f"{ENCODER}_12x16", f"{ENCODER}_24x32"]


def test_a_server_gets_each_graph_and_no_ensemble(
    tmp_path: Path, smolvla_made: ChunkBundle
) -> None:
    """One request would run the language model again for each denoising step."""
    names = write_repository(smolvla_made, tmp_path / "served")
    assert sorted(names) == [f"reach_{name}" for name in (STEP, LANGUAGE_MODEL, ENCODER)]


def test_images_are_resized_and_lie_at_the_bottom_right(tmp_path: Path) -> None:
    inputs = smolvla_config()["input_features"]
    del inputs["observation.images.wrist"]
    inputs["observation.images.front"]["shape"] = [3, 8, 12]
    smolvla_made = exported(written_checkpoint_of("smolvla", tmp_path / "c", input_features=inputs))
    model = onnx.load(str(smolvla_made.path / ENCODER / f"{ENCODER}.onnx"))
    matrices = {
        tuple(each.dims): onnx.numpy_helper.to_array(each) for each in model.graph.initializer
    }
    image = np.random.default_rng(0).uniform(0.0, 1.0, (8, 12))

    found = matrices[16, 8] @ image @ matrices[12, 16]

    # 12 x 8 pixels become 16 x 10, below six rows that are empty.
    assert not found[:6].any()
    np.testing.assert_allclose(found[6:], interpolated(image, 10, 16), atol=1e-6)


def interpolated(image: F64, height: int, width: int) -> F64:
    """Return an image in another size, each pixel between its four nearest."""
    found = np.zeros((height, width))
    for row, column in np.ndindex(height, width):
        places = [
            max((at + 0.5) * old / new - 0.5, 0.0)
            for at, old, new in ((row, image.shape[0], height), (column, image.shape[1], width))
        ]
        low = [int(place) for place in places]
        high = [min(one + 1, size - 1) for one, size in zip(low, image.shape, strict=True)]
        down, across = (place - one for place, one in zip(places, low, strict=True))
        above = image[low[0], low[1]] * (1 - across) + image[low[0], high[1]] * across
        below = image[high[0], low[1]] * (1 - across) + image[high[0], high[1]] * across
        found[row, column] = above * (1 - down) + below * down
    return found


def test_weights_in_bfloat16_are_read(smolvla_checkpoint: Path) -> None:
    file = smolvla_checkpoint / "model.safetensors"
    whole = load_file(file)
    upper = {name: (array.view("<u4") >> 16).astype("<u2") for name, array in whole.items()}
    header, end = dict[str, Any](), 0
    for name, array in upper.items():
        offsets = [end, end + array.nbytes]
        header[name] = {"dtype": "BF16", "shape": list(array.shape), "data_offsets": offsets}
        end += array.nbytes
    text = json.dumps(header).encode()
    file.unlink()
    content = b"".join(array.tobytes() for array in upper.values())
    file.write_bytes(len(text).to_bytes(8, "little") + text + content)
    for name, array in read_tensors(file).items():
        np.testing.assert_array_equal(array, (upper[name].astype("<u4") << 16).view("<f4"))
    exported(smolvla_checkpoint)


def test_the_double_of_tokenizers_is_like_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "tokenizers")
    package = pytest.importorskip("tokenizers")
    words.write_words(tmp_path / "t.json", ("reach", "the", "cube"))
    real, double = (
        each.from_file(str(tmp_path / "t.json")) for each in (package.Tokenizer, words.Tokenizer)
    )
    for text in ("reach the cube\n", "the  red cube\n", "\n"):
        assert real.encode(text).ids == double.encode(text).ids
