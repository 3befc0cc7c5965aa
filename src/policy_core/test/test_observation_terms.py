# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pytest

from policy_core.bundle.contract import JointContract
from policy_core.bundle.terms import TERMS
from policy_core.interfaces import F64, Tensor
from policy_core.members.joint import JointPolicy
from policy_core.observation.rows import ObservationBuilder
from policy_core.observation.state import RobotState
from testkit.kernel.contracts import DEFAULT, bundle_of, clip_of, contract_of, observed, quat_xyzw
from testkit.kernel.robots import ScriptedBackend
from testkit.wire_messages import COLOUR, DEPTH, SCAN

JOINT_POS = np.array([0.25, -0.75, 1.25])
JOINT_VEL = np.array([4.0, -2.0, 0.5])
LAST_ACTION = np.array([0.1, -0.2, 0.3])
QUAT = quat_xyzw(0.3, -0.4, 2.0)
SENSED: Mapping[str, npt.ArrayLike] = {
    "joint_pos": JOINT_POS,
    "joint_vel": JOINT_VEL,
    "last_action": LAST_ACTION,
    "quat_xyzw": QUAT,
    "ang_vel_body": (0.5, -1.5, 2.5),
    "pos_world": (1.5, -2.5, 0.3),
    "lin_vel_body": (0.7, 0.8, -0.9),
    "velocity_command": (0.4, -0.3, 0.2),
    "external:height_scan": (1.0, 2.0, 3.0, 4.0),
    "external:arm/load": (9.0,),
    "external:perception/ground": (0.1, -0.2),
    "external:perception/front": [0.1 * i for i in range(12)],
    "external:perception/side": [0.2 * i for i in range(6)],
}


def sensed_state(contract: JointContract, tick: int = 0) -> RobotState:
    state = RobotState(contract)
    if contract.motion:
        state.play(clip_of(50))
    for field, values in SENSED.items():
        if state.get(field) is not None:
            state[field][:] = values
    state.derive()
    for _ in range(tick):
        state.advance()
    return state


def written_observation(
    contract: JointContract,
    tick: int = 0,
    statistics: tuple[F64, F64] | None = None,
    out: Tensor | None = None,
) -> F64:
    if out is None:
        out = np.empty(contract.model.inputs["obs"].shape)
    observation = contract.observations["obs"]
    ObservationBuilder(observation, contract, sensed_state(contract, tick), out, statistics).write()
    return out.reshape(-1).astype(np.float64)


# phase and tick are below, the reference motion is in test_clip_player: they depend on time.
VALUES: list[tuple[dict[str, object], Sequence[float]]] = [
    ({"term": "base_ang_vel"}, [0.5, -1.5, 2.5]),
    ({"term": "base_pos"}, [1.5, -2.5, 0.3]),
    ({"term": "base_lin_vel"}, [0.7, 0.8, -0.9]),
    ({"term": "base_quat_xyzw"}, QUAT),
    ({"term": "base_quat_wxyz"}, [QUAT[3], *QUAT[:3]]),
    (
        {"term": "projected_gravity"},
        [-math.sin(0.4), -math.cos(0.4) * math.sin(0.3), -math.cos(0.4) * math.cos(0.3)],
    ),
    ({"term": "velocity_command"}, [0.4, -0.3, 0.2]),
    ({"term": "joint_pos"}, JOINT_POS.tolist()),
    ({"term": "joint_pos_rel"}, [0.25, -1.25, 1.75]),
    ({"term": "joint_vel"}, JOINT_VEL.tolist()),
    ({"term": "last_action"}, LAST_ACTION.tolist()),
    ({"term": "external", "topic": "height_scan", "size": 4}, [1.0, 2.0, 3.0, 4.0]),
    ({"term": "height_scan", "topic": "perception/ground", "scan": SCAN}, [0.1, -0.2]),
    ({"term": "depth", "topic": "perception/front", "depth": DEPTH}, [0.1 * i for i in range(12)]),
    ({"term": "image", "topic": "perception/side", "image": COLOUR}, [0.2 * i for i in range(6)]),
    ({"term": "last_output", "output": "speed"}, [0.0, 0.0]),
    ({"term": "phase", "period_s": 0.8}, [0.0, 1.0]),
    ({"term": "tick"}, [0.0]),
    ({"term": "motion_joint_pos"}, DEFAULT),
    ({"term": "motion_joint_pos", "ahead": 10}, [0.1, 0.7, -0.2]),
    ({"term": "motion_joint_vel"}, [0.5, 1.0, 1.5]),
    ({"term": "motion_anchor_pos_b"}, [0.0, 0.0, 0.0]),
    # Upright, with the robot's heading: the inverse of its roll and pitch, two columns by row.
    (
        {"term": "motion_anchor_ori_b"},
        [
            *(math.cos(0.4), 0.0),
            *(-math.sin(0.4) * math.sin(0.3), math.cos(0.3)),
            *(-math.sin(0.4) * math.cos(0.3), -math.sin(0.3)),
        ],
    ),
]


