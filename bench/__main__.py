# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Command `python -m bench [PART ...]`: measure, print a table, write out/bench/summary.json."""

import argparse
import json
import logging
import shutil
import sys
import time
from importlib import import_module

from bench.figures import Figure, machine, table
from bench.processes import ROOT, BenchError, keep_to_machine

_SUMMARY = ROOT / "out" / "bench" / "summary.json"
_PARTS = {
    "tick": "a tick in C++",
    "estimator": "the estimate of base velocity",
    "observers": "observed ticks",
    "nodes": "start, round trip, processor time",
    "jitter": "ticks at 1 kHz with priority",
    "churn": "participants that join and leave",
    "child": "a back end in its own process",
    "service": "the service",
    "batch": "four robots in one inference",
    "shared_memory": "shared memory with the service",
    "preprocessing": "copying images into the back end's buffers",
    "chunks": "chunks that take 300 ms",
}
"""What each benchmark measures, by module name."""
_log = logging.getLogger("bench")


def main() -> int:
    """Measure all figures, or those of some modules; report and skip what cannot be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", choices=_PARTS, default=_PARTS, help="what to measure (default: all)"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=20.0,
        help="duration of each row of jitter (default %(default)g)",
    )
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    if shutil.which("joint_policy_node") is None:
        _log.error(
            "bench: joint_policy_node is not on the PATH; "
            ". .venv/bin/activate && . install/setup.bash"
        )
        return 1
    keep_to_machine()
    described, figures = machine(), list[Figure]()
    for part in given.parts:
        _log.info("measuring %s ...", _PARTS[part])
        began_s = time.monotonic()
        # imported only now, because most modules need ROS
        measure = import_module(f"bench.{part}").measure
        try:
            figures += measure(given.seconds) if part == "jitter" else measure()
        except BenchError as error:
            _log.error("bench: %s: %s", part, error)
        _log.info("took %.0f s", time.monotonic() - began_s)
    _write(described, figures)
    _log.info("\n%s\n\nwritten to %s", table(figures), _SUMMARY.relative_to(ROOT))
    return 0


def _write(described: dict[str, object], figures: list[Figure]) -> None:
    _SUMMARY.parent.mkdir(parents=True, exist_ok=True)
    summary = {"machine": described, **{figure.name: figure.to_json() for figure in figures}}
    temporary = _SUMMARY.with_suffix(".tmp")
    temporary.write_text(json.dumps(summary, indent=2) + "\n")
    temporary.replace(_SUMMARY)


if __name__ == "__main__":
    sys.exit(main())
