# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Description of a back end for the conformance suite, and its reference."""

import sys
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

import policy_inference
from policy_core.interfaces import TensorSpec
from policy_inference.backends.base import BackendBase
from policy_inference.testing.models import save_linear

OBS = TensorSpec(name="obs", shape=(1, 5))
ACTIONS = TensorSpec(name="actions", shape=(1, 3))
H_IN, H_OUT = TensorSpec(name="h_in", shape=(1, 3)), TensorSpec(name="h_out", shape=(1, 3))

Specs = Sequence[TensorSpec]
Array = npt.NDArray[Any]
Open = Callable[..., BackendBase]
"""Compiles an ONNX file and opens it: `open_model(onnx, inputs, outputs, **arguments)`."""
Change = Callable[[pytest.MonkeyPatch], object]
"""Changes the machine for the rest of a test."""


def _nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendCase:
    """Description of a back end; the suite tests everything stated in it."""

    name: str
    """Registered name of the back end (entry point)."""
    backend: Callable[..., BackendBase]
    """Class of the back end; or ``partial(ChildBackend, cls)``, for a back end that `holds_gil`."""
    package: str | None
    """Python module of the runtime, which may be absent on a robot; None if none is needed."""
    prepare: Change = _nothing
    """Replaces a missing runtime with a test double; called before each test."""
    compile: Callable[[Path], Path] = lambda onnx: onnx
    """Compiles the back end's model file from an ONNX file, next to it."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Options for opening files."""
    precision: str = "fp32"
    """Precision of the files, as in a contract."""
    other_precision: str | None = None
    """A precision that the files do not have; None if files do not state it."""
    reads_tensors: bool = False
    """True if the class reads the tensors of a file without a contract (`tensors`)."""
    target: str | None = None
    """Chip of the files."""
    other_target: str | None = None
    """A chip for which the files are not made; None if files do not state their chip."""
    dtypes: tuple[str, ...] = ("float32",)
    """Input types that the runtime supports."""
    dynamic_batch: bool = True
    """True if files may have a dynamic batch axis."""
    tolerance: float = 0.0
    """Maximum difference from ONNX Runtime's outputs; 0 for the reference itself."""
    without_package: Change | None = None
    """Makes the package missing; if None, the suite hides it from this Python and its children."""
    package_remedy: str = "install"
    """Remedy in the error about a missing package (regular expression)."""
    without_device: Mapping[str, Change] = field(default_factory=dict)
    """Changes that remove the device, by cause and remedy in the resulting error (regular
    expression). Empty if the runtime needs no device.
    """
    failing_runs: Mapping[str, Change] = field(default_factory=dict)
    """Runtime failures during a run, each with the change that causes it from then on."""
    failing_close: Change | None = None
    """Makes the runtime fail on release; None if it cannot fail."""


def described(arrays: Mapping[str, Array]) -> list[TensorSpec]:
    """Return the specs of the arrays."""
    return [
        TensorSpec(name=name, shape=array.shape, dtype=array.dtype.name)
        for name, array in arrays.items()
    ]


def held_by_us(backend: BackendBase) -> int:
    """Return the bytes held by this package and the back end's package; tracemalloc must be on."""
    ours = {policy_inference.__name__, type(backend).__module__.partition(".")[0]}
    snapshot = tracemalloc.take_snapshot().filter_traces(
        [
            *(tracemalloc.Filter(True, _sources(sys.modules[name])) for name in ours),
            tracemalloc.Filter(False, str(Path(__file__).with_name("*"))),  # exclude the tests
        ]
    )
    return sum(statistic.size for statistic in snapshot.statistics("filename"))


def _sources(module: ModuleType) -> str:
    """Return a pattern that matches a module's file, or all files of a package."""
    file = Path(module.__file__ or "")
    return str(file.with_name("*") if file.name == "__init__.py" else file)


def reference(onnx: Path, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return ONNX Runtime's outputs for the inputs."""
    session = onnxruntime.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def assert_close(
    actual: Mapping[str, Array], expected: Mapping[str, Array], tolerance: float
) -> None:
    """Require the same names, and values that differ by no more than the tolerance."""
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(actual[name], array, rtol=0.0, atol=tolerance, err_msg=name)


class ConformanceFixtures:
    """Models, and a way to open them; see `conformance.BackendConformance`."""

    @pytest.fixture(autouse=True)
    def _machine(self, case: BackendCase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Prepare the machine for the case, with a cache folder for each test."""
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        case.prepare(monkeypatch)

    @pytest.fixture
    def open_file(self, case: BackendCase) -> Iterator[Open]:
        """Return a function that opens a back end's file; open models are closed at the end."""
        with ExitStack() as stack:

            def apply(
                file: Path, inputs: Specs = (OBS,), outputs: Specs = (ACTIONS,), **changed: Any
            ) -> BackendBase:
                stated = {
                    "precision": case.precision,
                    "target": case.target,
                    "options": case.options,
                    **changed,
                }
                backend = case.backend(file, inputs, outputs, **stated)
                return stack.enter_context(closing(backend))

            yield apply

    @pytest.fixture
    def open_model(self, case: BackendCase, open_file: Open) -> Open:
        def apply(onnx: Path, *args: Any, **kwargs: Any) -> BackendBase:
            return open_file(case.compile(onnx), *args, **kwargs)

        return apply

    @pytest.fixture
    def linear(self, tmp_path: Path) -> Path:
        """ONNX file of actions[1, 3] = obs[1, 5] @ weights."""
        return save_linear(tmp_path / "linear.onnx", 5, 3)
