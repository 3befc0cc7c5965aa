# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The parts of the benchmark, and the results of some of them."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.effort import Effort
from bench.figures import Figure
from bench.processes import BenchError, UnsupportedError

PARTS = {
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
"""What each part measures, by the name of its module."""
Measure = Callable[[Effort], list[Figure]]
_log = logging.getLogger("bench")


@dataclass(slots=True, kw_only=True)
class BenchResults:
    """Figures, and the reasons for parts without any.

    Attributes:
        figures: All measured figures.
        skipped: Reasons for which this machine cannot run a part, by part.
        failed: Reasons for which a part that should run gave no figures, by part.
        durations_s: How long each part took.
    """

    figures: list[Figure] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    durations_s: dict[str, float] = field(default_factory=dict)

    @property
    def exit_status(self) -> int:
        """0 if every part was measured or skipped, and at least one was measured."""
        return 1 if self.failed or not self.figures else 0

    def problems(self) -> list[str]:
        """Return a line for each part without figures, and one if no part has any."""
        lines = [f"{part}: skipped: {_first_line(why)}" for part, why in self.skipped.items()]
        lines += [f"{part}: not measured: {_first_line(why)}" for part, why in self.failed.items()]
        return lines if self.figures else [*lines, "there is no figure"]

    def write(self, file: Path, machine: Mapping[str, Any], effort: Effort) -> None:
        """Write everything, and a description of the machine, to a JSON file."""
        document = {
            "machine": machine,
            "is_smoke": effort.is_smoke,
            "skipped": self.skipped,
            "failed": self.failed,
            "durations_s": self.durations_s,
            **{figure.name: figure.to_json() for figure in self.figures},
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(".tmp")
        temporary.write_text(json.dumps(document, indent=2) + "\n")
        temporary.replace(file)


def measure_parts(measures: Mapping[str, Measure], effort: Effort) -> BenchResults:
    """Measure the parts one after another; a part that fails does not stop the others."""
    results = BenchResults()
    for part, measure in measures.items():
        _log.info("measuring %s ...", PARTS.get(part, part))
        began_s = time.monotonic()
        try:
            figures = measure(effort)
            if not figures:
                raise BenchError("the part returned no figures")
            results.figures += figures
        except UnsupportedError as error:
            results.skipped[part] = str(error)
        except BenchError as error:
            _log.error("bench: %s: %s", part, error)
            results.failed[part] = str(error)
        except Exception as error:  # noqa: BLE001  # a broken part must not stop the others
            _log.exception("bench: %s", part)
            results.failed[part] = f"{type(error).__name__}: {error}"
        results.durations_s[part] = round(time.monotonic() - began_s, 1)
        _log.info("took %.0f s", results.durations_s[part])
    return results


def load_and_measure(part: str, effort: Effort) -> list[Figure]:
    """Measure a part, whose module is imported only now, because most modules need ROS."""
    figures: list[Figure] = import_module(f"bench.{part}").measure(effort)
    return figures


def _first_line(text: str) -> str:
    return text.partition("\n")[0]
