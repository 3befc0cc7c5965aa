# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What no command, topic or file gives: the only module here that calls the suite's own code."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np


def lerobot_frames(recording: Path, mapping: str) -> dict[str, Any]:
    """Return what LeRobot is given of a recording: `lerobot_bridge convert` without LeRobot.

    Args:
        recording: Folder of a rosbag2 recording.
        mapping: File, or name of an included mapping.
    """
    from lerobot_bridge.episodes import find_episodes
    from lerobot_bridge.frames import EpisodeFrames
    from lerobot_bridge.mapping_file import load_mapping

    stages = dict[str, list[Any]]()
    (episode,) = find_episodes([recording], task="a task").episodes
    frames = EpisodeFrames(load_mapping(mapping), episode)
    for part in range(len(frames.parts)):
        for frame in frames.frames(part):
            stages.setdefault("time_ns", []).append([part, frame.time_ns])
            for name, values in frame.vectors.items():
                stages.setdefault(name, []).append(np.array(values))
            for name, pixels in frame.images.items():
                stages.setdefault(f"{name}.samples", []).append(pixels.ravel()[::997].copy())
                digest = hashlib.sha256(pixels.tobytes()).hexdigest()
                stages.setdefault(f"{name}.sha256", []).append(digest)
    return {
        name: rows if name.endswith("sha256") else np.array(rows) for name, rows in stages.items()
    }


def lite3_datagrams(folder: Path) -> dict[str, Any]:
    """Return what the driver of the Lite3 makes of datagrams, one per file."""
    from lite3_driver import wire

    stages = dict[str, Any]()
    for file in sorted(folder.glob("*.bin")):
        data = file.read_bytes()
        state, command = wire.read_state(data), wire.read_command(data)
        if isinstance(state, wire.Lite3State):
            stages[f"{file.stem}.state"] = np.concatenate([np.ravel(part) for part in state])
            stages[f"{file.stem}.written"] = [wire.write_state(state).hex()]
        elif command is not None:
            stages[f"{file.stem}.command"] = command
            stages[f"{file.stem}.written"] = [wire.command(command).hex()]
        else:
            stages[f"{file.stem}.other"] = [f"{state.value}, request {wire.read_request(data)}"]
    return stages


def reached(seed: int) -> dict[str, Any]:
    """Return an episode of the simulated arm under its expert: poses, and some of what it sees."""
    from robot_sim.arm_expert import ReachExpert, ReachJudge
    from robot_sim.arm_world import ArmWorld, arm_command

    world = ArmWorld(seed=seed)
    expert, judge = ReachExpert(world), ReachJudge()
    poses, images = list[Any](), list[str]()
    while not judge.look(world.sense()) and len(poses) < 240:
        poses.append(np.array(world.pose))
        if len(poses) % 20 == 1:
            for camera in ("front", "wrist"):
                pixels = np.ascontiguousarray(world.render(camera))
                images.append(
                    f"{len(poses)} {camera} {hashlib.sha256(pixels.tobytes()).hexdigest()}"
                )
        world.apply(arm_command(expert.target(world.time_ns)))
        world.advance(16)
    world.close()
    return {"poses": np.array(poses), "images": images}
