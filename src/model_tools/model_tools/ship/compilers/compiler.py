# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a compiler is, and which there are: entry points of the group `model_tools.compilers`."""

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
"""What helps most where int8 does not hold its limits."""


def available() -> dict[str, EntryPoint]:
    """Return the registered compilers by name."""
    return registered(GROUP, "compiler", ToolError)


def find_compiler(name: str) -> Compiler:
    """Return a compiler."""
    known = available()
    if name not in known:
        installed = ", ".join(known) or "none; build and source the workspace"
        raise ToolError(f"expected an installed compiler ({installed}), found {name!r}")
    compiler: Compiler = loaded(known[name], ToolError)()
    return compiler


def remedy(backend: str, precision: str) -> str:
    """Return what helps where an artifact exceeds its limits; empty where no remedy is known."""
    for name in available():
        compiler = find_compiler(name)
        if backend in (compiler.backend, *getattr(compiler, "also_for", ())):
            remedies: Mapping[str, str] = getattr(compiler, "remedies", {})
            return remedies.get(precision, "")
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileOrder:
    """What shall be compiled.

    Attributes:
        name: Of the graph; a joint policy has one.
        served_name: What a model server calls it.
        model: The reference model, ONNX in fp32.
        inputs, outputs: Its tensors as the contract states them.
        output: The file to write.
        precision: One of the compiler's.
        target: One of the compiler's; None where it has none.
        samples: Calibration rows by model input, [rows, *shape without the batch axis], recurrent
            states included; None for a precision that is not calibrated.
        golden: Rows of the inputs to prove with what was made, [rows, *shape without the batch
            axis]; None where there are none of this graph.
        sample_files: By input the name of each sample, for tools that read them from files; none
            where their number is enough.
        options: Values by name, among those of the compiler.
        force: Whether folders that options name may be replaced.
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
    """A compiled file, as its entry in the contract describes it.

    Attributes:
        tool: Name and version.
        how: In a sentence.
        integers: Kind of those of an int8 ONNX model, `unsigned` or `signed`.
        file: What was written, where it is not the order's output: in the same folder, with
            another suffix.
        beside: Files of other back ends that were made with it, in the same folder.
    """

    tool: str
    how: str
    integers: Integers | None = None
    file: Path | None = None
    beside: Mapping[str, Path] = field(default_factory=dict)


class Compiler(Protocol):
    """An entry point of `model_tools.compilers` names a class without arguments like this.

    Attributes:
        backend: The back end that runs what it makes.
        suffix: Of the file that it makes, `.onnx`.
        precisions: Those that it offers, and whether they are calibrated with samples.
        targets: Chips or GPUs to choose from; empty where the file runs on any.
        former_precisions: Optional: today's name of a precision by others that people look for.
        options: What can be set, and what it means.
        also_for: Optional: other back ends that run what is made beside it.
        remedies: Optional: what helps where a precision does not hold its limits.
        compile_all: Optional: takes the orders of all graphs of a policy, instead of `compile` for
            each of them, and returns what was made of each.
        precheck: Optional: takes the orders of all graphs before there are samples, whose
            collection takes minutes, and raises ToolError for what is wrong already.
    """

    backend: str
    suffix: str
    precisions: Mapping[str, bool]
    targets: tuple[str, ...]
    options: Mapping[str, str]

    def compile(self, order: CompileOrder) -> Made:
        """Write `order.output`, and prove as far as this machine can that it opens."""
