# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Clients that are killed while they ask do not disturb the others."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from .fleet import PERIOD_S, Fared
from .served import ACT_DIM, OBS_DIM, ROOT, served

RESULTS = ROOT / "out" / "acceptance" / "service_killed_clients.json"
SECONDS = float(os.environ.get("SERVICE_SECONDS", "600"))
"""Of each run, unless the environment sets another time."""
KILLED_EVERY_S, OTHERS = 5.0, 7


def asking_fleet(folder: Path, killed_in: str, *, seconds: float, killed_every_s: float) -> Fared:
    """Run eight clients over all protocols; those of the protocol `killed_in` die."""
    places = {
        "raw": f"raw:{folder}/raw.sock",
        "unix": f"unix:{folder}/framed.sock",
        "shm": f"shm:{folder}/framed.sock",
    }
    others = ["raw", "unix", "shm", "raw", "unix", "shm", "raw"]
    done = subprocess.run(
        [
            sys.executable,
            str(Path(__file__).with_name("fleet.py")),
            str(OBS_DIM),
            str(ACT_DIM),
            str(seconds),
            str(killed_every_s),
            *(places[name] for name in (*others, killed_in)),
        ],
        stdout=subprocess.PIPE,
        text=True,
        timeout=seconds + 120.0,
        check=True,
    )
    return Fared(**json.loads(done.stdout))


@pytest.mark.parametrize("killed_in", ["raw", "unix", "shm"])
def test_none_of_the_others_fails_when_clients_are_killed(tmp_path: Path, killed_in: str) -> None:
    with served(
        "--socket", str(tmp_path / "raw.sock"), "--framed-socket", str(tmp_path / "framed.sock")
    ) as service:
        fared = asking_fleet(tmp_path, killed_in, seconds=1.0, killed_every_s=0.1)
        assert service.end() == 0
    assert (fared.failed, fared.killed) == (0, 10)
    assert fared.answered == OTHERS * round(1.0 / PERIOD_S)
    assert "Traceback" not in service.log


@pytest.mark.acceptance
def test_killed_clients_do_not_delay_the_others(tmp_path: Path) -> None:
    pairs = list[dict[str, Fared]]()
    with served(
        "--socket", str(tmp_path / "raw.sock"), "--framed-socket", str(tmp_path / "framed.sock")
    ) as service:
        for turn, killed_in in enumerate(("raw", "unix", "shm")):
            every_s = {"with": KILLED_EVERY_S, "without": 0.0}
            pairs.append(
                {
                    name: asking_fleet(
                        tmp_path, killed_in, seconds=SECONDS, killed_every_s=every_s[name]
                    )
                    for name in sorted(every_s, reverse=bool(turn % 2))
                }
            )
        assert service.end() == 0
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(
        json.dumps(
            [{name: asdict(fared) for name, fared in pair.items()} for pair in pairs], indent=2
        )
        + "\n"
    )
    assert not any(fared.failed for pair in pairs for fared in pair.values())
    ratios = [pair["with"].p99_us / pair["without"].p99_us for pair in pairs]
    assert statistics.median(ratios) <= 1.5, ratios
