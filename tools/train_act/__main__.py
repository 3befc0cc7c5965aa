# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Train an ACT that moves an SO-101 to a cube it sees, on a CPU, and judge it.

    .venv-lerobot/bin/python -m tools.train_act --output out/train_act/seed1

Writes `checkpoint/`, as LeRobot does; `golden.npz`, its answers to some observations; `encoder.csv`
and `policy.csv`, the curves; `episodes.csv`, what came of each judged episode.
"""

import argparse
import csv
import logging
import sys
from collections.abc import Iterable, Sequence
from dataclasses import astuple, fields
from pathlib import Path

import torch

from robot_sim.errors import SimError
from tools.arguments import positive_count, seed
from tools.train_act.dataset import write_dataset
from tools.train_act.demonstrations import demonstrations
from tools.train_act.encoder import train_encoder
from tools.train_act.golden import write_golden
from tools.train_act.policy import new_policy, save, statistics, train
from tools.train_act.rollout import RolloutOutcome, Runner, judge

CHECKPOINT = "checkpoint"
_log = logging.getLogger("train_act")


def run(given: argparse.Namespace) -> None:
    """Train and judge."""
    torch.manual_seed(given.seed)
    torch.set_num_threads(given.threads)
    output: Path = given.output
    output.mkdir(parents=True)
    encoder = None
    if not given.state_only:
        encoder, curve = train_encoder(given.scenes, given.encoder_steps, given.seed)
        _write(output / "encoder.csv", ("step", "front_error_m", "wrist_error_m"), curve)
    episodes = list(demonstrations(given.episodes, images=encoder is not None))
    _log.info(
        "policy: %d demonstrations, %d frames",
        len(episodes),
        sum(len(episode.state) for episode in episodes),
    )
    policy, stats = new_policy(encoder), statistics(episodes)
    curve = train(policy, encoder, episodes, stats, steps=given.steps, seed=given.seed)
    _write(output / "policy.csv", ("step", "l1"), curve)
    save(policy, stats, output / CHECKPOINT)
    runner = Runner(output / CHECKPOINT)
    if encoder is not None:
        write_golden(runner, output / "golden.npz")
    outcomes = judge(runner, range(1, given.judged + 1), runner.reset)
    names = [field.name for field in fields(RolloutOutcome)]
    _write(output / "episodes.csv", names, map(astuple, outcomes))
    _log.info(
        "%d of %d episodes succeeded; %s",
        sum(one.succeeded for one in outcomes),
        len(outcomes),
        output / CHECKPOINT,
    )


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    given = _parser().parse_args(args)
    for folder in (given.output, given.dataset_only):
        if folder is not None and folder.exists():
            _log.error(
                "train_act: %s: expected no such folder yet, found one; choose another", folder
            )
            return 1
    try:
        if given.dataset_only is not None:
            write_dataset(demonstrations(given.episodes), given.dataset_only)
        else:
            run(given)
    except SimError as error:
        _log.error("train_act: %s", error)
        return 1
    return 0


def _write(file: Path, names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([names, *rows])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--output", type=Path, help="folder to make")
    what.add_argument(
        "--dataset-only",
        type=Path,
        metavar="FOLDER",
        help="write the demonstrations as a LeRobot dataset instead",
    )
    parser.add_argument("--seed", type=seed, default=1, help="of everything random (default 1)")
    parser.add_argument(
        "--state-only",
        action="store_true",
        help="give the policy the position of the cube instead of images",
    )
    for name, default, help_text in (
        ("scenes", 10_000, "random scenes for the encoder"),
        ("encoder-steps", 900, "updates of the encoder"),
        ("episodes", 250, "demonstrations"),
        ("steps", 2000, "updates of the policy"),
        ("judged", 40, "episodes to judge it by"),
        ("threads", 1, "of PyTorch"),
    ):
        parser.add_argument(
            f"--{name}",
            type=positive_count,
            default=default,
            metavar="N",
            help=f"{help_text} (default {default})",
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
