# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What becomes of observations, answers and recurrent state between a client and the model."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from policy_core.errors import BundleError
from policy_core.observation.rows import ObservationBuilder
from policy_core.observation.state import RobotState
from policy_inference.service.policy import make_served
from policy_inference.service.protocol import Answer, Code, ObservationScaling
from policy_inference.testing.models import save, save_linear, save_sum, weights
from testkit.kernel.contracts import DEFAULT, JOINTS, bundle_of, contract_of, observed
from testkit.wording import check_wording, refusal

from .serving_models import RECURRENT, ask_alone, save_counting, save_first, serve_file, session_of

TERMS = [{"term": "joint_pos"}]
"""Observation of three values."""


def input_of(model: Any, name: str = "obs") -> list[float]:
    return list(model.backend.inputs[name].ravel().astype(float))


@pytest.mark.parametrize(
    ("scaling", "reaches"),
    [
        # Bounded, normalised and bounded again.
        (ObservationScaling.SCALED, [1.5, 1.0, -2.0]),
        (ObservationScaling.NORMALISED, [9.0, 1.5, -9.0]),
    ],
)
def test_observation_reaches_the_model_as_its_scaling_asks_for(
    tmp_path: Path, scaling: ObservationScaling, reaches: list[float]
) -> None:
    normalisation = {"file": "stats.npz", "sha256": "0" * 64, "clip": 2.0}
    contract = observed(TERMS, clip=4.0, normalisation=normalisation)
    statistics = np.array([1.0, 1.0, 0.0]), np.array([2.0, 0.5, 1.0])
    model = serve_file(contract, save_linear(tmp_path / "m.onnx", 3, 3), {"obs": statistics})
    answer = ask_alone(model, session_of(model, scaling=scaling), [9.0, 1.5, -9.0])
    assert input_of(model) == reaches
    np.testing.assert_allclose(answer, reaches @ weights(3, 3), rtol=1e-6)


def test_joints_are_called_as_the_robot_does_and_another_output_is_not_observed(
    tmp_path: Path,
) -> None:
    renamed = {"joints.robot_names": {"[hk].*": "{name}_joint"}}
    contract = contract_of({"observations": {"obs": {"terms": TERMS}}, **renamed})
    model = serve_file(contract, save_linear(tmp_path / "m.onnx", 3, 3))
    assert model.joints == ("hip_joint", "knee_joint", "ankle")
    with refusal(BundleError):
        make_served(bundle_of(observed([*TERMS, {"term": "last_output", "output": "speed"}])))
    gains = {"stiffness": {"output": "kp", "min": 1.0, "max": 9.0}}
    initial = {"file": "initial_state.npz", "sha256": "0" * 64}
    edits: dict[str, object] = {"action.gains": gains, "initial_state": initial}
    edits["model.outputs.kp"] = {"shape": [1, 3]}
    with refusal(BundleError):
        make_served(bundle_of(contract_of(edits)))


@pytest.mark.parametrize(
    "history",
    [
        {},
        {"length": 3, "order": "newest_first"},
        {"length": 3, "layout": "per_term", "order": "newest_first", "init": "zero"},
    ],
    ids=str,
)
@pytest.mark.parametrize("order", ["clip_then_scale", "scale_then_clip"])
def test_physical_observation_becomes_what_the_node_makes_of_the_same_values(
    tmp_path: Path, history: dict[str, Any], order: str
) -> None:
    scales: list[dict[str, Any]] = [
        {"scale": [2.0, -3.0, 0.5], "clip": [-0.4, 0.2]},
        {"scale": 0.25},
        {"scale": {"hip": 0.1, "ankle": 0.3}, "clip": [-1.0, 1.0], "joints": ["ankle", "hip"]},
    ]
    plain: list[dict[str, Any]] = [
        {"term": "joint_pos_rel"},
        {"term": "base_ang_vel"},
        {"term": "joint_vel", "joints": ["ankle", "hip"]},
    ]
    if history.get("layout") == "per_term":
        plain[1]["history_length"] = 1
    terms = [term | scale for term, scale in zip(plain, scales, strict=True)]
    contract = observed(terms, history=history, order=order, clip=0.9)
    unscaled = observed(plain, history=history)
    size = contract.model.inputs["obs"].shape[1]
    state, (si, expected) = RobotState(contract), np.zeros((2, size))
    builders = [
        ObservationBuilder(one.observations["obs"], one, state, out)
        for one, out in ((unscaled, si), (contract, expected))
    ]
    random = np.random.default_rng(3)
    for _ in range(4):
        for field in ("joint_pos", "joint_vel", "ang_vel_body"):
            state[field][:] = random.normal(0.0, 2.0, 3)
        for builder in builders:
            builder.write()
            builder.advance()
    model = serve_file(contract, save_linear(tmp_path / "m.onnx", size, 3))
    ask_alone(model, session_of(model, scaling=ObservationScaling.PHYSICAL), si)
    np.testing.assert_allclose(input_of(model), expected, rtol=1e-6)