@pytest.mark.parametrize(("term", "values"), VALUES, ids=lambda v: str(v)[:40])
def test_each_term_writes_its_values(term: Mapping[str, object], values: list[float]) -> None:
    np.testing.assert_allclose(written_observation(observed([term])), values, atol=1e-12)


@pytest.mark.parametrize(
    ("term", "values"),
    [
        ({"term": "velocity_command", "parts": ["vx", "wz"]}, [0.4, 0.2]),
        ({"term": "velocity_command", "parts": ["wz", "vx"], "scale": [0.25, 2.0]}, [0.05, 0.8]),
        (
            {"term": "velocity_command", "parts": ["wz"], "scale": {"velocity_command[wz]": 10.0}},
            [2.0],
        ),
        ({"term": "base_ang_vel", "parts": ["z"], "clip": [-1.0, 1.0]}, [1.0]),
        ({"term": "base_lin_vel", "parts": ["y", "x"]}, [0.8, 0.7]),
        ({"term": "phase", "period_s": 0.8, "parts": ["cos", "sin"]}, [1.0, 0.0]),
        (
            {"term": "phase", "period_s": 0.8, "parts": ["sin"], "offsets": [0.0, 0.25, 0.75]},
            [0.0, 1.0, -1.0],
        ),
    ],
    ids=lambda v: str(v)[:60],
)
def test_parts_of_a_vector_are_written_in_their_own_order(
    term: Mapping[str, object], values: list[float]
) -> None:
    np.testing.assert_allclose(written_observation(observed([term])), values, atol=1e-12)


def test_phases_of_one_period_with_other_offsets_are_written_beside_each_other() -> None:
    feet = {"term": "phase", "period_s": 0.8, "parts": ["sin"]}
    terms = [{**feet, "offsets": [0.25, 0.75]}, {**feet, "offsets": [0.75, 0.25]}, feet]
    values = written_observation(observed(terms))
    np.testing.assert_allclose(values, [1.0, -1.0, -1.0, 1.0, 0.0], atol=1e-12)


def test_every_registered_term_is_tried_here() -> None:
    assert {str(term["term"]) for term, _ in VALUES} == set(TERMS)


def test_terms_follow_each_other_in_the_order_of_the_contract() -> None:
    contract = observed([term for term, _ in reversed(VALUES)])
    expected = np.concatenate([values for _, values in reversed(VALUES)])
    np.testing.assert_allclose(written_observation(contract), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("term", "values"),
    [
        ("joint_pos", [1.25, 0.25]),
        ("joint_pos_rel", [1.75, 0.25]),
        ("joint_vel", [0.5, 4.0]),
        ("motion_joint_vel", [1.5, 0.5]),
    ],
)
def test_a_subset_of_joints_is_written_in_its_own_order(term: str, values: list[float]) -> None:
    contract = observed([{"term": term, "joints": ["ankle", "hip"]}])
    np.testing.assert_allclose(written_observation(contract), values)


def test_scales_and_a_clip_belong_to_the_joints_of_their_term() -> None:
    scale = {"hip": 2.0, "ankle": 10.0}
    terms: list[dict[str, object]] = [
        {"term": "joint_vel", "joints": ["ankle", "hip"], "scale": scale, "clip": [-1.0, 1.0]},
        {"term": "joint_vel"},
    ]
    np.testing.assert_allclose(written_observation(observed(terms)), [5.0, 2.0, *JOINT_VEL])


def test_last_action_has_the_order_of_the_output_not_of_the_joints() -> None:
    action = {"joints": ["ankle", "hip"], "kind": "position"}
    contract = contract_of(
        {
            "observations": {"obs": {"terms": [{"term": "last_action", "scale": [1.0, 2.0]}]}},
            "action.terms": [action],
        }
    )
    state = RobotState(contract)
    state["last_action"][:] = (0.7, 0.9)
    out = np.empty((1, 2))
    ObservationBuilder(contract.observations["obs"], contract, state, out).write()
    np.testing.assert_allclose(out, [[0.7, 1.8]])


