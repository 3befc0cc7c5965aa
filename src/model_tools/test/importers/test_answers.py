# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from model_tools.errors import ToolError
from model_tools.importers.answers import answer, drop
from model_tools.importers.draft import Draft, todo


@pytest.fixture
def draft() -> Draft:
    made = Draft("a test")
    made.put(("observations", "input.1", "terms"), [{"term": "joint_pos", "scale": todo("?")},
                                                    {"term": "joint_vel", "scale": todo("?")}])
    made.put("joints.default_position", [0.1, 0.2])
    made.put("joints.stiffness", todo("?"))
    return made


@pytest.mark.parametrize(
    ("given", "key", "value"),
    [
        ("joints.stiffness=25", "joints.stiffness", 25),
        ("joints.stiffness={.*: 1e-3}", "joints.stiffness", {".*": 1e-3}),
        ("stand.position=@joints.default_position", "stand.position", [0.1, 0.2]),
        ("safety.max_tilt_rad=null", "safety.max_tilt_rad", None),
        ("provenance.date=2026-11-20", "provenance.date", "2026-11-20"),
        ("observations.input.1.terms[1].scale=2.0",
         ("observations", "input.1", "terms", 1, "scale"), 2.0),
    ],
)
def test_an_answer_takes_the_place_of_the_question(
    draft: Draft, given: str, key: str | tuple[str | int, ...], value: object
) -> None:
    answer(draft, given)
    assert draft.find(key) == value


def test_a_star_answers_for_every_term(draft: Draft) -> None:
    answer(draft, "observations.input.1.terms[*].scale=1.0")
    assert draft.todos() == {"joints.stiffness": "?"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("joints.stiffness", "expected KEY=VALUE, found 'joints.stiffness'"),
        ("joints.stiffness={", "expected YAML"),
        ("joints.stiffness=!!python/tuple 3", "expected YAML"),
        ("joints.damping=@joints.stiffness", "expected a key with a value after @"),
        ("observations.input.1.terms[2].scale=1", "expected a place in a list of 2"),
        ("joints.names[*]=1", "expected a place in a list of 0"),
        ("..=1", "expected a key like"),
        ("joints.damping=@", "expected a key like"),
        ("joints.damping=@joints.default_position[*]", "expected a key with a value after @"),
        ("joints.damping=" + "[" * 5000, "--set joints.damping: expected YAML"),
    ],
)
def test_an_answer_that_fits_nowhere_is_refused(draft: Draft, given: str, message: str) -> None:
    with pytest.raises(ToolError, match=message):
        answer(draft, given)


def test_a_copy_does_not_change_with_what_it_was_taken_from(draft: Draft) -> None:
    answer(draft, "observations.b.terms=@observations.input.1.terms")
    answer(draft, "observations.b.terms[*].scale=3")
    assert draft.find(("observations", "input.1", "terms", 0, "scale")) == todo("?")


def test_nothing_cannot_be_dropped(draft: Draft) -> None:
    with pytest.raises(ToolError, match="expected a key like"):
        drop(draft, "")


def test_a_todo_about_what_does_not_matter_can_be_dropped(draft: Draft) -> None:
    draft.block("action", "a second output")
    drop(draft, "action.TODO")
    assert "action" not in draft.todos()
    with pytest.raises(ToolError, match="expected a key of the draft"):
        drop(draft, "action.TODO")
