# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A back end in its own process, connected by shared memory.

For runtimes that hold the GIL during runs, that may end the process if a run fails, or that need a
different Python. The child opens the model with the same class, on shared arrays; a run costs two
bytes through pipes. If the child dies or hangs, only the run fails, not this process, since every
wait for an answer has a time limit.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from policy_core.errors import BackendError, LateRunError
from policy_core.interfaces import TensorSpec
from policy_inference.backends.base import ANSWER_WITHIN_S, THIS_MACHINE, BackendBase
from policy_inference.backends.shared_arrays import FAILED, OK, Bell, SharedArrays
from policy_inference.worker_process import PrivateWorker, talk_through

OPEN_TIMEOUT_S, ENDED_WITHIN_S = 600.0, 2.0
_START_TIMEOUT_S = 60.0
_SAID_WITHIN_S = 0.2
_SAID = 2000
"""Number of characters that an error quotes from the end of the child's output."""
_DETAILS = "details.json"
"""File in the child's folder, with details determined when the model is opened."""


class ChildBackend(BackendBase):
    """Proxy for a back end in another process, with the same arrays and the same errors."""

    def __init__(
        self,
        cls: type[BackendBase],
        file: Path,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        *,
        precision: str = "fp32",
        target: str | None = None,
        options: Mapping[str, str] | None = None,
        content: Path | None = None,
        run_timeout_s: float = ANSWER_WITHIN_S,
    ) -> None:
        """Start the child and have it open the model.

        Args:
            cls: Class of the back end that the child opens.
            file: Same as for `BackendBase`, as are all arguments not listed here.
            inputs: Inputs stated in the contract.
            outputs: Outputs stated in the contract.
            precision: The file's precision.
            target: Chip or GPU that the file was compiled for.
            options: Option values by name.
            content: Copy of the file.
            run_timeout_s: Time limit for a run. The child survives a time-out: the next run waits
                for the pending answer within the same limit, drops it, and proceeds.

        Raises:
            BackendError: The class raises an error in the child, or the child fails to start or
                exits early.
        """
        self.name, self.warm_up_runs = cls.name, cls.warm_up_runs
        self._cls, self.specs = cls, (tuple(inputs), tuple(outputs))
        self._process: PrivateWorker | None = None
        self._bell: Bell | None = None
        self._reply_pending, self._run_timeout_s = False, ANSWER_WITHIN_S
        self._arrays = SharedArrays([*inputs, *outputs])
        super().__init__(
            file,
            inputs,
            outputs,
            precision=precision,
            target=target,
            options=options,
            place=self._arrays.place,
            content=content,
        )
        self._run_timeout_s = run_timeout_s

    @property
    def pid(self) -> int:
        """The child's process ID."""
        assert self._process is not None  # set while open
        return self._process.pid

    @classmethod
    def check_options(cls, given: Mapping[str, str]) -> None:
        """Do nothing, since the class in the child knows its options."""

    def _open(
        self, file: Path
    ) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec], Mapping[str, str]]:
        self._process, self._bell = self._start(file)
        answer = self._bell.wait(OPEN_TIMEOUT_S)
        if answer is None:
            text = (
                f"{self.name}: expected the model to open within {OPEN_TIMEOUT_S:g} s in its own "
                f"process, found no answer{self._last_words()}"
            )
            raise BackendError(*text.split("\n"))
        if answer != OK:
            raise self._failure(answer, f"while opening {self.file}", ENDED_WITHIN_S)
        found = json.loads((self._process.folder / _DETAILS).read_text("utf-8"))
        return *self.specs, found | {"process": f"child {self.pid}"}

    def _start(self, file: Path) -> tuple[PrivateWorker, Bell]:
        interpreter = self._cls.interpreter()
        to_child, from_parent = os.pipe()
        to_parent, from_child = os.pipe()
        bell, fds = Bell(to_parent, from_parent), [self._arrays.fd, to_child, from_child]
        order = {
            "cls": f"{self._cls.__module__}:{self._cls.__qualname__}",
            "file": str(self.file.resolve()),
            "content": str(file.resolve()),
            "inputs": list(map(asdict, self.specs[0])),
            "outputs": list(map(asdict, self.specs[1])),
            "precision": self._precision,
            "target": self._target,
            "options": self._given,
            "fds": fds,
        }
        try:
            return PrivateWorker(
                __name__,
                [json.dumps(order)],
                interpreter=interpreter,
                imports=[self._cls.__module__],
                fds=fds,
            ), bell
        except OSError as error:
            bell.close()
            raise BackendError(
                f"{self.name}: expected to start {interpreter}, found: {error}"
            ) from error
        finally:
            os.close(to_child)
            os.close(from_child)

    def _bind(self) -> None:
        """Do nothing, since the child binds its runtime to the same memory."""

    def hides_nan(self) -> bool:
        """Return False, since the child checks the inputs if necessary."""
        return False

    def warm_up(self) -> None:
        """See `BackendBase`; here, a run may take longer than the time limit for later runs."""
        run_timeout_s, self._run_timeout_s = (
            self._run_timeout_s,
            max(ANSWER_WITHIN_S, self._run_timeout_s),
        )
        super().warm_up()
        self._run_timeout_s = run_timeout_s

    def telemetry(self) -> Mapping[str, str]:
        """Return the runtime device's load."""
        return self._cls.read_device(THIS_MACHINE)

    def problem(self) -> str:
        """Return a message with the child's last output if it has exited; otherwise ""."""
        if self._process is None or self._process.status is None:
            return ""
        return self._ended(within_s=_SAID_WITHIN_S)

    def _run(self) -> None:
        assert self._bell is not None
        if self._reply_pending:
            self._wait("an earlier run")
        try:
            self._bell.ring(OK)
        except BrokenPipeError:
            raise self._failure(b"", "during a run") from None
        answer = self._wait("a run")
        if answer != OK:
            raise self._failure(answer, "during a run")

    def _wait(self, what: str) -> bytes:
        """Return the answer to the last request; empty if the child has exited."""
        assert self._bell is not None
        answer = self._bell.wait(self._run_timeout_s)
        self._reply_pending = answer is None
        if answer is None:
            raise LateRunError(
                f"{self.name}: expected the runtime's process to answer {what} "
                f"within {self._run_timeout_s:g} s, found no answer"
            )
        return answer

    def _failure(self, answer: bytes, when: str, within_s: float = 0.0) -> BackendError:
        text = self._arrays.text if answer == FAILED else self._ended(when, within_s)
        return BackendError(*text.split("\n"))

    def _ended(self, when: str = "", within_s: float = 0.0) -> str:
        """Return how the child ended, if this becomes known within the time limit."""
        assert self._process is not None
        self._process.ends_within(within_s)
        status = self._process.status
        # The child closes its pipes before it exits, and a run does not wait until it has.
        what = "exited" if status is None else f"exited with status {status}"
        return (
            f"{self.name}: the runtime process {what}"
            + (f" {when}" if when else "")
            + self._last_words(within_s)
        )

    def _last_words(self, within_s: float = 0.0) -> str:
        assert self._process is not None
        said = self._process.said(within_s)[-_SAID:]
        remedy = self._cls.remedy(said)
        return (f"; it said: {said}" if said else "") + (f"; {remedy}" if remedy else "")

    def _close(self) -> None:
        if self._bell is not None:
            self._bell.close()
        os.close(self._arrays.fd)
        if self._process is not None:
            self._process.end()


