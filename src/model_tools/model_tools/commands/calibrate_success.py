# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
r"""Add a success signal to a chunk policy, with a threshold and error rates from judged episodes.

    model_tools calibrate success --bundle my_arm --episodes my_dataset --classifier done.onnx \
        --for 0.5 --then end --version 1.2.0 --output my_arm_1_2

The output is a new bundle. Episodes are `episode_recorder` recordings with a verdict, or a LeRobot
dataset with `next.success`. The classifier is an ONNX model. Its inputs are named after cameras,
`state` or `environment_state`, and are normalized as for the policy; its only output is a
probability. If neither --classifier nor --joint is given, the bundle's own signal is calibrated
again.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_tools.commands.arguments import pair
from policy_store.command_line import CommandResult, add_bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser, "folder or name of the bundle", type=Path)
    parser.add_argument(
        "--episodes",
        type=Path,
        action="append",
        required=True,
        metavar="FOLDER",
        help="judged episodes: a recording, a folder of recordings or a LeRobot dataset; may be "
        "repeated",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--classifier", type=Path, metavar="FILE", help="ONNX model")
    source.add_argument(
        "--joint",
        type=_range,
        action="append",
        default=[],
        metavar="NAME=LOW:HIGH",
        help="range of positions in which the joint counts as done, rad; may be repeated",
    )
    parser.add_argument(
        "--for",
        type=float,
        dest="for_s",
        metavar="SECONDS",
        help="time for which the task must count as done, s",
    )
    parser.add_argument(
        "--then",
        choices=("end", "flag"),
        help="on success: end the run, or only report it in the status (default)",
    )
    parser.add_argument("--version", required=True, help="version of the new bundle")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FOLDER", help="bundle to write"
    )


def _range(text: str) -> tuple[str, tuple[float, float]]:
    name, ends = pair(text)
    try:
        low, high = map(float, ends.split(":"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected NAME=LOW:HIGH, found {text!r}") from None
    return name, (low, high)


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Calibrate a success signal, and write it into a new bundle.

    Returns:
        output (the new bundle), success (the contract's section), 95 % intervals of both error
        rates.
    """
    from model_tools.commands.arguments import progress_bar
    from model_tools.files.contract_text import plain
    from model_tools.prove.calibration.success import (
        SuccessSource,
        calibrate_success,
        judged_episodes,
    )
    from model_tools.prove.evaluation.statistics import wilson
    from policy_core.bundle.chunk_bundle import ChunkBundle
    from policy_core.bundle.load import bundle_folder, load_bundle

    bundle = load_bundle(bundle_folder(str(given.bundle)), kind=ChunkBundle)
    episodes = [each for path in given.episodes for each in judged_episodes(bundle.contract, path)]
    source = SuccessSource(
        episodes=", ".join(path.resolve().name for path in given.episodes),
        classifier=given.classifier,
        joints=dict(given.joint),
        for_s=given.for_s,
        then=given.then,
    )
    with progress_bar("episodes") as progress:
        signal = calibrate_success(
            bundle, episodes, source, given.version, given.output, progress=progress
        )
    error = signal.error
    assert error is not None
    rates = {
        "false_positive_rate": (error.false_positive_rate, error.failures),
        "false_negative_rate": (error.false_negative_rate, error.successes),
    }
    intervals = {name: wilson(round(rate * count), count) for name, (rate, count) in rates.items()}
    text = [
        f"{name.replace('_', ' ')}: {rate:.1%} of {count} episodes (95 %: "
        f"{intervals[name][0]:.1%} to {intervals[name][1]:.1%})"
        for name, (rate, count) in rates.items()
    ]
    if signal.threshold is not None:
        text.insert(0, f"threshold: {signal.threshold:g}")
    return CommandResult(
        document={"output": given.output, "success": plain(signal), "intervals": intervals},
        text=[*text, f"bundle in {given.output}"],
    )
