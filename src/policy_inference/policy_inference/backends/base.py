# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What every backend does alike: fixed arrays, the check of tensors, warm-up, one `close`."""

from __future__ import annotations

import logging
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from policy_core.errors import BackendError, PolicyError
from policy_core.interfaces import Tensor, TensorSpec
from policy_inference.machine.machine import Finding, Machine

if TYPE_CHECKING:  # a runtime's own Python has nothing that a contract needs
    from policy_core.bundle.contract import Artifact

THIS_MACHINE = Machine()
WARM_UP_S = 5.0
"""How long first runs may take together: a large ACT takes seconds for one."""
FEWEST_WARM_UP_RUNS = 3
ANSWER_WITHIN_S = 5.0
"""How long a run may wait for another process or machine, where the host states nothing else."""
_UNNOTICED_S = 1.0
_log = logging.getLogger("policy_inference")


class BackendBase(ABC):
    """Opens a model file, checks it against the contract and keeps its arrays.

    A subclass implements `_open`, `_bind`, `_run` and `_close`. `_open` loads the file and returns
    the tensors that it found; afterwards `_bind` may tie the runtime to `inputs` and `outputs`.
    The file that `_open` gets may be a copy, which is gone after the first run: `file` is the one
    to tell people of.
    `_close` is called once, also where `_open` or `_bind` failed halfway.
    """

    name: str
    holds_gil = False
    """Whether the runtime keeps Python's lock while it runs: then it runs in a child process."""
    ends_process = False
    """Whether a run that fails may end the process: then the runtime runs in a child process."""
    builds_from: str | None = None
    """Back end whose artifact this one builds its own file from, where the bundle has none."""
    is_remote = False
    """Whether another machine runs the model: it is opened with a deadline, `deadline_s`, and a
    `problem` may end by itself."""
    simulates: bool = False
    """Whether it computes what a device would, and says nothing about its speed."""
    simulated_by: str | None = None
    """Back end that computes on a PC what this one does, of what is compiled in the same order."""
    built_precision: str | None = None
    """Precision of what it builds, where that is not the precision of the artifact."""
    options: Mapping[str, str] = {}
    """What can be set, and what it means; values are texts, which `_open` reads."""
    warm_up_runs = 100
    """First runs of most runtimes are slow: they allocate, pick kernels, fill caches. After so
    many a run takes as long as it will; the first of them is part of opening."""

    def __init__(
        self,
        file: Path,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        *,
        precision: str = "fp32",
        target: str | None = None,
        options: Mapping[str, str] | None = None,
        place: Callable[[TensorSpec], Tensor] | None = None,
        content: Path | None = None,
        deadline_s: float = ANSWER_WITHIN_S,
    ) -> None:
        """Open the model and run it once on zeros, which proves that it runs; see `warm_up`.

        Args:
            file: Model file of this backend, for messages.
            inputs: Inputs that the contract states.
            outputs: Outputs that the contract states.
            precision: Of the file, as the contract states it.
            target: Chip or GPU that the file was compiled for.
            options: Values by name, among `options` of the class.
            place: Makes the array of a tensor, inputs first; `_array` if absent.
            content: A copy of that file, hash already verified, which is opened instead; it need
                be there only until this returns. The file itself if absent.
            deadline_s: After which an answer is of no use; for back ends that wait for others.

        Raises:
            BackendError: Package, library or device is missing, the file does not load, its
                tensors are not those of the contract, an option is unknown, or the runtime raises
                whatever else.
        """
        self.file, content, self._closed = file, content or file, False
        self.specs = tuple(inputs), tuple(outputs)
        """Of inputs and outputs, as the contract states them."""
        self._precision, self._target, self._given = precision, target, dict(options or {})
        self._deadline_s = deadline_s
        try:
            self.check_options(self._given)
            found_inputs, found_outputs, self.details = self._open(content)
            _check_tensors(file, "input", inputs, found_inputs)
            _check_tensors(file, "output", outputs, found_outputs)
            array = place or self._array
            self.inputs: Mapping[str, Tensor] = {spec.name: array(spec) for spec in inputs}
            self.outputs: Mapping[str, Tensor] = {spec.name: array(spec) for spec in outputs}
            self._masks = [
                (name, array, np.zeros(array.shape, np.bool_))
                for name, array in self.inputs.items()
                if self.hides_nan() and array.dtype.kind == "f"
            ]
            self._bind()
            began_s = time.perf_counter()
            self.run()
            self._first_run_s = time.perf_counter() - began_s
        except BaseException as error:
            self.close()
            if isinstance(error, BackendError):
                raise BackendError(str(error).replace(str(content), str(file))) from error
            if isinstance(error, (PolicyError, KeyboardInterrupt)):
                raise
            # Whatever a runtime raises: the next back end of a list may open.
            _log.debug("%s: while opening %s", self.name, file, exc_info=True)
            raise BackendError(
                f"{self.name}: {file}: {type(error).__name__}: "
                + str(error).replace(str(content), str(file))
            ) from error

    @classmethod
    def check_options(cls, given: Mapping[str, str]) -> None:
        """Check what can be known of options without a machine: names, and values where it can.

        What is wrong here is its user's to correct: no other backend takes this one's place.

        Args:
            given: Values by name.

        Raises:
            BackendError: An option is unknown, or has none of its values.
        """
        unknown = ", ".join(sorted(set(given) - set(cls.options)))
        if unknown:
            known = f"options among {', '.join(cls.options)}" if cls.options else "no options"
            raise BackendError(f"{cls.name}: expected {known}, found {unknown}")

    @property
    def pid(self) -> int:
        """Number of the process that the runtime is in."""
        return os.getpid()

    @classmethod
    def interpreter(cls) -> str:
        """Return the Python that has the runtime; another than this one means a child process.

        Raises:
            BackendError: It is not there.
        """
        return sys.executable

    @classmethod
    def remedy(cls, said: str) -> str:
        """Return what to do about a child process that ended; empty where no remedy is known.

        Args:
            said: The last that it printed, the runtime's own messages among them.
        """
        return ""

    @classmethod
    def for_file(cls, file: Path, options: Mapping[str, str]) -> type[BackendBase]:
        """Return the class that opens a file on this machine: another one of several runtimes.

        Args:
            file: The bundle's file; what counts is its name.
            options: As for opening.

        Raises:
            BackendError: The options leave no choice.
        """
        return cls

    @classmethod
    def tensors(cls, file: Path) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        """Return inputs and outputs that a file has, for one who has no contract; -1: an open axis.

        Args:
            file: Model file of this back end.

        Raises:
            BackendError: It is no model, or this back end cannot tell.
        """
        raise BackendError(
            f"{file}: expected a file whose tensors can be read, found one of "
            f"{cls.name}, which does not tell them; make a bundle of it, which "
            "states them (`model_tools import`)"
        )

    @classmethod
    def read_device(cls, machine: Machine) -> Mapping[str, str]:
        """Return the load of the device, as its driver reports it, with the unit in the key.

        Such as ``{"npu_load_percent": "31", "npu_temperature_c": "52.1"}``; what cannot be read is
        left out. It takes below a millisecond, since a node's status asks for it.

        Args:
            machine: Where the drivers' files are.
        """
        return {}

    @classmethod
    def examine(cls, machine: Machine, artifact: Artifact | None) -> Sequence[Finding]:
        """Return what speaks for and against this back end on this machine; opens no device.

        Args:
            machine: Where drivers, libraries and device files are.
            artifact: The bundle's file for this back end, None without a bundle or without one.
        """
        return ()

    @classmethod
    def cautions(cls, machine: Machine, artifact: Artifact) -> Sequence[Finding]:
        """Return the warnings about a file on this machine; they are logged when it is opened.

        Args:
            machine: Where drivers, libraries and device files are.
            artifact: The bundle's file for this back end.
        """
        return ()

    def hides_nan(self) -> bool:
        """Return whether NaN becomes a number inside, as in integers; then inputs are checked."""
        return not self._precision.startswith("fp")

    def telemetry(self) -> Mapping[str, str]:
        """Return the load of the device now, with the unit in the key."""
        return self.read_device(THIS_MACHINE)

    def problem(self) -> str:
        """Return why no run can succeed now; empty where one can. It lasts, unless `is_remote`."""
        return ""

    def run(self) -> None:
        """Compute `outputs` from `inputs`.

        Raises:
            BackendError: The runtime failed, or the backend is closed, or an input is not finite,
                where the outputs would not show that.
        """
        if self._closed:
            raise BackendError(f"{self.name}: run after close")
        for name, array, finite in self._masks:
            if not np.isfinite(array, out=finite).all():
                raise BackendError(
                    f"{self.name}: input {name}: expected finite values, found NaN "
                    "or infinity, which the integers of this model would hide"
                )
        self._run()

    def warm_up(self, limit_s: float = WARM_UP_S) -> None:
        """Run on what the inputs hold until runs are as fast as they get; for hosts with a rate.

        It is `warm_up_runs`, or what `limit_s` has room for; where that takes long, the log says
        so before it begins.

        Args:
            limit_s: See `timed_runs`.

        Raises:
            BackendError: The runtime failed; the backend is closed then.
        """
        if self._first_run_s * self.warm_up_runs > _UNNOTICED_S:
            _log.info(
                "%s: %s: the first run took %.2g s; runs to warm up for %g s at most",
                self.name,
                self.file,
                self._first_run_s,
                limit_s,
            )
        try:
            timed_runs(self.run, self.warm_up_runs - 1, limit_s)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the runtime; calling it again does nothing.

        A failure is only logged: there is no remedy for it, and a robot must go on to its end.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self._close()
        except Exception as error:  # noqa: BLE001  # the runtimes' exceptions share no other base
            _log.warning("%s: while closing: %s", self.name, str(error))

    @abstractmethod
    def _open(
        self, file: Path
    ) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec], Mapping[str, str]]:
        """Load the file; return its inputs, its outputs and what to report."""

    def _array(self, spec: TensorSpec) -> Tensor:
        """Return the array of a tensor, zeros: in memory that the runtime profits from."""
        return spec.empty()

    @abstractmethod
    def _bind(self) -> None:
        """Tie the runtime to the arrays, where it can be."""

    @abstractmethod
    def _run(self) -> None:
        """Run once; failures become BackendError."""

    @abstractmethod
    def _close(self) -> None:
        """Release what `_open` and `_bind` took, as far as they came."""


