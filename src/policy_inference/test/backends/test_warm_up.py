# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""How often a model runs before it is of use: once for a tool, more for a host with a rate."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from policy_core.interfaces import TensorSpec
from policy_inference.backends.base import BackendBase

from .odd_backends import ACTIONS, OBS

Log = Callable[[], str]


class Clock:
    """Time that passes only in runs."""

    def __init__(self) -> None:
        self.now_s = 0.0


@pytest.fixture
def run_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that runs are timed with."""
    run_clock = Clock()
    monkeypatch.setattr(time, "perf_counter", lambda: run_clock.now_s)
    return run_clock


class Large(BackendBase):
    """A model of which a run takes as long as its file says, s."""

    name = "large"

    def __init__(self, file: Path, run_clock: Clock, log: Log = str) -> None:
        self.runs, self.logged, self.clock = 0, list[str](), run_clock
        self._log = log
        super().__init__(file, [OBS], [ACTIONS])

    def _open(
        self, file: Path
    ) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec], Mapping[str, str]]:
        self._takes_s = float(file.read_text("utf-8"))
        return [OBS], [ACTIONS], {}

    def _bind(self) -> None: ...

    def _run(self) -> None:
        self.runs += 1
        self.logged.append(self._log())
        self.clock.now_s += self._takes_s

    def _close(self) -> None: ...


@pytest.fixture
def open_large(
    tmp_path: Path, run_clock: Clock, caplog: pytest.LogCaptureFixture
) -> Callable[[float], Large]:
    """Open a model of which a run takes so many seconds."""
    caplog.set_level("INFO", "policy_inference")

    def make(takes_s: float) -> Large:
        file = tmp_path / "large.onnx"
        file.write_text(str(takes_s), "utf-8")
        return Large(file, run_clock, lambda: caplog.text)

    return make


@pytest.mark.parametrize(("takes_s", "runs"), [(0.0001, 100), (0.48, 12), (4.0, 4), (600.0, 4)])
def test_warm_up_ends_when_its_time_is_over_and_is_logged_before_it_if_it_is_long(
    open_large: Callable[[float], Large], takes_s: float, runs: int
) -> None:
    with closing(open_large(takes_s)) as backend:
        assert backend.runs == 1
        backend.warm_up()
        assert backend.runs == runs
        assert not backend.logged[0]
        assert bool(backend.logged[1]) is (takes_s > 0.1)
