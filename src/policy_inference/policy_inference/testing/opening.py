# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of what every back end must do when opened and closed."""

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from policy_core.errors import BackendError
from policy_inference.backends.base import BackendBase
from policy_inference.machine.telemetry import read_safely
from policy_inference.testing.case import (
    ACTIONS,
    OBS,
    BackendCase,
    ConformanceFixtures,
    Open,
    assert_close,
    described,
    reference,
)
from policy_inference.testing.models import save_linear
from policy_inference.testing.process import (
    children,
    more_descriptors_than,
    more_threads_than,
    open_descriptors,
    threads,
)


class OpeningConformance(ConformanceFixtures):
    """Tests for opening and closing; see `conformance.BackendConformance`."""

    def test_arrays_have_the_names_shapes_and_types_of_the_contract(
        self, open_model: Open, linear: Path
    ) -> None:
        backend = open_model(linear)

        assert described(backend.inputs) == [OBS]
        assert described(backend.outputs) == [ACTIONS]
        assert not backend.inputs["obs"].any()
        assert all(
            array.flags.c_contiguous and array.flags.writeable
            for array in (*backend.inputs.values(), *backend.outputs.values())
        )

    def test_details_tell_runtime_and_device_and_telemetry_is_text(
        self, open_model: Open, linear: Path
    ) -> None:
        backend = open_model(linear)
        details = dict(backend.details)

        backend.run()

        assert {"runtime", "device"} <= details.keys()
        assert "" not in details.values()
        assert json.loads(json.dumps(details)) == backend.details
        _, wrong = read_safely(backend.telemetry)
        assert (wrong, backend.problem()) == ("", "")

    def test_open_batch_axis_is_accepted(
        self, open_model: Open, tmp_path: Path, case: BackendCase
    ) -> None:
        if not case.dynamic_batch:
            pytest.skip("files of this runtime have fixed sizes")
        file = save_linear(tmp_path / "dynamic.onnx", 5, 3, batch="batch")
        backend = open_model(file)
        backend.inputs["obs"][:] = 1.0

        backend.run()

        assert_close(backend.outputs, reference(file, backend.inputs), case.tolerance)

    def test_two_threads_open_at_once(
        self, open_file: Open, linear: Path, case: BackendCase
    ) -> None:
        file, together = case.compile(linear), Barrier(2)

        def opened(value: float) -> BackendBase:
            together.wait()
            backend = open_file(file)
            backend.inputs["obs"][:] = value
            for _ in range(20):
                backend.run()
            return backend

        with ThreadPoolExecutor(2) as pool:
            backends = list(pool.map(opened, (1.0, -2.0)))

        for backend in backends:
            assert_close(backend.outputs, reference(linear, backend.inputs), case.tolerance)

    def test_one_thread_opens_another_runs_and_a_third_closes(
        self, open_model: Open, linear: Path, case: BackendCase
    ) -> None:
        with ThreadPoolExecutor(1) as opening:  # this thread ends before the run
            backend = opening.submit(open_model, linear).result()
        backend.inputs["obs"][:] = 1.0

        with ThreadPoolExecutor(1) as running:
            running.submit(backend.run).result()
        backend.close()

        assert_close(backend.outputs, reference(linear, backend.inputs), case.tolerance)

    def test_closed_backend_runs_no_more_and_others_do(
        self, open_model: Open, linear: Path, case: BackendCase
    ) -> None:
        closed, other = open_model(linear), open_model(linear)
        closed.close()
        closed.close()  # does nothing

        with pytest.raises(BackendError, match="run after close"):
            closed.run()
        for backend in (other, open_model(linear)):
            backend.inputs["obs"][:] = 1.0
            backend.run()
            assert_close(backend.outputs, reference(linear, backend.inputs), case.tolerance)

    def test_closing_leaves_no_thread_process_or_descriptor(
        self, linear: Path, case: BackendCase, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)  # kept log records must not hold anything either
        file = case.compile(linear)

        def open_run_close() -> BackendBase:
            backend = case.backend(
                file,
                [OBS],
                [ACTIONS],
                precision=case.precision,
                target=case.target,
                options=case.options,
            )
            backend.run()
            backend.close()
            return backend

        open_run_close()  # what a library allocates once is allocated now
        descriptors, processes, running = open_descriptors(), children(), threads()
        closed = open_run_close()

        assert more_threads_than(running) == 0
        assert children() <= processes
        del closed  # shared arrays may be read after closing, and have a descriptor until then
        assert not more_descriptors_than(descriptors)
