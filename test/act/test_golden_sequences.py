# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint of LeRobot runs here as it runs there: the numbers are LeRobot's own.

From images and positions in rad to positions in rad, through the exported bundle, the queue and
its modes. Tolerances are those that come with the numbers.
"""

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from model_tools.make.act.act_contract import ActRequest
from model_tools.make.act.act_export import export_checkpoint
from policy_inference.backends.registry import open_models
from policy_inference.bundle.bundle import ChunkBundle
from policy_inference.bundle.load import load_bundle
from policy_inference.core.chunks.controller import ChunkRuntime, chunk_controller, worker_of
from policy_inference.core.chunks.graphs import ChunkGraphs, ChunkObservation, Inference
from policy_inference.core.chunks.normalise import Units
from policy_inference.core.chunks.settings import ChunkSettings
from policy_inference.core.images import Image, frame_of
from policy_inference.core.limits import StricterLimits, limits_in_force
from policy_inference.interfaces import F64, Backend

pytestmark = pytest.mark.real_data
PERIOD_NS = 33_333_333
IN_UNITS, NORMALISED, FEATURES = 3e-4, 1e-6, 1e-5
SEQUENCE_SEED, STEPS = 7, 120


@pytest.fixture(scope="module")
def act(shared_data: Path) -> Path:
    return shared_data / "act"


@pytest.fixture(scope="module")
def golden(act: Path) -> Mapping[str, "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"]:
    with np.load(act / "golden.npz") as arrays:
        return {name: arrays[name].astype(np.float64) for name in arrays}


@pytest.fixture(scope="module")
def inputs(act: Path) -> ModuleType:
    """The formulae of the observations."""
    spec = importlib.util.spec_from_file_location("act_inputs", act / "inputs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bundle(act: Path, tmp_path_factory: pytest.TempPathFactory) -> ChunkBundle:
    folder = tmp_path_factory.mktemp("act") / "so100"
    export_checkpoint(
        ActRequest(
            checkpoint=act / "so100_new",
            output=folder,
            robot="so100",
            units="degrees",
            rate_hz=30.0,
            name="so100",
        )
    )
    return load_bundle(folder, kind=ChunkBundle)


@pytest.fixture(scope="module")
def backends(bundle: ChunkBundle) -> Iterator[Mapping[str, Backend]]:
    with open_models(bundle.models, ["onnx"]) as opened:
        yield opened


def images(inputs: ModuleType, seed: int, step: int = 0) -> dict[str, Image]:
    return {name: inputs.image(place, seed, step) for place, name in enumerate(("laptop", "phone"))}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_inputs_features_and_chunks_are_lerobots(
    bundle: ChunkBundle,
    backends: Mapping[str, Backend],
    inputs: ModuleType,
    golden: Mapping[str, F64],
    seed: int,
) -> None:
    graphs = ChunkGraphs(bundle.contract, backends)
    shown = images(inputs, seed)
    graphs.write(ChunkObservation(images=shown, state=golden[f"s{seed}_state"]))
    policy = backends[f"graphs.{bundle.contract.policy_graph}"]
    state = bundle.contract.state
    assert state is not None
    found = policy.inputs[state.tensor].astype(np.float64)
    np.testing.assert_allclose(found, golden[f"s{seed}_state_norm"], rtol=0, atol=NORMALISED)
    for name, camera in bundle.contract.cameras.items():
        features = golden[f"s{seed}_{name}_features"]
        found = policy.inputs[camera.tensor].astype(np.float64)
        assert np.abs(found - features).max() <= FEATURES * np.abs(features).max()
    np.testing.assert_allclose(graphs.predict(), golden[f"s{seed}_chunk"][0], rtol=0, atol=IN_UNITS)


def test_the_last_camera_leaves_its_normalised_image(
    bundle: ChunkBundle,
    backends: Mapping[str, Backend],
    inputs: ModuleType,
    golden: Mapping[str, F64],
) -> None:
    ChunkGraphs(bundle.contract, backends).write(
        ChunkObservation(images=images(inputs, 0), state=golden["s0_state"])
    )
    encoder = bundle.contract.cameras["phone"].encoder
    (shown,) = backends[f"graphs.{encoder}"].inputs.values()
    found = shown[0].astype(np.float64)
    np.testing.assert_allclose(
        found[:, ::16, ::16], golden["s0_phone_norm_sub16"], rtol=0, atol=NORMALISED
    )
    np.testing.assert_allclose(found.mean(axis=(1, 2)), golden["s0_phone_norm_mean"], atol=1e-5)


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
            worker_of(Inference(contract, backends).answer, self._clock, settings, inline=True),
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
            buffer.add(frame_of(message, buffer.camera), self._now_ns)
        assert self._policy.infer()
        return self._units.of_rad(self._policy.commit())

    @property
    def inferences(self) -> int:
        return self._policy.latency.count


def played(
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
        actions.append(playing.step(images(inputs, SEQUENCE_SEED, step), state))
        ran += [step] * (playing.inferences - before)
    return np.array(actions), ran


def test_synchronous_is_lerobots_select_action_step_for_step(
    bundle: ChunkBundle,
    backends: Mapping[str, Backend],
    inputs: ModuleType,
    golden: Mapping[str, F64],
) -> None:
    found, ran = played(bundle, backends, inputs, ChunkSettings(mode="synchronous"))
    assert ran == golden["seq_queue_inference_steps"].tolist() == [0, 50, 100]
    np.testing.assert_allclose(found, golden["seq_queue_actions"], rtol=0, atol=IN_UNITS)


@pytest.mark.slow
def test_the_ensemble_is_lerobots(
    bundle: ChunkBundle,
    backends: Mapping[str, Backend],
    inputs: ModuleType,
    golden: Mapping[str, F64],
) -> None:
    settings = ChunkSettings(mode="ensemble", ensemble_coeff=0.01)
    found, ran = played(bundle, backends, inputs, settings)
    assert ran == list(range(STEPS))
    np.testing.assert_allclose(found, golden["seq_ensemble_actions"], rtol=0, atol=IN_UNITS)


def test_exchanged_cameras_are_seen(
    bundle: ChunkBundle,
    backends: Mapping[str, Backend],
    inputs: ModuleType,
    golden: Mapping[str, F64],
) -> None:
    graphs, shown = ChunkGraphs(bundle.contract, backends), images(inputs, 0)
    swapped = {"laptop": shown["phone"], "phone": shown["laptop"]}
    found = graphs.run(ChunkObservation(images=swapped, state=golden["s0_state"]))
    assert np.abs(found - golden["s0_chunk"][0]).max() > 100 * IN_UNITS
