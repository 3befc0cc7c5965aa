# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The course of the demo: two processes, an operator, one episode after another."""

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policy_core.bundle.bundle import ChunkBundle
from policy_core.bundle.chunk_contract import ChunkContract
from policy_core.bundle.load import load_bundle
from robot_sim.arm_episodes import ArmTrace
from robot_sim.arm_model import POLICY_CAMERAS
from robot_sim.arm_world import IMAGE_SIZE
from robot_sim.demo.processes import Processes
from robot_sim.errors import SimError
from robot_sim.nodes.arm_operator import ArmOperator

TRACE = "trace.npz"
_EPISODE_WITHIN_S, _MODE_WITHIN_S = 300.0, 20.0
_log = logging.getLogger("robot_sim_demo")


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """Options of the demo.

    Attributes:
        bundle: Folder of a bundle, or name of an installed one.
        backend: Backend, or several in order of preference, comma-separated.
        backend_options: Options of backends, comma-separated.
        mode: How chunks are executed.
        episodes: Number of episodes.
        seed: Seed of the first one.
        lockstep: Whether simulated time waits for each command; otherwise it is real time.
    """

    bundle: str
    backend: str
    backend_options: str
    mode: str
    episodes: int
    seed: int
    lockstep: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """The result of a demo.

    Attributes:
        options: The options.
        image_size: Height and width of the policy's images.
        trace: The simulator's ground truth, with the results of the episodes.
        statuses: The policy node's newest policy_msgs/PolicyStatus in each episode, by seed.
        chunks: Number of chunks.
        diagnostics: Diagnostics of the policy node at the end.
        wall_s: Duration of all episodes.
    """

    options: DemoOptions
    image_size: tuple[int, int]
    trace: ArmTrace
    statuses: Mapping[int, Any]
    chunks: int
    diagnostics: Mapping[str, str]
    wall_s: float


def perform(output: Path, options: DemoOptions) -> DemoResult:
    """Let the arm reach for a cube again and again.

    Args:
        output: Folder for the trace and the processes' logs.
        options: What to show.

    Raises:
        PolicyError: The bundle cannot be used.
        SimError: It is not for this robot, a node ended, or the policy node refused.
    """
    contract = load_bundle(options.bundle, kind=ChunkBundle).contract
    size = image_size(contract)
    file = output / TRACE
    with Processes() as nodes:
        nodes.start(
            "arm_sim_node",
            {
                "trace_file": str(file),
                "lockstep": options.lockstep,
                "seed": options.seed,
                "rate_hz": contract.rate_hz,
                "camera_rate_hz": contract.rate_hz,
                "image_height": size[0],
                "image_width": size[1],
            },
            output / "arm_sim_node.log",
        )
        nodes.start(
            "act_policy_node",
            {
                "bundle": options.bundle,
                "backend": options.backend,
                "backend_options": options.backend_options,
                "mode": options.mode,
                "use_sim_time": options.lockstep,
            },
            output / "act_policy_node.log",
        )
        with ArmOperator(use_sim_time=options.lockstep, watch=nodes.check) as operator:
            operator.wait_for_robot()
            began_s = time.monotonic()
            statuses = dict(_episodes(operator, options))
            wall_s = time.monotonic() - began_s
            operator.wait_for_diagnostics()
    return DemoResult(
        options=options,
        image_size=size,
        trace=ArmTrace.load(file),
        statuses=statuses,
        chunks=operator.chunks,
        diagnostics=operator.diagnostics,
        wall_s=wall_s,
    )


def image_size(contract: ChunkContract) -> tuple[int, int]:
    """Return height and width of the policy's images.

    Raises:
        SimError: It needs a camera that the simulated arm lacks, or images of several sizes.
    """
    others = sorted(set(contract.cameras) - set(POLICY_CAMERAS))
    if others:
        raise SimError(
            f"bundle: expected cameras among {', '.join(POLICY_CAMERAS)}, which the "
            f"simulated arm has; it needs {', '.join(others)}"
        )
    sizes = {(camera.height, camera.width) for camera in contract.cameras.values()}
    if len(sizes) > 1:
        raise SimError(
            "bundle: expected images of one size, which the simulated arm makes; it "
            f"needs {' and '.join(f'{h} x {w}' for h, w in sorted(sizes))}"
        )
    return sizes.pop() if sizes else IMAGE_SIZE


def _episodes(operator: ArmOperator, options: DemoOptions) -> Iterator[tuple[int, Any]]:
    """Run the episodes; yield the seed of each and the newest status in it."""
    for seed in range(options.seed, options.seed + options.episodes):
        if seed > options.seed:
            operator.next_episode()
        reached = operator.run_episode(_EPISODE_WITHIN_S)
        _log.info("seed %d: %s", seed, "reached" if reached else "not reached")
        yield seed, operator.status
        operator.demand("reset" if operator.status.latched else "damp")
        operator.wait_until(
            lambda: operator.mode == "DAMP" and not operator.status.latched, "DAMP", _MODE_WITHIN_S
        )
