# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Several robots in one inference: each is answered as alone, and has its own problems."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from policy_core.errors import BackendError
from policy_inference.service.protocol import Code
from policy_inference.service.serving import ServedModel
from policy_inference.testing.models import save, save_linear, weights
from testkit.wording import refusal

from ..nodes.bundles import write_bundle
from .serving_models import Save, ask_alone, save_counting, save_first, session_of

OBS, ACTIONS, STATE = 15, 2, [2, 1, 2]
"""Sizes of the tensors of a bundle of `..nodes.bundles`."""
Serve = Callable[..., ServedModel]


@pytest.fixture
def serve_batch(tmp_path: Path, open_request: Serve) -> Serve:
    def apply(save_to: Save, *, recurrent: bool = False) -> ServedModel:
        changes: dict[str, object] = {
            f"model.{side}": {"shape": STATE} for side in ("inputs.h_in", "outputs.h_out")
        }
        changes["state"] = [{"input": "h_in", "output": "h_out"}]
        folder = write_bundle(
            tmp_path / "bundle", changes if recurrent else {}, lambda file, *_: save_to(file)
        )
        return open_request(bundle=str(folder), batch=4)

    return apply


def linear_model(file: Path) -> Path:
    return save_linear(file, OBS, ACTIONS, batch="batch")


def roots(file: Path) -> Path:
    return save_first(file, OBS, ACTIONS, batch="batch")


def counting_model(file: Path) -> Path:
    return save_counting(file, OBS, ACTIONS, (2, "batch", 2), batch="batch")


def note_batch_sizes(model: ServedModel, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the number of robots' places with each inference from now on."""
    from policy_inference.backends.onnx import OnnxBackend

    seen, run = list[int](), OnnxBackend.run

    def noted(backend: OnnxBackend) -> None:
        seen.append(backend.inputs["obs"].shape[0])
        run(backend)

    monkeypatch.setattr(OnnxBackend, "run", noted)
    return seen


@pytest.mark.parametrize("save_to", [linear_model, counting_model], ids=["plain", "recurrent"])
def test_robots_of_several_sessions_are_answered_as_alone(
    serve_batch: Serve, save_to: Save
) -> None:
    model = serve_batch(save_to, recurrent=save_to is counting_model)
    observations = np.random.default_rng(2).normal(size=(3, 4, OBS)).astype(np.float32)
    sessions = [session_of(model, rows=rows) for rows in (1, 2, 1)]
    by_itself = [session_of(model) for _ in range(4)]
    for tick in observations:
        for session, rows in zip(sessions, ([0], [1, 2], [3]), strict=True):
            session.observation[:] = tick[rows]
        model.infer(sessions)
        assert [session.problem for session in sessions] == [None] * 3
        together = np.concatenate([session.answer for session in sessions])
        alone = [ask_alone(model, one, row) for one, row in zip(by_itself, tick, strict=True)]
        # A matrix product of four rows is summed up in another order than one of a row.
        np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)


def test_inferences_are_as_few_as_the_batch_allows(
    serve_batch: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = serve_batch(linear_model)
    seen = note_batch_sizes(model, monkeypatch)
    model.infer([session_of(model)])
    model.infer([session_of(model) for _ in range(4)])
    model.infer([session_of(model, rows=3), session_of(model, rows=2), session_of(model)])
    model.infer([session_of(model, rows=4), session_of(model)])
    assert seen == [1, 4, 4, 4, 4, 1]


def test_fewer_robots_than_agreed_are_the_first_ones_and_keep_their_state(
    serve_batch: Serve,
) -> None:
    model = serve_batch(counting_model, recurrent=True)
    session = session_of(model, rows=3)
    row = np.zeros(OBS)
    ask_alone(model, session, row, row, row)
    ask_alone(model, session, row)
    answers = ask_alone(model, session, row, row, row)
    assert answers[:, 0].tolist() == [8.0, 4.0, 4.0]


@pytest.mark.parametrize(
    ("value", "code"), [(math.nan, Code.OBSERVATION_NOT_FINITE), (-1.0, Code.ACTION_NOT_FINITE)]
)
def test_problem_of_a_robot_is_no_problem_of_the_others_in_its_inference(
    serve_batch: Serve, value: float, code: Code
) -> None:
    model = serve_batch(roots)
    sessions = [session_of(model) for _ in range(3)]
    for session, first in zip(sessions, (4.0, value, 9.0), strict=True):
        session.observation[0, 0] = first
    model.infer(sessions)
    good, bad, also_good = sessions
    assert (good.problem, good.answer[0, 0]) == (None, 2.0)
    assert (also_good.problem, also_good.answer[0, 0]) == (None, 3.0)
    assert bad.problem is not None
    assert bad.problem.code is code


def test_problem_of_one_robot_of_a_session_leaves_the_state_of_all_of_them(
    serve_batch: Serve,
) -> None:
    model = serve_batch(counting_model, recurrent=True)
    session = session_of(model, rows=2)
    row = np.zeros(OBS)
    ask_alone(model, session, row, row)
    session.observation[1, 3] = math.inf
    model.infer([session])
    assert session.problem is not None
    assert str(session.problem).startswith("robot 1: ")
    assert ask_alone(model, session, row, row)[:, 0].tolist() == [4.0, 4.0]


def save_mixing(file: Path) -> Path:
    """Save a model that mixes the robots only where one is large."""
    nodes = [
        helper.make_node("MatMul", ["obs", "w"], ["each"]),
        helper.make_node("ReduceMean", ["each"], ["all"], axes=[0]),
        helper.make_node("Sub", ["all", "much"], ["more"]),
        helper.make_node("Relu", ["more"], ["added"]),
        helper.make_node("Add", ["each", "added"], ["actions"]),
    ]
    sizes = {"obs": ("batch", OBS)}, {"actions": ("batch", ACTIONS)}
    return save(file, nodes, *sizes, constants={"w": weights(OBS, ACTIONS), "much": np.float32(50)})


@pytest.mark.parametrize(
    ("save_to", "given"),
    [
        pytest.param(lambda file: save_linear(file, OBS, ACTIONS), {}, id="fixed size"),
        pytest.param(
            lambda file: save_counting(file, OBS, ACTIONS, STATE, batch="batch"),
            {"recurrent": True},
            id="state of fixed size",
        ),
        pytest.param(save_mixing, {}, id="mixes the robots"),
    ],
)
def test_batch_of_a_model_that_does_not_answer_each_robot_as_alone_is_refused(
    serve_batch: Serve, save_to: Save, given: dict[str, Any]
) -> None:
    with refusal(BackendError):
        serve_batch(save_to, **given)