def check_start(cls: type[BackendBase]) -> None:
    """Start a class's process as for a run, and only import the class there.

    Raises:
        BackendError: The process does not start, or a module that it needs is missing.
    """
    interpreter = cls.interpreter()
    order = {"cls": f"{cls.__module__}:{cls.__qualname__}"}
    try:
        worker = PrivateWorker(
            __name__, [json.dumps(order)], interpreter=interpreter, imports=[cls.__module__]
        )
    except OSError as error:
        raise BackendError(
            f"{cls.name}: expected to start {interpreter}, found: {error}"
        ) from error
    try:
        worker.ends_within(_START_TIMEOUT_S)
        if worker.status != 0:
            text = (
                f"{cls.name}: expected its modules to load in {interpreter}, found exit status "
                f"{worker.status}; it said: {worker.said(_SAID_WITHIN_S)[-_SAID:]}"
            )
            raise BackendError(*text.split("\n"))
    finally:
        worker.end(0.0)


def main(output: int, order: Mapping[str, Any]) -> None:
    """Open the requested model, run it on each signal, and end when the pipe closes.

    Without a file to open, only import the class; see `check_start`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    module, _, name = order["cls"].partition(":")
    cls: type[BackendBase] = getattr(importlib.import_module(module), name)
    if "file" in order:
        _serve(cls, output, order)


def _serve(cls: type[BackendBase], output: int, order: Mapping[str, Any]) -> None:
    details = Path.cwd() / _DETAILS
    memory, read_fd, write_fd = order["fds"]
    inputs, outputs = (
        [TensorSpec(**{**spec, "shape": tuple(spec["shape"])}) for spec in order[k]]
        for k in ("inputs", "outputs")
    )
    arrays, bell = SharedArrays([*inputs, *outputs], memory), Bell(read_fd, write_fd)
    try:
        backend = cls(
            Path(order["file"]),
            inputs,
            outputs,
            precision=order["precision"],
            target=order["target"],
            options=order["options"],
            place=arrays.place,
            content=Path(order["content"]),
        )
    except BackendError as error:
        arrays.text = str(error)
        bell.ring(FAILED)
        return
    try:
        details.write_text(json.dumps(dict(backend.details)), "utf-8")
        talk_through(output)
        bell.ring(OK)
        while bell.wait():
            bell.ring(_ran(backend, arrays))
    except BrokenPipeError:
        pass  # the parent has ended
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
    main(int(sys.argv[1]), json.loads(sys.argv[2]))
