# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Command `python -m bench`: measure, print a table, write out/bench/summary.json."""

import argparse
import json
import logging
import shutil
import sys
from collections.abc import Callable

from bench.figures import Figure, machine, table
from bench.processes import ROOT, BenchError, keep_to_machine

_SUMMARY = ROOT / "out" / "bench" / "summary.json"
_log = logging.getLogger("bench")


def main() -> int:
    """Measure all figures; a figure that cannot be had is reported and left out."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--seconds", type=float, help="of each row of jitter")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    if shutil.which("joint_policy_node") is None:
        _log.error(
            "bench: joint_policy_node is not on the PATH; "
            ". .venv/bin/activate && . install/setup.bash"
        )
        return 1
    keep_to_machine()
    # Only now: the modules below need ROS.
    from bench import (
        batch,
        calibrate,
        child,
        chunks,
        churn,
        convert,
        evaluation,
        jitter,
        lite3,
        native_tick,
        nodes,
        preprocessing,
        remote,
        service,
        shared_memory,
        tick,
        unitree,
    )

    described, figures = machine(), list[Figure]()
    parts: list[tuple[str, Callable[[], list[Figure]]]] = [
        ("a tick without ROS", tick.measure),
        ("a tick in C++", native_tick.measure),
        ("a process of its own", child.measure),
        ("the service", service.measure),
        ("four robots in one inference", batch.measure),
        ("shared memory with the service", shared_memory.measure),
        ("a model on a server", remote.measure),
        ("start", lambda: [nodes.start()]),
        ("round trip", lambda: [nodes.roundtrip()]),
        ("processor time", lambda: [nodes.processor_time()]),
        *jitter.rows(given.seconds or jitter.SECONDS),
        ("participants that join and leave", churn.measure),
        ("rows from a recording of an hour", calibrate.measure),
        ("images into the back end's buffers", preprocessing.measure),
        ("chunks that take 300 ms", chunks.measure),
        ("a recording to a dataset", convert.measure),
        ("a trial of an evaluation", evaluation.measure),
        ("the driver of the Lite3", lite3.measure),
        ("the driver of the Go2", unitree.measure),
    ]
    for what, measure in parts:
        _log.info("measuring %s ...", what)
        try:
            figures += measure()
        except BenchError as error:
            _log.error("bench: %s: %s", what, error)
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
