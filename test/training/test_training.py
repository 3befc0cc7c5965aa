# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A run from seed to files: repeatable, and the exported model is the trained function."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from rsl_rl.runners import OnPolicyRunner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from model_tools.make import unrecorded
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from robot_sim.figures import Array
from tools.train_walk import learning
from tools.train_walk.__main__ import train
from tools.train_walk.definition import load_task, load_trained_robot
from tools.train_walk.environment import Environment
from tools.train_walk.export import export, find_checkpoint, make_bundle
from tools.train_walk.layout import ACTION_SIZE, COMMAND, FRAME, Layout
from tools.train_walk.learning import (
    CALM_KL,
    FIRST_STD,
    TICKS,
    WalkEnv,
    imitate,
    mirror_action,
    mirror_obs,
    new_runner,
    start_from,
)
from tools.train_walk.reference import make_reference

LITE3, WALK = load_trained_robot("lite3"), load_task("walk")
ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "config" / "bundles" / "lite3_walk"
SMALL: dict[str, Any] = {"samples": 3 * 16 * 24, "robots": 16, "threads": 2}


def weights(runner: OnPolicyRunner) -> Array:
    values = [value.flatten() for value in runner.alg.actor.state_dict().values()]
    return np.asarray(torch.cat(values).numpy(), dtype=np.float64)


def test_a_motion_is_trained_repeatably_and_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "IMITATIONS", 10)
    robot, bow = load_trained_robot("lite3_bow"), load_task("bow")
    folders = [tmp_path / name for name in ("first", "again")]
    for folder in folders:
        folder.mkdir()
    first, again = (weights(train(robot, bow, each, seed=1, **SMALL)) for each in folders)
    np.testing.assert_array_equal(first, again)
    export(folder, FRAME)
    session = onnxruntime.InferenceSession(folder / "policy.onnx")
    assert [(value.name, value.shape) for value in session.get_inputs()] == [("obs", [1, 66])]


def beginner() -> OnPolicyRunner:
    return new_runner(Environment(LITE3, WALK, 2, seed=1), None, samples=1)


def test_the_checkpoint_of_the_examples_is_a_start() -> None:
    runner = beginner()
    start_from(runner.alg, ROOT / "examples" / "lite3_walk" / "agent.pt")
    session = onnxruntime.InferenceSession(BUNDLE / "policy.onnx")
    obs = np.random.default_rng(1).normal(size=(1, COMMAND.obs_size)).astype(np.float32)
    with torch.no_grad():
        found = runner.alg.actor.mlp(torch.from_numpy(obs)).numpy()
    np.testing.assert_allclose(found, session.run(None, {"obs": obs})[0], atol=1e-5)


def test_a_run_leaves_curves_and_a_checkpoint_and_its_model_is_the_actor(tmp_path: Path) -> None:
    runner = train(LITE3, WALK, tmp_path, seed=1, **SMALL)
    curves = EventAccumulator(str(tmp_path)).Reload()
    for name in ("Task/reward_per_s", "Task/falls_per_min", "Task/difficulty", "Task/follow_xy"):
        values = [event.value for event in curves.Scalars(name)]
        assert len(values) == 3
        assert np.isfinite(values).all()
    again = beginner()
    again.load(find_checkpoint(tmp_path))
    np.testing.assert_array_equal(weights(again), weights(runner))
    export(tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "policy.onnx")
    assert [(value.name, value.shape) for value in session.get_inputs()] == [("obs", [1, 45])]
    assert [(value.name, value.shape) for value in session.get_outputs()] == [("action", [1, 12])]
    obs = np.random.default_rng(1).normal(size=(1, COMMAND.obs_size)).astype(np.float32)
    with torch.no_grad():
        expected = runner.alg.actor.mlp(torch.from_numpy(obs)).numpy()
    np.testing.assert_allclose(session.run(None, {"obs": obs})[0], expected, atol=1e-5)


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JointBundle:
    """A run whose model is the one that ships with the suite; its bundle has a single walk."""
    every = unrecorded.walks
    monkeypatch.setattr(unrecorded, "walks", lambda *given: every(*given)[:1])
    model = (BUNDLE / "policy.onnx").read_bytes()
    (tmp_path / "policy.onnx").write_bytes(model)
    beginner().save(tmp_path / "model_0.pt")
    return make_bundle(LITE3, WALK, tmp_path, source="a test")


