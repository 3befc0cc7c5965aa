# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Diffusion Policies, flows and SmolVLA from their checkpoints: what their bundles answer."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file

from model_tools.errors import ToolError
from model_tools.files.arrays import read_tensors
from model_tools.make.act.checkpoint import read_checkpoint
from model_tools.make.act.smolvla_config import LANGUAGE_MODEL, Language, SmolvlaConfig
from model_tools.make.act.smolvla_graphs import KEYS
from model_tools.make.act.unet_graphs import ENCODER, STEP
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.interfaces import F64
from policy_core.members.chunk.normalise import VectorNormaliser
from policy_inference.comparison.chunks import NORMALISED_CHUNK, PATH
from testkit.wording import refusal

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

FLOW = {"objective": "flow_matching", "n_obs_steps": 1}
OLD_SCHEDULER = {"noise_scheduler_type": "DDPM", "use_film_scale_modulation": False}
SAMPLED = {"down_dims": [8, 8, 16], "prediction_type": "sample", "clip_sample": False}
SELF_ATTENTION = {"attention_mode": "self_attn"}


Mask = npt.NDArray[np.bool_]


PAD = 0


_VLM = "model.vlm_with_expert.vlm.model"


_TEXT, _EXPERT = f"{_VLM}.text_model", "model.vlm_with_expert.lm_expert"


