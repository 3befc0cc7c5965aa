# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What every backend must do: a class of tests that a backend passes, given a `BackendCase`."""

import sys
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

import policy_inference
from policy_inference.backends.base import BackendBase
from policy_inference.errors import BackendError
from policy_inference.interfaces import TensorSpec

from ..models import save_linear, save_recurrent, save_sum

OURS = str(Path(policy_inference.__file__).parent / "*")
OBS = TensorSpec(name="obs", shape=(1, 5))
ACTIONS = TensorSpec(name="actions", shape=(1, 3))
H_IN, H_OUT = TensorSpec(name="h_in", shape=(1, 3)), TensorSpec(name="h_out", shape=(1, 3))

Specs = Sequence[TensorSpec]
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendCase:
    """What the suite must know of a backend."""

    load: Callable[[], type[BackendBase]]
    """Return the class under test."""
    package: str
    """Python module of the runtime, which may be absent on a robot."""
    compile: Callable[[Path], Path] = lambda onnx: onnx
    """Make the backend's model file, beside it, from an ONNX file."""
    dtypes: tuple[str, ...] = ("float32",)
    """Types of inputs that the runtime takes."""
    dynamic_batch: bool = True
    """Whether the runtime's files may leave the batch axis open."""
    tolerance: float = 0.0
    """Largest difference from ONNX Runtime's outputs; 0 for the reference itself."""


Open = Callable[..., BackendBase]


