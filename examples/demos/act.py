# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated SO-101 reaches for a cube under a chunk policy.

    python -m examples.demos.act --episodes 2 --no-images --output out/demo-act

The arm and the policy run in two processes that communicate over topics, in lockstep. Each episode
places the cube at a new position. The output folder contains summary.json, which --json prints, and
the recorded motion.
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from examples.demos.arm_operator import ArmOperator
from examples.demos.plots import write_arm_plots
from examples.demos.runner import (
    FLIGHTS,
    DemoOutcome,
    Processes,
    add_images,
    aligned,
    demo_parser,
    emptied,
    guard_events,
    progress,
    run_demo,
)
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import ChunkContract
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import Mode
from policy_store.command_line import number_within
from robot_sim.arm_episodes import ArmTrace
from robot_sim.arm_model import POLICY_CAMERAS
from robot_sim.arm_render import write_episodes
from robot_sim.arm_world import IMAGE_SIZE
from robot_sim.errors import SimError

TRACE, PLOTS, VIDEO = "trace.npz", "plots.png", "episodes.mp4"
FIRST_SEED = 1001
"""Seed of the first episode. Training never used it: tools/train_arm's seeds start at 100 000."""
_EPISODE_WITHIN_S, _MODE_WITHIN_S = 300.0, 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReport:
    """Reports from the policy node.

    Attributes:
        statuses: The last policy_msgs/PolicyStatus of each episode, by seed.
        chunks: Number of chunks.
        diagnostics: The node's diagnostics at the end.
        wall_s: Total duration of the episodes.
    """

    statuses: Mapping[int, Any]
    chunks: int
    diagnostics: Mapping[str, str]
    wall_s: float


def main(args: Sequence[str] | None = None) -> int:
    """Run the demo; the exit status is 1 if no episode succeeded or if a fault ended one."""
    return run_demo("act", parse(args), (TRACE, PLOTS, VIDEO), _demonstrate)


def _demonstrate(given: argparse.Namespace) -> DemoOutcome:
    contract = load_bundle(given.bundle, kind=ChunkBundle).contract
    size = image_size(contract)
    reported = _perform(given, contract, size)
    trace = ArmTrace.load(given.output / TRACE)
    summary = summarise(given, reported, trace)

    def draw() -> None:
        """Write plots, images and a video; OpenGL is available, since the cameras needed it."""
        if (trace.episode >= 0).any():
            write_arm_plots(trace, given.output / PLOTS)
        write_episodes(trace, given.output / VIDEO, image_size=size)

    status = [*reported.statuses.values()][-1]
    return DemoOutcome(
        summary=summary,
        backend=status.backend,
        fallback=status.fallback,
        table=table(summary),
        failure=verdict(summary),
        draw=draw,
    )


def _perform(
    given: argparse.Namespace, contract: ChunkContract, size: tuple[int, int]
) -> NodeReport:
    """Run the episodes on the simulated arm."""
    output, lockstep = given.output, not given.real_time
    arm = {
        "trace_file": str(output / TRACE),
        "lockstep": lockstep,
        "seed": given.seed,
        "rate_hz": contract.rate_hz,
        "camera_rate_hz": contract.rate_hz,
        "image_height": size[0],
        "image_width": size[1],
    }
    policy = {
        "bundle": given.bundle,
        "backend": given.backend,
        "backend_options": ",".join(given.backend_option),
        "mode": given.mode,
        "use_sim_time": lockstep,
        "flight.folder": str(emptied(output / FLIGHTS).resolve()),
    }
    with Processes() as nodes:
        nodes.start("arm_sim_node", arm, output / "arm_sim_node.log")
        nodes.start("act_policy_node", policy, output / "act_policy_node.log")
        with ArmOperator(use_sim_time=lockstep, watch=nodes.check) as operator:
            operator.wait_for_robot()
            operator.record_run(True)
            began_s = time.monotonic()
            statuses = dict(_episodes(operator, range(given.seed, given.seed + given.episodes)))
            wall_s = time.monotonic() - began_s
            operator.wait_for_diagnostics()
    return NodeReport(
        statuses=statuses,
        chunks=operator.chunks,
        diagnostics=operator.diagnostics,
        wall_s=wall_s,
    )


def image_size(contract: ChunkContract) -> tuple[int, int]:
    """Return the height and width of the policy's images."""
    others = sorted(set(contract.cameras) - set(POLICY_CAMERAS))
    if others:
        raise SimError(
            f"bundle: expected only cameras of the simulated arm "
            f"({', '.join(POLICY_CAMERAS)}), found {', '.join(others)}"
        )
    sizes = {(camera.height, camera.width) for camera in contract.cameras.values()}
    if len(sizes) > 1:
        raise SimError(
            "bundle: expected all images to have the same size (the simulated arm supports only "
            f"one), found {' and '.join(f'{h} x {w}' for h, w in sorted(sizes))}"
        )
    return sizes.pop() if sizes else IMAGE_SIZE


def _episodes(operator: ArmOperator, seeds: range) -> Iterator[tuple[int, Any]]:
    """Run the episodes; yield each one's seed and final status."""
    for seed in seeds:
        if seed > seeds.start:
            operator.next_episode()
        reached = operator.run_episode(_EPISODE_WITHIN_S)
        progress.info("seed %d: %s", seed, "reached" if reached else "not reached")
        yield seed, operator.status
        operator.demand("reset" if operator.status.latched else "damp")
        operator.wait_until(
            lambda: operator.mode == "DAMP" and not operator.status.latched, "DAMP", _MODE_WITHIN_S
        )


