# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The demo policy's training: LeRobot's network sees as its encoder does, and is saved whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.policies.act.modeling_act import ACTPolicy
from onnx import numpy_helper

from tools.train_arm import unet
from tools.train_arm.act import CHUNK, new_policy, save, train
from tools.train_arm.dataset import write_dataset
from tools.train_arm.demonstrations import Demonstration, demonstrations
from tools.train_arm.encoder import train_encoder
from tools.train_arm.frames import ACTION, IMAGES, STATE, Frames
from tools.train_arm.narrow import WIDTHS, NarrowResNet, read_encoder


@pytest.fixture(scope="module")
def encoder() -> NarrowResNet:
    """An encoder whose batch norms have seen something."""
    torch.manual_seed(3)
    network = NarrowResNet()
    for _ in range(3):
        network(torch.randn(8, 3, 96, 128) * 2.0 + 0.5)
    network.eval()
    return network


@pytest.fixture(scope="module")
def episodes() -> list[Demonstration]:
    return list(demonstrations(2))


def test_an_encoder_learns_from_fewer_scenes_than_a_batch() -> None:
    encoder, curve = train_encoder(3, steps=1, seed=1)
    assert [len(row) for row in curve] == [3] * len(curve)
    assert np.isfinite(curve).all()
    assert encoder(torch.zeros(1, 3, 96, 128)).shape == (1, WIDTHS[3], 3, 4)


@torch.no_grad()
def test_the_whole_network_gives_the_narrow_ones_features_and_zeros(encoder: NarrowResNet) -> None:
    images = torch.randn(2, 3, 96, 128)

    whole = new_policy(encoder).model.backbone(images)["feature_map"]

    assert whole.shape == (2, 512, 3, 4)
    torch.testing.assert_close(whole[:, : WIDTHS[3]], encoder(images), rtol=1e-4, atol=1e-5)
    assert whole[:, : WIDTHS[3]].abs().max() > 0.1
    assert not whole[:, WIDTHS[3] :].any()


def test_training_lowers_the_loss_and_a_checkpoint_answers_alike(
    tmp_path: Path, encoder: NarrowResNet, episodes: list[Demonstration]
) -> None:
    policy, frames = new_policy(encoder), Frames(episodes, encoder, rows=CHUNK)
    before = {name: value.clone() for name, value in policy.model.backbone.state_dict().items()}

    first = train(policy, frames, steps=1, seed=1)[0][1]
    last = train(policy, frames, steps=40, seed=1)[-1][1]

    assert last < 0.8 * first
    for name, value in policy.model.backbone.state_dict().items():
        assert torch.equal(value, before[name])
    save(policy, frames.statistics, tmp_path / "checkpoint")
    again = ACTPolicy.from_pretrained(tmp_path / "checkpoint")
    images = {key: torch.rand(1, 3, 96, 128) for key in IMAGES.values()}
    batch = {STATE: torch.zeros(1, 6), **images}
    chunk = again.predict_action_chunk(batch)
    assert chunk.shape == (1, CHUNK, 6)
    assert torch.equal(chunk, policy.predict_action_chunk(batch))


KINDS: tuple[unet.Kind, ...] = ("diffusion", "flow")


def frames_of(kind: unet.Kind, episodes: list[Demonstration], encoder: NarrowResNet) -> Frames:
    return Frames(
        episodes,
        encoder,
        rows=unet.HORIZON,
        observations=unet.observations(kind),
        bounded=kind == "diffusion",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_training_of_a_sampled_policy_lowers_the_loss_and_its_checkpoint_answers_alike(
    tmp_path: Path, encoder: NarrowResNet, episodes: list[Demonstration], kind: unet.Kind
) -> None:
    torch.manual_seed(1)
    policy, frames = unet.new_policy(kind, encoder), frames_of(kind, episodes, encoder)

    first = unet.train(policy, kind, frames, steps=1, seed=1)[0][1]
    last = unet.train(policy, kind, frames, steps=25, seed=1)[-1][1]

    assert last < 0.9 * first
    unet.save(policy, kind, frames.statistics, tmp_path / "checkpoint")
    chunks = []
    for each in (policy, unet.load(kind, tmp_path / "checkpoint")):
        sampler = unet.ChunkSampler(each, kind)
        sampler.see(
            {STATE: torch.zeros(1, 6), **{k: torch.zeros(1, 3, 96, 128) for k in IMAGES.values()}}
        )
        chunks.append(sampler.chunk(torch.ones(1, unet.HORIZON, 6)))
    assert torch.equal(*chunks)
    assert chunks[0].shape == (1, unet.HORIZON - unet.observations(kind) + 1, 6)


def test_the_encoder_of_a_bundle_is_the_one_that_was_exported() -> None:
    bundle = Path(__file__).parents[2] / "config" / "bundles" / "so101_reach"
    (file,) = bundle.glob("*VisionEncoder/*.onnx")
    model = onnx.load(file)
    arrays = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    last = model.graph.node[-1]
    weight, bias = (torch.from_numpy(arrays[name].copy()) for name in last.input[1:])
    images = torch.randn(2, 3, 96, 128)

    with torch.no_grad():
        features = torch.conv2d(read_encoder(bundle)(images), weight, bias)

    session = onnxruntime.InferenceSession(model.SerializeToString())
    for image, found in zip(images, features, strict=True):
        (wanted,) = session.run(None, {"images": image[None].numpy()})
        np.testing.assert_allclose(found[None].numpy(), wanted, atol=1e-5)


def test_demonstrations_are_a_dataset_that_lerobot_reads(
    tmp_path: Path, episodes: list[Demonstration]
) -> None:
    write_dataset(episodes, tmp_path / "data")

    read = LeRobotDataset("local/data", root=tmp_path / "data")

    lengths = [len(episode.state) for episode in episodes]
    assert len(read) == sum(lengths)
    frame = read[lengths[0] + 2]  # the second episode's third
    np.testing.assert_array_equal(frame[ACTION].numpy(), episodes[1].action[2])
    for name, key in IMAGES.items():
        sent = episodes[1].images[name][2] / 255.0
        assert np.abs(frame[key].numpy() - sent).max() < 1e-6
