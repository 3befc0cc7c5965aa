# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest

from policy_core.members.joint import JointPolicy
from policy_core.observation.state import RobotState
from testkit.kernel.contracts import DEFAULT, bundle_of, contract_of
from testkit.kernel.robots import UPRIGHT, ScriptedBackend

pytestmark = pytest.mark.both_cores

RECURRENT = {
    "model.inputs": {"h_in": {"shape": [1, 2]}, "count_in": {"shape": [1], "dtype": "int64"}},
    "model.outputs.h_out": {"shape": [1, 2]},
    "model.outputs.count_out": {"shape": [1], "dtype": "int64"},
    "state": [{"input": "h_in", "output": "h_out"}, {"input": "count_in", "output": "count_out"}],
}


@pytest.fixture
def rnn_backend() -> ScriptedBackend:
    return ScriptedBackend(contract_of(RECURRENT))


@pytest.fixture
def rnn_policy(rnn_backend: ScriptedBackend) -> JointPolicy:
    contract = contract_of(RECURRENT)
    state = RobotState(contract)
    state["joint_pos"][:], state["joint_vel"][:], state["ang_vel_body"][:] = DEFAULT, 0.0, 0.0
    state["quat_xyzw"][:] = UPRIGHT
    state.derive()
    rnn_backend.during_run = lambda: rnn_backend.answers.update(
        h_out=np.add(rnn_backend.inputs["h_in"], 1.5),
        count_out=np.add(rnn_backend.inputs["count_in"], 1),
        actions=[rnn_backend.inputs["count_in"][0], 0.0, 0.0],
    )
    return JointPolicy(bundle_of(contract), rnn_backend, state)


def take(policy: JointPolicy, count: int) -> None:
    """Infer so many times, and take each result."""
    for _ in range(count):
        assert policy.infer()
        policy.commit()


def state_inputs(backend: ScriptedBackend) -> tuple[list[float], list[int]]:
    return backend.inputs["h_in"].ravel().tolist(), backend.inputs["count_in"].tolist()


def test_the_output_of_a_tick_is_the_input_of_the_next(
    rnn_policy: JointPolicy, rnn_backend: ScriptedBackend
) -> None:
    take(rnn_policy, 3)
    assert state_inputs(rnn_backend) == ([4.5, 4.5], [3])


def test_a_dropped_result_leaves_state_and_last_action_as_they_were(
    rnn_policy: JointPolicy, rnn_backend: ScriptedBackend
) -> None:
    take(rnn_policy, 2)
    rnn_policy.infer()
    assert state_inputs(rnn_backend) == ([3.0, 3.0], [2])
    rnn_policy.infer()
    assert rnn_backend.inputs["obs"].ravel()[-3:].tolist() == [1.0, 0.0, 0.0]


def test_a_reset_starts_clean(rnn_policy: JointPolicy, rnn_backend: ScriptedBackend) -> None:
    take(rnn_policy, 3)
    rnn_policy.reset()
    assert state_inputs(rnn_backend) == ([0.0, 0.0], [0])
    rnn_policy.infer()
    assert rnn_backend.inputs["obs"].ravel()[-3:].tolist() == [0.0, 0.0, 0.0]


def test_a_state_begins_with_its_initial_values(rnn_backend: ScriptedBackend) -> None:
    contract = contract_of(RECURRENT)
    initial = {"h_in": np.array([[0.5, -2.0]], np.float32)}
    policy = JointPolicy(
        bundle_of(contract, initial_state=initial), rnn_backend, RobotState(contract)
    )
    rnn_backend.inputs["h_in"][...] = 7.0
    policy.reset()
    assert state_inputs(rnn_backend) == ([0.5, -2.0], [0])


def test_a_recurrent_output_that_is_not_finite_counts_as_one(
    rnn_policy: JointPolicy, rnn_backend: ScriptedBackend
) -> None:
    rnn_backend.during_run = lambda: rnn_backend.answers.update(h_out=np.array([0.0, math.nan]))
    assert not rnn_policy.infer()


def test_ticks_and_phase_count_results_that_were_taken_and_start_again_at_a_reset() -> None:
    terms = [{"term": "tick"}, {"term": "phase", "period_s": 0.08}]
    contract = contract_of({"observations": {"obs": {"terms": terms}}})
    backend = ScriptedBackend(contract)
    policy = JointPolicy(bundle_of(contract), backend, RobotState(contract))
    seen = []
    for taken in (True, True, False, True):
        policy.infer()
        seen.append(backend.inputs["obs"].ravel().round(6).tolist())
        if taken:
            policy.commit()
    assert seen == [[0.0, 0.0, 1.0], [1.0, 1.0, 0.0], [2.0, 0.0, -1.0], [2.0, 0.0, -1.0]]
    policy.reset()
    take(policy, 1)
    policy.infer()
    assert backend.inputs["obs"].ravel().round(6).tolist() == [1.0, 1.0, 0.0]


OBSERVED = {
    "model.outputs.speed": {"shape": [1, 2]},
    "observations": {
        "obs": {
            "terms": [
                {"term": "last_output", "output": "speed", "scale": 2.0, "clip": [-3.0, 3.0]},
                {"term": "last_action"},
            ],
            "history": {"length": 2, "layout": "per_term", "init": "zero"},
        }
    },
}


@pytest.fixture
def speaking() -> ScriptedBackend:
    """Return a back end whose outputs are 1, 2, 3, ... in its runs."""
    backend = ScriptedBackend(contract_of(OBSERVED))
    backend.during_run = lambda: backend.answers.update(
        speed=[backend.runs, -backend.runs], actions=[backend.runs, 0.0, 0.0]
    )
    return backend


def observing_policy(backend: ScriptedBackend) -> JointPolicy:
    contract = contract_of(OBSERVED)
    return JointPolicy(bundle_of(contract), backend, RobotState(contract))


def observed_speeds(backend: ScriptedBackend) -> list[float]:
    found: list[float] = backend.inputs["obs"].ravel()[:4].tolist()
    return found


def test_an_output_is_observed_in_the_next_tick_with_scale_clip_and_history(
    speaking: ScriptedBackend,
) -> None:
    policy, seen = observing_policy(speaking), []
    for _ in range(5):
        assert policy.infer()
        seen.append(observed_speeds(speaking))
        policy.commit()
    assert seen == [
        [0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 2.0, -2.0],
        [2.0, -2.0, 4.0, -4.0],
        [4.0, -4.0, 6.0, -6.0],
        [6.0, -6.0, 6.0, -6.0],
    ]


def test_an_output_whose_result_was_dropped_is_not_observed_and_a_reset_forgets_it(
    speaking: ScriptedBackend,
) -> None:
    policy = observing_policy(speaking)
    take(policy, 1)
    policy.infer()  # held, late or failed: never committed
    policy.infer()
    assert observed_speeds(speaking) == [0.0, 0.0, 2.0, -2.0]
    policy.commit()
    policy.reset()
    policy.infer()
    assert observed_speeds(speaking) == [0.0, 0.0, 0.0, 0.0]
