# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What cannot be meant is refused by configure with one clear line each; nothing is left of it."""

import logging
from collections.abc import Mapping
from pathlib import Path

import pytest
from rclpy.lifecycle import TransitionCallbackReturn

from policy_inference.nodes.forwarding import forwarded_to
from policy_inference.testing.chunk_bundles import write_chunk_bundle

from .bundles import MISSING, write_bundle
from .harness import Stage, entities

pytestmark = pytest.mark.ros
FAILURE = TransitionCallbackReturn.FAILURE

BAD_INPUT: Mapping[str, tuple[Mapping[str, object], Mapping[str, object], str]] = {
    "no bundle": ({"bundle": "/nowhere/at/all"}, {}, "expected a bundle folder, found nothing"),
    "contract": ({}, {"rate_hz": 0}, "rate_hz: expected"),
    "hash": (
        {},
        {
            "model.artifacts": {
                "onnx": {"file": "policy.onnx", "sha256": "0" * 64, "precision": "fp32"}
            }
        },
        "expected sha256 000",
    ),
    "no artifact": (
        {},
        {"model.artifacts": {"rknn": {"file": "p.rknn", "sha256": "0" * 64, "precision": "int8"}}},
        "no artifact for the backend 'onnx'; this bundle has rknn",
    ),
    "backend": ({"backend": "magic"}, {}, "expected names of installed backends"),
    "option": ({"backend_options": "onnx.cores=2"}, {}, "expected no options, found cores"),
    "option of another": (
        {"backend_options": "rknn.core_mask=0"},
        {},
        "expected options of onnx, which are to be opened, found options of rk",
    ),
    "options": ({"backend_options": "core_mask=0"}, {}, "expected BACKEND.OPTION=VALUE"),
    "output": ({"output": "position_array"}, {}, "cannot express safety.on_fault: damp"),
    "trigger": (
        {"trigger": "scan"},
        {},
        "parameter trigger: expected timer or an input of the "
        "contract (joint_states, imu/data, cmd_vel), found 'scan'",
    ),
    "loosening": ({"safety__max_tilt_rad": 1.5}, {}, "never loosen it"),
    "zero": ({"safety__margin": 0.0}, {}, "margin: expected a value in (0, "),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_clear_line_and_leaves_nothing(
    stage: Stage, tmp_path: Path, case: str
) -> None:
    parameters, changes, said = BAD_INPUT[case]
    bundle = write_bundle(tmp_path / "b", changes)
    node = stage.node(**{"bundle": str(bundle), **parameters})
    before = entities(node)
    assert node.trigger_configure() is FAILURE
    log = stage.robot.hears(said)
    assert log.count("[ERROR]") == len(log.splitlines()) == 1
    assert entities(node) == before
    assert stage.robot.commands == []


def test_everything_that_is_wrong_is_said_at_once(stage: Stage, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b", {"rate_hz": 0, "damp": MISSING})
    assert stage.node(bundle=str(bundle)).trigger_configure() is FAILURE
    stage.robot.hears("rate_hz")
    stage.robot.hears("damp")


def test_bundle_of_a_chunk_policy_is_refused_with_the_node_that_runs_it(
    stage: Stage, tmp_path: Path
) -> None:
    bundle = write_chunk_bundle(tmp_path / "arm")
    assert stage.node(bundle=str(bundle)).trigger_configure() is FAILURE
    stage.robot.hears("kind: expected joint, found chunk; act_policy_node runs this policy")


def test_missing_bundle_parameter_is_named(stage: Stage) -> None:
    assert stage.node().trigger_configure() is FAILURE
    stage.robot.hears("parameter bundle: expected a value, found none")


def test_what_the_package_itself_logs_comes_out_in_the_log_of_a_node(stage: Stage) -> None:
    log = logging.getLogger("policy_inference")
    with forwarded_to(stage.node().get_logger()):
        log.info("building: 40 %")
        log.warning("no graph")
    log.warning("after configure")

    said = stage.robot.hears("no graph").splitlines()
    assert ["[INFO]" in line for line in said if "building: 40 %" in line] == [True]
    assert ["[WARN]" in line for line in said if "no graph" in line] == [True]
    assert "after configure" not in stage.robot.log
