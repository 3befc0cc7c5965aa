# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Common parts of both BPU runtimes: file, options, errors, and array transfer."""

from __future__ import annotations

import importlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from policy_core.errors import BackendError
from policy_core.interfaces import TensorSpec
from policy_inference.backends.base import BackendBase
from policy_inference.backends.bpu.device import read_bpu
from policy_inference.backends.bpu.failures import INSTALL, MARCHES, meaning, words
from policy_inference.backends.bpu.tensors import BpuTensor, InputCopy, OutputCopy
from policy_inference.backends.native_output import capture_native_output
from policy_inference.machine.machine import Machine

HBM_RUNTIME, PYEASY_DNN = "hbm_runtime", "pyeasy_dnn"
FAMILIES = {".hbm": "nash", ".bin": "bayes"}
_NUMBERS = {"core": 3, "priority": 255}
"""Numeric options, each with its maximum value."""
_LOOK = "check the output of the runtime, and `dmesg`"


class BpuRuntime(BackendBase):
    """Base class for BPU runtimes; a subclass implements `_load`, `_infer` and `_close`."""

    name = "bpu"
    warm_up_runs = 10
    options: Mapping[str, str] = {
        "runtime": f"{HBM_RUNTIME} or {PYEASY_DNN}; by default, the one that is installed and "
        "accepts the file",
        "model": "name of the model, if the file contains several",
        "core": f"BPU core, 0 to {_NUMBERS['core']}; by default, the runtime chooses",
        "priority": f"priority, 0 to {_NUMBERS['priority']} (highest); by default, the runtime's",
    }
    package: str
    """Name of the runtime's package, used in messages."""

    @classmethod
    def check_options(cls, given: Mapping[str, str]) -> None:
        super().check_options(given)
        for name, last in _NUMBERS.items():
            _number(given, name, last)

    @classmethod
    def read_device(cls, machine: Machine) -> Mapping[str, str]:
        """Return the BPU's load, clock and temperature."""
        return read_bpu(machine)

    def hides_nan(self) -> bool:
        """Return True, since a BPU computes in integers, whatever the tensor types are."""
        return True

    @classmethod
    def remedy(cls, said: str) -> str:
        return meaning(said, _LOOK)

    def _open(
        self, file: Path
    ) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec], Mapping[str, str]]:
        _check_file(file, self._target)
        core, priority = (_number(self._given, name, last) for name, last in _NUMBERS.items())
        self._file = file
        with self._failures(f"{file}: expected a model that {self.package} loads"):
            inputs, outputs, details = self._load(file, core, priority)
        self._described = inputs, outputs
        wanted = [{spec.name: spec for spec in side} for side in self.specs]
        found = [
            [tensor.spec(specs.get(tensor.name)) for tensor in tensors]
            for tensors, specs in zip(self._described, wanted, strict=True)
        ]
        device = f"BPU {self._target}" if self._target else "BPU"
        return found[0], found[1], {"device": device, "precision": self._precision, **details}

    def _bind(self) -> None:
        inputs, outputs = self._described
        self._input_copies = [InputCopy(tensor, self.inputs[tensor.name]) for tensor in inputs]
        self._output_copies = [OutputCopy(tensor, self.outputs[tensor.name]) for tensor in outputs]
        self._connect(
            {tensor.name: copy for tensor, copy in zip(inputs, self._input_copies, strict=True)}
        )
        # A mismatched architecture shows only now, and only on the terminal.
        with self._failures(f"{self._file}: expected a model that {self.package} runs"):
            self._run_once()

    def _run(self) -> None:
        try:
            self._run_once()
        except BackendError:
            raise
        except Exception as error:  # the runtimes' exceptions have no other common base
            text = words(error, "")
            raise BackendError(f"bpu: {self.package}: {text}; {meaning(text, _LOOK)}") from error

    def _run_once(self) -> None:
        for to_runtime in self._input_copies:
            to_runtime.update()
        for from_runtime, array in zip(self._output_copies, self._infer(), strict=True):
            from_runtime(array)

    @contextmanager
    def _failures(self, what: str) -> Iterator[None]:
        """Convert everything that the runtime raises and prints into one error."""
        with capture_native_output("bpu") as said:
            try:
                yield
            except BackendError:
                raise
            except Exception as error:  # the runtimes' exceptions have no other common base
                text = words(error, said())
                raise BackendError(f"{what}, found: {text}; {meaning(text)}") from error

    def _chosen(self, models: Sequence[str]) -> int:
        """Return the index of the requested model in the file."""
        given = self._given.get("model")
        if given in models:
            return models.index(given)
        if given is None and len(models) == 1:
            return 0
        raise BackendError(
            f"{self._file}: expected the option model to name a model in the file "
            f"({', '.join(models) or 'none'}), found {given or 'nothing'}"
        )

    @abstractmethod
    def _load(
        self, file: Path, core: int | None, priority: int | None
    ) -> tuple[Sequence[BpuTensor], Sequence[BpuTensor], Mapping[str, str]]:
        """Load the file and return its tensors and details; the caller handles runtime errors."""

    @abstractmethod
    def _connect(self, copies: Mapping[str, InputCopy]) -> None:
        """Build from the input arrays the argument that every run passes to the runtime."""

    @abstractmethod
    def _infer(self) -> Sequence[Any]:
        """Run once; return the runtime's own outputs in the model's order."""


def vendor_module(*names: str) -> Any:
    """Import the first of these modules that is available.

    Raises:
        BackendError: No module is installed, or its libraries are missing.
    """
    found = list[str]()
    for name in names:
        try:
            return importlib.import_module(name)
        except Exception as error:  # noqa: BLE001  # hbm_runtime raises RuntimeError; raised below
            found.append(words(error, ""))
    text = next((text for text in found if not text.startswith("No module")), found[0])
    raise BackendError(f"bpu: {names[0]}: {text}; {meaning(text, INSTALL)}")


def version(of: Any) -> str:
    """Return a module's version, which is an attribute in some releases and a method in others."""
    value: str | Callable[[], str] = of.version
    return str(value() if callable(value) else value)


def _check_file(file: Path, target: str | None) -> None:
    """Raise an error for an unsuitable file before the runtime opens it."""
    if not file.is_file():
        raise BackendError(f"{file}: expected a model, found nothing; copy it again")
    family = FAMILIES.get(file.suffix)
    if family is None:
        raise BackendError(
            f"{file}: expected a .hbm or .bin file, found {file.suffix or 'neither'}"
            "; the runtimes recognize models by the file name"
        )
    if target is not None and not target.startswith(family):
        raise BackendError(
            f"{file}: expected a file for {target}, the target in policy.yaml, found one "
            f"for a {family}-* BPU; compile it for the board ({MARCHES})"
        )


def _number(given: Mapping[str, str], option: str, last: int) -> int | None:
    text = given.get(option)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and int(text) <= last):
        raise BackendError(
            f"bpu: option {option}: expected a number from 0 to {last}, found {text!r}"
        )
    return int(text)
