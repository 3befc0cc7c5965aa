# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Time that `policy_inference serve` adds to a model, against a minimal socket.

The baseline is a Python process that answers every 180 bytes with 48 bytes. The model's own time,
which is subtracted from ours, is the extra time of an echo that runs the model before it answers.
This time is measured on one core, where nothing else varies: across cores, a process that computes
between two requests wakes faster than one that sleeps.

`python -m bench.service <what> <path>` runs the baseline.
"""

import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.effort import Effort
from bench.figures import Figure, summarise, timed_us
from bench.processes import BUNDLE, BenchError, Child, running
from bench.tick import BareCall

REQUEST_BYTES, REPLY_BYTES = 4 * 45, 4 * 12
_BLOCKS, _CALLS = 10, 2000
_START_TIMEOUT_S = 30.0


_ECHOES: dict[str, Callable[[], Callable[[], None]]] = {
    "bare": lambda: lambda: None,
    "model": lambda: BareCall().run,
}
"""Servers of the baseline, by their work per request."""


class RoundTrip:
    """Sends an observation over a Unix socket and waits for the answer."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._request, self._reply = bytes(REQUEST_BYTES), bytearray(REPLY_BYTES)

    def __call__(self) -> None:
        self._socket.sendall(self._request)
        if self._socket.recv_into(self._reply, 0, socket.MSG_WAITALL) != REPLY_BYTES:
            raise BenchError("the connection was closed; see the service's log")

    def close(self) -> None:
        self._socket.close()


@contextmanager
def serving(path: Path, *arguments: str, bundle: Path = BUNDLE) -> Iterator[Child]:
    """Run the service with these arguments, and wait for its socket."""
    command = ["policy_inference", "serve", "--bundle", str(bundle), *arguments]
    with running(command) as child:
        _wait_for(path, child)
        yield child


@contextmanager
def _echoing(path: Path, what: str) -> Iterator[Child]:
    with running([sys.executable, "-m", "bench.service", what, str(path)]) as child:
        _wait_for(path, child)
        yield child


def _wait_for(path: Path, child: Child) -> None:
    end_s = time.monotonic() + _START_TIMEOUT_S
    while not path.exists():
        child.check()
        if time.monotonic() > end_s:
            raise BenchError(f"no socket {path} within {_START_TIMEOUT_S:g} s")
        time.sleep(0.01)


def echo(path: str, run: Callable[[], None]) -> None:
    """Run a function for each request of one client, and answer, until the client disconnects."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        connection, _ = listener.accept()
        request, reply = bytearray(REQUEST_BYTES), bytes(REPLY_BYTES)
        while connection.recv_into(request) == REQUEST_BYTES:
            run()
            connection.sendall(reply)


def measure(effort: Effort) -> list[Figure]:
    """Measure across two cores, and on one, where added code has the largest effect."""
    cores, blocks = os.sched_getaffinity(0), effort.count(_BLOCKS)
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        path = folder / "service.sock"
        servers = [opened.enter_context(serving(path, "--socket", str(path)))]
        trips = [opened.enter_context(closing(RoundTrip(path)))]
        for what in _ECHOES:
            path = folder / what
            servers.append(opened.enter_context(_echoing(path, what)))
            trips.append(opened.enter_context(closing(RoundTrip(path))))
        opened.callback(os.sched_setaffinity, 0, cores)
        here, there = min(cores), max(cores)
        served, echoed, modelled = _alternating(trips, servers, (here, here), blocks)
        model_us = float(np.median(modelled) - np.median(echoed))
        figures = [_figure("service_one_core_us", served, echoed, model_us)]
        served, echoed, _ = _alternating(trips, servers, (here, there), blocks)
        return [_figure("service_ratio", served, echoed, model_us, wanted=1.5), *figures]


def _alternating(
    trips: Sequence[RoundTrip], servers: Sequence[Child], cores: tuple[int, int], blocks: int
) -> list[npt.NDArray[np.float64]]:
    """Measure both back to back, in blocks in changing order; return both in us [blocks, calls].

    This process runs on the first core, the servers on the second.
    """
    here, there = cores
    os.sched_setaffinity(0, {here})
    for server in servers:
        server.keep_to(there)
    took_us = {trip: list[list[float]]() for trip in trips}
    for block in range(blocks):
        for trip in trips if block % 2 else trips[::-1]:
            took_us[trip].append(timed_us(_CALLS, trip))
    return [np.array(took_us[trip]) for trip in trips]


def _figure(
    name: str,
    served: npt.NDArray[np.float64],
    echoed: npt.NDArray[np.float64],
    model_us: float,
    wanted: float | None = None,
) -> Figure:
    return Figure(
        name=name,
        unit="us",
        ours=[summarise(block - model_us) for block in served],
        baseline=list(map(summarise, echoed)),
        wanted=wanted,
    )


if __name__ == "__main__":
    echo(sys.argv[2], _ECHOES[sys.argv[1]]())