def summarise(given: argparse.Namespace, reported: NodeReport, trace: ArmTrace) -> dict[str, Any]:
    last = [*reported.statuses.values()][-1]
    took_s = trace.took_s[trace.succeeded]
    chunk_s = {
        name: reported.diagnostics.get(f"chunk.inference_{name}_s") for name in ("p50", "p99")
    }
    ticks_s = (last.latency_p50_s, last.latency_p99_s, last.latency_max_s)
    return {
        "bundle": Path(last.bundle).name,
        "backend": last.backend,
        "runs_on": last.runs_on,
        "mode": given.mode,
        "rate_hz": last.rate_hz,
        "lockstep": not given.real_time,
        "episodes": len(reported.statuses),
        "successes": int(trace.succeeded.sum()),
        "mean_time_to_reach_s": round(float(took_s.mean()), 2) if len(took_s) else None,
        "chunks": reported.chunks,
        # in lockstep inference takes the configured time, in simulated time
        "chunk_ms": {name: _ms(value) for name, value in chunk_s.items()}
        if given.real_time
        else None,
        "hold_ticks": int(np.count_nonzero(trace.mode == Mode.HOLD)),
        "guard_events": guard_events(last),
        "ticks_since_activation": last.ticks,
        "ticks_missed_since_activation": last.ticks_missed,
        "tick_ms": dict(zip(("p50", "p99", "max"), map(_ms, ticks_s), strict=True)),
        "wall_s": round(reported.wall_s, 1),
        "simulated_s": round(float(trace.time_s[-1]), 1),
        "results": [_result(trace, seed, status) for seed, status in reported.statuses.items()],
    }


def _ms(seconds: Any) -> float | None:
    return None if seconds is None else round(1e3 * float(seconds), 3)


def _result(trace: ArmTrace, seed: int, status: Any) -> dict[str, Any]:
    """Return the outcome of an episode; it has no figures if a fault occurred before the start."""
    fault = {"fault": status.reason} if status.latched else {}
    at = np.flatnonzero(trace.seed == seed)
    if not len(at):
        return {"seed": seed, "succeeded": False, **fault}
    row = int(at[0])
    return {
        "seed": seed,
        "succeeded": bool(trace.succeeded[row]),
        "took_s": round(float(trace.took_s[row]), 2),
        "closest_mm": round(1e3 * float(trace.closest_m[row]), 1),
        **fault,
    }


def table(summary: dict[str, Any]) -> str:
    """Return the results as text."""
    events = ", ".join(f"{name} {count}" for name, count in summary["guard_events"].items())
    tick, chunk = summary["tick_ms"], summary["chunk_ms"]
    took = f"; p50 {chunk['p50']} ms, p99 {chunk['p99']} ms" if chunk else ""
    mean_s = summary["mean_time_to_reach_s"]
    lines = [
        ("policy", f"{summary['bundle']} on {summary['backend']} ({summary['runs_on']})"),
        ("chunks", f"{summary['chunks']}, {summary['mode']}{took}"),
        ("episodes", f"{summary['successes']} of {summary['episodes']} reached"),
        ("time to reach", "none reached" if mean_s is None else f"{mean_s} s on average"),
        ("held", f"{summary['hold_ticks']} ticks"),
        ("guard events", events or "none"),
        (
            "ticks",
            f"{summary['ticks_since_activation']} since activation at {summary['rate_hz']:g} Hz, "
            f"{summary['ticks_missed_since_activation']} missed",
        ),
        ("tick", f"p50 {tick['p50']} ms, p99 {tick['p99']} ms, max {tick['max']} ms"),
        ("time", f"{summary['simulated_s']} s simulated in {summary['wall_s']} s"),
    ]
    return aligned(lines)


def verdict(summary: dict[str, Any]) -> str | None:
    """Return the reason that the run failed, if it did."""
    faults = [
        f"seed {each['seed']}: {each['fault']}" for each in summary["results"] if "fault" in each
    ]
    if faults:
        return f"expected no fault, found {len(faults)}: {'; '.join(faults)}"
    if not summary["successes"]:
        return f"expected at least one of {summary['episodes']} episodes to succeed, none did"
    return None


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments; exit with status 2 if they do not fit together."""
    parser = demo_parser("act", __doc__, backend_options=True)
    add, number = parser.add_argument, number_within(1, 99_999)
    add(
        "--bundle",
        help="folder of a bundle, or name of an installed one (default: so101_reach, an ACT "
        "policy; with --mode rtc: so101_reach_flow, since ACT policies cannot be guided)",
    )
    add(
        "--mode",
        choices=("synchronous", "asynchronous", "ensemble", "rtc"),
        default="synchronous",
        help="how chunks are executed (default: %(default)s)",
    )
    add("--episodes", type=number, default=10, help="number of episodes (default: %(default)s)")
    add(
        "--seed",
        type=number,
        default=FIRST_SEED,
        help="seed of the first episode; each later episode adds 1 (default: %(default)s)",
    )
    add(
        "--real-time",
        action="store_true",
        help="run in real time, instead of simulated time that waits for each command",
    )
    add_images(parser)
    given = parser.parse_args(args)
    if given.bundle is None:
        given.bundle = "so101_reach_flow" if given.mode == "rtc" else "so101_reach"
    return given


if __name__ == "__main__":
    raise SystemExit(main())
