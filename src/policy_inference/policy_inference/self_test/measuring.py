# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Measure run durations, and resource use: device load, CPU, memory."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil

from policy_core.interfaces import F64, Backend
from policy_inference.backends.base import BackendBase
from policy_inference.comparison.limits import Check
from policy_inference.machine.machine import number_in
from policy_inference.machine.telemetry import read_safely

SAMPLE_NS = 200_000_000
_LOWEST, _HIGHEST, _PER_DECADE = -7, 2, 10
"""Histogram of run times: lowest and highest power of ten (in s), and bins per decade."""


class Clock:
    """The machine's monotonic clock."""

    def now_ns(self) -> int:
        """Return the time since a fixed moment in the past, ns."""
        return time.perf_counter_ns()

    def sleep_until(self, deadline_ns: int) -> None:
        """Sleep until a time, if it has not passed."""
        left_ns = deadline_ns - time.perf_counter_ns()
        if left_ns > 0:
            time.sleep(left_ns * 1e-9)


class Durations:
    """Durations of individual runs, in the order of measurement."""

    def __init__(self, durations_ns: Sequence[int] | F64) -> None:
        self.each_s: F64 = np.asarray(durations_ns, np.float64) * 1e-9

    def __len__(self) -> int:
        return len(self.each_s)

    def plus(self, other: Durations) -> Durations:
        """Return the per-run sums; both must contain the same number of runs."""
        return Durations((self.each_s + other.each_s) * 1e9)

    def percentile_s(self, percent: float) -> float:
        """Return the duration (in s) that this percentage of runs did not exceed."""
        return float(np.percentile(self.each_s, percent))

    def p99_check(
        self, what: str, limit_ms: float, limit_is: str = "", runs: str = "runs"
    ) -> Check:
        """Return a check on the 99th percentile, ms.

        Args:
            what: Name of the figure.
            limit_ms: Limit on the percentile, ms.
            limit_is: Reason for the limit; may be empty.
            runs: Word for the runs in the check's text.
        """
        median_ms = self.percentile_s(50) * 1e3
        reason = f"; the limit is {limit_is}" if limit_is else ""
        return Check(
            what=what,
            value=self.percentile_s(99) * 1e3,
            limit=limit_ms,
            where=f"{len(self)} {runs}, median {median_ms:.3g} ms{reason}",
        )

    def halves_p50_s(self) -> tuple[float, float]:
        """Return the medians of the first and second half, in s; requires at least two runs."""
        middle = len(self) // 2
        return float(np.median(self.each_s[:middle])), float(np.median(self.each_s[middle:]))

    def histogram(self) -> tuple[list[float], list[int]]:
        """Return the bin edges (in s) and the number of runs in each bin, over the range in use.

        There is one more edge than there are bins; the bins are equally wide on a logarithmic
        scale.
        """
        edges_s = np.logspace(_LOWEST, _HIGHEST, (_HIGHEST - _LOWEST) * _PER_DECADE + 1)
        counts, _ = np.histogram(np.clip(self.each_s, edges_s[0], edges_s[-1]), edges_s)
        used = np.flatnonzero(counts)
        first, end = int(used[0]), int(used[-1]) + 1
        return edges_s[first : end + 1].tolist(), counts[first:end].tolist()


class Ran(NamedTuple):
    """One run of a policy.

    `graphs_ns` is the inference time by graph, if there are several; for an encoder, the sum over
    all cameras. `is_finite` is true if no output was NaN or infinite.
    """

    preprocessing_ns: int
    inference_ns: int
    is_finite: bool
    graphs_ns: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TimedRuns:
    """Consecutive runs of a policy.

    Attributes:
        inference: Durations of the model; for a chunk policy, of everything from images to chunk.
        preprocessing: Durations of the part of a run outside the models.
        graphs: Durations of each graph, by name, if there are several.
        not_finite: Number of runs with NaN or infinity.
    """

    inference: Durations
    preprocessing: Durations
    graphs: Mapping[str, Durations]
    not_finite: int

    @staticmethod
    def of(ran: Sequence[Ran]) -> TimedRuns:
        """Combine one or more runs."""
        return TimedRuns(
            inference=Durations([one.inference_ns for one in ran]),
            preprocessing=Durations([one.preprocessing_ns for one in ran]),
            graphs={
                name: Durations([one.graphs_ns[name] for one in ran]) for name in ran[0].graphs_ns
            },
            not_finite=sum(not one.is_finite for one in ran),
        )

    def __len__(self) -> int:
        return len(self.inference)


