# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Tiny policies that see different things, and what a replay found in a few words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from model_tools.prove.replaying.replay import ReplayedFlight, replay
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.bundle.verified import sha256_of

from ...tiny_bundle import make_bundle

PLAIN = "{terms: [{term: joint_pos}, {term: joint_vel}, {term: last_action}]}"
RANGE = "velocity_command: {min: [-1, -1, -1], max: [1, 1, 1]}"
HISTORY = (
    "{{terms: [{{term: joint_pos}}], history: "
    "{{length: 3, layout: {layout}, order: {order}, init: {init}}}}}"
)
SEEING = {
    "plain": PLAIN,
    "history": HISTORY.format(layout="per_frame", order="newest_first", init="zero"),
    "repeated history": HISTORY.format(layout="per_term", order="oldest_first", init="repeat"),
    "command": "{terms: [{term: base_ang_vel}, {term: velocity_command, scale: 2.0}]}",
    "phase": "{terms: [{term: joint_pos}, {term: phase, period_s: 0.7}, {term: last_action}]}",
    "standing": "{terms: [{term: joint_pos}, {term: phase, period_s: 0.7, offsets: [0.0, 0.5], "
    "parts: [cos, sin], standing: {below: 0.3, phase: 0.5, clock: stops}}]}",
    "motion": "{terms: [{term: motion_joint_pos}, {term: motion_joint_vel, ahead: 3}, "
    "{term: joint_pos}]}",
    "anchor of a motion": "{terms: [{term: motion_anchor_ori_b}]}",
}


def seeing(folder: Path, observation: str = PLAIN, **options: Any) -> JointBundle:
    """Make a policy that observes this."""
    make_bundle(folder, **options)
    reworded(folder, PLAIN, observation)
    if "velocity_command" in observation or "standing" in observation:
        reworded(folder, "safety: {", f"{RANGE}\nsafety: {{")
    if "motion_" in observation:
        reworded(folder, "safety: {", f"motion: {_motion(folder)}\nsafety: {{")
    return load_bundle(folder, kind=JointBundle)


def _motion(folder: Path) -> str:
    """Write a clip of 20 frames, in which the robot turns; return its section of the contract."""
    half, zero = np.linspace(0.0, 0.5, 20), np.zeros(20)
    np.savez(
        folder / "motion.npz",
        fps=np.array(50),
        joint_names=np.array(["knee", "hip"]),
        joint_pos=np.outer(np.linspace(0.0, 0.3, 20), [1.0, -1.0]),
        joint_vel=np.full((20, 2), 0.8),
        body_names=np.array(["trunk"]),
        body_pos_w=np.zeros((20, 1, 3)),
        body_quat_w=np.stack([np.cos(half), zero, zero, np.sin(half)], axis=1)[:, None],
    )
    chain = "[{joint: hip, position_m: [0, 0, 0.1], axis: [0, 1, 0]}]"
    return (
        f"{{clip: {{file: motion.npz, sha256: {sha256_of(folder / 'motion.npz')}}}, "
        f"at_end: loop, anchor: {{body: trunk, chain: {chain}}}}}"
    )


def reworded(folder: Path, before: str, after: str) -> Path:
    """Change the contract."""
    file = folder / "policy.yaml"
    text = file.read_text("utf-8")
    assert before in text
    file.write_text(text.replace(before, after), "utf-8")
    return folder


def differing(found: ReplayedFlight) -> dict[str, int]:
    return {
        name: stage.differing for name, stage in found.replayer.stages.items() if stage.differing
    }


def counts_of(found: ReplayedFlight) -> dict[str, tuple[int, int]]:
    return {name: (stage.judged, stage.not_judged) for name, stage in found.replayer.stages.items()}


def alike(recording: Path, given: Path | None = None) -> ReplayedFlight:
    """Replay a recording, of which nothing may differ; return what was found."""
    found = replay(recording, given, "", {})
    assert found, f"{found.first} {found.unproven} {differing(found)} {counts_of(found)}"
    assert not differing(found)
    return found


def first_difference(recording: Path) -> tuple[int, str, str]:
    """Replay a recording, of which something has to differ; return tick, stage and name."""
    found = replay(recording, None, "", {})
    assert not found
    assert found.first is not None
    return found.first.tick, found.first.stage, found.first.name
