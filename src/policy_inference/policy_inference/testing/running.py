# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of what every back end must do while it runs."""

import tracemalloc
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from policy_core.errors import BackendError
from policy_core.interfaces import TensorSpec
from policy_inference.testing.case import (
    ACTIONS,
    H_IN,
    H_OUT,
    OBS,
    BackendCase,
    ConformanceFixtures,
    Open,
    assert_close,
    described,
    held_by_us,
    reference,
)
from policy_inference.testing.models import save_recurrent, save_sum


class RunningConformance(ConformanceFixtures):
    """Tests for results, arrays and memory; see `conformance.BackendConformance`."""

    def test_outputs_equal_those_of_onnx_runtime(
        self, open_model: Open, linear: Path, case: BackendCase
    ) -> None:
        backend, other, rng = open_model(linear), open_model(linear), np.random.default_rng(1)
        arrays = [*backend.inputs.values(), *backend.outputs.values()]
        places = [array.ctypes.data for array in arrays]

        for obs in rng.normal(size=(20, 1, 5)).astype(np.float32):
            backend.inputs["obs"][:], other.inputs["obs"][:] = obs, -obs
            backend.run()
            other.run()  # must not change the outputs of this one
            np.testing.assert_array_equal(backend.inputs["obs"], obs)
            for one in (backend, other):
                assert_close(one.outputs, reference(linear, one.inputs), case.tolerance)

        after = [*backend.inputs.values(), *backend.outputs.values()]
        assert all(a is b for a, b in zip(after, arrays, strict=True))
        assert [array.ctypes.data for array in after] == places

    def test_same_inputs_give_same_outputs(self, open_model: Open, linear: Path) -> None:
        backend = open_model(linear)
        results = set()

        for obs in (1.0, -2.0, 1.0, -2.0):
            backend.inputs["obs"][:] = obs
            backend.outputs["actions"][:] = np.nan  # earlier outputs must not count
            backend.run()
            results.add(backend.outputs["actions"].tobytes())

        assert len(results) == 2

    def test_running_allocates_nothing_of_ours(self, open_model: Open, linear: Path) -> None:
        tracemalloc.start()
        try:
            backend = open_model(linear)
            for _ in range(100):  # Python itself keeps reusable memory
                backend.run()
            before = held_by_us(backend)
            for _ in range(1000):
                backend.run()
            after = held_by_us(backend)
        finally:
            tracemalloc.stop()

        assert 0 < after < before + 1000, "one byte a run or more"

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_input_that_is_not_finite_is_not_hidden_and_the_next_run_is_right(
        self, open_model: Open, linear: Path, case: BackendCase, value: float
    ) -> None:
        backend = open_model(linear)
        backend.inputs["obs"][0, 2] = value

        with suppress(BackendError):
            backend.run()
            assert not np.isfinite(backend.outputs["actions"]).any()
        backend.inputs["obs"][:] = 1.0
        backend.run()

        assert_close(backend.outputs, reference(linear, backend.inputs), case.tolerance)

    def test_recurrent_model_gives_its_state(
        self, open_model: Open, tmp_path: Path, case: BackendCase
    ) -> None:
        file = save_recurrent(tmp_path / "recurrent.onnx", 5, 3)
        backend = open_model(file, [H_IN, OBS], [H_OUT, ACTIONS])  # in another order
        backend.inputs["obs"][:] = np.arange(5)

        for _ in range(5):
            backend.run()
            expected = reference(file, backend.inputs)
            backend.inputs["h_in"][:] = backend.outputs["h_out"]
            assert_close(backend.outputs, expected, case.tolerance)

        assert np.any(expected["h_out"] != expected["h_out"][0, 0])

    def test_inputs_of_every_type_are_taken(
        self, open_model: Open, tmp_path: Path, case: BackendCase
    ) -> None:
        dtypes = {f"in_{dtype}": dtype for dtype in case.dtypes}
        file = save_sum(tmp_path / "sum.onnx", dtypes, size=3)
        inputs = [TensorSpec(name=n, shape=(1, 3), dtype=dtype) for n, dtype in dtypes.items()]
        backend = open_model(file, inputs)
        for place, array in enumerate(backend.inputs.values()):
            array[:] = [[1, 2 + place, -3]]

        backend.run()

        assert described(backend.inputs) == inputs
        assert_close(backend.outputs, reference(file, backend.inputs), case.tolerance)
