# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Backends that misbehave in the process that runs them; a child imports them by name."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from policy_core.errors import BackendError
from policy_core.interfaces import TensorSpec
from policy_inference.backends.base import BackendBase

OBS, ACTIONS = TensorSpec(name="obs", shape=(1, 2)), TensorSpec(name="actions", shape=(1, 2))

LONG = "\u00e9" * 20_000


class Odd(BackendBase):
    """Does what its file says when it is run with a first input of 1."""

    name = "odd"
    holds_gil = True
    warm_up_runs = 1
    options: Mapping[str, str] = {"trace": "file that is made when it is closed"}

    def _open(
        self, file: Path
    ) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec], Mapping[str, str]]:
        self._deed = file.read_text("utf-8")
        if self._deed == "refuse":
            raise BackendError(f"{file}: no device; plug one in")
        if self._deed == "crash":
            raise MemoryError("a bug")
        if self._deed == "end":
            sys.stderr.write("\x1b[2Jno firmware\n")
            sys.stderr.flush()
            os._exit(3)
        runtime = LONG if self._deed == "boast" else "odd"
        return [OBS], [ACTIONS], {"runtime": runtime, "device": "none"}

    def _bind(self) -> None: ...

    def _run(self) -> None:
        if self.inputs["obs"][0, 0] == 1.0:
            self._act()
        np.multiply(self.inputs["obs"], 2.0, out=self.outputs["actions"])

    def _act(self) -> None:
        if self._deed == "die":
            sys.stderr.write("segmentation fault in the driver\n")
            os.kill(os.getpid(), signal.SIGKILL)
        if self._deed == "hang":
            Path(self._given["trace"]).read_bytes()
        if self._deed == "boast":
            raise BackendError(f"odd: {LONG}")

    def _close(self) -> None:
        if "trace" in self._given:
            Path(self._given["trace"]).touch()
