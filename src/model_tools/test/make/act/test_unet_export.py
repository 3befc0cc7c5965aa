# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Diffusion Policies and flows from their checkpoints: what is exported, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools.errors import ToolError
from model_tools.make.act.act_contract import ActRequest
from model_tools.make.act.act_export import export_checkpoint
from model_tools.make.act.builder import Weights
from model_tools.make.act.unet_config import read_unet_config
from model_tools.make.act.unet_graphs import PREFIX, STEP, write_unet_graphs
from policy_inference.backends.registry import open_models
from policy_inference.bundle.bundle import ChunkBundle
from policy_inference.bundle.load import load_bundle
from policy_inference.comparison.chunks import NORMALISED_CHUNK, PATH, play_chunks
from policy_inference.comparison.rows import Rows
from policy_inference.errors import BundleError
from policy_inference.interfaces import F32
from testkit.wording import refusal

from .small_checkpoints import config_of, random_statistics, write_checkpoint

FLOW = {"objective": "flow_matching"}


def unet_config(**changed: Any) -> dict[str, Any]:
    """Return the `config.json` of a small policy of the environment's state."""
    return {
        **config_of(cameras={}, outside=3, type="diffusion", n_obs_steps=2),
        "normalization_mapping": {"STATE": "MIN_MAX", "ENV": "MIN_MAX", "ACTION": "MIN_MAX"},
        "horizon": 8,
        "n_action_steps": 4,
        "down_dims": [8, 16],
        "kernel_size": 3,
        "n_groups": 4,
        "diffusion_step_embed_dim": 8,
        "use_film_scale_modulation": True,
        "noise_scheduler_type": "DDIM",
        "num_train_timesteps": 100,
        "num_inference_steps": 5,
        "beta_schedule": "squaredcos_cap_v2",
        "beta_start": 0.0001,
        "beta_end": 0.02,
        "prediction_type": "epsilon",
        "clip_sample": True,
        "clip_sample_range": 1.0,
        "resize_shape": None,
        "crop_shape": None,
        "crop_ratio": 1.0,
        "use_group_norm": True,
        "spatial_softmax_num_keypoints": 4,
        "use_separate_rgb_encoder_per_camera": False,
        **changed,
    }


class DrawnWeights(Weights):
    """Weights that are drawn as they are asked for, and kept for a file."""

    def __init__(self) -> None:
        super().__init__(Path("drawn"), {}, PREFIX)
        self.drawn = dict[str, F32]()
        self._random = np.random.default_rng(4)

    def take(self, name: str, *shape: int) -> F32:
        key = f"{PREFIX}{name}"
        if key not in self.drawn:
            size = float(np.prod(shape[1:])) if len(shape) > 1 else 4.0
            values = self._random.normal(0.0, size**-0.5, shape)
            values = np.abs(values) + 0.5 if name.endswith("running_var") else values
            self.drawn[key] = values.astype(np.float32)
        return self.drawn[key]


def checkpoint_of(folder: Path, **changed: Any) -> Path:
    """Write a checkpoint with the weights that its configuration asks for."""
    config = unet_config(**changed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    weights = DrawnWeights()
    write_unet_graphs(read_unet_config(folder), weights, opset=17)
    return write_checkpoint(
        folder, config, tensors=weights.drawn, statistics=random_statistics(config)
    )


def exported(checkpoint: Path, **changed: Any) -> ChunkBundle:
    output = checkpoint.parent / "bundle"
    export_checkpoint(
        ActRequest(
            **{
                "checkpoint": checkpoint,
                "output": output,
                "robot": "so101",
                "units": "degrees",
                "rate_hz": 30.0,
                "name": "reach",
                **changed,
            }
        )
    )
    return load_bundle(output, kind=ChunkBundle)


@pytest.mark.parametrize("opset", [11, 17, 19])
@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"noise_scheduler_type": "DDPM", "use_film_scale_modulation": False},
        {"n_obs_steps": 1, **FLOW},
        {"down_dims": [8, 8, 16], "prediction_type": "sample", "clip_sample": False},
    ],
)
def test_a_bundle_answers_its_golden_rows(
    tmp_path: Path, changed: dict[str, Any], opset: int
) -> None:
    bundle = exported(checkpoint_of(tmp_path / "c", **changed), opset=opset)
    golden = bundle.golden()
    chunks = golden.pop("chunk")

    with open_models(bundle.models, ["onnx"]) as models:
        found = play_chunks(
            bundle.contract, models, Rows(source="golden", inputs=golden, outputs={})
        )

    np.testing.assert_allclose(
        found["chunk"].astype(float), chunks.astype(float), rtol=0.0, atol=1e-3
    )
    assert np.abs(np.diff(found[NORMALISED_CHUNK], axis=0)).max() > 0.01
    size = bundle.contract.chunk.size
    np.testing.assert_array_equal(found[PATH][:, -1, -size:], found[NORMALISED_CHUNK])


