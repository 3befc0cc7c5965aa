# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Common parts of all back ends: fixed arrays, tensor checks, warm-up, and closing."""

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

if TYPE_CHECKING:  # the separate Python of a runtime lacks what the contract needs
    from policy_core.bundle.contract import Artifact

THIS_MACHINE = Machine()
WARM_UP_S = 5.0
"""Maximum total time for the first runs; a large ACT model takes seconds per run."""
FEWEST_WARM_UP_RUNS = 3
ANSWER_WITHIN_S = 5.0
"""Maximum time that a run waits for another process or machine, unless the host sets a limit.
"""
_UNNOTICED_S = 1.0
_log = logging.getLogger("policy_inference")


class BackendBase(ABC):
    """Opens a model file, checks the model against the contract, and owns the arrays.

    A subclass implements `_open`, `_bind`, `_run` and `_close`. `_open` loads the file and returns
    the tensors that it found; `_bind` may then bind the runtime to `inputs` and `outputs`. The file
    passed to `_open` may be a copy that is deleted after the first run; messages name `file`.
    `_close` is called once, even if `_open` or `_bind` failed halfway.
    """

    name: str
    holds_gil = False
    """True if the runtime holds the GIL during a run; the runtime is then run in a child process.
    """
    ends_process = False
    """True if a failed run may end the process; the runtime is then run in a child process."""
    builds_from: str | None = None
    """Back end whose artifact is the build source if the bundle has no artifact for this one."""
    is_remote = False
    """True if another machine runs the model; `deadline_s` then applies, and a `problem` may
    be temporary.
    """
    simulates: bool = False
    """True if the back end only simulates a device; its run times are then meaningless."""
    simulated_by: str | None = None
    """Back end that simulates this one on a PC, using an artifact from the same compilation."""
    built_precision: str | None = None
    """Precision of the built file, if it differs from the artifact's precision."""
    options: Mapping[str, str] = {}
    """Options and their meanings; values are strings, which `_open` parses."""
    warm_up_runs = 100
    """Number of warm-up runs, after which run times are steady. The first runs of most runtimes are
    slow, since they allocate memory, select kernels and fill caches. The very first run is part of
    opening.
    """

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
        """Open the model and run it once on zeros as a test; see `warm_up`.

        Args:
            file: Model file for this back end, as named in messages.
            inputs: Inputs, as specified in the contract.
            outputs: Outputs, as specified in the contract.
            precision: Precision of the file, as specified in the contract.
            target: Chip or GPU that the file was compiled for.
            options: Option values by name; the class's `options` lists the names.
            place: Function that creates each tensor's array, inputs first; default `_array`.
            content: Copy of `file` with a verified hash, to open instead; needed only until this
                call returns. If absent, `file` itself is opened.
            deadline_s: Time after which a result is useless, for back ends that wait for other
                processes or machines.

        Raises:
            BackendError: A package, library or device is missing, the file does not load, its
                tensors differ from the contract, an option is unknown, or the runtime raises any
                other error.
        """
        self.file, content, self._closed = file, content or file, False
        self.specs = tuple(inputs), tuple(outputs)
        """Inputs and outputs as specified in the contract."""
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
                lines = (str(line).replace(str(content), str(file)) for line in error.args)
                raise BackendError(*lines) from error
            if isinstance(error, (PolicyError, KeyboardInterrupt)):
                raise
            # Convert every error of a runtime, so that the next back end in a list is tried.
            _log.debug("%s: while opening %s", self.name, file, exc_info=True)
            raise BackendError(
                f"{self.name}: {file}: {type(error).__name__}: "
                + str(error).replace(str(content), str(file))
            ) from error

    @classmethod
    def check_options(cls, given: Mapping[str, str]) -> None:
        """Check the names of options, and their values if possible, without the target machine.

        The user must correct these errors, so they do not trigger a fallback to another back end.

        Args:
            given: Option values by name.

        Raises:
            BackendError: An option is unknown, or its value is invalid.
        """
        unknown = ", ".join(sorted(set(given) - set(cls.options)))
        if unknown:
            known = f"only options from [{', '.join(cls.options)}]" if cls.options else "no options"
            raise BackendError(f"{cls.name}: expected {known}, found {unknown}")

    @property
    def pid(self) -> int:
        """ID of the process that runs the runtime."""
        return os.getpid()

    @classmethod
    def interpreter(cls) -> str:
        """Return the Python that has the runtime; if it is not this one, a child process is used.

        The child process also finds this class's package, and the packages of the suite that the
        package's `setup.py` requires.

        Raises:
            BackendError: The configured Python does not exist.
        """
        return sys.executable

    @classmethod
    def remedy(cls, said: str) -> str:
        """Return a remedy for the exit of a child process; empty if none is known.

        Args:
            said: The last output of the process, including the runtime's own messages.
        """
        return ""

    @classmethod
    def for_file(cls, file: Path, options: Mapping[str, str]) -> type[BackendBase]:
        """Return the class that opens a file on this machine, for back ends with several runtimes.

        Args:
            file: The bundle's file; only its name is used.
            options: Option values, as given for opening.

        Raises:
            BackendError: The options allow none of the classes.
        """
        return cls

    @classmethod
    def tensors(cls, file: Path) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        """Return the inputs and outputs in a file, without a contract; -1 for a dynamic axis.

        Args:
            file: Model file of this back end.

        Raises:
            BackendError: The file is not a model, or this back end cannot read its tensors.
        """
        raise BackendError(
            f"{file}: expected a file whose tensors can be read, found a file for "
            f"{cls.name}, which does not state its tensors; make a bundle from it "
            "(`model_tools import`), whose contract states them"
        )

    @classmethod
    def read_device(cls, machine: Machine) -> Mapping[str, str]:
        """Return the device's load as reported by its driver, with units in the keys.

        For example ``{"npu_load_percent": "31", "npu_temperature_c": "52.1"}``; unreadable values
        are omitted. This must take less than a millisecond, because nodes call it for their status.

        Args:
            machine: File system that holds the drivers' files.
        """
        return {}

    @classmethod
    def examine(cls, machine: Machine, artifact: Artifact | None) -> Sequence[Finding]:
        """Return findings about this back end on this machine, without opening a device.

        Args:
            machine: File system that holds the drivers, libraries and device files.
            artifact: The bundle's file for this back end, or None.
        """
        return ()

    @classmethod
    def cautions(cls, machine: Machine, artifact: Artifact) -> Sequence[Finding]:
        """Return warnings about using a file on this machine, to be logged when the file is opened.

        Args:
            machine: File system that holds the drivers, libraries and device files.
            artifact: The bundle's file for this back end.
        """
        return ()

    def hides_nan(self) -> bool:
        """Return True if the runtime hides NaN, e.g. by using integers; inputs are then checked."""
        return not self._precision.startswith("fp")

    def telemetry(self) -> Mapping[str, str]:
        """Return the device's current load, with units in the keys."""
        return self.read_device(THIS_MACHINE)

    def problem(self) -> str:
        """Return the reason that no run can succeed; "" if runs can.

        The problem is permanent, except on a remote back end (`is_remote`), where it may pass.
        """
        return ""

    def run(self) -> None:
        """Compute `outputs` from `inputs`.

        Raises:
            BackendError: The runtime failed, the back end is closed, or an input is not finite and
                the outputs would hide that.
        """
        if self._closed:
            raise BackendError(f"{self.name}: run after close")
        for name, array, finite in self._masks:
            if not np.isfinite(array, out=finite).all():
                raise BackendError(
                    f"{self.name}: input {name}: expected finite values, found NaN "
                    "or infinity, which this model's integers would hide"
                )
        self._run()

    def warm_up(self) -> None:
        """Run on the current inputs until run times are steady, for hosts that run at a fixed rate.

        This makes `warm_up_runs` runs, or as many as fit into `WARM_UP_S`. If that will take a
        while, a log message says so beforehand.

        Raises:
            BackendError: The runtime failed; the back end is then closed.
        """
        if self._first_run_s * self.warm_up_runs > _UNNOTICED_S:
            _log.info(
                "%s: %s: the first run took %.2g s; warming up for at most %g s",
                self.name,
                self.file,
                self._first_run_s,
                WARM_UP_S,
            )
        try:
            timed_runs(self.run, self.warm_up_runs - 1)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the runtime; a second call does nothing.

        A failure is only logged, because there is no remedy and a robot must complete its shutdown.
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
        """Load the file; return its inputs, its outputs, and details to report."""

    def _array(self, spec: TensorSpec) -> Tensor:
        """Return a zeroed array for a tensor, in memory that suits the runtime."""
        return spec.empty()

    @abstractmethod
    def _bind(self) -> None:
        """Bind the runtime to the arrays, if possible."""

    @abstractmethod
    def _run(self) -> None:
        """Run the model once; raise BackendError on failure."""

    @abstractmethod
    def _close(self) -> None:
        """Release whatever `_open` and `_bind` acquired."""


def timed_runs(run: Callable[[], object], most: int, limit_s: float = WARM_UP_S) -> list[float]:
    """Run a function repeatedly; return each run's duration in s.

    Args:
        run: The function.
        most: Maximum number of runs.
        limit_s: Time after which no further run begins, once `FEWEST_WARM_UP_RUNS` have been made.
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
                f"found {actual}; export the model with the expected sizes"
            )


def _fits(spec: TensorSpec, actual: TensorSpec) -> bool:
    """Return True if a model tensor (-1 for dynamic axes) fits the contract's tensor."""
    return (
        np.dtype(spec.dtype) == np.dtype(actual.dtype)
        and len(spec.shape) == len(actual.shape)
        and all(b in (-1, a) for a, b in zip(spec.shape, actual.shape, strict=True))
    )


def _names(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(map(str, specs)) or "none"
