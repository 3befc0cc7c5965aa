# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What `policy_inference serve` adds to a model, against the least that a socket can do.

The baseline is a Python process that answers each 180 bytes with 48, and runs no model; the model's
own time is measured beside both and taken off ours. `python -m bench.service` measures
these figures alone, `python -m bench.service echo PATH` is the baseline.
"""

import logging
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from bench.figures import Figure, Summary, summarise, table
from bench.processes import BUNDLE, BenchError, Child, running
from bench.tick import BareCall
from bench.timing import timed_us
from policy_inference.errors import PolicyError
from policy_inference.service.client import PolicyClient, connect
from policy_inference.service.protocol import Hello

REQUEST_BYTES, REPLY_BYTES = 4 * 45, 4 * 12
_BLOCKS, _CALLS = 10, 2000
_ROBOTS, _BATCH_CALLS = 4, 500
_START_TIMEOUT_S = 30.0


class RoundTrip:
    """Sends an observation over a Unix socket and waits for its answer."""

    def __init__(self, path: Path) -> None:
        """Connect."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._request, self._reply = bytes(REQUEST_BYTES), bytearray(REPLY_BYTES)

    def __call__(self) -> None:
        """Go there and back."""
        self._socket.sendall(self._request)
        if self._socket.recv_into(self._reply, 0, socket.MSG_WAITALL) != REPLY_BYTES:
            raise BenchError("the connection was closed; the service's log says why")

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()


@contextmanager
def serving(path: Path, *arguments: str) -> Iterator[Child]:
    """Run the service with these arguments, and wait for its socket."""
    command = ["policy_inference", "serve", "--bundle", str(BUNDLE), *arguments]
    with running(command) as child:
        _wait_for(path, child)
        yield child


@contextmanager
def _echoing(path: Path) -> Iterator[Child]:
    with running([sys.executable, "-m", __name__, "echo", str(path)]) as child:
        _wait_for(path, child)
        yield child


def _wait_for(path: Path, child: Child) -> None:
    end_s = time.monotonic() + _START_TIMEOUT_S
    while not path.exists():
        child.check()
        if time.monotonic() > end_s:
            raise BenchError(f"no socket {path} within {_START_TIMEOUT_S:g} s")
        time.sleep(0.01)


def echo(path: str) -> None:
    """Answer one client, until it goes."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        connection, _ = listener.accept()
        request, reply = bytearray(REQUEST_BYTES), bytes(REPLY_BYTES)
        while connection.recv_into(request) == REQUEST_BYTES:
            connection.sendall(reply)


def measure() -> list[Figure]:
    """Measure on one core, where what the code adds shows most, and across two."""
    cores = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory() as folder:
        ours, bare = Path(folder, "service.sock"), Path(folder, "echo.sock")
        with serving(ours, "--socket", str(ours)) as service, _echoing(bare) as baseline:
            trips = RoundTrip(ours), RoundTrip(bare)
            try:
                return [_compare(name, *trips, [service, baseline], min(cores), there)
                        for name, there in (("service_ratio", min(cores)),
                                            ("service_two_cores_ratio", max(cores)))]
            finally:
                os.sched_setaffinity(0, cores)
                for trip in trips:
                    trip.close()


def _compare(name: str, ours: RoundTrip, bare: RoundTrip, servers: list[Child], here: int,
             there: int) -> Figure:
    """Measure back to back, in blocks that alternate in changing order."""
    os.sched_setaffinity(0, {here})
    for server in servers:
        server.keep_to(there)
    call = BareCall()
    sides = list[list[Summary]]([[], []])
    for block in range(_BLOCKS):
        model = summarise(timed_us(_CALLS, 0.0, call.run)).value
        for side in (0, 1) if block % 2 else (1, 0):
            took_us = np.array(timed_us(_CALLS, 0.0, (ours, bare)[side]))
            sides[side].append(summarise(took_us - (0.0 if side else model)))
    return Figure(name=name, unit="us", ours=sides[0], baseline=sides[1], wanted=1.5)


def measure_batch() -> list[Figure]:
    """Measure four robots in one request against four requests."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "service.sock")
        arguments = "--framed-socket", str(path), "--batch", str(_ROBOTS)
        with serving(path, *arguments), _client(path, _ROBOTS) as four, _client(path, 1) as one:
            return [_batch(four, one)]


def _client(path: Path, rows: int) -> PolicyClient:
    try:
        return connect(str(path), Hello(rows=rows))
    except PolicyError as error:
        raise BenchError(str(error)) from error


def _batch(four: PolicyClient, one: PolicyClient) -> Figure:
    rows = np.zeros((_ROBOTS, one.welcome.obs_dim), np.float32)

    def together() -> None:
        four.infer(rows)

    def apart() -> None:
        for row in rows:
            one.infer(row)

    sides = list[list[Summary]]([[], []])
    for block in range(_BLOCKS):
        for side in (0, 1) if block % 2 else (1, 0):
            call: Callable[[], None] = (together, apart)[side]
            sides[side].append(summarise(timed_us(_BATCH_CALLS, 0.0, call)))
    return Figure(name="service_batch_ratio", unit="us", ours=sides[0], baseline=sides[1],
                  wanted=0.5)


def _main(words: list[str]) -> None:
    if words:
        echo(words[1])
        return
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    from bench import shared_memory

    for part in (measure, measure_batch, shared_memory.measure):
        try:
            logging.info("%s", table(part()))
        except BenchError as error:
            logging.error("bench: %s", error)


if __name__ == "__main__":
    _main(sys.argv[1:])
