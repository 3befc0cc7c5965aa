# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""How often a model runs before it is of use: once for a tool, more for a host with a rate."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from policy_core.interfaces import TensorSpec
from policy_inference.backends.base import BackendBase

from .odd_backends import ACTIONS, OBS


class Large(BackendBase):
    """A model each of whose runs takes a time, on a clock that else stands still."""

    name = "large"
    now_s = 0.0

    def __init__(self, file: Path, takes_s: float, log: Callable[[], str]) -> None:
        self._takes_s, self._log, self.logged = takes_s, log, list[str]()
        super().__init__(file, [OBS], [ACTIONS])

    def _open(
        self, file: Path
    ) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec], Mapping[str, str]]:
        return [OBS], [ACTIONS], {}

    def _bind(self) -> None: ...

    def _run(self) -> None:
        self.logged.append(self._log())
        Large.now_s += self._takes_s

    def _close(self) -> None: ...


@pytest.mark.parametrize(("takes_s", "runs"), [(0.0001, 100), (0.48, 12), (600.0, 4)])
def test_warm_up_ends_when_its_time_is_over_and_is_logged_before_it_if_it_is_long(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    takes_s: float,
    runs: int,
) -> None:
    monkeypatch.setattr(time, "perf_counter", lambda: Large.now_s)
    caplog.set_level("INFO", "policy_inference")
    (tmp_path / "large.onnx").touch()
    with closing(Large(tmp_path / "large.onnx", takes_s, lambda: caplog.text)) as backend:
        assert len(backend.logged) == 1
        backend.warm_up()
        assert len(backend.logged) == runs
        assert not backend.logged[0]
        assert bool(backend.logged[1]) is (takes_s > 0.1)
