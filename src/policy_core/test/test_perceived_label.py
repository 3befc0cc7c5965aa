# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""By what a policy and the node that perceives for it know that they have the same contract."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from policy_core.bundle.body import PERCEIVED_LABEL
from testkit.kernel.contracts import contract_of
from testkit.kernel.walkers import CROUCH, SetRobot
from testkit.wire_messages import DEPTH, SCAN

GROUND, FRONT = "perception/ground", "perception/front"
STACK = DEPTH["stack"]
assert isinstance(STACK, dict)
IN_TICKS = {"stack": {**STACK, "unit": "ticks"}, "rate_hz": 200.0}


def labels(
    scan: Mapping[str, object], depth: Mapping[str, object], **changes: object
) -> Mapping[str, str]:
    """Return those of a policy with a scan and a depth image that have these changes."""
    terms = [
        {"term": "height_scan", "topic": GROUND, "scan": {**SCAN, **scan}},
        {"term": "depth", "topic": FRONT, "depth": {**DEPTH, **depth}},
    ]
    return contract_of({"observations": {"obs": {"terms": terms}}, **changes}).perceived


def test_each_topic_has_a_label_of_its_own() -> None:
    found = labels({}, {})
    assert found.keys() == {GROUND, FRONT}
    assert len({*found.values()}) == 2
    assert all(label.startswith(PERCEIVED_LABEL) for label in found.values())


@pytest.mark.parametrize(
    ("scan", "depth", "differ"),
    [
        ({}, {}, set()),
        ({"origin_m": [0, 0, 0]}, {}, set()),
        ({"points_m": [[0.2, -0.1], [0.2, 0.1]]}, {}, {GROUND}),
        ({"reach_m": 2.0, "miss": 0.0}, {}, {GROUND}),
        ({}, {"scaled_to": [0.0, 2.0]}, {FRONT}),
        ({}, {"stack": {**STACK, "offsets": [1, 0]}}, {FRONT}),
    ],
    ids=["same", "as integers", "order", "reach", "scale", "stack"],
)
def test_a_label_differs_where_its_term_does(
    scan: Mapping[str, object], depth: Mapping[str, object], differ: set[str]
) -> None:
    first, second = labels({}, {}), labels(scan, depth)
    assert {topic for topic in first if first[topic] != second[topic]} == differ


@pytest.mark.parametrize(("depth", "differ"), [({}, set()), (IN_TICKS, {FRONT})])
def test_the_rate_of_the_policy_counts_where_images_are_counted_in_ticks(
    depth: Mapping[str, object], differ: set[str]
) -> None:
    first, second = labels({}, depth), labels({}, depth, rate_hz=25.0)
    assert {topic for topic in first if first[topic] != second[topic]} == differ


def test_a_set_has_the_labels_of_its_members() -> None:
    terms = [{"term": "joint_pos"}, {"term": "height_scan", "topic": GROUND, "scan": SCAN}]
    robot = SetRobot(None, {"crouch": {**CROUCH, "observations": {"obs": {"terms": terms}}}})
    assert robot.controller.state.perceived == {GROUND: labels({}, {})[GROUND]}
