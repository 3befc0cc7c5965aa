# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Shared memory against the framed socket, from the C++ client, which is built here."""

import json
import os
import shutil
import subprocess
import tempfile
from functools import partial
from pathlib import Path

from bench.effort import Effort
from bench.figures import Figure, Summary, alternated
from bench.processes import ROOT, BenchError, Child
from bench.service import serving

_BUILD = ROOT / "build" / "bench_policy_client"
_TARGET = "policy_client_latency"
_BLOCKS, _CALLS, _SPIN_US, _TIMEOUT_S = 6, 5000, 2000, 120.0


def measure(effort: Effort) -> list[Figure]:
    """Measure with both ends spinning, each on its own core, and with both sleeping."""
    program, cores = _built(), os.sched_getaffinity(0)
    here, there = min(cores), max(cores)
    compare = partial(_compare, program, blocks=effort.count(_BLOCKS))
    return [
        compare("shared_memory_spinning_ratio", _SPIN_US, here, there, wanted=0.5),
        compare("shared_memory_us", 0, here, there),
        compare("shared_memory_one_core_us", 0, here, here),
    ]


def _compare(
    program: Path,
    name: str,
    spin_us: int,
    here: int,
    there: int,
    *,
    blocks: int,
    wanted: float | None = None,
) -> Figure:
    """Measure against the socket, with both ends sleeping."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "service.sock")
        with serving(path, "--framed-socket", str(path), "--spin-us", str(spin_us)) as service:
            service.keep_to(there)
            return alternated(
                name,
                lambda: _run(program, f"shm:{path}", spin_us, here, service),
                lambda: _run(program, f"unix:{path}", 0, here, service),
                blocks=blocks,
                wanted=wanted,
            )


def _run(program: Path, source: str, spin_us: int, core: int, service: Child) -> Summary:
    command = [
        "taskset",
        "-c",
        str(core),
        str(program),
        "--source",
        source,
        "--obs-dim",
        "45",
        "--act-dim",
        "12",
        "--count",
        str(_CALLS),
        "--spin-us",
        str(spin_us),
    ]
    found = json.loads(_output(command))
    service.check()
    if found["failed"]:
        raise BenchError(f"{found['failed']} of {_CALLS} requests over {source} failed")
    return Summary(value=found["p50_us"], p99=found["p99_us"], p999=found["p999_us"])


def _built() -> Path:
    """Build the client's program in build/, where it stays for later runs."""
    if shutil.which("cmake") is None:
        raise BenchError("cmake: not found; apt-get install cmake g++")
    _output(
        [
            "cmake",
            "-S",
            str(ROOT / "src" / "policy_client_cpp"),
            "-B",
            str(_BUILD),
            "-DCMAKE_BUILD_TYPE=Release",
        ]
    )
    _output(["cmake", "--build", str(_BUILD), "--target", _TARGET])
    return _BUILD / _TARGET


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
        )
    except subprocess.CalledProcessError as error:
        raise BenchError(f"{' '.join(command)}: {error.stdout}{error.stderr}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchError(str(error)) from error
    return done.stdout
