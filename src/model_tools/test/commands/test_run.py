# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command `model_tools run`: what it shows, returns, writes, and refuses before it starts."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools import cli
from testkit.numbers import numbers_in
from testkit.wording import check_wording

from ..tiny_bundle import again, make_bundle

Run = Callable[..., int]


@pytest.fixture
def run_policy(users_folder: Callable[[], None]) -> Run:
    """Runs the command in a folder with the bundle `tiny` and the module `our_env`."""
    users_folder()
    return lambda *args, env="our_env:Env": cli.main(["run", "--env", env, *map(str, args)])


def offset_knee(arrays: dict[str, Any]) -> None:
    arrays["b1"][1] += 0.5


def shown_table(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    lines = capsys.readouterr().out.splitlines()
    return {line[:22].strip(): line[22:].strip() for line in lines}


MEAN = "mean absolute error"


def test_a_model_that_differs_from_the_reference_fails_and_says_where(
    run_policy: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_bundle(tmp_path / "shifted", edit=offset_knee)

    assert run_policy("shifted", "--reference", "tiny", "--steps", 20) == 1

    table = shown_table(capsys)
    check_wording(*(table[key] for key in ("compared with", "largest error", MEAN)))
    assert numbers_in(table[MEAN])[0] == 0.25


def test_what_is_written_calibrates_and_compares(run_policy: Run, tmp_path: Path) -> None:
    again(tmp_path / "tiny", tmp_path / "same")
    assert run_policy("tiny", "--steps", 80, "--output", "rollout.npz") == 0
    assert Path("closed").exists()

    compiled = "compile onnx --bundle tiny --precision int8 --rows rollout.npz --output int8"
    assert cli.main(compiled.split()) == 0
    assert cli.main(["compare", "tiny", "same", "--rows", "rollout.npz"]) == 0
    assert run_policy("int8", "--reference", "tiny", "--steps", 64, "--output", "second.npz") == 0
    # What the reference said is what others are held against, whichever of them acted.
    assert cli.main(["compare", "tiny", "same", "--rows", "second.npz"]) == 0
    with np.load("second.npz") as rows:
        assert 0.0 < abs(rows["acted"] - rows["actions"]).max() < 0.1


@pytest.mark.parametrize(
    "args",
    [
        ["tiny", "--steps", "0"],
        ["tiny", "--output", "our_env.py"],
        ["absent"],
        ["tiny", "--backend", "rknn"],
        ["tiny", "--reference", "recurrent"],
    ],
)
def test_what_cannot_run_is_refused_before_the_environment_is_made(
    run_policy: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture, args: list[str]
) -> None:
    make_bundle(tmp_path / "recurrent", recurrent=True)

    assert run_policy(*args) == 4

    check_wording(caplog.messages[-1])
    assert "our_env" not in sys.modules
