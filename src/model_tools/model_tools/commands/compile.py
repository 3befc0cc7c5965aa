# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
r"""Compile a bundle's reference model, or all graphs of a chunk policy, for a back end.

    model_tools compile onnx --bundle my_bundle --precision int8 --rows rows.npz \
        --output my_bundle_int8
    model_tools compile bpu --bundle my_arm --precision int16 --target nash-e \
        --dataset my_dataset --option workspace=work --output my_arm_s100

In the new bundle, the compiled model replaces that back end's previous model; everything else is
unchanged. `model_tools compare my_bundle my_bundle_int8` measures the compiled model's accuracy.

Exit status 3 means that the vendor's compiler is not on this machine: the compiler's inputs are in
the folder of `--option workspace=FOLDER`, and there is no bundle yet. The message states the next
steps.
"""
# run: model_tools compile bpu: {status: 3}

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_tools.commands.arguments import add_samples, add_topics, pair
from policy_store.command_line import CommandResult, add_bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "compiler", help="name of an installed compiler: onnx, oip, rknn, tensorrt, bpu"
    )
    add_bundle(parser, "folder or name of the bundle", type=Path)
    parser.add_argument(
        "--precision",
        required=True,
        help="fp32, fp16, int8, w8a8, ...; any other name lists the compiler's precisions",
    )
    parser.add_argument(
        "--target",
        help="chip, for compilers that have several: rk3588, nash-e, ...; any other name lists "
        "them",
    )
    given = parser.add_mutually_exclusive_group()
    given.add_argument(
        "--rows",
        type=Path,
        metavar="FILE",
        help="calibration rows: a recorded rollout, .npz or .npy, or a rosbag2 recording; ignored "
        "for precisions that need no calibration",
    )
    given.add_argument(
        "--dataset",
        type=Path,
        dest="rows",
        metavar="FOLDER",
        help="LeRobot dataset for the calibration of a chunk policy; --rows accepts one too",
    )
    add_topics(parser)
    parser.add_argument(
        "--option",
        type=pair,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="option of the compiler; may be repeated",
    )
    add_samples(
        parser,
        "number of evenly spaced rows (default 512), at most half of all, since compare uses the "
        "others; for a chunk policy: per camera (default 200, or all if there are fewer)",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the new bundle")
    parser.add_argument("--force", action="store_true", help="replace an existing output")
    parser.add_argument(
        "--allow-poor",
        action="store_true",
        help="accept rows even if they fail the quality check of calibrate",
    )


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Compile the models of a bundle into a new bundle.

    Returns:
        bundle (folder), precision, and models in this precision: graph (`model` for a joint
        policy), backend, file, made (method; null if not compiled), tool (with version; null if
        unknown).
    """
    from model_tools.commands.arguments import progress_bar
    from model_tools.ship.compilers.compile_request import CompileRequest
    from model_tools.ship.compilers.compiled_bundle import compile_bundle
    from policy_core.bundle.load import bundle_folder, load_bundle

    given.bundle = bundle_folder(str(given.bundle))
    names = ("compiler", "bundle", "precision", "target", "samples", "rows", "output", "force")
    request = CompileRequest(
        **{name: getattr(given, name) for name in names},
        allow_poor=given.allow_poor,
        topics=dict(given.topic),
        options=dict(given.option),
    )
    with progress_bar("samples") as progress:
        bundle = load_bundle(compile_bundle(request, progress))
    models: list[dict[str, Any]] = [
        {
            "graph": key,
            "backend": backend,
            "file": artifact.file,
            "made": artifact.made,
            "tool": artifact.tool,
        }
        for key, model in bundle.contract.models.items()
        for backend, artifact in model.artifacts.items()
        if artifact.precision == given.precision
    ]
    return CommandResult(
        document={"bundle": bundle.path, "precision": given.precision, "models": models},
        text=[
            f"{bundle.path}: {'' if one['graph'] == 'model' else one['graph'] + ': '}"
            f"{one['backend']}: {one['made'] or 'unchanged'} ({one['tool'] or 'tool unknown'})"
            for one in models
        ],
    )
