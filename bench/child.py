# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Cost of a runtime in a separate process, against the minimum for two processes.

Both sides copy 12 of 45 values in the other process; the baseline uses the same kind of memory and
pipes, with one byte each way and no checks. `python -m bench.child` with three file descriptors is
the baseline's other process.
"""

import mmap
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bench.effort import Effort
from bench.figures import Figure, alternated, timed
from bench.processes import BUNDLE, ROOT
from policy_core.interfaces import F32, TensorSpec
from policy_inference.backends.base import BackendBase
from policy_inference.backends.child import ChildBackend

_BLOCKS, _CALLS = 10, 2000
_OBS, _ACTIONS = TensorSpec(name="obs", shape=(1, 45)), TensorSpec(name="action", shape=(1, 12))
_INPUTS, _OUTPUTS = 45, 12


class Copies(BackendBase):
    """A back end that returns the first values of its input; a child process opens it by name."""

    name = "copies"
    warm_up_runs = 1

    def _open(
        self, file: Path
    ) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec], Mapping[str, str]]:
        return [_OBS], [_ACTIONS], {}

    def _bind(self) -> None:
        self._from, self._to = self.inputs["obs"][:, :_OUTPUTS], self.outputs["action"]

    def _run(self) -> None:
        np.copyto(self._to, self._from)

    def _close(self) -> None:
        """Do nothing: nothing was allocated."""


class PingPong:
    """The baseline: two processes, a shared block of memory and a pipe each way."""

    def __init__(self) -> None:
        self._memory = os.memfd_create("bench")
        os.ftruncate(self._memory, mmap.PAGESIZE)
        theirs, self._write = os.pipe()
        self._read, back = os.pipe()
        fds = [self._memory, theirs, back]
        self._other = subprocess.Popen(
            [sys.executable, "-m", __name__, *map(str, fds)], pass_fds=fds, cwd=ROOT
        )
        os.close(theirs)
        os.close(back)

    def __call__(self) -> None:
        """Send a byte, and wait for one."""
        os.write(self._write, b"o")
        os.read(self._read, 1)

    @property
    def process(self) -> int:
        """Id of the other process."""
        return self._other.pid

    def close(self) -> None:
        for fd in (self._write, self._read, self._memory):
            os.close(fd)
        self._other.wait()


def _answer(memory: int, read: int, write: int) -> None:
    """For each byte received, copy the values and send a byte."""
    values: F32 = np.frombuffer(mmap.mmap(memory, mmap.PAGESIZE), np.float32)
    source, sink = values[:_OUTPUTS], values[_INPUTS : _INPUTS + _OUTPUTS]
    while os.read(read, 1):
        np.copyto(sink, source)
        os.write(write, b"o")


def measure(effort: Effort) -> list[Figure]:
    """Measure on one core, where added code has the largest effect, and across two cores."""
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), path)))
    # the class opens no file, so any existing file is suitable
    backend, bare = ChildBackend(Copies, BUNDLE / "policy.onnx", [_OBS], [_ACTIONS]), PingPong()
    cores, blocks = os.sched_getaffinity(0), effort.count(_BLOCKS)
    try:
        return [
            _compare("child_ratio", backend, bare, (min(cores), min(cores)), blocks),
            _compare("child_two_cores_ratio", backend, bare, (min(cores), max(cores)), blocks),
        ]
    finally:
        os.sched_setaffinity(0, cores)
        backend.close()
        bare.close()


def _compare(
    name: str, backend: ChildBackend, bare: PingPong, cores: tuple[int, int], blocks: int
) -> Figure:
    """Measure with this process on the first core and the others on the second."""
    here, there = cores
    # without this, the scheduler decides per block whether a byte wakes another core
    os.sched_setaffinity(0, {here})
    for other in (bare.process, int(backend.details["process"].removeprefix("child "))):
        os.sched_setaffinity(other, {there})
    ours, baseline = timed(_CALLS, backend.run), timed(_CALLS, bare)
    return alternated(name, ours, baseline, blocks=blocks, wanted=1.5)


if __name__ == "__main__":
    _answer(*map(int, sys.argv[1:]))
