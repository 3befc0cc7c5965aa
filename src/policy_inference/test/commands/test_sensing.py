# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which nodes the inputs of a bundle need, for the launch files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from policy_core.errors import PolicyError
from policy_inference.commands.sensing import sensing_nodes

from ..nodes.bundles import ESTIMATES, SEES_DEPTH, SEES_GROUND, write_sensing_bundle


@pytest.mark.parametrize(
    ("terms", "needed"),
    [
        ([], []),
        ([SEES_GROUND], ["perception_node"]),
        ([SEES_DEPTH], ["perception_node"]),
        ([ESTIMATES], ["velocity_estimator_node"]),
        ([SEES_GROUND, ESTIMATES], ["perception_node", "velocity_estimator_node"]),
    ],
    ids=["blind", "scan", "depth", "estimate", "scan and estimate"],
)
def test_nodes_follow_from_the_terms_of_a_policy(
    tmp_path: Path, terms: list[Mapping[str, Any]], needed: list[str]
) -> None:
    assert sorted(sensing_nodes(str(write_sensing_bundle(tmp_path / "one", *terms)))) == needed


def test_a_bundle_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError):
        sensing_nodes(str(tmp_path / "none"))