@pytest.mark.parametrize("order", ["clip_then_scale", "scale_then_clip"])
@pytest.mark.parametrize("scale", [0.25, 3.0, -2.0, 0.0])
@pytest.mark.parametrize("clip", [(-1.0, 2.0), (0.5, 3.0)])
def test_clip_and_scale_act_in_the_stated_order(
    order: str, scale: float, clip: tuple[float, float]
) -> None:
    contract = observed([{"term": "joint_vel", "scale": scale, "clip": list(clip)}], order=order)
    if order == "clip_then_scale":
        expected = np.clip(JOINT_VEL, *clip) * scale
    else:
        expected = np.clip(JOINT_VEL * scale, *clip)
    np.testing.assert_allclose(written_observation(contract), expected, atol=1e-12)


def test_default_position_is_subtracted_before_clip_and_scale() -> None:
    contract = observed([{"term": "joint_pos_rel", "clip": [-1.0, 1.0], "scale": 2.0}])
    np.testing.assert_allclose(written_observation(contract), [0.5, -2.0, 2.0])


def test_the_whole_vector_is_clipped_after_the_scales() -> None:
    contract = observed([{"term": "joint_vel", "scale": 2.0}], clip=3.0)
    np.testing.assert_allclose(written_observation(contract), [3.0, -3.0, 1.0])


def test_statistics_apply_after_the_clip_of_the_whole_vector() -> None:
    contract = observed([{"term": "joint_vel"}], clip=3.0)
    statistics = (np.array([1.0, 1.0, 1.0]), np.array([0.5, 2.0, 0.25]))
    np.testing.assert_allclose(
        written_observation(contract, statistics=statistics), [4.0, -1.5, -2.0]
    )


def test_normalised_values_are_clipped_to_their_own_bound() -> None:
    file = {"file": "obs_stats.npz", "sha256": "0" * 64, "clip": 1.75}
    contract = observed([{"term": "joint_vel"}], normalisation=file)
    statistics = (np.zeros(3), np.array([1.0, 2.0, 2.0]))
    np.testing.assert_allclose(
        written_observation(contract, statistics=statistics), [1.75, -1.0, 0.25]
    )


@pytest.mark.parametrize("tick", [0, 1, 7, 40, 12345])
def test_phase_is_sine_and_cosine_of_the_time_since_run_began(tick: int) -> None:
    contract = observed([{"term": "phase", "period_s": 0.8}, {"term": "phase", "period_s": 0.5}])
    angles = [2.0 * math.pi * tick * 0.02 / period_s for period_s in (0.8, 0.5)]
    expected = [f(angle) for angle in angles for f in (math.sin, math.cos)]
    np.testing.assert_allclose(written_observation(contract, tick), expected, atol=1e-9)


def test_each_model_input_has_its_own_observation() -> None:
    contract = contract_of(
        {
            "observations": {
                "proprioception": {"terms": [{"term": "joint_vel", "scale": 2.0}]},
                "command": {"terms": [{"term": "velocity_command"}], "history": {"length": 2}},
            }
        }
    )
    state = sensed_state(contract)
    outs = {name: np.empty(tensor.shape) for name, tensor in contract.model.inputs.items()}
    for name, observation in contract.observations.items():
        ObservationBuilder(observation, contract, state, outs[name]).write()
    np.testing.assert_allclose(outs["proprioception"], [2.0 * JOINT_VEL])
    np.testing.assert_allclose(outs["command"], [[0.4, -0.3, 0.2, 0.4, -0.3, 0.2]])


def test_sensors_that_never_came_are_nan_and_named() -> None:
    state = RobotState(contract_of())
    state["joint_pos"][:] = 0.0
    state["ang_vel_body"][:] = 0.0
    state.derive()
    assert not state.is_finite()
    assert state.not_finite() == ["joint_vel", "quat_xyzw", "gravity_body"]


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e200])
def test_a_value_that_is_not_finite_or_absurd_is_named(value: float) -> None:
    state = sensed_state(contract_of())
    assert state.is_finite()
    state["joint_vel"][1] = value
    assert not state.is_finite()
    assert state.not_finite() == ["joint_vel"]


def test_no_velocity_is_commanded_before_the_first_command() -> None:
    terms = [{"term": "velocity_command"}, {"term": "joint_pos"}]
    state = RobotState(contract_of({"observations.obs.terms": terms}))
    assert state["velocity_command"].tolist() == [0.0, 0.0, 0.0]


QUARTERS = {"term": "phase", "period_s": 0.08}
"""Four ticks to a period."""
WALK, STAND = (0.5, 0.0, 0.0), (0.0, 0.0, 0.0)
COMMANDS = (WALK, WALK, STAND, STAND, WALK, WALK)


