# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One measured figure: ours and its baseline over repetitions, as a table row and as JSON."""

import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

_MANY = 1000
_SMOKE_HEADING = "SMOKE RUN: too few repetitions; these figures are no results"
_LOOP, _MATRIX, _SPEED_RUNS = 10_000, 64, 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One repetition: the median and, if samples were taken, their upper percentiles."""

    value: float
    p99: float | None = None
    p999: float | None = None
    """Only with a thousand samples or more."""


def summarise(samples: Sequence[float] | npt.NDArray[np.float64]) -> Summary:
    """Return the median, 99th and, for many samples, 99.9th percentile."""
    p50, p99, p999 = np.percentile(samples, (50, 99, 99.9)).tolist()
    return Summary(value=p50, p99=p99, p999=p999 if len(samples) >= _MANY else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure of the benchmark; one pair of summaries per repetition: ours and the baseline's.

    Its name defines its value: `..._ratio` for ours over the baseline's, `..._added_...` for ours
    minus the baseline's, otherwise ours.
    """

    name: str
    unit: str
    ours: Sequence[Summary]
    baseline: Sequence[Summary]
    wanted: float | None = None
    """Largest acceptable value."""

    @property
    def ratios(self) -> list[float]:
        """Ours over the baseline, for each repetition whose baseline is not 0."""
        return [a.value / b.value for a, b in zip(self.ours, self.baseline, strict=True) if b.value]

    @property
    def value(self) -> float:
        """The value that the figure's name defines: median of the ratios, differences or ours."""
        if "_added_" in self.name:
            return median(a.value - b.value for a, b in zip(self.ours, self.baseline, strict=True))
        if self.name.endswith("_ratio"):
            return median(self.ratios)
        return median(summary.value for summary in self.ours)

    @property
    def is_met(self) -> bool | None:
        """True if the value is acceptable; None without a target."""
        return None if self.wanted is None else self.value <= self.wanted

    def to_json(self) -> dict[str, Any]:
        """Return all measurements, except the individual samples."""
        return {
            "value": self.value,
            "wanted": self.wanted,
            "is_met": self.is_met,
            "unit": self.unit,
            "ours": _side(self.ours),
            "baseline": _side(self.baseline),
            "ratios": self.ratios,
        }


def alternated(
    name: str,
    ours: Callable[[], Summary],
    baseline: Callable[[], Summary],
    *,
    blocks: int,
    wanted: float | None,
    unit: str = "us",
) -> Figure:
    """Measure both in alternating blocks, and alternate which of the two is first.

    From second to second, the machine's other load varies by more than the two differ.
    """
    sides = {ours: list[Summary](), baseline: list[Summary]()}
    for block in range(blocks):
        for measure in (ours, baseline) if block % 2 else (baseline, ours):
            sides[measure].append(measure())
    return Figure(
        name=name,
        unit=unit,
        ours=sides[ours],
        baseline=sides[baseline],
        wanted=wanted,
    )


def timed_us(calls: int, call: Callable[[], object]) -> list[float]:
    """Make calls back to back; return the duration of each."""
    took_us = []
    for _ in range(calls):
        began_ns = time.perf_counter_ns()
        call()
        took_us.append((time.perf_counter_ns() - began_ns) * 1e-3)
    return took_us


def timed(calls: int, call: Callable[[], object]) -> Callable[[], Summary]:
    """Return a function that makes this many calls back to back and summarizes their durations."""
    return lambda: summarise(timed_us(calls, call))


def in_turns(
    name: str,
    ours: Callable[[], object],
    baseline: Callable[[], object],
    *,
    blocks: int,
    turns: int,
    period_s: float,
    wanted: float,
) -> Figure:
    """Measure two calls in turn, one per period, so that both find cold caches."""
    sides = list[Summary](), list[Summary]()
    for _ in range(blocks):
        took_us = list[float](), list[float]()
        for _ in range(turns):
            for call, of_call in zip((ours, baseline), took_us, strict=True):
                time.sleep(period_s)
                of_call += timed_us(1, call)
        for side, of_call in zip(sides, took_us, strict=True):
            side.append(summarise(of_call))
    return Figure(name=name, unit="us", ours=sides[0], baseline=sides[1], wanted=wanted)


def _side(summaries: Sequence[Summary]) -> dict[str, float]:
    side = {"median": median(summary.value for summary in summaries)}
    for name in ("p99", "p999"):
        tails = [tail for summary in summaries if (tail := getattr(summary, name)) is not None]
        if tails:
            side[name] = median(tails)
    return side


def table(figures: Iterable[Figure], *, is_smoke: bool = False) -> str:
    """Return the figures as lines of text, ratios with their range over the repetitions.

    The first line states the speed of this processor, so that tables from different processors can
    be compared. Figures of a smoke run have a heading that says so.
    """
    rows = [
        (
            "figure",
            "value",
            "wanted",
            "met",
            "ours (p99, p99.9)",
            "baseline (p99, p99.9)",
            "ratio (range)",
        )
    ]
    for figure in figures:
        ratios = figure.ratios
        compared = (
            f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else ""
        )
        rows.append(
            (
                figure.name,
                _number(figure.value),
                "" if figure.wanted is None else f"<= {figure.wanted:g}",
                {None: "", True: "yes", False: "no"}[figure.is_met],
                _cell(_side(figure.ours), figure.unit),
                _cell(_side(figure.baseline), figure.unit),
                compared,
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        [
            *([_SMOKE_HEADING] if is_smoke else []),
            _described(machine()),
            *(
                "  ".join(
                    cell.ljust(width) for cell, width in zip(row, widths, strict=True)
                ).rstrip()
                for row in rows
            ),
        ]
    )


def _described(found: dict[str, Any]) -> str:
    return (
        f"{found['cpu']}, {found['cores']} cores, Python {found['python']}: "
        f"{found['python_loop_us']:.0f} us for a loop of {_LOOP} additions, "
        f"{found['matrix_product_us']:.1f} us for a product of {_MATRIX} x {_MATRIX} matrices"
    )


def _cell(side: dict[str, float], unit: str) -> str:
    tails = ", ".join(_number(side[name]) for name in ("p99", "p999") if name in side)
    return f"{_number(side['median'])}{tails and f' ({tails})'} {unit}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 1000.0 else f"{value:.3g}"


def machine() -> dict[str, Any]:
    """Describe the machine on which the figures are measured."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "ros_distro": os.environ.get("ROS_DISTRO", "unknown"),
        "rmw": os.environ.get("RMW_IMPLEMENTATION", "default"),
        "load_average_1min": os.getloadavg()[0],
        "python_loop_us": _fastest_us(_python_loop),
        "matrix_product_us": _fastest_us(
            partial(np.matmul, *np.ones((2, _MATRIX, _MATRIX), np.float32))
        ),
    }


def _python_loop() -> None:
    total = 0
    for number in range(_LOOP):
        total += number


def _fastest_us(work: Callable[[], object]) -> float:
    """Return the duration of the fastest of many runs: the processor's speed without other load."""
    return min(timed_us(_SPEED_RUNS, work))
