# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
r"""Make a bundle from training files; values that the files do not state are marked TODO.

    model_tools import io_descriptor.yaml --model policy.onnx --agent agent.yaml \
        --answers answers.yaml --simulate --output my_bundle
    model_tools import --model policy.onnx --output my_draft

Formats are recognized by content: Isaac Lab's IO descriptor and env.yaml, unitree's deploy.yaml,
rl_sar's config.yaml, LEAPP, and metadata inside an ONNX file. Answer a TODO with --set, or edit
policy.yaml and run `model_tools complete`; while a TODO is open, the loader refuses the bundle, and
the exit status is 1. A bundle without TODOs receives golden rows and, with --simulate, --rollout or
--bag, the guard's nominal figures.
"""
# run: model_tools import --model: {status: 1}

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_tools.commands.bundle_arguments import (
    add_completion_arguments,
    find_suspicions,
    read_completion,
)
from model_tools.errors import ToolError
from policy_store.command_line import CommandResult

_ORDERS = ("listed", "breadth_first", "sdk")  # as in importers.joints, which imports numpy
_SHORT = {
    "name": "name",
    "version": "version",
    "licence": "provenance.licence",
    "provenance": "provenance.source",
}
_log = logging.getLogger("model_tools")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        type=Path,
        nargs="?",
        help="file written by the training code (YAML or ONNX); if omitted, you must answer every "
        "question about the model (see --answers)",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the new bundle")
    parser.add_argument(
        "--model",
        type=Path,
        help="ONNX model of the policy; omit it for LEAPP and metadata, which name the model",
    )
    parser.add_argument("--format", help="name of the format, if the content is ambiguous")
    parser.add_argument(
        "--joints",
        metavar="NAMES",
        help="comma-separated joint names, or a URDF or MJCF file: in policy order for "
        "deploy.yaml and a model alone, in simulator order for env.yaml; for deploy.yaml also "
        "unitree's go2, g1, h1 or h1_2; refused if the source names its joints",
    )
    parser.add_argument(
        "--joint-order",
        choices=_ORDERS,
        help="order of --joints; listed: as given, or as in the file; breadth_first: level by "
        "level through the file's tree, as in Isaac Lab; sdk: order of the SDK, which "
        "joint_ids_map maps",
    )
    parser.add_argument(
        "--robot",
        type=Path,
        metavar="ROBOT",
        help="source of joint limits and of the chain to a motion's anchor, if the training files "
        "state none: URDF or MJCF file, folder of figures, or go2, g1 or lite3 of robot_sim",
    )
    parser.add_argument(
        "--motion",
        type=Path,
        metavar="NPZ",
        help="clip of the motion that the policy tracks, with joint and body names, if the model "
        "contains no clip",
    )
    parser.add_argument(
        "--scene",
        type=Path,
        metavar="NPZ",
        help="height scan recorded in training next to a step, to verify a height_scan "
        "(docs/perception.md)",
    )
    parser.add_argument(
        "--agent",
        type=Path,
        metavar="YAML",
        help="the training library's agent.yaml, for its clip_actions and clip_observations; by "
        "default, it is looked for in the run folder of the source",
    )
    parser.add_argument(
        "--estimator",
        action="store_true",
        help="estimate base_lin_vel from the legs and the IMU in the figures of --robot "
        "(docs/estimation.md)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="answers",
        help="answer, as joints.stiffness=25, 'observations.obs.terms[*].scale=1' "
        "or stand.position=@joints.default_position (a copy); may be repeated",
    )
    parser.add_argument(
        "--answers",
        type=Path,
        metavar="YAML",
        dest="answer_file",
        help="file with answers, KEY: VALUE; --set takes precedence",
    )
    parser.add_argument(
        "--drop",
        action="append",
        default=[],
        metavar="KEY",
        help="key to leave out, such as action.TODO; may be repeated",
    )
    for flag, key in _SHORT.items():
        parser.add_argument(f"--{flag}", help=f"answer for {key}")
    add_completion_arguments(parser)
    parser.add_argument("--force", action="store_true", help="replace an existing output")


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Make the bundle; the exit status is 1 if questions remain open.

    Returns:
        bundle (folder), questions (by key, to answer before the bundle loads), nominal (source of
        the guard's nominal figures; null if none), remarks from the import, suspicions (from
        `inspect`, for a complete bundle).
    """
    from model_tools.make.importers.draft import completing
    from model_tools.make.importers.import_bundle import (
        ImportRequest,
        import_bundle,
    )
    from policy_core.bundle.bundle import JointBundle
    from policy_core.bundle.load import load_bundle

    source = given.source or given.model
    if source is None:
        raise ToolError(
            "expected a file from the training run or --model policy.onnx, found neither"
        )
    answers = [
        f"{key}={_quoted(value)}"
        for flag, key in _SHORT.items()
        if (value := getattr(given, flag)) is not None
    ]
    draft = import_bundle(
        ImportRequest(
            source=source,
            model=given.model,
            format=given.format,
            joints=given.joints,
            joint_order=given.joint_order,
            robot=given.robot,
            motion=given.motion,
            scene=given.scene,
            agent=given.agent,
            estimator=given.estimator,
            dropped=given.drop,
            answers=[*answers, *given.answers],
            answer_file=given.answer_file,
        ),
        given.output,
        read_completion(given),
        force=given.force,
    )
    todos = draft.todos()
    if todos and (given.simulate or given.rollout or given.bag or given.golden):
        _log.warning("nothing was measured, since questions are open")
    again = (
        f"in {given.answer_file} and import again with --force"
        if given.answer_file
        else "with --set"
    )
    outcome = (
        f"{len(todos)} question{'s are' if len(todos) > 1 else ' is'} open, so the bundle does "
        f"not load; answer {'them' if len(todos) > 1 else 'it'} {again}, or in its policy.yaml, "
        f"and then run {completing(given.output)}"
        if todos
        else "the contract is valid, and golden rows agree with the model"
    )
    nominal = None if todos else load_bundle(given.output, kind=JointBundle).contract.nominal
    if not todos and nominal is None:
        outcome += (
            "; no walk was judged: --simulate tries the policy and measures its nominal figures"
        )
    suspicions = () if todos else find_suspicions(given.output)
    return CommandResult(
        document={
            "bundle": given.output,
            "questions": todos,
            "nominal": nominal.source if nominal else None,
            "remarks": draft.remarks,
            "suspicions": suspicions,
        },
        text=[
            *(f"note: {remark}" for remark in draft.remarks),
            *(f"TODO {key}: {question}" for key, question in todos.items()),
            f"{given.output}: {outcome}",
            *(f"suspicious: {each}" for each in suspicions),
        ],
        status=1 if todos else 0,
    )


def _quoted(text: str) -> str:
    """Return this text as a quoted YAML string, so that YAML does not read it as a number."""
    return "'" + text.replace("'", "''") + "'"
