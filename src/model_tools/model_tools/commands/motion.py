# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
r"""Make a motion-tracking policy's clip: add names, cut, and resample to the policy's rate.

    model_tools motion walk.csv --fps 30 --rate-hz 50 --bodies pelvis --robot g1 \
        --anchor torso_link --output motion.npz

The source is an .npz from training (BeyondMimic, mjlab), or a .csv with one frame per line: x, y,
z, qx, qy, qz, qw of the base, then the joints, rad. A source without names is refused unless you
give them with --joints and --bodies. docs/motion.md lists the arrays of the clip.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policy_store.command_line import CommandResult


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, help="motion, .npz or .csv")
    parser.add_argument("--output", type=Path, required=True, help="the clip, .npz")
    parser.add_argument(
        "--rate-hz", type=float, required=True, help="rate of the policy; frames are interpolated"
    )
    parser.add_argument(
        "--fps", type=float, help="rate of the source, if the source does not state its rate"
    )
    parser.add_argument(
        "--joints", metavar="NAMES", help="joints of a source without names, comma-separated"
    )
    parser.add_argument(
        "--bodies", metavar="NAMES", help="bodies of a source without names; for a .csv, the base"
    )
    parser.add_argument("--frames", metavar="FIRST:END", help="range of source frames")
    parser.add_argument(
        "--anchor",
        metavar="BODY",
        help="anchor body whose pose is added to the clip if the source has only the base",
    )
    parser.add_argument(
        "--robot",
        type=Path,
        metavar="ROBOT",
        help="robot, needed to compute the anchor's pose: URDF or MJCF file, or go2, g1 or lite3 "
        "of robot_sim",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing output")


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Make the clip.

    Returns:
        clip (file), frames, rate_hz, joints and bodies in the order of the clip.
    """
    from model_tools.files.arrays import write_arrays
    from model_tools.files.outputs import new_file
    from model_tools.make.motion_clip import as_frames, make_clip, named

    clip = make_clip(
        given.source,
        rate_hz=given.rate_hz,
        fps=given.fps,
        joints=named(given.joints),
        bodies=named(given.bodies),
        frames=as_frames(given.frames),
        robot=given.robot,
        anchor=given.anchor,
    )
    with new_file(given.output, force=given.force) as growing:
        write_arrays(growing, clip)
    frames, bodies = len(clip["joint_pos"]), [str(name) for name in clip.get("body_names", ())]
    joints = [str(name) for name in clip["joint_names"]]
    return CommandResult(
        document={
            "clip": given.output,
            "frames": frames,
            "rate_hz": given.rate_hz,
            "joints": joints,
            "bodies": bodies,
        },
        text=[
            f"{given.output}: {frames} frames, {(frames - 1) / given.rate_hz:.2f} s at "
            f"{given.rate_hz:g} Hz, {len(joints)} joints; bodies: {', '.join(bodies) or 'none'}"
        ],
    )
