# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Runs a check on plans of random contracts and sets: `drive.py CHECK CONTRACTS REPEATS`.

With `estimators` after that: on plans of random estimators.
"""

import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from policy_core.estimation.velocity_estimator import VelocityEstimator
from policy_core.plan import plan_bytes
from testkit.kernel.chunk_twins import (
    random_armed_plan,
    random_armed_set,
    random_chunk_plan,
    random_chunk_policy,
)
from testkit.kernel.legs import random_legs
from testkit.kernel.twins import random_contract, random_plan, random_set


def _policy(draw: random.Random) -> bytes:
    return random_plan(random_contract(draw))


def _set(draw: random.Random) -> bytes:
    return random_plan(random_set(draw))


def _chunks(draw: random.Random) -> bytes:
    return random_chunk_plan(random_chunk_policy(draw))


def _armed_set(draw: random.Random) -> bytes:
    return random_armed_plan(random_armed_set(draw))


def _estimator(draw: random.Random) -> bytes:
    return plan_bytes({"estimation": VelocityEstimator(*random_legs(draw)).plan()}, bytes(32))


_CONTROLLERS = (_policy, _set, _chunks, _armed_set)


def main(
    program: str,
    contracts: int,
    repeats: str,
    kinds: Sequence[Callable[[random.Random], bytes]],
) -> int:
    """Return 0 if every plan of each kind passes."""
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "plan")
        for seed in range(contracts):
            for made in kinds:
                file.write_bytes(made(random.Random(seed)))
                command = [program, str(file), str(seed), repeats]
                found = subprocess.run(command, check=False, capture_output=True, text=True)
                if found.returncode:
                    failed += 1
                    print(made.__name__, seed, found.returncode, found.stdout, found.stderr)  # noqa: T201
    return int(failed > 0)


if __name__ == "__main__":
    check, count, repeats, *rest = sys.argv[1:]
    sys.exit(main(check, int(count), repeats, (_estimator,) if rest else _CONTROLLERS))
