# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The loop: what the model is fed with, what acts, what the reference is asked, what is saved."""

import dataclasses
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools.errors import ToolError
from model_tools.prove.local_loop.agreement import ObservationAgreement, warn_of_unusual
from model_tools.prove.local_loop.environment import UsersEnvironment, opened
from model_tools.prove.local_loop.loop import Rollout, input_sizes, roll_out
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.contract import JointContract
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import F32, F64
from policy_inference.backends.registry import open_backend
from testkit.edits import reword
from testkit.wording import check_wording, refusal

from ...tiny_bundle import OBSERVATIONS, forward, make_bundle, observations, sha256, weights

MEAN, STD, FLOOR = np.linspace(-0.2, 0.3, 6), np.array([0.1, 0.2, 0.5, 1.0, 2.0, 1e-9]), 0.05
VENDORS = Path(__file__).resolve().parents[5] / "config" / "bundles" / "lite3_deeprobotics"
Runner = Callable[..., Rollout]


SIZES = {"obs": OBSERVATIONS}


OBS = observations()


class Rows:
    """Episodes of `length` steps; a step's reward is its number in the episode, from 1."""

    def __init__(self, length: int = 4, rows: F32 = OBS) -> None:
        self.length, self.actions, self.resets = length, list[F32](), 0
        self._rows = iter(rows)

    def begin(self) -> F32:
        self.resets, self.age = self.resets + 1, 0
        return self.next_row()

    def next_row(self) -> F32:
        return next(self._rows)

    def act(self, action: F32) -> tuple[Any, float, bool]:
        self.actions.append(action)
        self.age += 1
        return self.next_row(), float(self.age), self.age == self.length


class Gymnasium(Rows):
    """As gymnasium has it; an episode is truncated at its end."""

    seed: int | None = None

    def reset(
        self, *, seed: int | None = None, options: object = None
    ) -> tuple[Any, dict[str, object]]:
        self.seed = seed or self.seed
        return self.begin(), {}

    def step(self, action: F32) -> tuple[Any, float, bool, bool, dict[str, object]]:
        row, reward, ended = self.act(action)
        return row, reward, False, ended, {}


class OldGym(Rows):
    """As gym had it; with one robot in a batch, as simulators of many give it."""

    seeded: int | None = None

    def seed(self, seed: int) -> None:
        self.seeded = seed

    def reset(self) -> Any:
        return self.begin()[None]

    def step(self, action: F32) -> tuple[Any, Any, Any, dict[str, object]]:
        row, reward, ended = self.act(action)
        return row[None], np.array([reward]), np.array([ended]), {}


@pytest.fixture
def roll() -> Iterator[Runner]:
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
    entry = (
        f"clip: 0.8, normalisation: {{file: stats.npz, sha256: {sha256(folder / 'stats.npz')}"
        f", std_floor: {FLOOR}, clip: 1.5}}"
    )
    reword(folder / "policy.yaml", ("{obs: {terms:", f"{{obs: {{{entry}, terms:"))
    return folder


def test_the_model_acts_on_what_the_environment_shows(tmp_path: Path, roll: Runner) -> None:
    environment = Gymnasium(length=5)

    rollout = roll(showing_rows(tmp_path / "tiny"), environment, 10)

    assert environment.resets == 2
    assert rollout.episode.tolist() == [0] * 5 + [1] * 5
    assert rollout.reward.tolist() == [1, 2, 3, 4, 5] * 2

    shown = np.delete(OBS[:11], 5, axis=0)  # the last of an episode is not acted on
    np.testing.assert_array_equal(rollout.tensors["obs"], shown)
    np.testing.assert_allclose(environment.actions, forward(shown, weights()), atol=1e-6)
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


