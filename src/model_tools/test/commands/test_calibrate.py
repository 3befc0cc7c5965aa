# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command `model_tools calibrate`: its sources, what it shows, and what it refuses."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model_tools import cli
from model_tools.files.row_files import read_rows
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from testkit.wording import check_wording, lines_with

from ..small_bag import every, joint_states, write_bag
from ..tiny_bundle import forward, observations, weights

ENVIRONMENT = """
import numpy as np

class Env:
    def __init__(self):
        self.random = np.random.default_rng(0)
    def reset(self, seed=None):
        if seed is not None:
            self.random = np.random.default_rng(seed)
        return self.observe(np.zeros(2)), {}
    def step(self, action):
        return self.observe(action), 1.0, self.random.uniform() < 0.1, False, {}
    def observe(self, action):
        return np.append(self.random.uniform(-1, 1, 4), action)

def still():
    env = Env()
    env.random = None
    env.reset = lambda seed=None: np.zeros(6)
    env.step = lambda action: (np.append(np.zeros(4), action), 0.0, False, {})
    return env

class Users:
    def __init__(self, obs_dim, act_dim):
        self.sizes = obs_dim, act_dim
    def act(self, obs):
        assert obs.shape == (self.sizes[0],)
        return 0.25 * np.ones(self.sizes[1])
"""
Run = Callable[..., int]


@pytest.fixture
def calibrate_tiny(users_folder: Callable[[str], None]) -> Run:
    """Runs the command in a folder with the bundle `tiny` and the module `our_env`."""
    users_folder(ENVIRONMENT)
    return lambda *args: cli.main(
        ["calibrate", "--bundle", "tiny", "--output", "calib.npz", *map(str, args)]
    )


def only(caplog: pytest.LogCaptureFixture) -> None:
    """Check that there is one error, and that nothing was written."""
    [error] = [entry for entry in caplog.records if entry.levelno == logging.ERROR]
    check_wording(error.getMessage())
    left = {file.name for file in Path().iterdir()}
    assert not {name for name in left if "calib" in name or "report" in name}, left


def test_the_bundles_own_model_acts_in_an_environment(
    calibrate_tiny: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate_tiny("--env", "our_env:Env", "--samples", 600) == 0

    rows = read_rows(Path("calib.npz"), load_bundle(Path("tiny"), kind=JointBundle))
    assert len(rows) == 600
    assert len(rows.breaks) > 10
    obs, actions = (
        np.asarray(array, np.float32) for array in (rows.inputs["obs"], rows.outputs["actions"])
    )
    np.testing.assert_allclose(actions, forward(obs, weights()), atol=1e-6)
    shown = capsys.readouterr().out
    check_wording(*lines_with(shown, "600"), *lines_with(shown, "usable"))


def test_a_policy_of_the_user_acts_in_the_models_place(calibrate_tiny: Run) -> None:
    assert (
        calibrate_tiny("--env", "our_env:Env", "--policy", "our_env:Users", "--samples", 200) == 0
    )

    with np.load("calib.npz") as rows:
        follow = np.diff(rows["episode"]) == 0
        np.testing.assert_array_equal(rows["obs"][1:, 4:][follow], np.float32(0.25))
        np.testing.assert_allclose(rows["actions"], forward(rows["obs"], weights()), atol=1e-6)
    assert len(read_rows(Path("calib.npz"), load_bundle(Path("tiny"), kind=JointBundle))) == 200


def test_recordings_and_files_make_one_collection(calibrate_tiny: Run, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", joint_states(every(20, 0, 2000), topic="/robot/joints"))
    obs = observations(100)
    np.savez(tmp_path / "log.npz", obs=obs, actions=forward(obs, weights()))
    source = ("--bag", bag, "--topic", "joint_states=/robot/joints", "--allow-poor")

    assert calibrate_tiny(*source, "--rows", "log.npz", "--samples", "all") == 0

    with np.load("calib.npz") as rows:
        assert len(rows["obs"]) > 190
        assert "joint_pos" not in rows
        np.testing.assert_array_equal(rows["obs"][-100:], obs)

    assert calibrate_tiny(*source, "--from", 0.5, "--to", 1.0, "--force") == 0
    with np.load("calib.npz") as rows:
        assert (rows["time"].min(), rows["time"].max()) == pytest.approx((0.5, 1.0))


def test_what_was_written_is_read_again_inspected_and_compiled_with(
    calibrate_tiny: Run, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert calibrate_tiny("--env", "our_env:Env", "--samples", 100) == 0
    capsys.readouterr()
    assert cli.main(["inspect", "calib.npz"]) == 0
    shown = capsys.readouterr().out
    check_wording(*lines_with(shown, "our_env"), *lines_with(shown, "usable"))

    less = "calibrate --bundle tiny --rows calib.npz --output less.npz --samples 64 --allow-poor"
    assert cli.main(less.split()) == 0
    with np.load("less.npz") as rows:
        assert len(rows["obs"]) == 64

    compiled = "compile onnx --bundle tiny --precision int8 --rows calib.npz --output"
    assert cli.main([*compiled.split(), "int8"]) == 0
    check_wording(*lines_with(caplog.messages, "calib.npz: "))
    caplog.clear()
    contract = Path("tiny/policy.yaml")
    contract.write_text(contract.read_text("utf-8").replace("name: tiny", "name: other"), "utf-8")
    assert cli.main([*compiled.split(), "other"]) == 0
    check_wording(*lines_with(caplog.messages, "not for other"))


def test_rows_that_show_nothing_of_the_robot_fail_with_the_status_of_a_verdict(
    calibrate_tiny: Run, caplog: pytest.LogCaptureFixture
) -> None:
    asked = ("--env", "our_env:still", "--samples", "100", "--policy", "our_env:Users")
    assert calibrate_tiny(*asked) == 1
    only(caplog)


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("--policy", "our_env:Users"),
        ("--rows", "log.npz", "--topic", "a=/b"),
        ("--rows", "log.npz", "--duration", "3"),
        ("--live", "--duration", "nan"),
        ("--env", "our_env:Env", "--samples", "all"),
        ("--env", "our_env:Env", "--to", "3"),
        ("--rows", "missing.npz"),
        ("--bag", "tiny"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(
    calibrate_tiny: Run, caplog: pytest.LogCaptureFixture, args: tuple[str, ...]
) -> None:
    assert calibrate_tiny(*args) == 4
    only(caplog)
