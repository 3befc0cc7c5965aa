# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A backend in a process of its own, over shared memory.

For runtimes that keep Python's lock while they run, for those that end the process where a run
fails, and for those that need another Python. The child opens the model with the same class, on
arrays that both processes see; a run costs two bytes through pipes. A child that dies or hangs is
an error of the run, not of this process.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import policy_inference
from policy_inference.backends.base import THIS_MACHINE, BackendBase
from policy_inference.backends.shared_arrays import FAILED, OK, Bell, SharedArrays
from policy_inference.errors import BackendError
from policy_inference.interfaces import TensorSpec

OPEN_TIMEOUT_S, RUN_TIMEOUT_S, LEAVE_TIMEOUT_S = 600.0, 5.0, 2.0
_SAID = 2000
"""Characters of the child's last words that an error repeats."""


class ChildBackend(BackendBase):
    """Stands for a backend of another process: same arrays, same errors."""

    warm_up_runs = 3

    def __init__(
        self, cls: type[BackendBase], file: Path, inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec], *, precision: str = "fp32", target: str | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Start the child and let it open the model; arguments as those of `BackendBase`.

        Raises:
            BackendError: What the class raises in the child; or the child does not start, or ends.
        """
        self.name, self.options = cls.name, cls.options
        self._cls, self._tensors = cls, (tuple(inputs), tuple(outputs))
        self._child: subprocess.Popen[bytes] | None = None
        self._bell: Bell | None = None
        self._arrays = SharedArrays([*inputs, *outputs])
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the backend
        super().__init__(file, inputs, outputs, precision=precision, target=target,
                         options=options, place=self._arrays.place)

    @property
    def pid(self) -> int:
        """Number of the child's process."""
        assert self._child is not None  # opened
        return self._child.pid

    def _open(
        self, file: Path
    ) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec], Mapping[str, str]]:
        self._child, self._bell = self._start(file)
        answer = self._bell.wait(OPEN_TIMEOUT_S)
        if answer != OK:
            raise self._failure(answer, f"opening {file}")
        details: dict[str, str] = json.loads(self._arrays.text)
        return *self._tensors, details | {"process": f"child {self._child.pid}"}

    def _start(self, file: Path) -> tuple[subprocess.Popen[bytes], Bell]:
        to_child, from_parent = os.pipe()
        to_parent, from_child = os.pipe()
        bell, fds = Bell(to_parent, from_parent), [self._arrays.fd, to_child, from_child]
        order = {
            "cls": f"{self._cls.__module__}:{self._cls.__qualname__}", "file": str(file.resolve()),
            "inputs": list(map(asdict, self._tensors[0])),
            "outputs": list(map(asdict, self._tensors[1])), "precision": self._precision,
            "target": self._target, "options": self._given,
            "fds": fds,
        }  # fmt: skip
        try:
            return subprocess.Popen(
                [self._cls.interpreter(), "-m", __name__, json.dumps(order)],
                stdin=subprocess.DEVNULL, stdout=self._said, stderr=self._said,
                cwd=tempfile.gettempdir(), env=_environment(self._cls.interpreter()), pass_fds=fds,
            ), bell  # fmt: skip
        except OSError as error:
            bell.close()
            raise BackendError(f"{self.name}: expected to start {self._cls.interpreter()}, found: "
                               f"{error}") from error
        finally:
            os.close(to_child)
            os.close(from_child)

    def _bind(self) -> None:
        """Nothing: the child bound its runtime to the same memory."""

    def hides_nan(self) -> bool:
        """Return False: where it does, the child looks at the inputs."""
        return False

    def telemetry(self) -> Mapping[str, str]:
        """Return what the device of the runtime tells."""
        return self._cls.read_device(THIS_MACHINE)

    def _run(self) -> None:
        assert self._bell is not None
        try:
            self._bell.ring(OK)
        except BrokenPipeError:
            raise self._failure(b"", "a run") from None
        answer = self._bell.wait(RUN_TIMEOUT_S)
        if answer != OK:
            raise self._failure(answer, "a run")

    def _failure(self, answer: bytes | None, during: str) -> BackendError:
        """Return what the child said; one that hangs is killed."""
        if answer == FAILED:
            return BackendError(self._arrays.text)
        assert self._child is not None
        hung = answer is None
        if hung:
            self._child.kill()
        status = self._child.wait()
        self._said.seek(0)
        said = self._said.read().decode("utf-8", "replace").strip()[-_SAID:]
        what = "hung and was killed" if hung else f"ended with status {status}"
        remedy = self._cls.remedy(said)
        return BackendError(f"{self.name}: the process of the runtime {what} during {during}"
                            + (f"; it said: {said}" if said else "")
                            + (f"; {remedy}" if remedy else ""))

    def _close(self) -> None:
        if self._child is not None and self._bell is not None:
            self._bell.close()
            try:
                self._child.wait(LEAVE_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        os.close(self._arrays.fd)
        self._said.close()


def _environment(interpreter: str) -> dict[str, str]:
    """Return the environment; another Python finds this package, and nothing else of ours."""
    if interpreter == sys.executable:
        return dict(os.environ)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return kept | {"PYTHONPATH": str(Path(policy_inference.__file__).parents[1])}


def main(order: Mapping[str, Any]) -> None:
    """Open the model of an order, and run it whenever the bell rings; end when it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to leave
    memory, read_fd, write_fd = order["fds"]
    inputs, outputs = ([TensorSpec(**{**spec, "shape": tuple(spec["shape"])}) for spec in order[k]]
                       for k in ("inputs", "outputs"))
    arrays, bell = SharedArrays([*inputs, *outputs], memory), Bell(read_fd, write_fd)
    module, _, name = order["cls"].partition(":")
    try:
        cls: type[BackendBase] = getattr(importlib.import_module(module), name)
        backend = cls(Path(order["file"]), inputs, outputs, precision=order["precision"],
                      target=order["target"], options=order["options"], place=arrays.place)
    except BackendError as error:
        arrays.text = str(error)
        bell.ring(FAILED)
        return
    try:
        arrays.text = json.dumps(dict(backend.details))
        bell.ring(OK)
        while bell.wait():
            bell.ring(_ran(backend, arrays))
    except BrokenPipeError:
        pass  # the parent has gone
    finally:
        backend.close()


def _ran(backend: BackendBase, arrays: SharedArrays) -> bytes:
    try:
        backend.run()
    except BackendError as error:
        arrays.text = str(error)
        return FAILED
    return OK


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