@pytest.mark.real_data
def test_a_recorded_rollout_is_acted_again(shared_data: Path, tmp_path: Path, roll: Runner) -> None:
    lite3, folder = shared_data / "legged" / "lite3", tmp_path / "vendors"
    shutil.copytree(VENDORS, folder)
    shutil.copy(lite3 / "policy.onnx", folder)
    with np.load(lite3 / "rollout_50hz.npz") as recorded:
        obs, actions = recorded["obs"], recorded["action"]

    rollout = roll(folder, Gymnasium(length=1000, rows=obs), 512)

    np.testing.assert_allclose(rollout.acted, actions[:512], atol=1e-5)


NO_ACTION = np.zeros(2, np.float32)


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
    first, second = environment.step(NO_ACTION), environment.step(NO_ACTION)

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
    "found", [OBS[0, :5], OBS[:4], [1, 2, np.inf, 4, 5, 6], ["a"] * 6, {"policy": OBS[0], "b": 0}]
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
        users_environment(Stub(step=found)).step(NO_ACTION)


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
        environment.step(NO_ACTION)

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


OURS = Path(__file__).resolve().parents[5] / "config" / "bundles" / "lite3_walk"
ACTION = np.linspace(-2.0, 3.0, 12).astype(np.float32)
Edit = Callable[[F64], object]


@pytest.fixture
def lite3_contract() -> JointContract:
    return load_bundle(OURS, kind=JointBundle).contract


def observed_row(action: F32 = ACTION) -> F64:
    obs = np.zeros(45)
    obs[5], obs[33:45] = -1.0, action
    return obs


def check_agreement(lite3_contract: JointContract, obs: F64, action: F32 = ACTION) -> None:
    ObservationAgreement(lite3_contract, "envs:make").check({"obs": obs}, action, 3)


def test_what_the_contract_describes_passes(lite3_contract: JointContract) -> None:
    noisy = observed_row()
    noisy[:33] += np.random.default_rng(0).uniform(-0.05, 0.05, 33)
    check_agreement(lite3_contract, noisy)
    check_agreement(lite3_contract, observed_row(0 * ACTION), 0 * ACTION)


@pytest.mark.parametrize(
    "edit",
    [
        lambda o: o.__setitem__(slice(33, 45), 0),
        lambda o: o.__setitem__(slice(33, 45), 0.25 * ACTION),
        lambda o: o.__setitem__(slice(3, 6), 0),
        lambda o: o.__setitem__(5, -9.81),
        lambda o: o.__setitem__(11, 75.0),
        lambda o: o.__setitem__(slice(None), np.roll(o, 3)),
    ],
    ids=["no action", "scaled action", "no gravity", "gravity in m/s2", "degrees", "rolled"],
)
def test_something_else_in_the_columns_of_a_term_is_named(
    lite3_contract: JointContract, edit: Edit
) -> None:
    obs = observed_row()
    edit(obs)

    with refusal(ToolError):
        check_agreement(lite3_contract, obs)


def test_bounds_of_the_contract_are_those_of_the_action_seen(lite3_contract: JointContract) -> None:
    clipped = dataclasses.replace(lite3_contract.observations["obs"], clip=1.0)
    bounded = dataclasses.replace(lite3_contract, observations={"obs": clipped})

    check_agreement(bounded, observed_row(np.clip(ACTION, -1.0, 1.0)))
    check_agreement(bounded, observed_row())
    with pytest.raises(ToolError, match="last_action"):
        check_agreement(lite3_contract, observed_row(np.clip(ACTION, -1.0, 1.0)))


def test_values_far_from_a_healthy_run_are_warned_of(
    lite3_contract: JointContract, caplog: pytest.LogCaptureFixture
) -> None:
    nominal = lite3_contract.nominal
    assert nominal is not None
    usual = np.array(nominal.observation["obs"].max, np.float32)[np.newaxis]
    warn_of_unusual(lite3_contract, {"obs": usual}, "envs:make")
    assert caplog.text == ""

    unusual = usual.copy()
    unusual[0, 21] = 300.0
    warn_of_unusual(lite3_contract, {"obs": unusual}, "envs:make")

    check_wording(*caplog.messages)