def test_a_run_becomes_a_bundle_that_the_product_loads(shipped: JointBundle) -> None:
    ours = load_bundle(BUNDLE, kind=JointBundle).contract
    assert shipped.path.name == "bundle"
    np.testing.assert_equal(asdict(shipped.contract.joints), asdict(ours.joints))
    for name, observation in ours.observations.items():
        np.testing.assert_equal(asdict(shipped.contract.observations[name]), asdict(observation))
    assert shipped.contract.provenance.source == "a test"
    assert shipped.contract.nominal is not None
    assert len(shipped.golden()["obs"]) == 256


COUNT = 8


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def environment(task: str = "walk") -> Environment:
    return Environment(load_trained_robot("lite3"), load_task(task), COUNT, seed=1)


@pytest.mark.parametrize("layout", [COMMAND, FRAME], ids=["command", "frame"])
def test_the_mirror_of_a_mirror_is_the_robot(layout: Layout) -> None:
    obs, action = torch.randn(4, layout.obs_size), torch.randn(4, ACTION_SIZE)
    assert torch.equal(mirror_obs(mirror_obs(obs, layout), layout), obs)
    assert torch.equal(mirror_action(mirror_action(action)), action)


def test_a_mirrored_robot_turns_and_leans_to_the_other_side() -> None:
    obs = torch.zeros(1, COMMAND.obs_size)
    obs[0, [1, 3, 6, 7, 8]] = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5])
    obs[0, 9] = 0.6  # FL_HipX, outward
    mirrored = mirror_obs(obs, COMMAND)
    assert mirrored[0, [1, 3, 6, 7, 8]].tolist() == pytest.approx([0.1, 0.2, 0.3, -0.4, -0.5])
    assert float(mirrored[0, 12]) == pytest.approx(-0.6)  # FR_HipX, outward too


@pytest.mark.parametrize(("follows", "raised"), [(0.9, WALK.difficulty_step), (0.1, 0.0)])
def test_the_difficulty_rises_only_while_robots_follow(
    follows: float, raised: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = WalkEnv(environment())

    def means(*_: object) -> dict[str, float]:
        return {"follow_xy": follows, "follow_wz": 0.9}

    monkeypatch.setattr(Environment, "means", property(means, lambda *_: None), raising=False)
    for _ in range(TICKS):
        obs, reward, dones, extras = env.step(torch.zeros(COUNT, ACTION_SIZE))
    assert env.environment.difficulty == raised
    assert obs["actor"].shape == (COUNT, COMMAND.obs_size)
    assert obs["critic"].shape == (COUNT, COMMAND.critic_size)
    assert reward.shape == dones.shape == extras["time_outs"].shape == (COUNT,)


def test_a_training_ends_calm() -> None:
    runner = new_runner(environment(), None, samples=3 * COUNT * TICKS)
    assert float(
        runner.alg.actor.distribution.log_std_param.detach().exp().mean()
    ) == pytest.approx(FIRST_STD)
    runner.learn(3)
    assert runner.alg.entropy_coef == 0.0
    assert CALM_KL < runner.alg.desired_kl < 0.02
    assert float(runner.alg.actor.distribution.log_std_param.detach().exp().max()) <= 0.0801


def test_a_beginner_of_a_motion_asks_for_its_frames_and_beyond_what_is_missing() -> None:
    robot = load_trained_robot("lite3_bow")
    frames = make_reference(robot, load_task("bow")).joint_pos
    actor = new_runner(environment("bow"), None, samples=1).alg.actor.mlp
    imitate(actor, frames, robot.pose_rad, robot.scale_rad)
    obs = torch.zeros(2, FRAME.obs_size)
    frame = torch.tensor(frames[70], dtype=torch.float32)
    pose, scale = torch.tensor(robot.pose_rad), torch.tensor(robot.scale_rad)
    obs[:, 6:18], obs[:, 30:42] = frame, frame - pose
    obs[1, 30:42] += 0.1
    with torch.no_grad():
        targets = pose + actor(obs) * scale
    assert float((targets[0] - frame).abs().max()) < 0.05
    assert float((targets[1] - (frame - 0.1)).abs().max()) < 0.05