def test_the_contract_states_what_the_checkpoint_does(tmp_path: Path) -> None:
    contract = exported(checkpoint_of(tmp_path / "c", noise_scheduler_type="DDPM")).contract
    denoising = contract.denoising
    assert denoising is not None
    assert denoising.schedule is not None
    assert (denoising.method, denoising.steps, denoising.observations) == ("ddpm", 5, 2)
    assert (denoising.schedule.prediction, denoising.schedule.clip) == ("epsilon", 1.0)
    assert (contract.chunk.size, contract.chunk.steps, contract.rows) == (7, 4, 8)
    assert contract.policy_graph == STEP


def test_a_flow_is_told_by_its_objective(tmp_path: Path) -> None:
    contract = exported(checkpoint_of(tmp_path / "c", n_obs_steps=1, **FLOW)).contract
    assert contract.denoising is not None
    assert (contract.denoising.method, contract.denoising.schedule) == ("flow", None)
    assert contract.denoising.time.first_frequency == 100.0


def test_golden_rows_of_the_training_need_its_noise(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tmp_path / "c", n_obs_steps=1, **FLOW)
    bundle = exported(checkpoint)
    golden = bundle.golden()
    np.savez(tmp_path / "same.npz", allow_pickle=True, **golden)
    exported(checkpoint, golden=tmp_path / "same.npz", force=True)

    wrong = golden | {"noise": golden["noise"][:, :, 1:]}
    np.savez(tmp_path / "wrong.npz", allow_pickle=True, **wrong)
    with refusal(ToolError):
        exported(checkpoint, golden=tmp_path / "wrong.npz", force=True)
    other = golden | {"noise": golden["noise"].astype(np.float32) + 1.0}
    np.savez(tmp_path / "other.npz", allow_pickle=True, **other)
    with refusal(ToolError):
        exported(checkpoint, golden=tmp_path / "other.npz", force=True)


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"horizon": 10}, "horizon: expected a multiple of 4"),
        ({"horizon": 1 << 20}, "horizon: expected at most 10000, found 1048576"),
        ({"n_action_steps": 8}, r"n_action_steps: expected 1 to horizon - n_obs_steps \+ 1, 7"),
        ({"num_inference_steps": 101}, "num_inference_steps: expected at most"),
        ({"noise_scheduler_type": "PNDM"}, "noise_scheduler_type: expected DDPM or DDIM"),
        ({"prediction_type": "v_prediction"}, "prediction_type: expected epsilon or sample"),
        ({"beta_schedule": "cosine"}, "beta_schedule: expected one of squaredcos_cap_v2"),
        ({"objective": "consistency"}, "objective: expected diffusion or flow_matching"),
        ({"vision_backbone": "vit"}, "vision_backbone: expected one of resnet18"),
        ({"diffusion_step_embed_dim": 7}, "diffusion_step_embed_dim: expected an even number"),
        (
            {"type": "multi_task_dit"},
            "expected act, diffusion or smolvla.*found multi_task_dit",
        ),
    ],
)
def test_configurations_that_cannot_be_exported_are_refused(
    tmp_path: Path, changed: dict[str, Any], found: str
) -> None:
    checkpoint = checkpoint_of(tmp_path / "c")
    (checkpoint / "config.json").write_text(json.dumps(unet_config(**changed)))
    with pytest.raises(ToolError, match=found):
        exported(checkpoint)
    assert not (tmp_path / "bundle").exists()


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tmp_path / "c")
    (checkpoint / "config.json").write_text(json.dumps(unet_config(kernel_size=5)))
    with pytest.raises(ToolError, match=re.escape("diffusion.unet.down_modules.0.0.conv1")):
        exported(checkpoint)


def test_one_graph_of_everything_is_refused(tmp_path: Path) -> None:
    with refusal(ToolError):
        exported(checkpoint_of(tmp_path / "c"), graphs="one")


@pytest.mark.parametrize(
    ("line", "other", "found"),
    [
        ("  steps: 5", "  steps: 101", "denoising.steps: expected at most the 100 timesteps"),
        ("  method: ddim", "  method: flow", "denoising.schedule: expected nothing for flow"),
        ("    size: 8", "    size: 7", "denoising.time.size: expected an even number"),
        ("  observations: 2", "  observations: 3", "shape: expected"),
    ],
)
def test_contracts_that_contradict_themselves_are_refused(
    tmp_path: Path, line: str, other: str, found: str
) -> None:
    bundle = exported(checkpoint_of(tmp_path / "c"))
    text = bundle.file.read_text()
    short = re.sub(r"\{(.*?)\}", lambda match: match.group(0), text)
    key, value = line.strip().split(": ")
    new = other.strip().split(": ")[1]
    changed = re.sub(
        rf"(denoising:.*?\b{key}: ){value}\b", rf"\g<1>{new}", short, count=1, flags=re.DOTALL
    )
    assert changed != text
    bundle.file.write_text(changed)
    with pytest.raises(BundleError, match=found):
        load_bundle(bundle.path, kind=ChunkBundle)
