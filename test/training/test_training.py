# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A run from seed to files: repeatable, and the exported model is the trained function."""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.errors import PolicyError
from robot_sim.figures import Array
from tools.train_walk.__main__ import main, train
from tools.train_walk.definition import load_task, load_trained_robot
from tools.train_walk.export import export, make_bundle, save
from tools.train_walk.layout import COMMAND, FRAME
from tools.train_walk.ppo import Agent

LITE3, WALK = load_trained_robot("lite3"), load_task("walk")
BUNDLE = Path(__file__).resolve().parents[2] / "config" / "bundles" / "lite3_walk"
SMALL: dict[str, Any] = {"samples": 3 * 16 * 24, "robots": 16, "threads": 2}


def weights(agent: Agent) -> Array:
    values = [value.flatten() for value in agent.state_dict().values()]
    return np.asarray(torch.cat(values).numpy(), dtype=np.float64)


def run(folder: Path, seed: int, robot: str = "lite3") -> Agent:
    folder.mkdir()
    return train(load_trained_robot(robot), WALK, folder, seed=seed, **SMALL)


@pytest.mark.parametrize("robot", ["lite3", "go2"])
def test_the_same_seed_gives_the_same_policy(robot: str, tmp_path: Path) -> None:
    first, again, other = (
        weights(run(tmp_path / name, seed, robot)) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


def test_a_motion_is_trained_repeatably_and_exported(tmp_path: Path) -> None:
    robot, bow = load_trained_robot("lite3_bow"), load_task("bow")
    folders = [tmp_path / name for name in ("first", "again")]
    for folder in folders:
        folder.mkdir()
    first, again = (weights(train(robot, bow, each, seed=1, **SMALL)) for each in folders)
    np.testing.assert_array_equal(first, again)
    export(folder, FRAME)
    session = onnxruntime.InferenceSession(folder / "policy.onnx")
    assert [(value.name, value.shape) for value in session.get_inputs()] == [("obs", [1, 66])]


def test_a_training_can_start_from_another_one(tmp_path: Path) -> None:
    first = run(tmp_path / "first", 1)
    folder = tmp_path / "second"
    folder.mkdir()
    start = tmp_path / "first" / "agent.pt"
    second = train(LITE3, WALK, folder, seed=2, start=start, **SMALL)
    # Three updates do not lead as far away as another beginning does.
    other = run(tmp_path / "other", 2)
    near = np.abs(weights(second) - weights(first)).mean()
    assert near < 0.5 * np.abs(weights(other) - weights(first)).mean()


def test_a_start_that_is_no_checkpoint_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "agent.pt").write_bytes(b"nothing of the kind")
    words = ["--output", str(tmp_path / "run"), "--samples", "1", "--robots", "8"]
    assert main([*words, "--start", str(tmp_path / "agent.pt")]) == 1
    assert "agent.pt: expected the agent.pt of a training, found:" in caplog.text


def test_a_run_leaves_a_curve_and_a_checkpoint(tmp_path: Path) -> None:
    agent = run(tmp_path / "run", 1)
    with (tmp_path / "run" / "curve.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["samples"]) == SMALL["samples"]
    assert all(np.isfinite(float(value)) for row in rows for value in row.values())
    assert (tmp_path / "run" / "curve.png").stat().st_size > 10_000
    again = Agent()
    again.load_state_dict(torch.load(tmp_path / "run" / "agent.pt", weights_only=True))
    np.testing.assert_array_equal(weights(again), weights(agent))


def test_a_folder_with_results_is_not_trained_into(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "run").mkdir()
    assert main(["--output", str(tmp_path / "run"), "--samples", "1", "--robots", "8"]) == 1
    assert "expected no such folder yet, found one" in caplog.text
    assert not list((tmp_path / "run").iterdir())


@pytest.mark.parametrize(
    ("argument", "words"),
    [("--robot", "robots/tail.yaml"), ("--task", "tasks/tail.yaml"), ("--robot", "go2, lite3")],
)
def test_a_robot_or_task_that_is_not_there_is_refused_with_those_that_are(
    argument: str, words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["--output", str(tmp_path / "run"), argument, "tail"]) == 1
    assert words in caplog.text
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("samples", ["0", "-5", "many", "nan"])
def test_a_budget_that_is_none_is_refused(
    samples: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--output", str(tmp_path / "run"), "--samples", samples])
    assert f"expected a positive number, found '{samples}'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_interrupted_run_says_where_its_results_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tools.train_walk.__main__.export", interrupt)
    assert main(["--output", str(tmp_path / "run"), "--samples", "1", "--robots", "8"]) == 130
    assert "interrupted; what there is so far is in" in caplog.text
    assert (tmp_path / "run" / "agent.pt").is_file()


def checkpoint_of(agent: Agent, run: Path) -> Path:
    """Make a run folder as training leaves it before the export."""
    save(agent, run / "agent.pt")
    return run


def test_the_exported_model_is_the_agent(tmp_path: Path) -> None:
    torch.manual_seed(1)
    agent = Agent()
    export(checkpoint_of(agent, tmp_path))
    session = onnxruntime.InferenceSession(tmp_path / "policy.onnx")
    assert [(value.name, value.shape) for value in session.get_inputs()] == [("obs", [1, 45])]
    assert [(value.name, value.shape) for value in session.get_outputs()] == [("action", [1, 12])]
    obs = np.random.default_rng(1).normal(size=(1, COMMAND.obs_size)).astype(np.float32)
    with torch.no_grad():
        expected = agent.actor(torch.from_numpy(obs)).numpy()
    np.testing.assert_allclose(session.run(None, {"obs": obs})[0], expected, atol=1e-5)


@pytest.fixture
def shipped(tmp_path: Path) -> JointBundle:
    """A run whose model is the one that ships with the suite."""
    model = (BUNDLE / "policy.onnx").read_bytes()
    (tmp_path / "policy.onnx").write_bytes(model)
    checkpoint_of(Agent(), tmp_path)
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


def test_a_policy_that_does_not_stand_does_not_become_a_bundle(tmp_path: Path) -> None:
    agent = Agent()
    with torch.no_grad():
        agent.actor[-1].bias.add_(torch.tensor([0.0, 6.0, 6.0] * 4))
    export(checkpoint_of(agent, tmp_path))
    with pytest.raises(PolicyError, match="healthy"):
        make_bundle(LITE3, WALK, tmp_path, source="a test")
    assert not (tmp_path / "bundle").exists()
