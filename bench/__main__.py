# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Measure speed against baselines; print a table and write it to out/bench/summary.json.

    python -m bench tick nodes
    python -m bench --smoke

With --smoke, every part runs with the fewest repetitions, to show that it still works. Its figures
are no results and go to out/bench/smoke.json.

The exit status is 1 if a part could not be measured, or if there is no figure at all. A part that
needs what this machine lacks, such as permission for real-time priority, is skipped: the last lines
give the reason, and the exit status stays 0. 2: wrong arguments.
"""
# run: python -m bench tick nodes: {short: --smoke, real_time: yes}
# run: python -m bench --smoke: {short: tick}

import argparse
import logging
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from bench.effort import FULL, SMOKE, Effort
from bench.figures import machine, table
from bench.parts import PARTS, load_and_measure, measure_parts
from bench.processes import ROOT, keep_to_machine
from tools.arguments import positive_number

_FOLDER = ROOT / "out" / "bench"
_log = logging.getLogger("bench")


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    options = parse(args)
    effort = choose_effort(options)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    if shutil.which("joint_policy_node") is None:
        _log.error(
            "bench: joint_policy_node is not on the PATH; "
            ". .venv/bin/activate && . install/setup.bash"
        )
        return 1
    keep_to_machine()
    before = machine()
    measures = {part: partial(load_and_measure, part) for part in options.parts or PARTS}
    results = measure_parts(measures, effort)
    if results.figures:  # otherwise, earlier results stay
        file = _FOLDER / ("smoke.json" if effort.is_smoke else "summary.json")
        results.write(file, before, effort)
        shown = table(results.figures, is_smoke=effort.is_smoke)
        _log.info("\n%s\n\nwritten to %s", shown, file.relative_to(ROOT))
    for line in results.problems():
        _log.error("bench: %s", line)
    return results.exit_status


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments; `parts` is empty if none was named."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "parts",
        nargs="*",
        type=_part,
        metavar="PART",
        help="what to measure (default: all): "
        + "; ".join(f"{name}, {subject}" for name, subject in PARTS.items()),
    )
    parser.add_argument(
        "--smoke", action="store_true", help="run the parts as briefly as possible; no results"
    )
    parser.add_argument(
        "--seconds",
        type=positive_number,
        help="duration of each row of jitter "
        f"(default: {FULL.jitter_s:g}; with --smoke: {SMOKE.jitter_s:g})",
    )
    return parser.parse_args(args)


def choose_effort(options: argparse.Namespace) -> Effort:
    """Return how long to measure with these options."""
    effort = SMOKE if options.smoke else FULL
    return replace(effort, jitter_s=options.seconds) if options.seconds else effort


# Not by `choices`: with those, Python 3.10 refuses an empty list of parts.
def _part(name: str) -> str:
    if name not in PARTS:
        raise argparse.ArgumentTypeError(f"expected {', '.join(PARTS)}, found {name!r}")
    return name


if __name__ == "__main__":
    sys.exit(main())
