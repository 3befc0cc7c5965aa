# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Command `robot_sim_demo`: a simulated robot walks under a policy bundle over real topics."""

import argparse
import json
import logging
import math
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from policy_inference.errors import PolicyError
from robot_sim.demo.performance import PLAN_S, TRACE, perform
from robot_sim.demo.plots import IMAGE_FILES, draw
from robot_sim.demo.processes import own_domain
from robot_sim.demo.summary import measured, shown, summarise, table, verdict
from robot_sim.errors import SimError

INTERRUPTED = 130
SUMMARY = "summary.json"
_log = logging.getLogger("robot_sim_demo")


def main(args: Sequence[str] | None = None) -> int:
    """Run the demo.

    Returns:
        0; 1 if the walk failed (see `verdict`), a node ended or the policy node refused; 130
        after Ctrl-C.
    """
    _log.addHandler(logging.StreamHandler(sys.stdout))
    _log.setLevel(logging.INFO)
    given = _parse(args)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, signal.SIGTERM])
    os.environ.update(own_domain(seed=os.getpid()))
    given.output.mkdir(parents=True, exist_ok=True)
    for name in (TRACE, SUMMARY, *IMAGE_FILES):
        (given.output / name).unlink(missing_ok=True)
    try:
        return _demonstrate(given)
    except (SimError, PolicyError) as error:
        _log.error("robot_sim_demo: %s", error)
        return 1
    except KeyboardInterrupt:
        _log.error("robot_sim_demo: interrupted; the nodes have ended")
        return INTERRUPTED


def _demonstrate(given: argparse.Namespace) -> int:
    _log.info(
        "%s on %s, ROS_DOMAIN_ID %s", given.bundle, given.backend, os.environ["ROS_DOMAIN_ID"]
    )
    trace, reported = perform(
        given.output,
        bundle=given.bundle,
        backend=given.backend,
        backend_options=given.backend_options,
        seconds=given.seconds,
        lockstep=given.lockstep,
    )
    metrics = measured(trace, reported)
    summary = json.dumps(summarise(metrics, reported), indent=2)
    (given.output / SUMMARY).write_text(f"{summary}\n", encoding="utf-8")
    _log.info("\n%s\n", table(metrics, reported))
    if given.images:
        draw(shown(trace), given.output)
    failure = verdict(metrics, reported, lockstep=given.lockstep)
    if failure is not None:
        _log.error("robot_sim_demo: %s", failure)
        return 1
    return 0


def _parse(args: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="robot_sim_demo", description=__doc__)
    add = parser.add_argument
    add("--bundle", default="lite3_walk", help="folder of a bundle, or name of an installed one")
    add("--backend", default="onnx", help="backend, or several in order of preference: a,b")
    add(
        "--backend-options",
        default="",
        metavar="LIST",
        help="options of backends: rknn_sim.target=rk3576,tensorrt.build=yes",
    )
    add("--seconds", type=_positive, default=PLAN_S, help="how long to walk (default: %(default)g)")
    add("--output", type=Path, default=Path("out/demo"), help="folder for results")
    add(
        "--lockstep",
        action="store_true",
        help="let simulated time wait for each command, instead of real time",
    )
    add(
        "--no-images",
        action="store_false",
        dest="images",
        help="write no plots and no video; the video takes longer than the walk",
    )
    return parser.parse_args(args)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value <= 3600.0:
        raise argparse.ArgumentTypeError(f"expected a number in (0, 3600], found {text}")
    return value
