# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Environments of either API: what is taken from them, and what is refused in which words."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools.errors import ToolError
from model_tools.prove.local_loop.environment import UsersEnvironment, opened
from testkit.wording import check_wording, refusal

from .environments import OBS, SIZES, Gymnasium, OldGym, Rows

ACTION = np.zeros(2, np.float32)


def users_environment(environment: Any, **sizes: int) -> UsersEnvironment:
    return UsersEnvironment("envs:make", environment, sizes or SIZES)


class Stub:
    """Returns what it was given."""

    def __init__(self, reset: Any = OBS[0], step: Any = None) -> None:
        self._reset, self._step = reset, step

    def reset(self) -> Any:
        return self._reset

    def step(self, action: object) -> Any:
        return self._step


@pytest.mark.parametrize("kind", [Gymnasium, OldGym])
def test_either_api_gives_the_same_steps(kind: type[Rows]) -> None:
    environment = users_environment(kind(length=2))

    np.testing.assert_array_equal(environment.reset()["obs"], OBS[0])
    first, second = environment.step(ACTION), environment.step(ACTION)

    np.testing.assert_array_equal(first.observations["obs"], OBS[1])
    assert (first.reward, first.ended) == (1.0, False)
    assert (second.reward, second.ended) == (2.0, True)


def test_a_dict_is_read_by_model_input_and_may_hold_more() -> None:
    found = {"camera": [1.0], "obs": [2.0, 3.0], "critic": [np.nan]}

    read = users_environment(Stub(found), obs=2, camera=1).reset()

    assert {name: vector.tolist() for name, vector in read.items()} == {
        "obs": [2.0, 3.0],
        "camera": [1.0],
    }


@pytest.mark.parametrize(
    "found",
    [
        OBS[0, :5],
        OBS[:4],
        [1, 2, np.inf, 4, 5, 6],
        ["a"] * 6,
        {"policy": OBS[0], "b": 0},
        {},
        None,
    ],
)
def test_observations_that_the_model_cannot_take_are_refused(found: object) -> None:
    with refusal(ToolError):
        users_environment(Stub(found)).reset()


@pytest.mark.parametrize(
    "found",
    [
        OBS[0],
        (OBS[0], 0.0, False),
        (OBS[0], np.zeros(4), False, {}),
        (OBS[0], 0.0, np.zeros(4), {}),
        (OBS[0], np.nan, False, {}),
    ],
)
def test_steps_of_another_form_are_refused(found: object) -> None:
    with refusal(ToolError):
        users_environment(Stub(step=found)).step(ACTION)


CODE = """
class Make:
    def __init__(self, inner=None):
        pass
    def reset(self):
        return [0.0] * 6
    def step(self, action):
        return self.fail(len(action))
    def fail(self, count):
        raise KeyError(f"two\nlines of {count}")
    def close(self):
        raise OSError("no display")
def leaves():
    raise SystemExit(0)
def takes(size):
    pass
number = 3
"""


def test_several_inputs_need_a_dict_and_an_environment_its_methods() -> None:
    with refusal(ToolError):
        users_environment(Stub(), a=3, b=3).reset()
    with refusal(ToolError):
        users_environment({})


@pytest.fixture
def users_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a module of the user."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "their_envs.py").write_text(CODE.replace("two\n", "two\\n"), "utf-8")
    (tmp_path / "their_broken.py").write_text("import not_installed\n", "utf-8")
    return tmp_path


@pytest.mark.usefixtures("users_modules")
def test_where_the_users_code_failed_is_one_line_and_its_traceback_is_for_debugging(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger="model_tools")

    with refusal(ToolError), opened("their_envs:Make", SIZES) as environment:
        environment.step(ACTION)

    check_wording(*caplog.messages)
    assert [record.levelname for record in caplog.records if record.exc_info] == ["DEBUG"] * 2


@pytest.mark.usefixtures("users_modules")
@pytest.mark.parametrize(
    "name",
    [
        "their_envs",
        ":make",
        "their_absent:make",
        "their_envs:absent",
        "their_envs:number",
        "their_envs:takes",
        "their_envs:leaves",
        "their_broken:make",
        "their_envs.py:make",
    ],
)
def test_environments_that_cannot_be_made_are_refused(name: str) -> None:
    with refusal(ToolError), opened(name, SIZES):
        pass
