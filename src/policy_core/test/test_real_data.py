# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Recorded robots: the same sensors give the recorded observations and actions."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import F32
from policy_core.members.joint import JointPolicy
from policy_core.observation.state import RobotState
from policy_inference.backends.onnx import OnnxBackend

pytestmark = pytest.mark.real_data

TOLERANCE = 1e-5
SELF_FED_ROWS = 1700
"""Afterwards differences of single bits grow in the recorded gaits, as its sources say."""
ROOT = Path(__file__).parents[3]
XYZW_OF_WXYZ = (1, 2, 3, 0)

Recording = Mapping[str, np.ndarray[Any, np.dtype[Any]]]


class Replay:
    def __init__(self, contract: Path, weights: Path, folder: Path) -> None:
        shutil.copy(contract, folder / "policy.yaml")
        shutil.copy(weights, folder / "policy.onnx")
        bundle = load_bundle(folder, kind=JointBundle)
        model = bundle.contract.model
        self.names = bundle.contract.joints.names
        self.backend = OnnxBackend(
            bundle.artifact("onnx")[1], model.input_specs, model.output_specs
        )
        self.state = RobotState(bundle.contract)
        self.policy = JointPolicy(bundle, self.backend, self.state)

    def sense(self, recording: Recording, row: int) -> None:
        for field, key in (
            ("joint_pos", "joint_pos"),
            ("joint_vel", "joint_vel"),
            ("ang_vel_body", "ang_vel_body"),
            ("velocity_command", "command"),
        ):
            self.state[field][:] = recording[key][row]
        self.state["quat_xyzw"][:] = recording["quat_wxyz"][row, XYZW_OF_WXYZ]

    def step(self) -> tuple[F32, F32]:
        self.state.derive()
        assert self.policy.infer()
        self.policy.commit()
        return (
            self.backend.inputs["obs"][0].astype(np.float32),
            self.backend.outputs["actions"][0].astype(np.float32),
        )


@pytest.fixture
def lite3_folder(shared_data: Path) -> Path:
    return shared_data / "legged" / "lite3"


@pytest.fixture
def go2_folder(shared_data: Path) -> Path:
    return shared_data / "legged" / "go2_isaaclab"


@pytest.fixture
def lite3_replay(lite3_folder: Path, tmp_path: Path) -> Iterator[Replay]:
    contract = ROOT / "config" / "bundles" / "lite3_deeprobotics" / "policy.yaml"
    replay = Replay(contract, lite3_folder / "policy.onnx", tmp_path)
    yield replay
    replay.backend.close()


@pytest.fixture
def go2_replay(go2_folder: Path, tmp_path: Path) -> Iterator[Replay]:
    contract = Path(__file__).parent / "data" / "go2.yaml"
    replay = Replay(contract, go2_folder / "policy.onnx", tmp_path)
    yield replay
    replay.backend.close()


def test_every_row_of_the_lite3_rollout_is_rebuilt_from_its_sensors(
    lite3_folder: Path, lite3_replay: Replay
) -> None:
    recording = dict(np.load(lite3_folder / "rollout_50hz.npz"))
    assert tuple(recording["joint_names"]) == lite3_replay.names
    observations, actions = [], []
    for row in range(len(recording["time"])):
        lite3_replay.sense(recording, row)
        lite3_replay.state["last_action"][:] = recording["action"][row - 1] if row else 0.0
        observation, action = lite3_replay.step()
        observations.append(observation)
        actions.append(action)
    np.testing.assert_allclose(observations, recording["obs"], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(actions, recording["action"], rtol=0, atol=TOLERANCE)


def test_the_lite3_policy_feeding_itself_stays_on_the_recorded_actions(
    lite3_folder: Path, lite3_replay: Replay
) -> None:
    recording = dict(np.load(lite3_folder / "rollout_50hz.npz"))
    actions = []
    lite3_replay.policy.reset()
    for row in range(SELF_FED_ROWS + 1):
        lite3_replay.sense(recording, row)
        actions.append(lite3_replay.step()[1])
    expected = recording["action"][: SELF_FED_ROWS + 1]
    np.testing.assert_allclose(actions, expected, rtol=0, atol=2 * TOLERANCE)


def test_the_go2_s_golden_rows_are_rebuilt_from_their_sensors(
    go2_folder: Path, go2_replay: Replay
) -> None:
    recording = dict(np.load(go2_folder / "golden.npz"))
    assert tuple(recording["joint_names"]) == go2_replay.names
    for row, (expected_obs, expected) in enumerate(
        zip(recording["obs"], recording["actions"], strict=True)
    ):
        go2_replay.sense(recording, row)
        # The rows do not follow each other in time: each has its own previous action.
        go2_replay.state["last_action"][:] = expected_obs[-12:]
        observation, action = go2_replay.step()
        np.testing.assert_allclose(observation, expected_obs, rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(action, expected, rtol=0, atol=TOLERANCE)
