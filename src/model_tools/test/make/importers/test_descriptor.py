# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from model_tools.errors import ToolError
from model_tools.make.importers.import_bundle import make_draft
from testkit.edits import MISSING
from testkit.wording import check_wording, refusal

from .conftest import MakeRequest
from .small_runs import DESCRIPTOR, DESCRIPTOR_WIDTH


def test_values_per_joint_are_in_the_articulation_s_order_and_terms_keep_their_own(
    request_for: MakeRequest,
) -> None:
    draft = make_draft(request_for(DESCRIPTOR, DESCRIPTOR_WIDTH))
    assert draft.find("joints.names") == ["hip", "knee"]
    assert draft.find("joints.position_max") == [1.0, 0.0]
    assert draft.find("joints.effort_limit") == [30.0, 40.0]
    assert draft.find("rate_hz") == 50.0
    swapped = {"joints": ["knee", "hip"]}
    assert draft.find("action.terms") == [
        {**swapped, "kind": "position", "scale": 0.5, "offset": "default_position"}
    ]
    assert draft.find("observations.obs.terms") == [
        {"term": "base_ang_vel", "scale": 0.25, "history_length": 1},
        {"term": "joint_pos_rel", **swapped, "clip": [-5.0, 5.0], "history_length": 3},
    ]
    assert "joints.stiffness" not in draft.todos()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("scene.dt", MISSING),
        ("articulations.robot.default_joint_pos", [0.0]),
        ("articulations.second", {}),
        ("observations.policy.0.shape", []),
        ("actions.0.scale", "half"),
        ("actions.0.joint_names.1", MISSING),
        ("observations.policy.1.joint_pos_offsets", [0.0, 0.0]),
        ("observations.policy.1.joint_vel_offsets", [0.0, 1.0]),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(
    request_for: MakeRequest, place: str, value: object
) -> None:
    with refusal(ToolError):
        make_draft(request_for(DESCRIPTOR, DESCRIPTOR_WIDTH, {place: value}))


def test_a_descriptor_without_the_height_scan_is_refused_with_the_file_that_has_it(
    request_for: MakeRequest,
) -> None:
    with refusal(ToolError):
        make_draft(request_for(DESCRIPTOR, DESCRIPTOR_WIDTH + 187))


def term_of(function: str, width: int) -> dict[str, object]:
    overloads = {"scale": None, "clip": None, "history_length": 0}
    return {"name": "own", "full_path": function, "shape": [width], "overloads": overloads}


OWN = "observations.obs.terms[2]"
MODIFIERS = {"modifiers": [{"func": "bias"}]}
COMMANDS = "isaaclab.envs.mdp.observations.generated_commands"


@pytest.mark.parametrize(
    ("place", "value", "more", "keys"),
    [
        ("scene.decimation", 4, 0, ["joints.damping"]),  # the actuator model replaced it
        ("observations.policy.+", term_of("my_lab.mdp.gait_phase", 2), 2, [f"{OWN}.standing"]),
        ("observations.policy.+", term_of("my_lab.mdp.gait_phase", 2), 2, [f"{OWN}.period_s"]),
        ("observations.policy.+", term_of(COMMANDS, 3), 3, [f"{OWN}.term"]),
        ("actions", [{"full_path": "my_lab.mdp.GaitAction", "gaits": 3}], 0, ["action.terms"]),
        ("observations.policy.0.extras", MODIFIERS, 0, ["observations"]),
    ],
)
def test_what_the_descriptor_does_not_state_is_asked_for(
    request_for: MakeRequest, place: str, value: object, more: int, keys: list[str]
) -> None:
    todos = make_draft(request_for(DESCRIPTOR, DESCRIPTOR_WIDTH + more, {place: value})).todos()
    check_wording(*(todos[key] for key in keys))
