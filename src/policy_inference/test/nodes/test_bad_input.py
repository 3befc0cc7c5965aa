# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What cannot be meant is refused by configure with one clear line each; nothing is left of it."""

import logging
from collections.abc import Mapping
from pathlib import Path

import pytest

from policy_inference.nodes.loading import forwarded_to
from testkit.edits import MISSING

from .bundles import write_bundle
from .harness import Stage
from .kinds import CHUNK, JOINT, SET, Kind

pytestmark = pytest.mark.ros
BAD_INPUT: Mapping[str, tuple[Mapping[str, object], Mapping[str, object]]] = {
    "contract": ({}, {"rate_hz": 0, "damp": MISSING}),
    "backend": ({"backend": "magic"}, {}),
    "options": ({"backend_options": "core_mask=0"}, {}),
    "loosening": ({"safety__max_tilt_rad": 1.5}, {}),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_clear_line_each_and_leaves_nothing(
    node_stage: Stage, tmp_path: Path, case: str
) -> None:
    parameters, changes = BAD_INPUT[case]
    bundle = write_bundle(tmp_path / "b", changes)
    node_stage.refuses(**{"bundle": str(bundle), **parameters})
    # A slow machine says that it warms up for long.
    assert {each.level for each in node_stage.robot.logged()} - {"INFO"} == {"ERROR"}


@pytest.mark.parametrize(("kind", "other"), [(JOINT, CHUNK), (CHUNK, JOINT), (SET, JOINT)], ids=str)
def test_bundle_of_another_kind_is_refused_with_the_node_that_runs_it(
    node_stage: Stage, tmp_path: Path, other: Kind
) -> None:
    node_stage.refuses(bundle=str(other.write(tmp_path / "other", "1.0.0")))


def test_what_the_package_itself_logs_comes_out_in_the_log_of_a_node(node_stage: Stage) -> None:
    log = logging.getLogger("policy_inference")
    with forwarded_to(node_stage.node().get_logger()):
        log.info("building")
        log.warning("graph")
    log.warning("afterwards")
    node_stage.robot.hears("graph")
    said = {each.text: each.level for each in node_stage.robot.logged()}
    assert said == {"building": "INFO", "graph": "WARN"}
