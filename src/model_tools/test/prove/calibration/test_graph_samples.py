# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the graphs of a chunk policy are calibrated with is what they get on the robot."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from model_tools.errors import ToolError
from model_tools.files.observation_sources import DatasetSource
from model_tools.prove.calibration.graph_samples import GraphSamples, collect_samples
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import Camera
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import F64, Tensor
from testkit.chunk_bundles import ENCODER, POLICY, write_chunk_bundle
from testkit.wording import refusal

from ...files.lerobot.small_dataset import colour, state, write_dataset

SIZES = {"laptop": (48, 64), "phone": (48, 64)}
Collect = Callable[..., dict[str, GraphSamples]]


def bundle_at(folder: Path, **changes: object) -> ChunkBundle:
    given = {"sizes": SIZES, **changes}
    return load_bundle(write_chunk_bundle(folder / "bundle", **given), kind=ChunkBundle)  # type: ignore[arg-type]  # as in the calls


@pytest.fixture
def collect(tmp_path: Path) -> Collect:
    dataset = write_dataset(tmp_path / "dataset")

    def apply(bundle: ChunkBundle, count: int = 9) -> dict[str, GraphSamples]:
        folder = tmp_path / "samples"
        folder.mkdir()
        return collect_samples(bundle, DatasetSource(bundle.contract, dataset), count, folder)

    return apply


def dataset_frames(count: int) -> list[tuple[int, int]]:
    """Return episode and frame of evenly spaced frames of the dataset."""
    every = [
        (episode, frame) for episode, length in enumerate((12, 9, 15)) for frame in range(length)
    ]
    return [every[i] for i in np.linspace(0, 35, count).round().astype(int)]


def ends(camera: Camera) -> tuple[F64, F64]:
    """Return what black and white are, normalised, by channel."""
    mean, std = np.array(camera.normalisation.mean), np.array(camera.normalisation.std)
    return -mean / std, (1.0 - mean) / std


def test_encoders_get_normalised_images_of_every_camera(tmp_path: Path, collect: Collect) -> None:
    bundle = bundle_at(tmp_path)

    samples = collect(bundle)[ENCODER]

    images = samples.inputs["images"]
    assert images.shape == (18, 3, 48, 64)
    assert images.dtype == np.float32
    assert samples.files["images"][:3] == (
        "laptop_0000000000",
        "phone_0000000000",
        "laptop_0000000001",
    )
    for i, (episode, frame) in enumerate(dataset_frames(9)):
        for place, camera in enumerate(bundle.contract.cameras.values()):
            low, high = ends(camera)
            expected = low + np.array(colour(place, episode, frame)) / 255 * (high - low)
            found = as_floats(images[2 * i + place]).mean(axis=(1, 2))
            np.testing.assert_allclose(found, expected, atol=0.08)
    lows, highs = zip(*map(ends, bundle.contract.cameras.values()), strict=True)
    assert np.min(lows) <= images.min() < -0.5  # and not of pixels, 0 to 255
    assert 0.5 < images.max() <= np.max(highs)


def test_the_policy_graph_gets_the_features_of_the_same_images(
    tmp_path: Path, collect: Collect
) -> None:
    bundle = bundle_at(tmp_path)

    samples = collect(bundle)

    session = onnxruntime.InferenceSession(str(bundle.path / ENCODER / f"{ENCODER}.onnx"))
    policy, images = samples[POLICY], samples[ENCODER].inputs["images"]
    assert list(policy.inputs) == ["states", "laptop_features", "phone_features"]
    for i in range(9):
        for place, name in enumerate(("laptop_features", "phone_features")):
            (expected,) = session.run(None, {"images": images[[2 * i + place]]})
            np.testing.assert_allclose(as_floats(policy.inputs[name][i]), expected[0], atol=1e-5)
    assert policy.files["phone_features"][-1] == "phone/0000000008"
    assert policy.files["states"][0] == "state/0000000000"


def test_the_policy_graph_gets_the_normalised_state_of_the_whole_dataset(
    tmp_path: Path, collect: Collect
) -> None:
    found = as_floats(collect(bundle_at(tmp_path), 36)[POLICY].inputs["states"])

    assert len(np.unique(found, axis=0)) == len(found) == 36
    for row, (episode, frame) in zip(found, dataset_frames(36), strict=True):
        expected = (state(episode, frame) - [1.0, 5.0, 40.0]) / [20.0, 15.0, 25.0]
        np.testing.assert_allclose(row, expected, atol=1e-5)


def test_a_policy_of_one_graph_gets_images_itself(tmp_path: Path, collect: Collect) -> None:
    samples = collect(bundle_at(tmp_path, encoders=False))

    assert list(samples) == [POLICY]
    assert samples[POLICY].inputs["phone"].shape == (9, 3, 48, 64)
    assert np.abs(as_floats(samples[POLICY].inputs["phone"])).max() < 4.0


@pytest.mark.parametrize(
    "changes",
    [
        {"rate_hz": 10},
        {"sizes": {"laptop": (48, 64), "phone": (24, 32)}},
        {"sizes": {"laptop": (48, 64), "top": (48, 64)}},
        {"state.feature": "observation.effort"},
        {"environment": 4},
        {"state.feature": "timestamp"},
    ],
    ids=["rate", "image size", "camera", "state", "environment", "size of the state"],
)
def test_a_dataset_of_another_policy_is_refused(
    tmp_path: Path, collect: Collect, changes: dict[str, object]
) -> None:
    with refusal(ToolError):
        collect(bundle_at(tmp_path, **changes))


def as_floats(array: Tensor) -> F64:
    return np.asarray(array, np.float64)
