# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Train and evaluate, on a CPU, a policy that moves an SO-101 to a cube that it sees.

    .venv-lerobot/bin/python -m tools.train_arm --kind flow --output out/train_arm/flow_seed1

Writes `checkpoint/` in LeRobot's format; `golden.npz`, the policy's outputs for some observations;
`encoder.csv` and `policy.csv`, the learning curves; and `episodes.csv`, the outcome of each
evaluation episode.
"""
# run: needs: lerobot
# run: short: --scenes 20 --episodes 2 --steps 2 --encoder-steps 2 --judged 1

import argparse
import csv
import logging
import sys
from collections.abc import Iterable, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from statistics import median

import torch

from robot_sim.errors import SimError
from tools.arguments import positive_count, seed
from tools.train_arm import act, unet
from tools.train_arm.dataset import write_dataset
from tools.train_arm.demonstrations import demonstrations
from tools.train_arm.encoder import train_encoder
from tools.train_arm.frames import Frames
from tools.train_arm.golden import write_golden
from tools.train_arm.narrow import NarrowResNet, read_encoder
from tools.train_arm.rollout import Kind, RolloutOutcome, Runner, judge

CHECKPOINT = "checkpoint"
_STEPS: dict[Kind, int] = {"act": 2000, "diffusion": 2000, "flow": 2000}
_log = logging.getLogger("train_arm")


def run(given: argparse.Namespace) -> None:
    torch.manual_seed(given.seed)
    torch.set_num_threads(given.threads)
    output: Path = given.output
    output.mkdir(parents=True)
    runner = Runner(given.kind, _trained(given, _encoder(given)))
    write_golden(runner, output / "golden.npz", _observations(given.kind))
    outcomes = judge(runner, range(1, given.judged + 1), runner.reset)
    names = [field.name for field in fields(RolloutOutcome)]
    _write(output / "episodes.csv", names, map(astuple, outcomes))
    _log.info(
        "%d of %d episodes succeeded, median %.1f mm; %s",
        sum(one.succeeded for one in outcomes),
        len(outcomes),
        1e3 * median(one.closest_m for one in outcomes),
        output / CHECKPOINT,
    )


def _encoder(given: argparse.Namespace) -> NarrowResNet:
    """Return the image encoder, read from a bundle or trained now."""
    if given.encoder_of is not None:
        return read_encoder(given.encoder_of)
    encoder, curve = train_encoder(given.scenes, given.encoder_steps, given.seed)
    _write(given.output / "encoder.csv", ("step", "front_error_m", "wrist_error_m"), curve)
    return encoder


def _trained(given: argparse.Namespace, encoder: NarrowResNet) -> Path:
    """Train the policy; return the folder of its checkpoint."""
    kind: Kind = given.kind
    folder: Path = given.output / CHECKPOINT
    steps = given.steps or _STEPS[kind]
    frames = Frames(
        demonstrations(given.episodes),
        encoder,
        rows=act.CHUNK if kind == "act" else unet.HORIZON,
        observations=_observations(kind),
        bounded=kind == "diffusion",
    )
    _log.info("policy: %d demonstrations, %d frames", given.episodes, frames.frames)
    if kind == "act":
        policy = act.new_policy(encoder)
        curve = act.train(policy, frames, steps=steps, seed=given.seed)
        act.save(policy, frames.statistics, folder)
    else:
        network = unet.new_policy(kind, encoder)
        curve = unet.train(network, kind, frames, steps=steps, seed=given.seed)
        unet.save(network, kind, frames.statistics, folder)
    _write(given.output / "policy.csv", ("step", "loss"), curve)
    return folder


def _observations(kind: Kind) -> int:
    return 1 if kind == "act" else unet.observations(kind)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    given = _parser().parse_args(args)
    for folder in (given.output, given.dataset_only):
        if folder is not None and folder.exists():
            _log.error(
                "train_arm: %s: expected a new folder, found an existing one; choose another",
                folder,
            )
            return 1
    try:
        if given.dataset_only is not None:
            write_dataset(demonstrations(given.episodes), given.dataset_only)
        else:
            run(given)
    except SimError as error:
        _log.error("train_arm: %s", error)
        return 1
    return 0


def _write(file: Path, names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([names, *rows])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--output", type=Path, help="folder to create")
    what.add_argument(
        "--dataset-only",
        type=Path,
        metavar="FOLDER",
        help="only write the demonstrations, as a LeRobot dataset; do not train",
    )
    parser.add_argument(
        "--kind", choices=tuple(_STEPS), default="act", help="kind of policy (default act)"
    )
    parser.add_argument(
        "--encoder-of",
        type=Path,
        metavar="BUNDLE",
        help="take the image encoder from this bundle (of an earlier run) instead of training one",
    )
    parser.add_argument("--seed", type=seed, default=1, help="seed for all randomness (default 1)")
    parser.add_argument(
        "--steps",
        type=positive_count,
        metavar="N",
        help="number of policy updates (default: "
        + ", ".join(f"{kind} {steps}" for kind, steps in _STEPS.items())
        + ")",
    )
    for name, default, help_text in (
        ("scenes", 10_000, "number of random scenes for the encoder"),
        ("encoder-steps", 900, "number of encoder updates"),
        ("episodes", 250, "number of demonstrations"),
        ("judged", 40, "number of evaluation episodes"),
        ("threads", 1, "number of PyTorch threads"),
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
