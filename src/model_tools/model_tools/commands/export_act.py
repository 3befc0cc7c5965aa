# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Export a LeRobot ACT policy from its checkpoint to a bundle, without LeRobot or torch.

    model_tools export act --act-path pretrained_model --export-path so101_pick --units degrees

Works like `export lerobot`, with the same options, except that --act-path gives the checkpoint. The
bundle has two graphs, an image encoder and the transformer, or one graph for both.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from model_tools.commands import export_lerobot
from policy_store.command_line import CommandResult


def add_arguments(parser: argparse.ArgumentParser) -> None:
    export_lerobot.add_arguments(parser, "--act-path")


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Export an ACT policy to a bundle.

    Returns:
        bundle (folder), name and version of the policy, joints in the policy's order, cameras
        (width and height by name), chunk_size, chunk_steps (number of executed steps), rate_hz,
        differences from the checkpoint's outputs in words, warnings, workspace_samples (in the
        workspace of --type; null without it).
    """
    return export_lerobot.export(given, policy="act")
