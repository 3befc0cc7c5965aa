# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command `model_tools calibrate`: its sources, what it shows, and what it refuses."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model_tools import cli
from model_tools.files.row_files import read_rows
from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.load import load_bundle

from ..small_bag import every, joint_states, write_bag
from ..tiny_bundle import forward, make_bundle, observations, weights

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

class OldGym(Env):
    def reset(self):
        return self.observe(np.zeros(2))
    def seed(self, seed):
        self.random = np.random.default_rng(seed)
    def step(self, action):
        return self.observe(action), 1.0, self.random.uniform() < 0.1, {}

def large():
    env = Env()
    env.observe = lambda action: np.zeros(7)
    return env

def fails():
    env = Env()
    env.step = lambda action: 1 / 0
    return env

def nan():
    env = Env()
    env.observe = lambda action: np.full(6, np.nan)
    return env

def still():
    env = Env()
    env.random = None
    env.reset = lambda seed=None: np.zeros(6)
    env.step = lambda action: (np.append(np.zeros(4), action), 0.0, False, {})
    return env

def killed():
    import os, signal
    env = Env()
    step, left = env.step, [50]
    def count(action):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), getattr(signal, os.environ["WITH"]))
        return step(action)
    env.step = count
    return env

class Users:
    def __init__(self, obs_dim, act_dim):
        self.sizes = obs_dim, act_dim
    def act(self, obs):
        assert obs.shape == (self.sizes[0],)
        return 0.25 * np.ones(self.sizes[1])

class Wrong(Users):
    def act(self, obs):
        return np.zeros(3)

class Broken(Users):
    def act(self, obs):
        raise RuntimeError("no weights")

class Mute:
    def __init__(self, obs_dim, act_dim):
        pass
