# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The table of the state's fields agrees with itself, with the terms, and with the guide."""

from pathlib import Path

import pytest

from policy_core.bundle.state_fields import STATE_FIELDS, STATE_TOPICS, StateField, topic_fields
from policy_core.bundle.terms import OWN_FIELDS, TERMS

ROOT = Path(__file__).resolve().parents[4]
GUIDE = ROOT / "docs" / "bundle.md"
every_field = pytest.mark.parametrize("field", STATE_FIELDS.values(), ids=STATE_FIELDS.keys())
SHOWN = {name: field for name, field in STATE_FIELDS.items() if field.term}
every_shown_field = pytest.mark.parametrize("field", SHOWN.values(), ids=SHOWN.keys())


@every_shown_field
def test_the_term_of_a_field_has_its_values_as_they_are(field: StateField) -> None:
    term = TERMS[field.term]
    assert (term.field, term.size, term.parts) == (field.name, field.size, field.parts)
    assert term.order is None
    assert not term.minus_default


def test_every_term_reads_a_known_field() -> None:
    assert {term.field for term in TERMS.values()} == {*SHOWN, *OWN_FIELDS, "external"}


@every_field
def test_what_a_field_says_of_its_values_is_of_their_number(field: StateField) -> None:
    if field.size == "joints":
        assert (field.parts, field.at_rest, field.aliases) == ((), (), {})
        return
    assert len(field.parts) in (0, field.size)
    assert len(field.at_rest) in (0, field.size)
    for order in field.aliases.values():
        assert sorted(order) == list(range(field.size))


@every_field
def test_a_field_that_no_message_has_follows_from_another_of_its_topic(field: StateField) -> None:
    assert field.read or any(other.read for other in topic_fields(field.topic.name))


@every_shown_field
def test_the_guide_says_where_a_term_comes_from_and_how_it_is_recorded(field: StateField) -> None:
    lines = GUIDE.read_text("utf-8").partition("## Observation terms")[2].split("\n")
    rows = [line.split("|")[1:-1] for line in lines if line.startswith("|")]
    (row,) = (row for row in rows if f"`{field.term}`" in row[0])
    _, size, topic, unit, recorded = (cell.strip() for cell in row)
    assert (size, topic) == (str(field.size), f"`{field.topic.name}`")
    assert field.unit.partition(",")[0] in unit
    assert all(f"`{name}`" in recorded for name in field.recorded_as)


@pytest.mark.parametrize("topic", STATE_TOPICS)
def test_the_node_may_subscribe_to_every_topic_where_dds_is_secured(topic: str) -> None:
    policy = (ROOT / "src/policy_inference/security/robot.policy.xml").read_text("utf-8")
    assert f"<topic>/{topic}</topic>" in policy
