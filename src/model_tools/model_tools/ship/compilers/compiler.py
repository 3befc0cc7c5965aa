# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Interface of compilers, and their registry: entry points in `model_tools.compilers`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Protocol

from model_tools.errors import ToolError
from policy_core.bundle.contract import Integers
from policy_core.interfaces import Tensor, TensorSpec
from policy_inference.backends.registry import loaded, registered

GROUP = "model_tools.compilers"
MORE_SAMPLES = "calibrate with more and livelier --samples"
"""Best remedy if int8 exceeds its limits."""


def available() -> dict[str, EntryPoint]:
    """Return the registered compilers by name."""
    return registered(GROUP, "compiler", ToolError)


def find_compiler(name: str) -> Compiler:
    """Return the compiler with this name."""
    known = available()
    if name not in known:
        installed = ", ".join(known) or "none; build and source the workspace"
        raise ToolError(f"expected an installed compiler ({installed}), found {name!r}")
    compiler: Compiler = loaded(known[name], ToolError)()
    return compiler


def remedy(backend: str, precision: str) -> str:
    """Return the remedy for an artifact that exceeds its limits; empty if unknown."""
    for name in available():
        compiler = find_compiler(name)
        if backend in (compiler.backend, *getattr(compiler, "also_for", ())):
            remedies: Mapping[str, str] = getattr(compiler, "remedies", {})
            return remedies.get(precision, "")
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileOrder:
    """A model to compile.

    Attributes:
        name: Name of the graph; a joint policy has one graph.
        served_name: Name on a model server.
        model: The reference model, ONNX in fp32.
        inputs, outputs: The model's tensors in the contract.
        output: File to write.
        precision: One of the compiler's precisions.
        target: One of the compiler's targets; None if it has none.
        samples: Calibration rows by model input, [rows, *shape without the batch axis], recurrent
            states included; None for a precision that is not calibrated.
        golden: Input rows to verify the result, [rows, *shape without the batch axis]; None if this
            graph has no golden rows.
        sample_files: By input, the name of each sample, for tools that read files; empty if numbers
            are enough.
        options: Values of the compiler's options, by name.
        force: Replace existing folders named by options.
    """

    model: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    output: Path
    precision: str
    target: str | None
    samples: Mapping[str, Tensor] | None
    options: Mapping[str, str] = field(default_factory=dict)
    force: bool = False
    name: str = "policy"
    served_name: str = "policy"
    golden: Mapping[str, Tensor] | None = None
    sample_files: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A compiled file, as described by its entry in the contract.

    Attributes:
        tool: Name and version.
        how: Method, in one sentence.
        integers: Signedness of an int8 ONNX model, `unsigned` or `signed`.
        file: The written file, if it differs from the order's output: in the same folder, with a
            different suffix.
        beside: Files for other back ends that were made along with it, in the same folder, by back
            end.
    """

    tool: str
    how: str
    integers: Integers | None = None
    file: Path | None = None
    beside: Mapping[str, Path] = field(default_factory=dict)


class Compiler(Protocol):
    """Interface of compilers; entry points of `model_tools.compilers` name such classes.

    A compiler's constructor takes no arguments.

    Attributes:
        backend: Back end that runs the compiled files.
        suffix: Suffix of the compiled files, such as `.onnx`.
        precisions: Supported precisions, and whether they need calibration samples.
        targets: Chips or GPUs to choose from; empty if the file runs on any of them.
        former_precisions: Optional: current name of a precision, by former name.
        options: Supported options and their meanings.
        also_for: Optional: other back ends, for which `Made.beside` has files.
        remedies: Optional: remedies by precision, for a model that exceeds its limits.
        compile_all: Optional: compiles the graphs of a policy together, given their orders, and
            returns the result of each; used instead of `compile`.
        precheck: Optional: checks the orders of all graphs before their samples are collected,
            which takes minutes; raises ToolError.
    """

    backend: str
    suffix: str
    precisions: Mapping[str, bool]
    targets: tuple[str, ...]
    options: Mapping[str, str]

    def compile(self, order: CompileOrder) -> Made:
        """Write `order.output`; if this machine can load it, verify that it loads."""