class BackendConformance:
    """Inherit it, with a fixture `case` that returns the `BackendCase`."""

    @pytest.fixture
    def open_model(self, case: BackendCase) -> Iterator[Open]:
        """Compile an ONNX file and open it; what is open at the end is closed."""
        with ExitStack() as stack:

            def apply(
                onnx: Path, inputs: Specs = (OBS,), outputs: Specs = (ACTIONS,)
            ) -> BackendBase:
                backend = case.load()(case.compile(onnx), inputs, outputs)
                return stack.enter_context(closing(backend))

            yield apply

    @pytest.fixture
    def linear(self, tmp_path: Path) -> Path:
        """ONNX file of actions[1, 3] = obs[1, 5] @ weights."""
        return save_linear(tmp_path / "linear.onnx", 5, 3)

    def test_arrays_have_the_names_shapes_and_types_of_the_contract(
        self, open_model: Open, linear: Path
    ) -> None:
        backend = open_model(linear)

        assert _described(backend.inputs) == [OBS]
        assert _described(backend.outputs) == [ACTIONS]
        assert all(array.flags.c_contiguous and array.flags.writeable
                   for array in (*backend.inputs.values(), *backend.outputs.values()))

    def test_details_tell_the_runtime_and_the_device(self, open_model: Open, linear: Path) -> None:
        details = open_model(linear).details

        assert details["runtime"]
        assert details["device"]
        assert all(isinstance(text, str) for text in details.values())

    def test_outputs_equal_those_of_onnx_runtime(
        self, open_model: Open, linear: Path, case: BackendCase
    ) -> None:
        backend, rng = open_model(linear), np.random.default_rng(1)

        for _ in range(20):
            backend.inputs["obs"][:] = rng.normal(size=(1, 5))
            backend.run()
            _assert_close(backend.outputs, _reference(linear, backend.inputs), case.tolerance)

    def test_arrays_keep_their_place(self, open_model: Open, linear: Path) -> None:
        backend = open_model(linear)
        arrays = [*backend.inputs.values(), *backend.outputs.values()]
        places = [array.ctypes.data for array in arrays]

        for _ in range(10):
            backend.run()

        after = [*backend.inputs.values(), *backend.outputs.values()]
        assert all(a is b for a, b in zip(after, arrays, strict=True))
        assert [array.ctypes.data for array in after] == places

    def test_running_leaves_the_inputs_alone(self, open_model: Open, linear: Path) -> None:
        backend = open_model(linear)
        backend.inputs["obs"][:] = np.arange(5)

        backend.run()

        np.testing.assert_array_equal(backend.inputs["obs"], [np.arange(5)])

    def test_same_inputs_give_same_outputs(self, open_model: Open, linear: Path) -> None:
        backend = open_model(linear)
        results = set()

        for obs in (1.0, -2.0, 1.0, -2.0):
            backend.inputs["obs"][:] = obs
            backend.run()
            results.add(backend.outputs["actions"].tobytes())

        assert len(results) == 2

    def test_running_allocates_nothing_of_ours(self, open_model: Open, linear: Path) -> None:
        tracemalloc.start()
        try:
            backend = open_model(linear)
            before = _held_by_us()
            for _ in range(1000):
                backend.run()
            after = _held_by_us()
        finally:
            tracemalloc.stop()

        assert 0 < after <= before

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_input_that_is_not_finite_is_not_hidden(
        self, open_model: Open, linear: Path, value: float
    ) -> None:
        backend = open_model(linear)
        backend.inputs["obs"][0, 2] = value

        try:
            backend.run()
        except BackendError:
            return
        assert not np.isfinite(backend.outputs["actions"]).any()

    def test_backend_recovers_from_inputs_that_are_not_finite(
        self, open_model: Open, linear: Path, case: BackendCase
    ) -> None:
        backend = open_model(linear)
        backend.inputs["obs"][:] = np.nan
        with suppress(BackendError):
            backend.run()

        backend.inputs["obs"][:] = 1.0
        backend.run()

        _assert_close(backend.outputs, _reference(linear, backend.inputs), case.tolerance)

    def test_recurrent_model_gives_its_state(
        self, open_model: Open, tmp_path: Path, case: BackendCase
    ) -> None:
        file = save_recurrent(tmp_path / "recurrent.onnx", 5, 3)
        backend = open_model(file, [OBS, H_IN], [ACTIONS, H_OUT])
        backend.inputs["obs"][:] = np.arange(5)

        for _ in range(5):
            backend.run()
            expected = _reference(file, backend.inputs)
            backend.inputs["h_in"][:] = backend.outputs["h_out"]
            _assert_close(backend.outputs, expected, case.tolerance)

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

        assert _described(backend.inputs) == inputs
        _assert_close(backend.outputs, _reference(file, backend.inputs), case.tolerance)

    def test_order_in_the_contract_does_not_matter(
        self, open_model: Open, tmp_path: Path, case: BackendCase
    ) -> None:
        file = save_recurrent(tmp_path / "recurrent.onnx", 5, 3)
        backend = open_model(file, [H_IN, OBS], [H_OUT, ACTIONS])
        backend.inputs["obs"][:], backend.inputs["h_in"][:] = 1.0, 2.0

        backend.run()

        _assert_close(backend.outputs, _reference(file, backend.inputs), case.tolerance)

    def test_open_batch_axis_is_accepted(
        self, open_model: Open, tmp_path: Path, case: BackendCase
    ) -> None:
        if not case.dynamic_batch:
            pytest.skip("files of this runtime have fixed sizes")
        file = save_linear(tmp_path / "dynamic.onnx", 5, 3, batch="batch")
        backend = open_model(file)
        backend.inputs["obs"][:] = 1.0

        backend.run()

        _assert_close(backend.outputs, _reference(file, backend.inputs), case.tolerance)

    def test_two_open_backends_do_not_touch_each_other(
        self, open_model: Open, linear: Path, case: BackendCase
    ) -> None:
        one, other = open_model(linear), open_model(linear)
        one.inputs["obs"][:], other.inputs["obs"][:] = 1.0, -1.0
        one.run()
        other.run()

        for backend in (one, other):
            expected = _reference(linear, backend.inputs)
            _assert_close(backend.outputs, expected, case.tolerance)

    def test_closing_one_backend_leaves_the_other_open(
        self, open_model: Open, linear: Path, case: BackendCase
    ) -> None:
        one, other = open_model(linear), open_model(linear)
        one.inputs["obs"][:] = 1.0

        other.close()
        one.run()

        _assert_close(one.outputs, _reference(linear, one.inputs), case.tolerance)

    def test_closing_twice_does_nothing(self, open_model: Open, linear: Path) -> None:
        backend = open_model(linear)

        backend.close()
        backend.close()

    def test_run_after_close_is_an_error(self, open_model: Open, linear: Path) -> None:
        backend = open_model(linear)
        backend.close()

        with pytest.raises(BackendError, match="run after close"):
            backend.run()

    def test_model_opens_again_after_close(
        self, open_model: Open, linear: Path, case: BackendCase
    ) -> None:
        open_model(linear).close()
        backend = open_model(linear)
        backend.inputs["obs"][:] = 1.0

        backend.run()

        _assert_close(backend.outputs, _reference(linear, backend.inputs), case.tolerance)

    @pytest.mark.parametrize("damage", ["missing", "empty", "half of it", "junk", "text"])
    def test_file_that_is_no_model_rejected(
        self, case: BackendCase, linear: Path, damage: str
    ) -> None:
        file = case.compile(linear)
        content = file.read_bytes()
        file.unlink()
        new = {"empty": b"", "half of it": content[: len(content) // 2], "text": b"a policy\n",
               "junk": bytes(range(256)) * 4}  # fmt: skip
        if damage in new:
            file.write_bytes(new[damage])

        with pytest.raises(BackendError) as caught:
            case.load()(file, [OBS], [ACTIONS])

        assert str(file) in str(caught.value)

    def test_missing_runtime_names_the_package_to_install(
        self, case: BackendCase, linear: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file, cls = case.compile(linear), case.load()
        monkeypatch.setitem(sys.modules, case.package, None)

        with pytest.raises(BackendError, match=f"{case.package}.*; install"):
            cls(file, [OBS], [ACTIONS])

    @pytest.mark.parametrize(
        ("inputs", "outputs", "expected", "found"),
        [
            ([TensorSpec(name="observation", shape=(1, 5))], [ACTIONS], "observation float32[1, 5]",
             "obs float32[1, 5]"),
            ([OBS], [TensorSpec(name="act", shape=(1, 3))], "act float32[1, 3]",
             "actions float32[1, 3]"),
            ([], [ACTIONS], "none", "obs float32[1, 5]"),
            ([OBS], [], "none", "actions float32[1, 3]"),
            ([OBS, H_IN], [ACTIONS], "obs float32[1, 5], h_in float32[1, 3]", "obs float32[1, 5]"),
            ([OBS], [ACTIONS, H_OUT], "actions float32[1, 3], h_out float32[1, 3]",
             "actions float32[1, 3]"),
            ([TensorSpec(name="obs", shape=(1, 6))], [ACTIONS], "obs float32[1, 6]",
             "obs float32[1, 5]"),
            ([TensorSpec(name="obs", shape=(5,))], [ACTIONS], "obs float32[5]",
             "obs float32[1, 5]"),
            ([TensorSpec(name="obs", shape=(1, 1, 5))], [ACTIONS], "obs float32[1, 1, 5]",
             "obs float32[1, 5]"),
            ([TensorSpec(name="obs", shape=(2, 5))], [ACTIONS], "obs float32[2, 5]",
             "obs float32[1, 5]"),
            ([TensorSpec(name="obs", shape=(1, 5), dtype="float16")], [ACTIONS],
             "obs float16[1, 5]", "obs float32[1, 5]"),
            ([OBS], [TensorSpec(name="actions", shape=(1, 4))], "actions float32[1, 4]",
             "actions float32[1, 3]"),
            ([OBS], [TensorSpec(name="actions", shape=(1, 3), dtype="int64")],
             "actions int64[1, 3]", "actions float32[1, 3]"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )  # fmt: skip
    def test_tensors_other_than_the_contracts_rejected(
        self, case: BackendCase, linear: Path, inputs: Specs, outputs: Specs, expected: str,
        found: str,
    ) -> None:
        file = case.compile(linear)

        with pytest.raises(BackendError) as caught:
            case.load()(file, inputs, outputs)

        message = str(caught.value)
        assert message.startswith(f"{file}: ")
        assert expected in message.partition("expected ")[2].partition(", found ")[0]
        assert f"found {found}" in message


def _described(arrays: Mapping[str, Array]) -> list[TensorSpec]:
    return [TensorSpec(name=name, shape=array.shape, dtype=array.dtype.name)
            for name, array in arrays.items()]  # fmt: skip


def _held_by_us() -> int:
    snapshot = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, OURS)])
    return sum(statistic.size for statistic in snapshot.statistics("filename"))


def _reference(onnx: Path, inputs: Mapping[str, Array]) -> dict[str, Array]:
    session = onnxruntime.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def _assert_close(
    actual: Mapping[str, Array], expected: Mapping[str, Array], tolerance: float
) -> None:
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(actual[name], array, rtol=0.0, atol=tolerance, err_msg=name)
