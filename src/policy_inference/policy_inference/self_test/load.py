# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a test asks of the machine while it runs: load of the device, CPU, memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from policy_inference.machine.machine import number_in
from policy_inference.machine.telemetry import read_safely

SAMPLE_NS = 200_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What a sensor reported in the course of a test; the unit is in its name.

    `first` and `second` are the means of the halves.
    """

    min: float
    mean: float
    max: float
    first: float
    second: float


class DeviceLoad:
    """Asks a device for its load, five times a second at most.

    Attributes:
        unreadable: What was wrong with the latest answer that was none; empty where all were.
    """

    def __init__(self, read: Callable[[], Mapping[str, str]]) -> None:
        """Keep what is asked, such as `BackendBase.telemetry`."""
        self._read = read
        self._samples = list[Mapping[str, str]]()
        self._next_ns: int | None = None
        self.unreadable = ""

    def sample(self, now_ns: int) -> None:
        """Ask, where it is time to."""
        if self._next_ns is None or now_ns >= self._next_ns:
            self._next_ns = now_ns + SAMPLE_NS
            sample, problem = read_safely(self._read)
            self._samples.append(sample)
            self.unreadable = f"telemetry: {problem}" if problem else self.unreadable

    def __len__(self) -> int:
        """Return how often it was asked."""
        return len(self._samples)

    def series(self) -> dict[str, Series]:
        """Return what was reported in numbers, by name."""
        found = dict[str, Series]()
        for name in self._names():
            texts = [sample[name] for sample in self._samples if name in sample]
            values = [value for text in texts if (value := number_in(text)) is not None]
            if len(values) == len(texts):
                middle = len(values) // 2
                found[name] = Series(
                    min=min(values),
                    mean=_mean(values),
                    max=max(values),
                    first=_mean(values[:middle] or values),
                    second=_mean(values[middle:]),
                )
        return found

    def words(self) -> dict[str, list[str]]:
        """Return what was reported in words, by name, each word once and in its order."""
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
    """What a process has taken since it began.

    Attributes:
        cpu_s: Time on a processor, user and system, s.
        peak_bytes: Largest memory that was resident.
        preempted: How often the main thread had to leave the processor to another.
    """

    cpu_s: float
    peak_bytes: int
    preempted: int

    def since(self, before: Usage) -> Usage:
        """Return what was taken since then, and the largest memory of all times."""
        return Usage(
            cpu_s=self.cpu_s - before.cpu_s,
            peak_bytes=self.peak_bytes,
            preempted=self.preempted - before.preempted,
        )


def usage_of(pid: int) -> Usage | None:
    """Return what a process has taken; None of one that has ended."""
    try:
        process = psutil.Process(pid)
        times, switches = process.cpu_times(), process.num_ctx_switches()
        # psutil reports the memory of now; the largest is in /proc alone.
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
