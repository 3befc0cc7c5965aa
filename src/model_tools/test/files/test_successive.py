# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy of several observations gets those of the steps before, as on a robot."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools.files.observation_sources import DatasetSource
from model_tools.files.rows import RecordedObservation, successive
from model_tools.prove.calibration.graph_samples import collect_samples
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import ChunkContract, Denoising, StepTime
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import F32, Tensor
from policy_core.members.chunk.graphs import ChunkGraphs
from policy_inference.backends.registry import open_models
from testkit.chunk_bundles import write_chunk_bundle

from .lerobot.small_dataset import colour, state, write_dataset

OURS = Path(__file__).resolve().parents[4] / "config" / "bundles" / "so101_reach_diffusion"
LENGTHS = (12, 9, 15)


def of_several(contract: ChunkContract, observations: int) -> ChunkContract:
    time = StepTime(tensor="time", size=8, first_frequency=1.0, last_frequency=1e-4)
    return dataclasses.replace(
        contract,
        denoising=Denoising(
            method="flow", steps=2, tensor="noisy", time=time, observations=observations
        ),
    )


@pytest.fixture
def source(tmp_path: Path) -> DatasetSource:
    bundle = write_chunk_bundle(tmp_path / "b", sizes={"laptop": (48, 64), "phone": (48, 64)})
    contract = of_several(load_bundle(bundle, kind=ChunkBundle).contract, 3)
    return DatasetSource(contract, write_dataset(tmp_path / "dataset", LENGTHS))


def test_frames_come_with_those_before_them_of_the_same_episode(source: DatasetSource) -> None:
    places = [(i, frame) for i, length in enumerate(LENGTHS) for frame in range(length)]
    for wanted in (range(source.count), [0, 5, 11, 12, 13, 14, 20, 21, 35]):
        found = list(source.observations(wanted))

        assert [one.number for one in found] == list(wanted)
        for one in found:
            episode, frame = places[one.number]
            steps = (*one.earlier, one)
            # Of steps before the episode its first frame takes the place, as in LeRobot.
            frames = [max(frame - back, 0) for back in (2, 1, 0)]
            states = np.stack([np.asarray(step.state) for step in steps])
            np.testing.assert_allclose(states, [state(episode, each) for each in frames], rtol=1e-6)
            for step, each in zip(steps, frames, strict=True):
                seen = step.images["phone"].reshape(-1, 3).mean(axis=0)
                np.testing.assert_allclose(seen, colour(1, episode, each), atol=8.0)


class _Drawn:
    """Observations of `so101_reach_diffusion`, each another."""

    name, count = "drawn", 6

    def __init__(self, contract: ChunkContract) -> None:
        random = np.random.default_rng(3)
        self.images: Mapping[str, Any] = {
            name: random.integers(0, 256, (self.count, one.height, one.width, 3), np.uint8)
            for name, one in contract.cameras.items()
        }
        self.states = random.normal(0.0, 20.0, (self.count, 6))
        self._steps = contract.observation_steps

    def observations(self, wanted: Any) -> Iterator[RecordedObservation]:
        return successive(wanted, lambda number: 0, self._steps, self._single)

    def _single(self, numbers: list[int]) -> Iterator[RecordedObservation]:
        for number in numbers:
            yield RecordedObservation(
                number=number,
                images={name: each[number] for name, each in self.images.items()},
                state=self.states[number],
                environment_state=None,
            )


def test_a_diffusion_policy_is_calibrated_with_what_its_graphs_get(tmp_path: Path) -> None:
    bundle = load_bundle(OURS, kind=ChunkBundle)
    contract = bundle.contract
    drawn = _Drawn(contract)
    (tmp_path / "samples").mkdir()

    samples = collect_samples(bundle, drawn, drawn.count, tmp_path / "samples")

    policy = samples[contract.policy_graph].inputs
    with open_models(bundle.models, ["onnx"]) as models:
        graphs, inputs = ChunkGraphs(contract, models), models["graphs.DenoisingStep"].inputs
        encoder = models["graphs.VisionEncoder"].inputs["images"]
        for number, one in enumerate(drawn.observations(range(drawn.count))):
            graphs.write(one.as_observed())
            for name in ("states", "front_features", "wrist_features"):
                np.testing.assert_allclose(
                    as_f32(policy[name][number]), as_f32(inputs[name][0]), atol=1e-5
                )
            # The wrist's newest image is what an encoder sees last.
            sample = samples["VisionEncoder"].inputs["images"][2 * number + 1]
            np.testing.assert_array_equal(as_f32(sample), encoder[0])
    states = as_f32(policy["states"])
    np.testing.assert_array_equal(states[1:, 0], states[:-1, 1])
    assert np.ptp(states[:, 1], axis=0).min() > 0.1


def as_f32(array: Tensor) -> F32:
    return np.asarray(array, np.float32)
