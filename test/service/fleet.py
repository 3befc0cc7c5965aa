# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Clients at 200 Hz, one of which is killed again and again: how do the others fare?

    python test/service/fleet.py OBS_DIM ACT_DIM SECONDS KILLED_EVERY_S raw:PATH shm:PATH ...

One client per place; the last place is the one where each is killed and a new one comes, unless
KILLED_EVERY_S is 0. All processes are forked before the first request. Prints JSON: the round trips
of the others (us), how many failed, how many were killed.
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import NoReturn

import numpy as np

from policy_core.interfaces import F64
from policy_inference.service.client import connect
from policy_inference.service.protocol import Hello, Transport

PERIOD_S = 0.005
_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fared:
    """How the clients fared that were not killed."""

    p50_us: float
    p99_us: float
    p999_us: float
    answered: int
    failed: int
    killed: int


def run_fleet(
    places: Sequence[str], obs_dim: int, act_dim: int, *, seconds: float, killed_every_s: float
) -> Fared:
    """Run clients, the last of which are killed one after the other; see the module."""
    requests = round(seconds / PERIOD_S)
    shared = mmap.mmap(-1, 8 * requests * len(places))
    took_us: F64 = np.frombuffer(shared, np.float64).reshape(len(places), requests)
    kills = int(seconds / killed_every_s) if killed_every_s else 0
    gc.freeze()

    def waiting(place: int) -> Waiting:
        return Waiting(
            lambda begin_s: _ask(
                _asking(places[place], obs_dim, act_dim),
                took_us[place],
                begin_s + place * PERIOD_S / 8,
            )
        )

    steady = [waiting(place) for place in range(len(places) - 1)]
    one_by_one = [waiting(len(places) - 1) for _ in range(kills + 1)]
    begin_s = time.monotonic() + 0.2
    for client in (*steady, one_by_one[0]):
        client.begin(begin_s)
    rng = random.Random(1)
    for turn in range(kills):
        # In another phase of its period each time.
        _sleep_until(begin_s + (turn + rng.uniform(0.5, 0.9)) * killed_every_s)
        one_by_one[turn].kill()
        one_by_one[turn + 1].begin(time.monotonic())
    ended_well = [client.end() for client in steady]
    one_by_one[-1].kill()
    answered = took_us[:-1][took_us[:-1] > 0.0]
    p50, p99, p999 = np.percentile(answered, (50, 99, 99.9)).tolist()
    return Fared(
        p50_us=p50,
        p99_us=p99,
        p999_us=p999,
        answered=answered.size,
        failed=ended_well.count(False),
        killed=kills,
    )


class Waiting:
    """A process that was forked and waits until it may begin."""

    def __init__(self, does: Callable[[float], None]) -> None:
        self._go, go = socket.socketpair()
        self._process = os.fork()
        if self._process == 0:
            self._go.close()
            _child(go, does)
        go.close()

    def begin(self, at_s: float) -> None:
        """Let it begin then, by the monotonic clock."""
        self._go.sendall(repr(at_s).encode())

    def kill(self) -> None:
        os.kill(self._process, signal.SIGKILL)
        self.end()

    def end(self) -> bool:
        """Wait for its end; return whether it was a good one."""
        return os.waitpid(self._process, 0)[1] == 0


def _child(go: socket.socket, does: Callable[[float], None]) -> NoReturn:
    try:
        begin = go.recv(64)
        if begin:  # else its parent has gone
            does(float(begin))
    except BaseException as error:  # noqa: BLE001  what is forked must not return
        sys.stderr.write(f"{error}\n")
        os._exit(1)
    os._exit(0)


def _asking(place: str, obs_dim: int, act_dim: int) -> Callable[[], object]:
    """Connect; return what makes one request and gets its answer."""
    protocol, _, path = place.partition(":")
    observation = np.zeros(obs_dim, np.float32)
    if protocol != "raw":
        client = connect(
            path,
            Hello(
                obs_dim=obs_dim,
                act_dim=act_dim,
                transport=Transport.SHARED_MEMORY if protocol == "shm" else Transport.STREAM,
            ),
            timeout_s=_TIMEOUT_S,
        )
        return lambda: client.infer(observation)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_TIMEOUT_S)
    connection.connect(path)

    def ask() -> None:
        connection.sendall(observation.tobytes())
        size = len(connection.recv(4 * act_dim, socket.MSG_WAITALL))
        if size != 4 * act_dim:
            raise ConnectionError(f"expected {4 * act_dim} bytes, found {size}")

    return ask


def _ask(ask: Callable[[], object], took_us: F64, begin_s: float) -> None:
    for turn in range(len(took_us)):
        _sleep_until(begin_s + turn * PERIOD_S)
        began_ns = time.perf_counter_ns()
        ask()
        took_us[turn] = (time.perf_counter_ns() - began_ns) * 1e-3


def _sleep_until(at_s: float) -> None:
    time.sleep(max(0.0, at_s - time.monotonic()))


if __name__ == "__main__":
    obs_dim, act_dim, seconds, killed_every_s, *places = sys.argv[1:]
    sys.stdout.write(
        json.dumps(
            asdict(
                run_fleet(
                    places,
                    int(obs_dim),
                    int(act_dim),
                    seconds=float(seconds),
                    killed_every_s=float(killed_every_s),
                )
            )
        )
        + "\n"
    )
