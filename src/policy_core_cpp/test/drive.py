# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Runs a check on plans of random contracts and sets: `drive.py CHECK CONTRACTS REPEATS`."""

import random
import subprocess
import sys
import tempfile
from pathlib import Path

from testkit.kernel.twins import random_contract, random_plan, random_set


def main(program: str, contracts: int, repeats: str) -> int:
    """Return 0 if every contract of both kinds passes."""
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "plan")
        for seed in range(contracts):
            for made in (random_contract, random_set):
                file.write_bytes(random_plan(made(random.Random(seed))))
                command = [program, str(file), str(seed), repeats]
                found = subprocess.run(command, check=False, capture_output=True, text=True)
                if found.returncode:
                    failed += 1
                    print(made.__name__, seed, found.returncode, found.stdout, found.stderr)  # noqa: T201
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
