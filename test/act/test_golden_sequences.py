# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint of LeRobot runs here as it runs there: the numbers are LeRobot's own.

From images and positions in rad to positions in rad, through the exported bundle, the queue and
its modes. Tolerances are those that come with the numbers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64, Backend
from policy_core.members.chunk.controller import ChunkRuntime, chunk_controller
from policy_core.members.chunk.graphs import ChunkGraphs, ChunkObservation, Inference
from policy_core.members.chunk.normalise import Units
from policy_core.members.chunk.settings import ChunkSettings
from policy_core.observation.images import Image, read_frame
from policy_inference.backends.registry import open_models
from policy_inference.kinds.chunk_worker import make_worker

pytestmark = pytest.mark.real_data
PERIOD_NS = 33_333_333
IN_UNITS, NORMALISED, FEATURES = 3e-4, 1e-6, 1e-5
SEQUENCE_SEED, STEPS = 7, 120


@pytest.fixture(scope="module")
def golden_act(shared_data: Path) -> Mapping[str, F64]:
    with np.load(shared_data / "act" / "golden.npz") as arrays:
        return {name: arrays[name].astype(np.float64) for name in arrays}


@pytest.fixture(scope="module")
def graphs_of_act(so100_act: ChunkBundle) -> Iterator[Mapping[str, Backend]]:
    with open_models(so100_act.models, ["onnx"]) as opened:
        yield opened


def shown_images(inputs: ModuleType, seed: int, step: int = 0) -> dict[str, Image]:
    return {name: inputs.image(place, seed, step) for place, name in enumerate(("laptop", "phone"))}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_inputs_features_and_chunks_are_lerobots(
    so100_act: ChunkBundle,
    graphs_of_act: Mapping[str, Backend],
    formulae: ModuleType,
    golden_act: Mapping[str, F64],
    seed: int,
) -> None:
    graphs = ChunkGraphs(so100_act.contract, graphs_of_act)
    shown = shown_images(formulae, seed)
    graphs.write(ChunkObservation(images=shown, state=golden_act[f"s{seed}_state"]))
    policy = graphs_of_act[f"graphs.{so100_act.contract.policy_graph}"]
    state = so100_act.contract.state
    assert state is not None
    found = policy.inputs[state.tensor].astype(np.float64)
    np.testing.assert_allclose(found, golden_act[f"s{seed}_state_norm"], rtol=0, atol=NORMALISED)
    for name, camera in so100_act.contract.cameras.items():
        features = golden_act[f"s{seed}_{name}_features"]
        found = policy.inputs[camera.tensor].astype(np.float64)
        assert np.abs(found - features).max() <= FEATURES * np.abs(features).max()
    np.testing.assert_allclose(
        graphs.predict(), golden_act[f"s{seed}_chunk"][0], rtol=0, atol=IN_UNITS
    )


class Playing:
    """The policy in time: a new observation in each period, as the sequences were made."""

    def __init__(
        self, bundle: ChunkBundle, backends: Mapping[str, Backend], settings: ChunkSettings
    ) -> None:
        self._now_ns = 1_000_000_000
        # These weights jump from step to step, which no servo can follow and the node would clip.
        joints = bundle.contract.joints
        joints = replace(joints, velocity_limit=np.full(len(joints.names), 1e3))
        contract = replace(bundle.contract, joints=joints)
        bundle = replace(bundle, contract=contract)
        self._units = Units(contract.units, contract.action.joints)
        self._runtime: ChunkRuntime = chunk_controller(
            bundle,
            make_worker(Inference(contract, backends).answer, self._clock, settings, inline=True),
            limits_in_force(contract, StricterLimits()),
            self._clock,
            settings,
        )
        self._policy = self._runtime.policy
        self._policy.reset()

    def _clock(self) -> int:
        return self._now_ns

    def step(self, shown: Mapping[str, Image], state: F64) -> F64:
        """Return the action of a step in the policy's units."""
        self._now_ns += PERIOD_NS
        self._runtime.controller.state["joint_pos"][:] = self._units.to_rad(state)
        for name, image in shown.items():
            height, width, _ = image.shape
            message = SimpleNamespace(
                encoding="rgb8", height=height, width=width, step=3 * width, data=image.tobytes()
            )
            buffer = self._runtime.frames[name]
            buffer.add(read_frame(message, buffer.camera), self._now_ns)
        assert self._policy.infer()
        return self._units.of_rad(self._policy.commit())

    @property
    def inferences(self) -> int:
        return self._policy.latency.count


def played_sequence(
    bundle: ChunkBundle,
    backends: Mapping[str, Backend],
    inputs: ModuleType,
    settings: ChunkSettings,
) -> tuple[F64, list[int]]:
    """Return the actions [steps, 6] of the sequence, and the steps at which the network ran."""
    playing, actions, ran = Playing(bundle, backends, settings), [], []
    for step in range(STEPS):
        before = playing.inferences
        state = inputs.state(6, SEQUENCE_SEED, step).astype(np.float64)
        actions.append(playing.step(shown_images(inputs, SEQUENCE_SEED, step), state))
        ran += [step] * (playing.inferences - before)
    return np.array(actions), ran


@pytest.mark.acceptance
def test_synchronous_is_lerobots_select_action_step_for_step(
    so100_act: ChunkBundle,
    graphs_of_act: Mapping[str, Backend],
    formulae: ModuleType,
    golden_act: Mapping[str, F64],
) -> None:
    found, ran = played_sequence(
        so100_act, graphs_of_act, formulae, ChunkSettings(mode="synchronous")
    )
    assert ran == golden_act["seq_queue_inference_steps"].tolist() == [0, 50, 100]
    np.testing.assert_allclose(found, golden_act["seq_queue_actions"], rtol=0, atol=IN_UNITS)


@pytest.mark.acceptance
def test_the_ensemble_is_lerobots(
    so100_act: ChunkBundle,
    graphs_of_act: Mapping[str, Backend],
    formulae: ModuleType,
    golden_act: Mapping[str, F64],
) -> None:
    settings = ChunkSettings(mode="ensemble", ensemble_coeff=0.01)
    found, ran = played_sequence(so100_act, graphs_of_act, formulae, settings)
    assert ran == list(range(STEPS))
    np.testing.assert_allclose(found, golden_act["seq_ensemble_actions"], rtol=0, atol=IN_UNITS)
