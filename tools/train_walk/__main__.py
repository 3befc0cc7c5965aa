# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Train a policy that walks or tracks a motion, on a CPU, and export it as a bundle.

    python -m tools.train_walk --robot go2 --seed 1 --samples 10e6 --output out/train/go2_seed1

Writes checkpoints (`model_*.pt`) and TensorBoard curves during training, and `policy.onnx` and the
folder `bundle` at the end. The same arguments give the same policy on the same machine.
"""
# run: needs: torch
# run: status: 1
# run: swap: {python: .venv-torch/bin/python, 10e6: 1e4}

from __future__ import annotations

import argparse
import logging
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from rsl_rl.runners import OnPolicyRunner

from policy_core.errors import PolicyError
from robot_sim.errors import SimError
from tools.arguments import positive_count, seed
from tools.train_walk.definition import Task, TrainedRobot, load_training
from tools.train_walk.environment import Environment
from tools.train_walk.export import export, make_bundle
from tools.train_walk.layout import make_layout
from tools.train_walk.learning import USUAL_STD, imitate, new_runner, start_from
from tools.train_walk.reference import make_reference

ROBOTS = 256
_log = logging.getLogger("train_walk")


def train(
    robot: TrainedRobot,
    task: Task,
    output: Path,
    *,
    seed: int,
    samples: int,
    robots: int,
    threads: int,
    start: Path | None = None,
) -> OnPolicyRunner:
    """Train a policy; write checkpoints and curves to `output` along the way."""
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    environment = Environment(robot, task, robots, seed=seed, threads=threads)
    if start is not None or task.motion:
        environment.difficulty = task.started_difficulty  # before the ground is drawn
    runner = new_runner(environment, output, samples=samples)
    actor = runner.alg.actor
    if start is not None:
        start_from(runner.alg, start)
    elif task.motion:
        joint_pos = make_reference(robot, task).joint_pos
        imitate(actor.mlp, joint_pos, robot.pose_rad, robot.scale_rad)
    if start is not None or task.motion:
        actor.distribution.log_std_param.data.fill_(math.log(USUAL_STD))
    runner.learn(runner.cfg["algorithm"]["updates"])
    return runner


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    given = _parser().parse_args(args)
    source = (
        f"PPO in MuJoCo from {given.start or 'scratch'}: make train ROBOT={given.robot} "
        f"TASK={given.task} SEED={given.seed} SAMPLES={given.samples}"
        + (f" START={given.start}" if given.start else "")
        + (f", with --robots {given.robots}" if given.robots != ROBOTS else "")
    )
    if given.output.exists():
        _log.error(
            "train_walk: %s: expected a new folder, found an existing one; choose another --output",
            given.output,
        )
        return 1
    try:
        robot, task = load_training(given.robot, given.task)
        given.output.mkdir(parents=True)
        train(
            robot,
            task,
            given.output,
            seed=given.seed,
            samples=given.samples,
            robots=given.robots,
            threads=given.threads,
            start=given.start,
        )
        export(given.output, make_layout(robot, task))
    except (PolicyError, SimError, OSError) as error:
        _log.error("train_walk: %s", error)
        return 1
    except KeyboardInterrupt:
        _log.error("train_walk: interrupted; checkpoints and curves are in %s", given.output)
        return 130
    return _bundle(robot, task, given.output, source)


def _bundle(robot: TrainedRobot, task: Task, output: Path, source: str) -> int:
    """Create the bundle; return the exit status."""
    try:
        bundle = make_bundle(robot, task, output, source=source)
    except (PolicyError, SimError, OSError) as error:
        _log.error(
            "train_walk: no bundle: %s. Curves, checkpoint and model are in %s; a policy "
            "that does not walk yet needs more samples",
            error,
            output,
        )
        return 1
    _log.info(
        "%s\nnext: python -m tools.acceptance --robot %s --bundle '%s' --output '%s'",
        bundle.path,
        robot.figures,
        bundle.path,
        output / "acceptance",
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="train_walk",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--robot", default="lite3", help="name of a file in tools/train_walk/robots"
    )
    parser.add_argument("--task", default="walk", help="name of a file in tools/train_walk/tasks")
    parser.add_argument("--seed", type=seed, default=1, help="seed for all randomness")
    parser.add_argument(
        "--samples",
        type=positive_count,
        default=10_000_000,
        help="total number of policy steps of all robots",
    )
    parser.add_argument(
        "--robots", type=positive_count, default=ROBOTS, help="number of robots simulated at a time"
    )
    parser.add_argument(
        "--threads",
        type=positive_count,
        default=1,
        help="threads for physics and for learning; several seeds in parallel use the cores better",
    )
    parser.add_argument(
        "--start",
        type=Path,
        help="checkpoint to start from, instead of from scratch: from a training run for a robot "
        "that walks similarly",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
