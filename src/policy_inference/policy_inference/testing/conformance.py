# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Requirements for every back end: tests to inherit, given a `BackendCase`."""

import os
import signal
from pathlib import Path

import pytest

from policy_core.errors import BackendError
from policy_inference import worker_process
from policy_inference.testing.case import BackendCase, ConformanceFixtures, Open
from policy_inference.testing.failing import FailingConformance
from policy_inference.testing.files import FileConformance
from policy_inference.testing.opening import OpeningConformance
from policy_inference.testing.process import (
    anonymous_memory_bytes,
    child_pid,
    children,
    has_ended,
)
from policy_inference.testing.running import RunningConformance

_RUNS = 5000


class BackendConformance(
    RunningConformance, OpeningConformance, FileConformance, FailingConformance
):
    """Inherit this, with a `case` fixture that returns the `BackendCase`."""


class ChildConformance(ConformanceFixtures):
    """Inherit this, with a `case` fixture whose back end is a ``partial(ChildBackend, cls)``."""

    def test_running_makes_the_other_process_no_larger(
        self, open_model: Open, linear: Path
    ) -> None:
        backend = open_model(linear)
        child = child_pid(backend)
        for _ in range(1000):
            backend.run()
        before = anonymous_memory_bytes(child)

        for _ in range(_RUNS):
            backend.run()

        # One object kept per run would need more; malloc may move a few pages at any time.
        assert anonymous_memory_bytes(child) - before < _RUNS * 25

    def test_process_that_dies_is_an_error_of_the_run_and_can_be_closed(
        self, open_model: Open, case: BackendCase, linear: Path
    ) -> None:
        backend = open_model(linear)
        assert backend.problem() == ""
        os.kill(child_pid(backend), signal.SIGKILL)

        with pytest.raises(BackendError, match=f"^{case.name}: .* exited"):
            backend.run()  # whether it has already ended or is about to
        has_ended(child_pid(backend))
        with pytest.raises(BackendError, match=f"^{case.name}: .* status -9"):
            backend.run()
        assert "status -9" in backend.problem()
        backend.close()

        assert child_pid(backend) not in children()

    def test_process_that_hangs_is_gone_after_close(
        self, open_model: Open, linear: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(worker_process, "LEAVE_TIMEOUT_S", 1.0)
        backend = open_model(linear)
        os.kill(child_pid(backend), signal.SIGSTOP)

        backend.close()

        assert child_pid(backend) not in children()
