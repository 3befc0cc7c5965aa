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
from testkit.wording import refusal

from .environments import OBS, SIZES, Gymnasium, OldGym, Rows

ACTION = np.zeros(2, np.float32)


def wrapped(environment: Any, **sizes: int) -> UsersEnvironment:
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
    environment = wrapped(kind(length=2))

    np.testing.assert_array_equal(environment.reset()["obs"], OBS[0])
    first, second = environment.step(ACTION), environment.step(ACTION)

    np.testing.assert_array_equal(first.observations["obs"], OBS[1])
    assert (first.reward, first.ended) == (1.0, False)
    assert (second.reward, second.ended) == (2.0, True)


@pytest.mark.parametrize(("terminated", "truncated"), [(True, False), (False, True)])
def test_an_episode_ends_when_it_is_terminated_or_truncated(
    terminated: bool, truncated: bool
) -> None:
    assert wrapped(Stub(step=(OBS[0], 0, terminated, truncated, {}))).step(ACTION).ended


def test_the_seed_goes_to_reset_or_to_the_method_of_old() -> None:
    new, old = Gymnasium(), OldGym()

    wrapped(new).reset(7)
    wrapped(old).reset(7)

    assert (new.seed, old.seeded) == (7, 7)


def test_an_environment_that_takes_no_seed_refuses_one() -> None:
    with refusal(ToolError):
        wrapped(Stub()).reset(7)


def test_a_dict_is_read_by_model_input_and_may_hold_more() -> None:
    found = {"camera": [1.0], "obs": [2.0, 3.0], "critic": [np.nan]}

    read = wrapped(Stub(found), obs=2, camera=1).reset()

    assert {name: vector.tolist() for name, vector in read.items()} == {
        "obs": [2.0, 3.0],
        "camera": [1.0],
    }


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (OBS[0, :5], r"envs:make: reset: obs: expected 6 values, .* found an array \[5\]$"),
        (OBS[:4], r"found an array \[4, 6\]; make the environment with one robot"),
        ([1, 2, np.inf, 4, 5, 6], r"obs: expected finite values, found inf at \[2\]"),
        (["a"] * 6, "obs: ValueError: could not convert string to float"),
        ({"policy": OBS[0], "b": 0}, r"by model input \(obs\), found a mapping with policy, b"),
        ({}, r"by model input \(obs\), found a mapping with no keys"),
        (None, "obs: expected finite values, found nan"),
    ],
)
def test_observations_that_the_model_cannot_take_are_refused(found: object, message: str) -> None:
    with pytest.raises(ToolError, match=message):
        wrapped(Stub(found)).reset()


def test_a_dict_of_one_needs_no_name_where_one_is_observed() -> None:
    read = wrapped(Stub({"policy": OBS[0]})).reset()

    np.testing.assert_array_equal(read["obs"], OBS[0])


def test_a_seed_goes_through_a_wrapper_that_takes_anything() -> None:
    class Wrapper(Stub):
        seeded: object = None

        def reset(self, **kwargs: object) -> Any:
            self.seeded = kwargs.get("seed")
            return super().reset()

    wrapper = Wrapper()
    wrapped(wrapper).reset(7)

    assert wrapper.seeded == 7


def test_several_inputs_need_a_dict() -> None:
    with refusal(ToolError):
        wrapped(Stub(), a=3, b=3).reset()


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (OBS[0], r"step 0: expected \(observation, reward, .* found an array \[6\]"),
        ((OBS[0], 0.0, False), "found a tuple of 3"),
        (
            (OBS[0], np.zeros(4), False, {}),
            r"step 0: reward: expected one value, .* with one robot",
        ),
        ((OBS[0], 0.0, np.zeros(4), {}), r"end of the episode: expected one value, found an array"),
        ((OBS[0], np.nan, False, {}), "reward: expected finite values, found nan"),
    ],
)
def test_steps_of_another_form_are_refused(found: object, message: str) -> None:
    with pytest.raises(ToolError, match=message):
        wrapped(Stub(step=found)).step(ACTION)


def test_what_is_no_environment_is_refused() -> None:
    with refusal(ToolError):
        wrapped({})


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


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a module of the user."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "their_envs.py").write_text(CODE.replace("two\n", "two\\n"), "utf-8")
    (tmp_path / "their_broken.py").write_text("import not_installed\n", "utf-8")
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_where_the_users_code_failed_is_one_line_and_its_traceback_is_for_debugging(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger="model_tools")

    with pytest.raises(ToolError) as failed, opened("their_envs:Make", SIZES) as environment:
        environment.step(ACTION)

    assert str(failed.value) == (
        r"their_envs:Make: step 0: KeyError: 'two\nlines of 2' (their_envs, line 10)"
    )
    assert "their_envs:Make: close: OSError: no display (their_envs, line 12)" in caplog.text
    assert [record.levelname for record in caplog.records if record.exc_info] == ["DEBUG"] * 2


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("their_envs", "expected module:function, found 'their_envs'"),
        (":make", "expected module:function, found ':make'"),
        ("their_absent:make", "expected a module in .* found none called their_absent"),
        ("their_envs:absent", "expected a function absent in their_envs, found none"),
        ("their_envs:number", "expected a function number in their_envs, found int"),
        ("their_envs:takes", r"TypeError: takes\(\) missing 1 required"),
        ("their_envs:leaves", r"SystemExit: 0 \(their_envs, line 14\)"),
        ("their_broken:make", r"ModuleNotFoundError: .*'not_installed' \(their_broken, line 1\)"),
        ("their_envs.py:make", "ModuleNotFoundError: .*'their_envs' is not a package"),
    ],
)
def test_environments_that_cannot_be_made_are_refused(name: str, message: str) -> None:
    with pytest.raises(ToolError, match=message), opened(name, SIZES):
        pass


def test_an_environment_of_gymnasium_itself_is_taken() -> None:
    gymnasium = pytest.importorskip("gymnasium")

    environment = UsersEnvironment("envs:make", gymnasium.make("CartPole-v1"), {"obs": 4})

    assert abs(environment.reset(1)["obs"]).max() <= 0.05
