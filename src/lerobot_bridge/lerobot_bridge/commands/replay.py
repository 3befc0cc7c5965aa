# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Run an exported chunk policy on a dataset's episodes; compare predicted with recorded actions.

    lerobot_bridge replay my_dataset --bundle my_arm --episodes 0,2 --output replay.html

The policy sees the recorded observations as often as it would on the robot (a chunk every
`chunk.steps` frames, or --every). The command compares each predicted step with the recorded action
of the same frame, and reports the errors per joint (in the dataset's units and in rad), the
correlation, and the delay. It does not need LeRobot.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lerobot_bridge.commands.arguments import add_episodes, chosen_episodes
from model_tools.commands.arguments import number_above_0
from policy_store.command_line import CommandResult, add_backend_options

if TYPE_CHECKING:  # imports in `run`: modules are loaded only by the command that needs them
    from lerobot_bridge.open_loop.report import Replayed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", type=Path, help="folder of a LeRobot dataset, version v3.0")
    parser.add_argument("--bundle", required=True, help="folder or name of the chunk policy")
    add_episodes(parser)
    parser.add_argument("--backend", default="onnx", help="back end (default onnx)")
    add_backend_options(parser)
    parser.add_argument(
        "--every",
        type=number_above_0,
        metavar="FRAMES",
        help="compute a chunk every FRAMES frames (default: chunk.steps of the policy; 1: a chunk "
        "for each frame, of which only the first step is compared)",
    )
    parser.add_argument(
        "--with-interventions",
        action="store_true",
        help="compare all frames, even those in which a person drove instead of the policy",
    )
    parser.add_argument("--output", type=Path, help="HTML file to write, with plots")
    parser.add_argument("--force", action="store_true", help="replace an existing file")


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Run the replay.

    Returns:
        The errors, correlation and delay, over all episodes and for each episode.
    """
    from lerobot_bridge.open_loop.report import open_loop_report
    from model_tools.files.outputs import new_file
    from model_tools.files.report_page import write_page

    # open the output first, to find an unwritable one before the work
    output = nullcontext() if given.output is None else new_file(given.output, force=given.force)
    with output as page:
        report = open_loop_report(_replayed(given))
        if page is not None:
            write_page(report, page)
    where = [] if given.output is None else [f"report in {given.output}"]
    return CommandResult(document=report.document, text=[*report.parts, *where])


def _replayed(given: argparse.Namespace) -> Replayed:
    from lerobot_bridge.open_loop.figures import measure
    from lerobot_bridge.open_loop.predict import OpenLoop
    from lerobot_bridge.open_loop.report import Replayed
    from model_tools.commands.arguments import progress_bar
    from model_tools.errors import ToolError
    from model_tools.files.observation_sources import DatasetSource
    from policy_core.bundle.chunk_bundle import ChunkBundle
    from policy_core.bundle.load import load_bundle
    from policy_inference.backends.registry import artifacts_for, open_models, parse_options

    bundle = load_bundle(given.bundle, kind=ChunkBundle)
    contract = bundle.contract
    source = DatasetSource(contract, given.dataset)
    episodes = chosen_episodes(source.dataset, given.episodes)
    every = contract.chunk.steps if given.every is None else given.every
    artifacts = [entry for entry, _ in artifacts_for(bundle, given.backend).values()]
    options = parse_options(given.backend_option)
    with (
        open_models(bundle.models, [given.backend], options) as backends,
        progress_bar("episodes") as bar,
    ):
        loop, predicted = (
            OpenLoop(source, backends, every, interventions=given.with_interventions),
            [],
        )
        for done, episode in enumerate(episodes, 1):
            predicted.append(loop.run(episode))
            bar(done, len(episodes))
    left_out = sum(int((~one.compared).sum()) for one in predicted)
    predicted = [one for one in predicted if one.compared.any()]
    if not predicted:
        raise ToolError(
            f"{given.dataset}: expected frames in which the policy drove, found a "
            f"person driving in all {left_out}; --with-interventions compares those frames as well"
        )
    return Replayed(
        dataset=given.dataset,
        bundle=bundle,
        backend=given.backend,
        artifacts=artifacts,
        every=every,
        episodes=predicted,
        each=[measure(contract, [one]) for one in predicted],
        all=measure(contract, predicted),
        left_out=left_out,
    )
