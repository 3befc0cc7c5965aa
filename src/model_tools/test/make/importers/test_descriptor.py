# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from model_tools.errors import ToolError
from model_tools.make.importers.import_bundle import make_draft
from testkit.wording import refusal

from .conftest import MakeRequest
from .small_runs import DESCRIPTOR, DESCRIPTOR_WIDTH


def test_values_per_joint_are_in_the_articulation_s_order(request_for: MakeRequest) -> None:
    draft = make_draft(request_for(DESCRIPTOR, DESCRIPTOR_WIDTH))
    assert draft.find("joints.names") == ["hip", "knee"]
    assert draft.find("joints.position_max") == [1.0, 0.0]
    assert draft.find("joints.effort_limit") == [30.0, 40.0]
    assert draft.find("rate_hz") == 50.0


def test_terms_and_actions_keep_joint_orders_of_their_own(request_for: MakeRequest) -> None:
    draft = make_draft(request_for(DESCRIPTOR, DESCRIPTOR_WIDTH))
    assert draft.find("action.terms") == [
        {"joints": ["knee", "hip"], "kind": "position", "scale": 0.5, "offset": "default_position"}
    ]
    assert draft.find("observations.obs.terms") == [
        {"term": "base_ang_vel", "scale": 0.25, "history_length": 1},
        {
            "term": "joint_pos_rel",
            "joints": ["knee", "hip"],
            "clip": [-5.0, 5.0],
            "history_length": 3,
        },
    ]


def test_joints_of_the_user_are_refused(request_for: MakeRequest) -> None:
    with refusal(ToolError):
        make_draft(request_for(DESCRIPTOR, DESCRIPTOR_WIDTH, joints="hip,knee"))


def test_a_phase_of_which_only_the_name_is_stated_is_asked_about(request_for: MakeRequest) -> None:
    def phase(source: Any) -> None:
        source["observations"]["policy"].append(
            {
                "name": "gait",
                "full_path": "my_lab.mdp.observations.gait_phase",
                "shape": [2],
                "overloads": {"scale": None, "clip": None, "history_length": 0},
            }
        )

    todos = make_draft(request_for(DESCRIPTOR, DESCRIPTOR_WIDTH + 2, edit=phase)).todos()
    term = "observations.obs.terms[2]"
    assert {f"{term}.period_s", f"{term}.standing"} <= set(todos)


def test_gains_that_the_simulator_s_actuator_model_replaced_are_asked_for(
    request_for: MakeRequest,
) -> None:
    todos = make_draft(request_for(DESCRIPTOR, DESCRIPTOR_WIDTH)).todos()
    assert "actuator model" in todos["joints.damping"]
    assert "joints.stiffness" not in todos


def test_three_commanded_values_are_not_taken_for_a_velocity(request_for: MakeRequest) -> None:
    def command(source: Any) -> None:
        source["observations"]["policy"].append(
            {
                "name": "pose",
                "full_path": "isaaclab.envs.mdp.observations.generated_commands",
                "shape": [3],
                "overloads": {},
            }
        )

    request = request_for(DESCRIPTOR, DESCRIPTOR_WIDTH + 3, edit=command)
    assert (
        "velocity_command, if pose is"
        in make_draft(request).todos()["observations.obs.terms[2].term"]
    )


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda s: s["scene"].pop("dt"), "scene.dt: expected a value, found no such key"),
        (
            lambda s: s["articulations"]["robot"].update(default_joint_pos=[0.0]),
            "default_joint_pos: expected 2 joints, found 1",
        ),
        (lambda s: s["articulations"].update(second={}), "articulations: expected one"),
        (lambda s: s["observations"]["policy"][0].update(shape=[]), "shape: expected a shape"),
        (lambda s: s["actions"][0].update(scale="half"), r"actions\[0\].scale: expected a number"),
        (lambda s: s["actions"][0]["joint_names"].pop(), r"actions\[0\].offset: expected 1 joints"),
        (
            lambda s: s["observations"]["policy"][1].update(joint_pos_offsets=[0.0, 0.0]),
            "joint_pos_offsets: expected the articulation's default positions",
        ),
        (
            lambda s: s["observations"]["policy"][1].update(joint_vel_offsets=[0.0, 1.0]),
            "joint_vel_offsets: expected default velocities of 0",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(
    request_for: MakeRequest, edit: Callable[[Any], object], message: str
) -> None:
    with pytest.raises(ToolError, match=message):
        make_draft(request_for(DESCRIPTOR, DESCRIPTOR_WIDTH, edit=edit))


def test_an_action_of_the_training_s_own_code_is_a_question(request_for: MakeRequest) -> None:
    actions = [{"full_path": "my_lab.mdp.GaitAction", "gaits": 3}]
    draft = make_draft(request_for({**DESCRIPTOR, "actions": actions}, DESCRIPTOR_WIDTH))
    assert "GaitAction (keys full_path, gaits)" in draft.todos()["action.terms"]


def test_modifiers_which_the_contract_does_not_have_are_a_todo(request_for: MakeRequest) -> None:
    def modify(source: Any) -> None:
        source["observations"]["policy"][0]["extras"] = {"modifiers": [{"func": "bias"}]}

    draft = make_draft(request_for(DESCRIPTOR, DESCRIPTOR_WIDTH, edit=modify))
    assert draft.todos()["observations"] == "modifiers of base_ang_vel"
