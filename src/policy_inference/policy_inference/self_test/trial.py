# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a self-test runs and judges of a policy, whatever kind it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from policy_core.bundle.contract import Artifact
from policy_core.interfaces import Backend
from policy_inference.backends.base import BackendBase
from policy_inference.comparison.limits import Check
from policy_inference.self_test.clock import Clock
from policy_inference.self_test.durations import Durations
from policy_inference.self_test.load import DeviceLoad, Usage


class Ran(NamedTuple):
    """One run of a policy.

    `graphs_ns` is the time of each graph by name, where there are several; an encoder once for each
    camera, together. `is_finite` says whether no output was NaN or infinite.
    """

    preprocessing_ns: int
    inference_ns: int
    is_finite: bool
    graphs_ns: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TimedRuns:
    """Runs of a policy, one after another.

    Attributes:
        inference: The model; of a chunk policy all from images to chunk.
        preprocessing: What of a run no model took.
        graphs: Each graph by name, where there are several.
        not_finite: How many runs gave NaN or infinity.
    """

    inference: Durations
    preprocessing: Durations
    graphs: Mapping[str, Durations]
    not_finite: int

    @staticmethod
    def of(ran: Sequence[Ran]) -> TimedRuns:
        """Return runs, one or more, together."""
        return TimedRuns(
            inference=Durations([one.inference_ns for one in ran]),
            preprocessing=Durations([one.preprocessing_ns for one in ran]),
            graphs={
                name: Durations([one.graphs_ns[name] for one in ran]) for name in ran[0].graphs_ns
            },
            not_finite=sum(not one.is_finite for one in ran),
        )

    def __len__(self) -> int:
        """Return how many runs there were."""
        return len(self.inference)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AtRate:
    """Runs as often as a robot needs them, and what was read meanwhile.

    Attributes:
        runs: The runs.
        wall_s: How long it took.
        missed: Runs that were left out, since the one before took too long.
        load: What the device reported.
        usage: What each process took, by name; its `peak_bytes` since it began.
    """

    runs: TimedRuns
    wall_s: float
    missed: int
    load: DeviceLoad
    usage: Mapping[str, Usage]


class Trial(Protocol):
    """What differs between kinds of policies in a self-test.

    Attributes:
        model: Of which device and process are observed.
        interval_ns: Between two runs on a robot.
        most_runs: Without a pause.
        fewest_runs: Without a pause, however long they take.
        fewest_ticks: At the rate, however long they take.
        warm_up_ticks: Before those that count: the first call of most numpy functions is slow.
        ticks: What runs at the rate are called.
        not_finite: Name of the figure that counts runs which gave NaN or infinity.
    """

    model: BackendBase
    interval_ns: int
    most_runs: int
    fewest_runs: int
    fewest_ticks: int
    warm_up_ticks: int
    ticks: str
    not_finite: str

    def runner(self) -> Callable[[], Ran]:
        """Return what runs the policy on one golden row after another."""

    def ticker(self) -> Callable[[], Ran]:
        """Return what runs the policy as a robot does."""

    def walking(
        self, cls: type[BackendBase], name: str, entries: Mapping[str, Artifact]
    ) -> Sequence[Check]:
        """Return the checks of the report on walking, where the precision needs one."""

    def not_judged(self, entries: Mapping[str, Artifact]) -> Sequence[str]:
        """Return what is not judged of such a policy, and why that is right."""

    def latency(self, quick: TimedRuns, rate: AtRate) -> Sequence[Check]:
        """Return the checks of how long runs took, without a pause and at the rate."""

    def remarks(self, rate: AtRate) -> Sequence[str]:
        """Return what else the latency means."""


class Timed:
    """A backend that notes when its latest run began and ended, and the time of all together."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self.name, self.details = backend.name, backend.details
        self.inputs, self.outputs = backend.inputs, backend.outputs
        self._backend, self._clock = backend, clock
        self.began_ns = self.ended_ns = self.total_ns = 0

    def run(self) -> None:
        """Run the backend, and time it."""
        self.began_ns = self._clock.now_ns()
        self._backend.run()
        self.ended_ns = self._clock.now_ns()
        self.total_ns += self.ended_ns - self.began_ns

    def close(self) -> None:
        """Close the backend."""
        self._backend.close()