def test_several_inputs_take_their_parts_of_the_observation_in_the_contracts_order(
    tmp_path: Path,
) -> None:
    terms = {"second": "base_ang_vel", "first": "projected_gravity"}
    observations = {name: {"terms": [{"term": term}]} for name, term in terms.items()}
    first = {"model.inputs.first": {"shape": [1, 3], "dtype": "float16"}}
    contract = contract_of({"observations": observations, **first})
    file = save_sum(tmp_path / "m.onnx", {"first": "float16", "second": "float32"}, 3)
    model = serve_file(contract, file)
    session = session_of(model)
    answer = ask_alone(model, session, [1.0, 2.0, 3.0, 10.0, 20.0, 30.0])
    assert input_of(model, "second") == [1.0, 2.0, 3.0]
    assert input_of(model, "first") == [10.0, 20.0, 30.0]
    assert answer.tolist() == [11.0, 22.0, 33.0]
    session.observation[0, 3] = 70000.0  # more than float16 holds
    model.infer([session])
    assert session.problem is not None
    assert session.problem.code is Code.OBSERVATION_NOT_FINITE
    assert "65504" in str(session.problem)


def acting(kind: str = "position", **term: Any) -> Any:
    """Return a contract whose model of `save_linear` gets three values and drives two joints."""
    action = {"action.terms": [{"joints": ["ankle", "hip"], "kind": kind, **term}]}
    return contract_of({"observations": {"obs": {"terms": TERMS}}, **action})


def serve_acting(folder: Path, kind: str = "position", **term: Any) -> Any:
    """Serve a model that answers the first two values of the observation."""
    nodes = [helper.make_node("MatMul", ["obs", "w"], ["actions"])]
    eye = {"w": np.eye(3, 2, dtype=np.float32)}
    file = save(folder / "m.onnx", nodes, {"obs": (1, 3)}, {"actions": (1, 2)}, constants=eye)
    return serve_file(acting(kind, **term), file)


def test_action_is_the_output_inside_the_contracts_clip_and_that_is_counted(tmp_path: Path) -> None:
    model = serve_acting(tmp_path, scale=0.5, clip=[-1.0, 2.0])
    session = session_of(model)
    assert ask_alone(model, session, [0.5, 1.5, 0.0]).tolist() == [0.5, 1.5]
    assert model.counters["action_clip"] == 0
    assert ask_alone(model, session, [-3.0, 3.0, 0.0]).tolist() == [-1.0, 2.0]
    assert model.counters["action_clip"] == 1


def test_target_is_the_command_of_each_joint_in_the_contracts_order(tmp_path: Path) -> None:
    model = serve_acting(tmp_path, scale=[0.5, 0.25], offset="default_position", clip=[-1.0, 1.0])
    session = session_of(model, answer=Answer.TARGET)
    answer = ask_alone(model, session, [1.0, 2.0, 0.0])
    hip, knee, ankle = DEFAULT
    assert model.joints == JOINTS
    np.testing.assert_allclose(answer, [hip + 0.25, knee, ankle + 0.5], rtol=1e-6)
    assert model.counters["action_clip"] == 1
    assert model.counters["position_limit"] == 0


@pytest.mark.parametrize(
    ("kind", "limit"), [("position", 1.5), ("velocity", 10.0), ("effort", 20.0)]
)
def test_target_is_inside_the_joints_limit_of_its_kind_and_that_is_counted(
    tmp_path: Path, kind: str, limit: float
) -> None:
    model = serve_acting(tmp_path, kind)
    session = session_of(model, answer=Answer.TARGET)
    _, _, ankle = ask_alone(model, session, [limit, 0.0, 0.0]).tolist()
    assert (ankle, model.counters["position_limit"]) == (limit, 0)
    hip, _, ankle = ask_alone(model, session, [limit + 0.1, -limit - 0.1, 0.0]).tolist()
    assert (hip, ankle) == (-limit, limit)
    assert model.counters["position_limit"] == 1


