# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Clips that a training library applies outside the environment, and states in `agent.yaml`."""

from dataclasses import replace
from pathlib import Path

import pytest

from model_tools.errors import ToolError
from model_tools.make.importers.draft import Draft
from model_tools.make.importers.import_bundle import make_draft
from testkit.wording import check_wording, refusal

from .conftest import MakeRequest
from .small_runs import DEPLOY, DEPLOY_WIDTH, DESCRIPTOR, DESCRIPTOR_WIDTH, ENV, ENV_WIDTH

RL_GAMES = """
params:
  env: {clip_observations: 5.0, clip_actions: 1.0}
  config: {clip_actions: RESCALES}
"""


def draft_with(request_for: MakeRequest, agent: str, source: str = ENV) -> Draft:
    request = request_for(source, ENV_WIDTH, joints="hip,knee")
    (request.source.parent / "agent.yaml").write_text(agent, "utf-8")
    return make_draft(request)


def last_action(draft: Draft) -> dict[str, object]:
    return next(term for _, term in draft.terms() if term["term"] == "last_action")


def test_actions_are_clipped_as_rsl_rl_clips_them_and_observed_so(request_for: MakeRequest) -> None:
    draft = draft_with(request_for, "{seed: 1, clip_actions: 2.5}")
    assert [term["clip"] for term in draft.find("action.terms")] == [[-2.5, 2.5]]
    assert last_action(draft)["clip"] == [-2.5, 2.5]
    assert draft.find("observations.obs.clip") is None
    check_wording(*(remark for remark in draft.remarks if "agent.yaml" in remark))


@pytest.mark.parametrize("rescales", ["clip_actions: false", "clip_actions: true", ""])
def test_rl_games_clips_both_and_the_observation_as_a_whole(
    request_for: MakeRequest, rescales: str
) -> None:
    draft = draft_with(request_for, RL_GAMES.replace("clip_actions: RESCALES", rescales))
    assert [term["clip"] for term in draft.find("action.terms")] == [[-1.0, 1.0]]
    assert draft.find("observations.obs.clip") == 5.0
    assert "action" not in draft.todos()


@pytest.mark.parametrize(
    "agent",
    [
        RL_GAMES.replace("clip_actions: RESCALES", "").replace("_actions: 1.0", "_actions: 9"),
        "{models: {policy: {clip_actions: true, clip_log_std: true}}}",
        "{normalize_input: true, clip_obs: 10.0}",
    ],
    ids=["rl_games", "skrl", "sb3"],
)
def test_clips_that_the_contract_cannot_state_are_questions_by_name(
    request_for: MakeRequest, agent: str
) -> None:
    check_wording(draft_with(request_for, agent).todos()["action"])


def test_a_clip_of_targets_and_one_of_actions_hold_both(request_for: MakeRequest) -> None:
    clipped = ENV.replace("offset: 0.0", "offset: 0.0\n    clip: {hip: [-0.4, 0.6], knee: [-9, 9]}")
    terms = draft_with(request_for, "clip_actions: 2.0", clipped).find("action.terms")
    assert [term["clip"] for term in terms] == [[-2.0, 2.0], [-1.0, 1.0]]
    far = ENV.replace("offset: 0.0", "offset: 0.0\n    clip: {hip: [2.0, 3.0], knee: [-9, 9]}")
    with refusal(ToolError):
        draft_with(request_for, "clip_actions: 2.0", far)


@pytest.mark.parametrize("where", ["agent.yaml", "../params/agent.yaml", "elsewhere.yaml"])
def test_the_file_is_found_in_the_run_folder_or_given(
    request_for: MakeRequest, tmp_path: Path, where: str
) -> None:
    request = request_for(DESCRIPTOR, DESCRIPTOR_WIDTH)
    folder = tmp_path / "io_descriptors"
    folder.mkdir()
    source = request.source.rename(folder / "descriptor.yaml")
    agent = folder / where
    agent.parent.mkdir(exist_ok=True)
    agent.write_text("clip_actions: 3.0", "utf-8")
    given = agent if where == "elsewhere.yaml" else None
    draft = make_draft(replace(request, source=source, agent=given))
    assert draft.find("action.terms")[0]["clip"] == [-3.0, 3.0]


@pytest.mark.parametrize("source", ["env", "descriptor", "deploy"])
def test_a_missing_file_is_asked_for_where_only_the_environment_is_described(
    request_for: MakeRequest, source: str
) -> None:
    request = {
        "env": lambda: request_for(ENV, ENV_WIDTH, joints="hip,knee"),
        "descriptor": lambda: request_for(DESCRIPTOR, DESCRIPTOR_WIDTH),
        "deploy": lambda: request_for(DEPLOY, DEPLOY_WIDTH, joints="hip,knee"),
    }[source]()
    (request.source.parent / "agent.yaml").unlink()
    todos = make_draft(request).todos()
    asked = {key: question for key, question in todos.items() if key.endswith("clip")}
    if source == "deploy":
        assert not asked
        return
    assert {*asked} == {"observations.obs.clip", "action.terms[0].clip"}
    check_wording(*asked.values())
    none = ["observations.obs.clip=null", "action.terms[*].clip=null"]
    assert not {*make_draft(replace(request, answers=none)).todos()} & {*asked}


@pytest.mark.parametrize("name", ["policy", "actor"])
def test_an_actor_that_reads_other_observations_is_refused(
    request_for: MakeRequest, name: str
) -> None:
    """Another group may have the same terms in another order."""
    draft_with(request_for, f"obs_groups: {{{name}: [policy], critic: [privileged]}}")
    with refusal(ToolError):
        draft_with(request_for, f"obs_groups: {{{name}: [student]}}")