class Timed:
    """A back end that records its latest run's start and end, and the total time of all runs."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self.name, self.details = backend.name, backend.details
        self.inputs, self.outputs = backend.inputs, backend.outputs
        self._backend, self._clock = backend, clock
        self.began_ns = self.ended_ns = self.total_ns = 0

    def run(self) -> None:
        self.began_ns = self._clock.now_ns()
        self._backend.run()
        self.ended_ns = self._clock.now_ns()
        self.total_ns += self.ended_ns - self.began_ns

    def close(self) -> None:
        self._backend.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorCourse:
    """Summary of a sensor's values during a test; the unit is in the sensor's name.

    `first` and `second` are the means over the first and second half of the test.
    """

    min: float
    mean: float
    max: float
    first: float
    second: float


class DeviceLoad:
    """Reads a device's load, at most five times a second.

    Attributes:
        unreadable: Message about the latest failed read; empty if there was none.
    """

    def __init__(self, read: Callable[[], Mapping[str, str]]) -> None:
        self._read = read
        self._samples = list[Mapping[str, str]]()
        self._next_ns: int | None = None
        self.unreadable = ""

    def sample(self, now_ns: int) -> None:
        if self._next_ns is None or now_ns >= self._next_ns:
            self._next_ns = now_ns + SAMPLE_NS
            sample, problem = read_safely(self._read)
            self._samples.append(sample)
            self.unreadable = f"telemetry: {problem}" if problem else self.unreadable

    def __len__(self) -> int:
        return len(self._samples)

    def series(self) -> dict[str, SensorCourse]:
        """Return statistics of each sensor whose values are all numbers, by name."""
        found = dict[str, SensorCourse]()
        for name in self._names():
            texts = [sample[name] for sample in self._samples if name in sample]
            values = [value for text in texts if (value := number_in(text)) is not None]
            if len(values) == len(texts):
                middle = len(values) // 2
                found[name] = SensorCourse(
                    min=min(values),
                    mean=_mean(values),
                    max=max(values),
                    first=_mean(values[:middle] or values),
                    second=_mean(values[middle:]),
                )
        return found

    def words(self) -> dict[str, list[str]]:
        """Return the values of all other sensors, by name; each text appears once, in order."""
        numbers = self.series()
        return {
            name: list(dict.fromkeys(sample[name] for sample in self._samples if name in sample))
            for name in self._names()
            if name not in numbers
        }

    def _names(self) -> list[str]:
        return sorted({name for sample in self._samples for name in sample})


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """A process's resource use since it began.

    Attributes:
        cpu_s: Processor time, user and system, s.
        peak_bytes: Largest resident memory.
        preempted: Number of involuntary context switches of the main thread.
    """

    cpu_s: float
    peak_bytes: int
    preempted: int

    def since(self, before: Usage) -> Usage:
        """Return the use since an earlier reading, with the overall peak memory."""
        return Usage(
            cpu_s=self.cpu_s - before.cpu_s,
            peak_bytes=self.peak_bytes,
            preempted=self.preempted - before.preempted,
        )


def read_usage(pid: int) -> Usage | None:
    """Return a process's resource use; None if the process has ended."""
    try:
        process = psutil.Process(pid)
        times, switches = process.cpu_times(), process.num_ctx_switches()
        # psutil reports the current memory; the peak is in /proc only.
        peak = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text("utf-8"))
    except (psutil.Error, OSError):
        return None
    return Usage(
        cpu_s=times.user + times.system,
        peak_bytes=int(peak[1]) * 1024 if peak else 0,
        preempted=switches.involuntary,
    )


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AtRate:
    """Runs at the rate that a robot needs, and the readings taken meanwhile.

    Attributes:
        runs: The runs.
        wall_s: Total time.
        missed: Runs that were skipped because the previous one took too long.
        load: Load of the device.
        usage: Resource use of each process, by name; `peak_bytes` is the peak since the process
            began.
    """

    runs: TimedRuns
    wall_s: float
    missed: int
    load: DeviceLoad
    usage: Mapping[str, Usage]


def usage_of_processes(backend: BackendBase) -> dict[str, Usage]:
    """Return the resource use of this process and of the runtime's process, if readable."""
    pids = {os.getpid(): "this"}
    pids.setdefault(backend.pid, "runtime")
    return {name: taken for pid, name in pids.items() if (taken := read_usage(pid)) is not None}