class Walker:
    """A policy without sensors, whose observation of each tick is kept."""

    def __init__(self, *terms: Mapping[str, object]) -> None:
        contract = observed(list(terms))
        self._backend, self.state = ScriptedBackend(contract), RobotState(contract)
        self._policy = JointPolicy(bundle_of(contract), self._backend, self.state)

    def tick(self, command: Sequence[float] = WALK, *, taken: bool = True) -> list[float]:
        if "velocity_command" in self.state.slices:
            self.state["velocity_command"][:] = command
        self.state.derive()
        assert self._policy.infer()
        if taken:
            self._policy.commit()
        seen: list[float] = self._backend.inputs["obs"].ravel().round(6).tolist()
        return seen


def periods(standing: Mapping[str, object]) -> list[float | None]:
    """Return the phase of each tick of COMMANDS in periods; None where sin and cos are 0."""
    walker = Walker({**QUARTERS, "standing": {"below": 0.1, **standing}})
    seen = [walker.tick(command) for command in COMMANDS]
    return [
        None if pair == [0.0, 0.0] else round(math.atan2(*pair) / math.tau % 1.0, 3)
        for pair in seen
    ]


def test_feet_have_their_offsets_and_all_sines_come_before_all_cosines() -> None:
    walker = Walker({**QUARTERS, "offsets": [0.0, 0.5]})
    seen = [walker.tick() for _ in range(3)]
    assert seen == [[0.0, 0.0, 1.0, -1.0], [1.0, -1.0, 0.0, 0.0], [0.0, 0.0, -1.0, 1.0]]


def test_parts_give_the_order_and_terms_give_sine_and_cosine_foot_by_foot() -> None:
    playground = Walker({**QUARTERS, "offsets": [0.0, 0.5], "parts": ["cos", "sin"]})
    by_foot = Walker({**QUARTERS, "offsets": [0.0]}, {**QUARTERS, "offsets": [0.5]})
    playground.tick()
    by_foot.tick()
    assert playground.tick() == [0.0, 0.0, 1.0, -1.0]
    assert by_foot.tick() == [1.0, 0.0, -1.0, 0.0]


@pytest.mark.parametrize(
    ("standing", "expected"),
    [
        ({}, [0.0, 0.25, 0.5, 0.75, 0.0, 0.25]),
        ({"phase": "zero"}, [0.0, 0.25, None, None, 0.0, 0.25]),
        ({"phase": 0.5}, [0.0, 0.25, 0.5, 0.5, 0.0, 0.25]),
        ({"clock": "stops"}, [0.0, 0.25, 0.5, 0.5, 0.5, 0.75]),
        ({"phase": "zero", "clock": "stops"}, [0.0, 0.25, None, None, 0.5, 0.75]),
        ({"phase": 0.125, "clock": "restarts"}, [0.0, 0.25, 0.125, 0.125, 0.0, 0.25]),
    ],
    ids=str,
)
def test_a_robot_that_is_commanded_to_stand_is_shown_what_the_contract_says(
    standing: Mapping[str, object], expected: list[float | None]
) -> None:
    assert periods(standing) == expected


def test_all_feet_have_the_phase_of_standing() -> None:
    walker = Walker({**QUARTERS, "offsets": [0.0, 0.5], "standing": {"below": 0.1, "phase": 0.5}})
    assert walker.tick(STAND) == [0.0, 0.0, -1.0, -1.0]


@pytest.mark.parametrize(
    ("command", "stands"),
    [
        ((0.06, 0.06, 0.05), True),
        ((0.06, 0.06, -0.06), False),
        ((0.0, 0.0, -0.1), False),
        ((-0.0999, 0.0, 0.0), True),
    ],
)
def test_the_norm_of_the_whole_command_says_whether_the_robot_stands(
    command: tuple[float, float, float], stands: bool
) -> None:
    walker = Walker({**QUARTERS, "standing": {"below": 0.1, "phase": "zero"}})
    assert (walker.tick(command) == [0.0, 0.0]) is stands


def test_terms_of_one_clock_share_a_field_and_others_do_not() -> None:
    stops = {**QUARTERS, "standing": {"below": 0.1, "clock": "stops"}}
    walker = Walker({**stops, "parts": ["sin"]}, {**stops, "parts": ["cos"]}, QUARTERS)
    assert len(walker.state.phases) == 2
    assert walker.state.inputs == ("joint_states", "cmd_vel")
    walker.tick(STAND)
    np.testing.assert_allclose(walker.tick(STAND), [0.0, 1.0, 1.0, 0.0])