"""
Run = Callable[..., int]


@pytest.fixture
def run(users_folder: Callable[[str], None]) -> Run:
    """Runs the command in a folder with the bundle `tiny` and the module `our_env`."""
    users_folder(ENVIRONMENT)
    return lambda *args: cli.main(
        ["calibrate", "--bundle", "tiny", "--output", "calib.npz", *map(str, args)]
    )


def only(text: str, caplog: pytest.LogCaptureFixture) -> None:
    """Check that the one error has the text, and that nothing was written."""
    [error] = [entry for entry in caplog.records if entry.levelno == logging.ERROR]
    assert text in error.getMessage()
    left = {file.name for file in Path().iterdir()}
    assert not {name for name in left if "calib" in name or "report" in name}, left


@pytest.mark.parametrize("env", ["Env", "OldGym"])
def test_the_bundles_own_model_acts_in_an_environment(
    run: Run, env: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--env", f"our_env:{env}", "--samples", 600) == 0

    rows = read_rows(Path("calib.npz"), load_bundle(Path("tiny"), kind=JointBundle))
    assert len(rows) == 600
    assert len(rows.breaks) > 10
    obs, actions = (
        np.asarray(array, np.float32) for array in (rows.inputs["obs"], rows.outputs["actions"])
    )
    np.testing.assert_allclose(actions, forward(obs, weights()), atol=1e-6)
    shown = capsys.readouterr().out
    assert "600, 600 different" in shown
    assert "usable" in shown


def test_a_policy_of_the_user_acts_in_the_models_place(run: Run) -> None:
    assert run("--env", "our_env:Env", "--policy", "our_env:Users", "--samples", 200) == 0

    with np.load("calib.npz") as rows:
        follow = np.diff(rows["episode"]) == 0
        np.testing.assert_array_equal(rows["obs"][1:, 4:][follow], np.float32(0.25))
        np.testing.assert_allclose(rows["actions"], forward(rows["obs"], weights()), atol=1e-6)
    assert len(read_rows(Path("calib.npz"), load_bundle(Path("tiny"), kind=JointBundle))) == 200


def test_recurrent_states_are_those_that_the_model_carries(run: Run) -> None:
    shutil.rmtree("tiny")
    make_bundle(Path("tiny"), recurrent=True)
    assert run("--env", "our_env:Env", "--samples", 200) == 0

    with np.load("calib.npz") as rows:
        goes_on = np.diff(rows["episode"]) == 0
        assert not goes_on.all()
        np.testing.assert_array_equal(rows["h_in"][1:][goes_on], rows["h_out"][:-1][goes_on])
        np.testing.assert_array_equal(rows["h_in"][1:][~goes_on], 0.0)
        assert abs(rows["h_in"]).max() > 0.0


def test_a_seed_says_which_rows(run: Run) -> None:
    env = ("--env", "our_env:Env", "--samples", 64, "--force")
    first, again, other = (
        run(*env, "--seed", seed) or Path("calib.npz").read_bytes() for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_every_other_step_of_an_environment(run: Run) -> None:
    assert run("--env", "our_env:Env", "--samples", 100, "--every", 2) == 0
    with np.load("calib.npz") as rows:
        assert np.rint(rows["time"] / 0.02).tolist() == list(range(0, 200, 2))


def test_recordings_and_files_make_one_collection(run: Run, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", joint_states(every(20, 0, 2000)))
    obs = observations(100)
    np.savez(tmp_path / "log.npz", obs=obs, actions=forward(obs, weights()))

    assert run("--bag", bag, "--rows", "log.npz", "--samples", "all", "--allow-poor") == 0

    with np.load("calib.npz") as rows:
        assert len(rows["obs"]) > 190
        assert "joint_pos" not in rows
        np.testing.assert_array_equal(rows["obs"][-100:], obs)


def test_another_topic_of_a_recording(run: Run, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", joint_states(every(20, 0, 2000), topic="/robot/joints"))
    args = ("--bag", bag, "--allow-poor", "--topic", "joint_states=/robot/joints")
    assert run(*args, "--from", 0.5, "--to", 1.0) == 0
    with np.load("calib.npz") as rows:
        assert (rows["time"].min(), rows["time"].max()) == pytest.approx((0.5, 1.0))


def test_what_calibrate_wrote_it_reads(run: Run) -> None:
    run("--env", "our_env:Env", "--samples", 600)
    assert (
        cli.main(
            [
                "calibrate",
                "--bundle",
                "tiny",
                "--rows",
                "calib.npz",
                "--output",
                "less.npz",
                "--samples",
                "64",
            ]
        )
        == 0
    )
    with np.load("less.npz") as rows:
        assert len(rows["obs"]) == 64


def test_inspect_and_compile_repeat_the_verdict(
    run: Run, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert run("--env", "our_env:Env", "--samples", 100) == 0
    capsys.readouterr()
    assert cli.main(["inspect", "calib.npz"]) == 0

    shown = capsys.readouterr().out
    assert "rows to calibrate with" in shown
    assert "our_env:Env, for tiny" in shown
    assert "usable, with gaps" in shown
    assert "100 different rows" in shown

    assert (
        cli.main(
            [
                "compile",
                "onnx",
                "--bundle",
                "tiny",
                "--precision",
                "int8",
                "--rows",
                "calib.npz",
                "--output",
                "int8",
            ]
        )
        == 0
    )
    assert "calib.npz: 100 different rows" in caplog.text
    assert "not for" not in caplog.text


def test_compile_says_that_rows_were_made_for_another_bundle(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    assert run("--env", "our_env:Env", "--samples", 600) == 0
    contract = Path("tiny/policy.yaml")
    contract.write_text(contract.read_text("utf-8").replace("name: tiny", "name: other"), "utf-8")

    assert (
        cli.main(
            [
                "compile",
                "onnx",
                "--bundle",
                "tiny",
                "--precision",
                "int8",
                "--rows",
                "calib.npz",
                "--output",
                "int8",
            ]
        )
        == 0
    )
    assert "calib.npz: rows for tiny, not for other" in caplog.text


def test_an_environment_that_stands_still_is_refused(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    assert run("--env", "our_env:still", "--samples", 100, "--policy", "our_env:Users") == 1
    only("joint_vel never changes: the recording lacks it, or nothing moved", caplog)


@pytest.mark.parametrize(
    ("env", "found"),
    [
        (
            "large",
            "our_env:large: reset: obs: expected 6 values, as the model's input, found an array "
            "[7]",
        ),
        ("fails", "our_env:fails: step 0: ZeroDivisionError"),
        ("nan", "our_env:nan: reset: obs: expected finite values, found nan at [0]"),
        ("nothing", "our_env:nothing: expected a function nothing in our_env, found none"),
    ],
)
def test_an_environment_that_does_not_fit_is_one_clear_error(
    run: Run, caplog: pytest.LogCaptureFixture, env: str, found: str
) -> None:
    assert run("--env", f"our_env:{env}", "--report", "report") == 4
    only(found, caplog)


@pytest.mark.parametrize(
    ("policy", "found"),
    [
        ("Wrong", "our_env:Wrong: act: actions: expected 2 values"),
        ("Broken", "our_env:Broken: act: RuntimeError: no weights (our_env, line "),
        ("Mute", "our_env:Mute: expected a policy with act(obs), found Mute without"),
        ("nothing", "our_env:nothing: expected a function nothing in our_env, found none"),
    ],
)
def test_a_policy_that_does_not_fit_is_one_clear_error(
    run: Run, caplog: pytest.LogCaptureFixture, policy: str, found: str
) -> None:
    assert run("--env", "our_env:Env", "--policy", f"our_env:{policy}") == 4
    only(found, caplog)


@pytest.mark.parametrize(
    ("args", "found"),
    [
        ((), "expected a source of rows, found none of --bag, --live, --rows, --env"),
        (("--policy", "our_env:Users"), "--policy: expected an environment to act in"),
        (
            ("--rows", "log.npz", "--topic", "a=/b"),
            "--topic: expected a recording, --bag, or --live",
        ),
        (("--rows", "log.npz", "--duration", "3"), "--duration: expected --live, found none"),
        (("--live", "--duration", "nan"), "--duration: expected a number above 0, s, found nan"),
        (("--env", "our_env:Env", "--samples", "all"), "--env: expected a number of --samples"),
        (("--env", "our_env:Env", "--to", "3"), "--env: expected a number of --samples"),
        (("--rows", "missing.npz"), "missing.npz: expected a file or folder, found nothing"),
        (("--bag", "tiny"), "tiny: expected"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(
    run: Run, caplog: pytest.LogCaptureFixture, args: tuple[str, ...], found: str
) -> None:
    assert run(*args) == 4
    only(found, caplog)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--samples", "0"), ("--samples", "some"), ("--batch", "-1"), ("--every", "1.5")],
)
def test_numbers_that_are_none_are_refused(
    run: Run, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    with pytest.raises(SystemExit):
        run("--env", "our_env:Env", option, value)
    assert re.search(
        rf"argument {option}(/--cal-num)?: expected a whole number above 0",
        capsys.readouterr().err,
    )


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--seed", "-1", "expected a whole number from 0 on"),
        ("--batch", "1000000000", "expected at most 65536 rows"),
    ],
)
def test_numbers_that_are_out_of_range_are_refused(
    run: Run, capsys: pytest.CaptureFixture[str], option: str, value: str, expected: str
) -> None:
    with pytest.raises(SystemExit):
        run("--env", "our_env:Env", option, value)
    assert f"argument {option}: {expected}" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
@pytest.mark.parametrize("left", [0.0, 0.5, 0.95])
def test_a_half_written_file_of_rows_is_one_clear_error(
    run: Run, caplog: pytest.LogCaptureFixture, suffix: str, left: float
) -> None:
    whole = Path(f"log{suffix}")
    obs = observations(100)
    np.save(whole, obs) if suffix == ".npy" else np.savez(whole, obs=obs)
    content = whole.read_bytes()
    whole.write_bytes(content[: int(left * len(content))])

    assert run("--rows", whole) == 4

    only(f"log{suffix}: expected numpy arrays", caplog)


@pytest.mark.parametrize(
    ("arrays", "found"),
    [
        (
            {"obs": np.zeros((50, 7))},
            "log.npz: obs: expected numbers [50, 6], found float64[50, 7]",
        ),
        (
            {"obs": np.zeros((0, 6))},
            "log.npz: obs: expected numbers ['rows', 6], found float64[0, 6]",
        ),
        ({"obs": np.full((50, 6), np.nan)}, "log.npz: obs: expected finite values"),
        ({"other": np.zeros((50, 6))}, "log.npz: expected rows of the model's inputs obs"),
        (
            {"obs": np.zeros((50, 6)), "actions": np.zeros((49, 2))},
            "log.npz: actions: expected numbers [50, 2]",
        ),
    ],
)
def test_rows_of_another_kind_are_one_clear_error(
    run: Run, caplog: pytest.LogCaptureFixture, arrays: dict[str, np.ndarray], found: str
) -> None:
    np.savez("log.npz", **arrays)  # type: ignore[arg-type]  # numpy takes any of them for its own
    assert run("--rows", "log.npz") == 4
    only(found, caplog)


@pytest.mark.parametrize(("with_", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGKILL", -9)])
@pytest.mark.usefixtures("run")
def test_a_signal_leaves_nothing_under_the_final_name(with_: str, status: int) -> None:
    Path("calib.npz").write_bytes(b"old")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "model_tools",
            "calibrate",
            "--bundle",
            "tiny",
            "--env",
            "our_env:killed",
            "--output",
            "calib.npz",
            "--force",
            "--report",
            "report",
        ],
        env=os.environ | {"WITH": with_},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == status, done.stderr
    assert Path("calib.npz").read_bytes() == b"old"
    assert not Path("report").exists()
    if with_ != "SIGKILL":
        assert "interrupted; nothing was left half-written" in done.stderr
        assert {file.name for file in Path().iterdir()} <= {
            "tiny",
            "our_env.py",
            "calib.npz",
            "__pycache__",
        }
