# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the conformance suite must know of a backend, and what it compares with."""

import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

import policy_inference
from policy_inference.backends.base import BackendBase
from policy_inference.interfaces import TensorSpec

_OURS = tracemalloc.Filter(True, str(Path(policy_inference.__file__).parent / "*"))

OBS = TensorSpec(name="obs", shape=(1, 5))
ACTIONS = TensorSpec(name="actions", shape=(1, 3))
H_IN, H_OUT = TensorSpec(name="h_in", shape=(1, 3)), TensorSpec(name="h_out", shape=(1, 3))

Specs = Sequence[TensorSpec]
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendCase:
    """What the suite must know of a backend."""

    load: Callable[[], Callable[..., BackendBase]]
    """Return what opens a file: the class under test."""
    package: str
    """Python module of the runtime, which may be absent on a robot."""
    compile: Callable[[Path], Path] = lambda onnx: onnx
    """Make the backend's model file, beside it, from an ONNX file."""
    dtypes: tuple[str, ...] = ("float32",)
    """Types of inputs that the runtime takes."""
    dynamic_batch: bool = True
    """Whether the runtime's files may leave the batch axis open."""
    in_child: bool = False
    """Whether the runtime runs in another process, which tests cannot reach into."""
    prepare: Callable[[pytest.MonkeyPatch], object] = lambda monkeypatch: None
    """Put a double in the place of a runtime that is not here."""
    doubles: Path | None = None
    """Folder of a double of the vendor's modules, for the path of this process and of children."""
    tolerance: float = 0.0
    """Largest difference from ONNX Runtime's outputs; 0 for the reference itself."""


Open = Callable[..., BackendBase]


def described(arrays: Mapping[str, Array]) -> list[TensorSpec]:
    return [TensorSpec(name=name, shape=array.shape, dtype=array.dtype.name)
            for name, array in arrays.items()]  # fmt: skip


def held_by_us() -> int:
    snapshot = tracemalloc.take_snapshot().filter_traces([_OURS])
    return sum(statistic.size for statistic in snapshot.statistics("filename"))


def reference(onnx: Path, inputs: Mapping[str, Array]) -> dict[str, Array]:
    session = onnxruntime.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def assert_close(
    actual: Mapping[str, Array], expected: Mapping[str, Array], tolerance: float
) -> None:
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(actual[name], array, rtol=0.0, atol=tolerance, err_msg=name)
