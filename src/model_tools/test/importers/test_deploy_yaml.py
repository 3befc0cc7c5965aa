# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from model_tools.errors import ToolError
from model_tools.importers.bundle_draft import make_draft

from .conftest import MakeRequest
from .small_runs import DEPLOY, DEPLOY_WIDTH


def test_gains_come_from_the_sdk_s_order_and_all_else_from_the_policy_s(
    request_for: MakeRequest,
) -> None:
    draft = make_draft(request_for(DEPLOY, DEPLOY_WIDTH, joints="hip,knee"))
    assert draft.find("joints.names") == ["hip", "knee"]
    assert draft.find("joints.stiffness") == [40.0, 20.0]
    assert draft.find("joints.damping") == [1.5, 0.5]
    assert draft.find("joints.default_position") == [0.1, -0.8]
    assert draft.find("rate_hz") == 50.0
    assert draft.find("action.terms") == [{"joints": ["hip", "knee"], "kind": "position",
                                           "scale": [0.25, 0.5], "offset": "default_position"}]
    assert draft.find("velocity_command") == {"min": [-1.0, -0.5, -1.5], "max": [2.0, 0.5, 1.5]}


def test_terms_keep_the_order_of_the_keys_with_clip_before_scale(request_for: MakeRequest) -> None:
    draft = make_draft(request_for(DEPLOY, DEPLOY_WIDTH, joints="hip,knee"))
    assert draft.find("observations.obs") == {
        "terms": [{"term": "base_ang_vel", "scale": 0.2, "clip": [-10.0, 10.0]},
                  {"term": "velocity_command"},
                  {"term": "joint_pos_rel", "scale": [1.0, 2.0]},
                  {"term": "last_action"}],
        "order": "clip_then_scale",
    }


def test_joint_names_are_asked_for_by_name_and_never_made_up(request_for: MakeRequest) -> None:
    with pytest.raises(ToolError, match=r"names of its 2 joints in policy order.*--joints"):
        make_draft(request_for(DEPLOY, DEPLOY_WIDTH))


def test_history_is_per_term_oldest_first_and_repeated(request_for: MakeRequest) -> None:
    def five_frames(source: Any) -> None:
        for term in source["observations"].values():
            term["history_length"] = 5

    draft = make_draft(request_for(DEPLOY, 5 * DEPLOY_WIDTH, edit=five_frames, joints="hip,knee"))
    assert draft.find("observations.obs.history") == {
        "length": 5, "layout": "per_term", "order": "oldest_first", "init": "repeat"}


def test_gym_history_is_whole_frames_and_scale_first_is_obeyed(request_for: MakeRequest) -> None:
    def switched(source: Any) -> None:
        for term in source["observations"].values():
            term["history_length"] = 2
        source["observations"] |= {"use_gym_history": True, "scale_first": True}

    draft = make_draft(request_for(DEPLOY, 2 * DEPLOY_WIDTH, edit=switched, joints="hip,knee"))
    assert draft.find("observations.obs.history.layout") == "per_frame"
    assert draft.find("observations.obs.order") == "scale_then_clip"


def test_one_term_with_a_history_of_its_own_says_so_itself(request_for: MakeRequest) -> None:
    def remember(source: Any) -> None:
        source["observations"]["last_action"]["history_length"] = 3

    draft = make_draft(request_for(DEPLOY, DEPLOY_WIDTH + 4, edit=remember, joints="hip,knee"))
    lengths = [term["history_length"] for term in draft.find("observations.obs.terms")]
    assert lengths == [1, 1, 1, 3]


def test_a_clip_of_targets_becomes_clips_of_the_raw_output(request_for: MakeRequest) -> None:
    def clip(source: Any) -> None:
        source["actions"]["JointPositionAction"]["clip"] = [[-0.4, 0.6], [-1.8, 0.2]]

    draft = make_draft(request_for(DEPLOY, DEPLOY_WIDTH, edit=clip, joints="hip,knee"))
    terms = draft.find("action.terms")
    assert [term["clip"] for term in terms] == [[-2.0, 2.0]]