@dataclass(frozen=True)
class PlainSmolvla:
    """A policy of a checkpoint's tensors, its `config.json` and that of its language model."""

    tensors: Mapping[str, Any]
    config: Mapping[str, Any]
    vlm: Mapping[str, Any]

    def chunk(self, images: list[F64], tokens: list[int], state: F64, noise: F64) -> F64:
        """Return the actions [rows, columns].

        Args:
            images: Of each camera [3, height, width], 0 to 1, in the size that the network takes.
            tokens: Of the prompt, without padding.
            state: Normalised.
            noise: [rows, columns].
        """
        width = self.vlm["text_config"]["hidden_size"]
        padding = self.config["tokenizer_max_length"] - len(tokens)
        words = self.tensors[f"{_TEXT}.embed_tokens.weight"][[*tokens, *[PAD] * padding]]
        padded = np.zeros(self.config["max_state_dim"])
        padded[: len(state)] = state
        parts = [self._image(image) for image in images]
        parts += [words * width**0.5, self._linear(padded[np.newaxis], "model.state_proj")]
        x = np.concatenate(parts).astype(np.float64)
        there = np.ones(len(x), bool)
        there[len(x) - 1 - padding : len(x) - 1] = False
        is_state = np.arange(len(x)) == len(x) - 1
        may = (is_state[np.newaxis, :] <= is_state[:, np.newaxis]) & there & there[:, np.newaxis]
        kept = self._prefix(x, may, np.cumsum(there) - 1)
        steps = self.config["num_steps"]
        for step in range(steps):
            noise = noise - self._step(noise, 1.0 - step / steps, kept, there) / steps
        return noise

    def _image(self, image: F64) -> F64:
        sizes, times = self.vlm["vision_config"], self.vlm["scale_factor"]
        patch, heads = sizes["patch_size"], sizes["num_attention_heads"]
        name, side = f"{_VLM}.vision_model", image.shape[1] // patch
        kernel = self.tensors[f"{name}.embeddings.patch_embedding.weight"]
        learnt = self.tensors[f"{name}.embeddings.position_embedding.weight"]
        x = np.zeros((side * side, sizes["hidden_size"]))
        for row, column in np.ndindex(side, side):
            seen = 2 * image[:, row * patch :, column * patch :][:, :patch, :patch] - 1
            bias = self.tensors[f"{name}.embeddings.patch_embedding.bias"]
            x[row * side + column] = (kernel * seen).sum((1, 2, 3)) + bias
        x = x + learnt  # as many positions as patches, counted
        for layer in range(sizes["num_hidden_layers"]):
            at = f"{name}.encoder.layers.{layer}"
            y = self._layer_norm(x, f"{at}.layer_norm1")
            q, k, v = (self._linear(y, f"{at}.self_attn.{kind}_proj") for kind in "qkv")
            made = attention(q, k, v, heads, heads, np.ones((len(x), len(x)), bool))
            x = x + self._linear(made, f"{at}.self_attn.out_proj")
            y = self._linear(self._layer_norm(x, f"{at}.layer_norm2"), f"{at}.mlp.fc1")
            y = 0.5 * y * (1 + np.tanh((2 / np.pi) ** 0.5 * (y + 0.044715 * y**3)))
            x = x + self._linear(y, f"{at}.mlp.fc2")
        x = self._layer_norm(x, f"{name}.post_layernorm")
        squares = [
            np.concatenate(
                [
                    x[(times * row + down) * side + times * column + across]
                    for down in range(times)
                    for across in range(times)
                ]
            )
            for row in range(side // times)
            for column in range(side // times)
        ]
        weight = self.tensors[f"{_VLM}.connector.modality_projection.proj.weight"]
        tokens: F64 = np.stack(squares) @ weight.T * len(weight) ** 0.5
        return tokens

    def _prefix(self, x: F64, may: Mask, at: npt.NDArray[np.int64]) -> list[tuple[F64, F64]]:
        """Return keys and values of each layer [tokens, groups x head]."""
        kept = list[tuple[F64, F64]]()
        for layer in range(self.config["num_vlm_layers"]):
            name = f"{_TEXT}.layers.{layer}"
            q, k, v = self._projected(x, name)
            q, k = self._turned(q, at), self._turned(k, at)
            kept.append((k, v))
            x = self._finished(x, self._attention(q, k, v, may), name)
        return kept

    def _step(self, noisy: F64, time: float, kept: list[tuple[F64, F64]], there: Mask) -> F64:
        x = self._linear(noisy, "model.action_in_proj")
        size = x.shape[1] // 2
        low, high = self.config["min_period"], self.config["max_period"]
        periods = low * (high / low) ** np.linspace(0, 1, size)
        angle = 2 * np.pi * np.float64(np.float32(time)) / periods
        wave = np.concatenate([np.sin(angle), np.cos(angle)])
        x = np.concatenate([x, np.tile(wave, (len(x), 1))], axis=1)
        y = self._linear(x, "model.action_time_mlp_in")
        x = self._linear(y / (1 + np.exp(-y)), "model.action_time_mlp_out")
        rows, every = len(x), self.config["self_attn_every_n_layers"]
        earlier = np.tril(np.ones((rows, rows), bool))
        seen = np.tile(there, (rows, 1))
        for layer, (keys, values) in enumerate(kept):
            name = f"{_EXPERT}.layers.{layer}"
            if self.config["attention_mode"] == "self_attn" or (every > 0 and layer % every == 0):
                q, k, v = self._projected(x, name)
                at = there.sum() + np.arange(rows)
                k = np.concatenate([keys, self._turned(k, at)])
                v = np.concatenate([values, v])
                may = np.concatenate([seen, earlier], axis=1)
                made = self._attention(self._turned(q, at), k, v, may)
            else:
                y = self._root_norm(x, f"{name}.input_layernorm")
                q = self._turned(self._plain(y, f"{name}.self_attn.q_proj"), np.arange(rows))
                k, v = (
                    self._plain(each, f"{name}.self_attn.{kind}_proj")
                    for kind, each in (("k", keys), ("v", values))
                )
                made = self._attention(q, k, v, seen)
            x = self._finished(x, made, name)
        return self._linear(self._root_norm(x, f"{_EXPERT}.norm"), "model.action_out_proj")

    def _projected(self, x: F64, name: str) -> tuple[F64, F64, F64]:
        y = self._root_norm(x, f"{name}.input_layernorm")
        q, k, v = (self._plain(y, f"{name}.self_attn.{kind}_proj") for kind in "qkv")
        return q, k, v

    def _attention(self, q: F64, k: F64, v: F64, may: Mask) -> F64:
        sizes = self.vlm["text_config"]
        return attention(q, k, v, sizes["num_attention_heads"], sizes["num_key_value_heads"], may)

    def _turned(self, x: F64, at: npt.NDArray[np.int64]) -> F64:
        """Turn each head's pairs of values, one of each half, by an angle of the position."""
        head = self.vlm["text_config"]["head_dim"]
        found, half = x.copy(), head // 2
        for begin in range(0, x.shape[1], head):
            for pair in range(half):
                angle = at / 10_000.0 ** (2 * pair / head)
                one, other = x[:, begin + pair], x[:, begin + half + pair]
                found[:, begin + pair] = one * np.cos(angle) - other * np.sin(angle)
                found[:, begin + half + pair] = other * np.cos(angle) + one * np.sin(angle)
        return found

    def _finished(self, x: F64, made: F64, name: str) -> F64:
        x = x + self._plain(made, f"{name}.self_attn.o_proj")
        y = self._root_norm(x, f"{name}.post_attention_layernorm")
        gate, up = (self._plain(y, f"{name}.mlp.{part}_proj") for part in ("gate", "up"))
        return x + self._plain(gate / (1 + np.exp(-gate)) * up, f"{name}.mlp.down_proj")

    def _root_norm(self, x: F64, name: str) -> F64:
        eps = self.vlm["text_config"]["rms_norm_eps"]
        root = np.sqrt((x**2).mean(-1, keepdims=True) + eps)
        found: F64 = x / root * self.tensors[f"{name}.weight"]
        return found

    def _layer_norm(self, x: F64, name: str) -> F64:
        spread = np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        made = (x - x.mean(-1, keepdims=True)) / spread
        found: F64 = made * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"]
        return found

    def _plain(self, x: F64, name: str) -> F64:
        found: F64 = x @ self.tensors[f"{name}.weight"].T.astype(np.float64)
        return found

    def _linear(self, x: F64, name: str) -> F64:
        found: F64 = self._plain(x, name) + self.tensors[f"{name}.bias"]
        return found


def attention(q: F64, k: F64, v: F64, heads: int, groups: int, may: Mask) -> F64:
    """Return what each token makes of those that it may attend to [tokens, heads x head]."""
    head, parts = q.shape[1] // heads, list[F64]()
    for number in range(heads):
        of_queries = slice(number * head, (number + 1) * head)
        group = number // (heads // groups)
        shared = slice(group * head, (group + 1) * head)
        scores = np.where(may, q[:, of_queries] @ k[:, shared].T / head**0.5, -1e30)
        share = np.exp(scores - scores.max(-1, keepdims=True))
        parts.append(share / share.sum(-1, keepdims=True) @ v[:, shared])
    return np.concatenate(parts, axis=1)


@pytest.fixture
def smolvla_checkpoint(checkpoint_like: CopyCheckpoint) -> Path:
    return checkpoint_like("smolvla")


@pytest.fixture(scope="module")
def smolvla_made(tmp_path_factory: pytest.TempPathFactory) -> ChunkBundle:
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