def timed_runs(run: Callable[[], object], most: int, limit_s: float = WARM_UP_S) -> list[float]:
    """Run something repeatedly; return how long each run took, s.

    Args:
        run: What is run.
        most: How many times.
        limit_s: After which no further run begins, once there are `FEWEST_WARM_UP_RUNS`.
    """
    took_s = list[float]()
    while len(took_s) < most and (len(took_s) < FEWEST_WARM_UP_RUNS or sum(took_s) < limit_s):
        began_s = time.perf_counter()
        run()
        took_s.append(time.perf_counter() - began_s)
    return took_s


def _check_tensors(
    file: Path, kind: str, expected: Sequence[TensorSpec], found: Sequence[TensorSpec]
) -> None:
    by_name = {spec.name: spec for spec in found}
    if {spec.name for spec in expected} != set(by_name):
        raise BackendError(
            f"{file}: {kind}s: expected {_names(expected)} as in policy.yaml, "
            f"found {_names(found)}; name the model's own tensors in `model`"
        )
    for spec in expected:
        actual = by_name[spec.name]
        if not _fits(spec, actual):
            raise BackendError(
                f"{file}: {kind} {spec.name}: expected {spec} as in policy.yaml, "
                f"found {actual}; export the model with these sizes"
            )


def _fits(spec: TensorSpec, actual: TensorSpec) -> bool:
    """Whether a model tensor, whose dynamic axes are -1, can take the contract's size."""
    return (
        np.dtype(spec.dtype) == np.dtype(actual.dtype)
        and len(spec.shape) == len(actual.shape)
        and all(b in (-1, a) for a, b in zip(spec.shape, actual.shape, strict=True))
    )


def _names(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(map(str, specs)) or "none"
