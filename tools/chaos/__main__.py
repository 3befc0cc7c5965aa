# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Run the suite in virtual time under seeded faults, and check its invariants throughout.

    python -m tools.chaos --seeds 0:100 --seconds 60
    python -m tools.chaos --replay 17 --shrink

For a seed that breaks an invariant, the command prints the seed, the time, the invariant and the
last 20 events. The same seed and --seconds give the same events, bit for bit, in virtual time.
docs/invariants.md lists what is checked.
"""
# run: python -m tools.chaos --seeds: {swap: {"0:100": "0:1", "60": "2"}}
# run: python -m tools.chaos --replay: {short: --seconds 2}

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from hashlib import blake2b
from multiprocessing import get_context
from pathlib import Path

from examples.demos.runner import own_domain
from policy_inference.kinds.opening import NATIVE, PYTHON
from tools.arguments import positive_count, positive_number, seed
from tools.chaos.mutation import try_mutants
from tools.chaos.scenario import BOTH, Options, SeedOutcome, run_seed
from tools.chaos.soak import soak
from tools.chaos.steps import ChaosStep, draw_steps, shrunk


def say(line: str) -> None:
    """Print a line immediately."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _seeds(text: str) -> range:
    begin, colon, end = text.partition(":")
    try:
        seeds = range(int(begin), int(end) if colon else int(begin) + 1)
    except ValueError:
        seeds = range(0)
    if not seeds or seeds[0] < 0:
        raise argparse.ArgumentTypeError(f"expected SEED or BEGIN:END, found {text!r}")
    return seeds


def _outcomes(seeds: range, options: Options, jobs: int) -> Iterator[SeedOutcome]:
    if jobs == 1:
        yield from (run_seed(seed, options) for seed in seeds)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(partial(run_seed, options=options), seeds, chunksize=1)


def _shrink(outcome: SeedOutcome, options: Options) -> None:
    assert outcome.broken is not None
    name, seed = outcome.broken.name, outcome.seed

    def still_breaks(steps: Sequence[ChaosStep]) -> bool:
        found = run_seed(seed, options, steps).broken
        return found is not None and found.name == name

    kept = shrunk(outcome.steps, still_breaks)
    say(f"seed {seed}: {len(kept)} of {len(outcome.steps)} steps are enough:")
    for step in kept:
        say(f"  {step}")


def _run(seeds: range, options: Options, *, jobs: int, shrink: bool) -> int:
    began_s, broken, checks, digest = time.monotonic(), 0, 0, blake2b(digest_size=16)
    modes, granted = Counter[str](), Counter[str]()
    for outcome in _outcomes(seeds, options, jobs):
        checks += sum(outcome.checked.values())
        digest.update(outcome.digest.encode())
        modes.update(outcome.modes)
        granted.update(outcome.granted)
        if outcome.broken is not None:
            broken += 1
            name, time_s, found = outcome.broken
            say(f"seed {outcome.seed}: {name} does not hold at {time_s:.6f} s: {found}")
            for event in outcome.events:
                say(f"  {event}")
            physics = " --physics" if options.physics else ""
            say(
                f"  repeat it: python -m tools.chaos --replay {outcome.seed} "
                f"--seconds {options.seconds} --core {options.core}{physics}"
            )
            if shrink:
                _shrink(outcome, options)
    wall_s = time.monotonic() - began_s
    speed = len(seeds) * options.seconds / wall_s
    say(f"{len(seeds)} seeds of {options.seconds:g} s in {wall_s:.0f} s: {speed:.1f} x real time")
    say("modes, s: " + ", ".join(f"{name} {time_s:.0f}" for name, time_s in modes.items()))
    say("granted: " + ", ".join(f"{name} {count}" for name, count in sorted(granted.items())))
    say(f"{checks} checks, {broken} seeds broke an invariant; digest {digest.hexdigest()}")
    return 1 if broken else 0


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.chaos", description=__doc__.partition("\n")[0]
    )
    parser.add_argument(
        "--seeds",
        type=_seeds,
        default=range(20),
        metavar="BEGIN:END",
        help="seeds to run, END not included (default: 0:20)",
    )
    parser.add_argument(
        "--replay", type=seed, metavar="SEED", help="run one seed and print its steps"
    )
    parser.add_argument(
        "--seconds",
        type=positive_number,
        default=60.0,
        help="virtual time per seed (default: %(default)g)",
    )
    parser.add_argument(
        "--shrink", action="store_true", help="reduce a failing seed to the steps it needs"
    )
    parser.add_argument(
        "--core",
        choices=(PYTHON, NATIVE, BOTH),
        default=PYTHON,
        help="core of the policy node; both: compare the two (default: %(default)s)",
    )
    parser.add_argument("--physics", action="store_true", help="simulate the robot in MuJoCo")
    parser.add_argument(
        "--jobs", type=positive_count, default=1, help="number of processes (default: 1)"
    )
    parser.add_argument(
        "--mutants",
        type=positive_count,
        metavar="COUNT",
        help="insert COUNT faults, one at a time, and count how many the seeds find",
    )
    parser.add_argument(
        "--real",
        type=Path,
        metavar="FOLDER",
        help="run the seeds in real time, as processes over DDS, and write logs to FOLDER; ignores "
        "--core, --physics, --jobs and --shrink",
    )
    parser.add_argument(
        "--soak",
        type=positive_number,
        metavar="HOURS",
        help="run the first seed for hours of virtual time, and watch memory and open files",
    )
    given = parser.parse_args()
    options = Options(seconds=given.seconds, core=given.core, physics=given.physics)
    seeds = given.seeds if given.replay is None else range(given.replay, given.replay + 1)
    if given.mutants:
        return try_mutants(given.mutants, seeds, options, say, given.jobs)
    if given.soak is not None:
        return soak(given.soak, seeds[0], options, say)
    if given.real:
        from tools.chaos.real import run_for_real

        try:
            given.real.mkdir(parents=True)
        except OSError as error:
            parser.error(f"--real: expected a new folder: {error}")
        os.environ.update(own_domain(seed=os.getpid()))
        held = [run_for_real(each, given.seconds, given.real / str(each), say) for each in seeds]
        return 0 if all(held) else 1
    if given.replay is not None:
        for step in draw_steps(seeds[0], options.seconds):
            say(str(step))
    return _run(seeds, options, jobs=given.jobs, shrink=given.shrink)


if __name__ == "__main__":
    sys.exit(main())
