# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The loop: what the model is fed with, what acts, what the reference is asked, what is saved."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools.errors import ToolError
from model_tools.files.row_files import read_rows
from model_tools.prove.local_loop.environment import UsersEnvironment
from model_tools.prove.local_loop.loop import Rollout, input_sizes, roll_out
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_inference.backends.registry import open_backend
from testkit.wording import refusal

from ...tiny_bundle import forward, make_bundle, sha256, weights
from .environments import OBS, Gymnasium

MEAN, STD, FLOOR = np.linspace(-0.2, 0.3, 6), np.array([0.1, 0.2, 0.5, 1.0, 2.0, 1e-9]), 0.05
VENDORS = Path(__file__).resolve().parents[5] / "config" / "bundles" / "lite3_deeprobotics"
Runner = Callable[..., Rollout]


@pytest.fixture
def roll() -> Iterator[Runner]:
    """Runs a bundle in an environment."""
    with ExitStack() as opened:

        def start(
            folder: Path, environment: Any, steps: int, reference: Path | None = None
        ) -> Rollout:
            bundle = load_bundle(folder, kind=JointBundle)
            model, asked = (
                open_backend(one, ["onnx"])[0]
                for one in (bundle, load_bundle(reference or folder, kind=JointBundle))
            )
            opened.callback(model.close)
            opened.callback(asked.close)
            env = UsersEnvironment("envs:make", environment, input_sizes(bundle.contract))
            return roll_out(env, bundle, model, asked, range(steps))

        yield start


def showing_rows(folder: Path, **given: Any) -> Path:
    """Make a bundle that sees whatever rows there are: without the action of the step before."""
    return make_bundle(folder, last="{term: external, topic: extra, size: 2}", **given)


def normalised(folder: Path) -> Path:
    showing_rows(folder)
    np.savez(folder / "stats.npz", mean=MEAN, std=STD)
    file = folder / "policy.yaml"
    entry = (
        f"clip: 0.8, normalisation: {{file: stats.npz, sha256: {sha256(folder / 'stats.npz')}"
        f", std_floor: {FLOOR}, clip: 1.5}}"
    )
    file.write_text(file.read_text().replace("{obs: {terms:", f"{{obs: {{{entry}, terms:"), "utf-8")
    return folder


def test_the_model_acts_on_what_the_environment_shows(tmp_path: Path, roll: Runner) -> None:
    environment = Gymnasium(length=100)

    rollout = roll(showing_rows(tmp_path / "tiny"), environment, 10)

    np.testing.assert_array_equal(rollout.tensors["obs"], OBS[:10])
    np.testing.assert_allclose(environment.actions, forward(OBS[:10], weights()), atol=1e-6)
    np.testing.assert_array_equal(rollout.acted, environment.actions)
    assert {(action.shape, action.dtype.name) for action in environment.actions} == {
        ((2,), "float32")
    }


def test_observations_are_normalised_as_the_bundle_states(tmp_path: Path, roll: Runner) -> None:
    rollout = roll(normalised(tmp_path / "tiny"), Gymnasium(), 30)

    showing_rows = np.concatenate([OBS[i : i + 4] for i in range(0, 45, 5)])[:30].astype(np.float64)
    by_hand = (np.clip(showing_rows, -0.8, 0.8) - MEAN) / np.maximum(STD, FLOOR)
    assert abs(by_hand).max() > 1.5
    np.testing.assert_array_equal(
        rollout.tensors["obs"], np.clip(by_hand, -1.5, 1.5).astype(np.float32)
    )


def test_episodes_are_counted_and_begun_again_only_where_they_go_on(
    tmp_path: Path, roll: Runner
) -> None:
    environment = Gymnasium(length=4)

    rollout = roll(showing_rows(tmp_path / "tiny"), environment, 8)

    assert environment.resets == 2
    assert rollout.episode.tolist() == [0] * 4 + [1] * 4
    assert rollout.reward.tolist() == [1, 2, 3, 4] * 2


def test_recurrent_states_start_at_zero_in_each_episode(tmp_path: Path, roll: Runner) -> None:
    rollout = roll(showing_rows(tmp_path / "tiny", recurrent=True), Gymnasium(length=3), 6)

    states = rollout.tensors["h_in"]
    np.testing.assert_array_equal(states[[0, 3]], 0.0)
    np.testing.assert_array_equal(states[[1, 2, 4, 5]], rollout.tensors["h_out"][[0, 1, 3, 4]])
    assert abs(states[[1, 2, 4, 5]]).min() > 0.0


def test_the_reference_sees_the_same_keeps_its_own_state_and_does_not_act(
    tmp_path: Path, roll: Runner
) -> None:
    def shift(arrays: dict[str, Any]) -> None:
        arrays["b1"][1] += 0.5

    shifted = showing_rows(tmp_path / "shifted", edit=shift, recurrent=True)
    environment = Gymnasium(length=3)
    rollout = roll(shifted, environment, 6, showing_rows(tmp_path / "tiny", recurrent=True))

    np.testing.assert_array_equal(environment.actions, rollout.acted)
    error = np.subtract(environment.actions, rollout.tensors["actions"], dtype=np.float64)
    np.testing.assert_allclose(error[:, 0], 0.0, atol=1e-6)
    np.testing.assert_allclose(error[:, 1], [0.5, 0.75, 0.875] * 2, atol=1e-6)


def test_a_model_that_gives_no_finite_output_does_not_act(tmp_path: Path, roll: Runner) -> None:
    def spoil(arrays: dict[str, Any]) -> None:
        arrays["b1"][1] = np.nan

    environment = Gymnasium()
    with refusal(ToolError):
        roll(showing_rows(tmp_path / "tiny", edit=spoil), environment, 4)
    assert not environment.actions


def test_saved_rows_are_those_of_the_reference_and_can_be_read(
    tmp_path: Path, roll: Runner
) -> None:
    folder = showing_rows(tmp_path / "tiny", recurrent=True)
    rollout = roll(folder, Gymnasium(), 9)

    rollout.save(tmp_path / "rollout.npz")

    rows = read_rows(tmp_path / "rollout.npz", load_bundle(folder, kind=JointBundle))
    assert list(rows.inputs) == ["obs", "h_in"]
    for name, array in {**rows.inputs, **rows.outputs}.items():
        np.testing.assert_array_equal(array, rollout.tensors[name])
    with np.load(tmp_path / "rollout.npz") as saved:
        assert saved["episode"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2]
        np.testing.assert_array_equal(saved["acted"], rollout.acted)


@pytest.mark.real_data
def test_a_recorded_rollout_is_acted_again(shared_data: Path, tmp_path: Path, roll: Runner) -> None:
    lite3, folder = shared_data / "legged" / "lite3", tmp_path / "vendors"
    shutil.copytree(VENDORS, folder)
    shutil.copy(lite3 / "policy.onnx", folder)
    with np.load(lite3 / "rollout_50hz.npz") as recorded:
        obs, actions = recorded["obs"], recorded["action"]

    rollout = roll(folder, Gymnasium(length=1000, rows=obs), 512)

    np.testing.assert_allclose(rollout.acted, actions[:512], atol=1e-5)