@pytest.mark.parametrize("value", [math.nan, 1e20], ids=str)
def test_observation_beyond_any_sense_refused_even_where_a_clip_would_hide_it(
    tmp_path: Path, value: float
) -> None:
    contract = observed([{"term": "joint_pos", "clip": [-1.0, 1.0]}], clip=2.0)
    model = serve_file(contract, save_linear(tmp_path / "m.onnx", 3, 3))
    session = session_of(model)
    session.observation[0] = [0.0, value, 0.0]
    model.infer([session])
    assert session.problem is not None
    assert session.problem.code is Code.OBSERVATION_NOT_FINITE
    check_wording(session.problem)
    assert model.counters["not_finite"] == 1


def test_answer_of_the_model_that_is_no_number_is_a_problem_and_the_next_one_is_not(
    tmp_path: Path,
) -> None:
    model = serve_file(observed(TERMS), save_first(tmp_path / "m.onnx", 3, 3))
    session = session_of(model)
    session.observation[0] = [4.0, -1.0, 9.0]
    model.infer([session])
    assert session.problem is not None
    assert session.problem.code is Code.ACTION_NOT_FINITE
    assert model.counters["not_finite"] == 1
    assert ask_alone(model, session, [4.0, 1.0, 9.0]).tolist() == [2.0, 1.0, 3.0]


def test_inference_that_fails_is_a_problem_with_the_back_ends_reason(tmp_path: Path) -> None:
    model = serve_file(observed(TERMS), save_linear(tmp_path / "m.onnx", 3, 3))
    sessions = [session_of(model), session_of(model)]
    model.close()
    model.infer(sessions)
    for session in sessions:
        assert session.problem is not None
        assert session.problem.code is Code.INFERENCE_FAILED
        check_wording(session.problem)
    assert model.counters["inference_error"] == 2


@pytest.fixture
def recurrent(tmp_path: Path) -> Any:
    """A model whose answer is the sum of the observation and twice the inferences before."""
    contract = contract_of({"observations": {"obs": {"terms": TERMS}}, **RECURRENT})
    return serve_file(contract, save_counting(tmp_path / "m.onnx", 3, 3))


def test_each_session_has_recurrent_state_of_its_own_which_goes_on_or_starts_clean(
    recurrent: Any,
) -> None:
    one, other = session_of(recurrent), session_of(recurrent)
    assert [ask_alone(recurrent, one, [1, 0, 0])[0] for _ in range(3)] == [1.0, 3.0, 5.0]
    assert [ask_alone(recurrent, other, [0, 0, 0])[0] for _ in range(2)] == [0.0, 2.0]
    one.observation[0] = [0, math.nan, 0]
    recurrent.infer([one])
    assert one.problem is not None
    assert ask_alone(recurrent, one, [1, 0, 0])[0] == 7.0
    one.restarts = True
    assert [ask_alone(recurrent, one, [0, 0, 0])[0] for _ in range(2)] == [0.0, 2.0]


def test_recurrent_state_that_is_no_number_is_not_kept(tmp_path: Path) -> None:
    contract = contract_of({"observations": {"obs": {"terms": TERMS}}, **RECURRENT})
    nodes = [
        helper.make_node("Identity", ["obs"], ["actions"]),
        helper.make_node("ReduceSum", ["obs", "all"], ["sum"], keepdims=0),
        helper.make_node("Sqrt", ["sum"], ["root"]),
        helper.make_node("Add", ["h_in", "root"], ["h_out"]),
    ]
    sizes = {"obs": (1, 3), "h_in": (1, 1, 2)}, {"actions": (1, 3), "h_out": (1, 1, 2)}
    file = save(tmp_path / "m.onnx", nodes, *sizes, constants={"all": np.array([0, 1])})
    model = serve_file(contract, file)
    session = session_of(model)
    ask_alone(model, session, [4, 0, 0])
    session.observation[0] = [-4, 0, 0]
    model.infer([session])
    assert session.problem is not None
    assert session.problem.code is Code.ACTION_NOT_FINITE
    ask_alone(model, session, [0, 0, 0])
    assert input_of(model, "h_in") == [2.0, 2.0]