def test_a_clip_that_no_joint_reaches_is_left_out_and_noted(request_for: MakeRequest) -> None:
    def clip(source: Any) -> None:
        source["actions"]["JointPositionAction"]["clip"] = [[-100, 100]] * 2

    draft = make_draft(request_for(DEPLOY, DEPLOY_WIDTH, edit=clip, joints="hip,knee"))
    assert all("clip" not in term for term in draft.find("action.terms"))
    assert any("clip of targets" in remark for remark in draft.remarks)


def test_a_phase_takes_its_period_from_the_params(request_for: MakeRequest) -> None:
    def phase(source: Any) -> None:
        source["observations"]["gait_phase"] = {"params": {"period": 0.8}, "scale": [1.0, 1.0],
                                                "clip": None, "history_length": 1}

    draft = make_draft(request_for(DEPLOY, DEPLOY_WIDTH + 2, edit=phase, joints="hip,knee"))
    assert draft.find("observations.obs.terms")[-1] == {"term": "phase", "period_s": 0.8}


def test_an_action_that_the_contract_cannot_say_is_a_todo_that_names_it(
    request_for: MakeRequest,
) -> None:
    def relative(source: Any) -> None:
        source["actions"] = {"RelativeJointPositionAction":
                             source["actions"]["JointPositionAction"]}

    draft = make_draft(request_for(DEPLOY, DEPLOY_WIDTH, edit=relative, joints="hip,knee"))
    assert "RelativeJointPositionAction" in draft.todos()["action"]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda s: s.pop("stiffness"), "stiffness: expected a value, found no such key"),
        (lambda s: s.update(default_joint_pos=[0.0]),
         "default_joint_pos: expected 2 joints, found 1"),
        (lambda s: s.update(stiffness=[1.0]), "stiffness: expected at least 2 values.*found 1"),
        (lambda s: s.update(joint_ids_map=[0, 0]), "joint_ids_map: expected different indices"),
        (lambda s: s.update(joint_ids_map=[0, 1, 2]), "expected 3 joints, found 2 names: hip"),
        (lambda s: s.update(step_dt="fast"), "step_dt: expected a number, found 'fast'"),
        (lambda s: s.update(step_dt=0), "step_dt: expected a number above 0, found 0"),
        (lambda s: s["actions"]["JointPositionAction"].update(scale=[0.0, 1.0], clip=[[0, 1]] * 2),
         "expected a scale other than 0 where targets are clipped"),
        (lambda s: s["actions"]["JointPositionAction"].update(clip=[[0, 1]]),
         "expected a clip for each of 2 joints, found 1"),
        (lambda s: s["actions"]["JointPositionAction"].update(joint_ids=[0], scale=[1], offset=[0]),
         "expected 2 joints for the model's output actions"),
        (lambda s: s["actions"]["JointPositionAction"].update(joint_ids=[0, 7]),
         r"joint_ids\[1\]: expected an index below 2, found 7"),
        (lambda s: s["observations"].pop("last_action"),
         "expected terms of 10 values for the model's input obs, found 8: base_ang_vel 3, "),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(
    request_for: MakeRequest, edit: Callable[[Any], object], message: str
) -> None:
    with pytest.raises(ToolError, match=message):
        make_draft(request_for(DEPLOY, DEPLOY_WIDTH, edit=edit, joints="hip,knee"))


def test_an_unknown_term_comes_from_a_topic_of_its_width(request_for: MakeRequest) -> None:
    def scan(source: Any) -> None:
        source["observations"]["height_scan"] = {"params": {}, "scale": [1.0] * 6, "clip": None,
                                                 "history_length": 1}

    draft = make_draft(request_for(DEPLOY, DEPLOY_WIDTH + 6, edit=scan, joints="hip,knee"))
    assert draft.find("observations.obs.terms")[-1] == {
        "term": "external", "topic": "height_scan", "size": 6}
    assert any("height_scan" in remark for remark in draft.remarks)
