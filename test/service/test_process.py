# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The service as a process: from its start to its end, with clients of each kind."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.errors import PolicyError
from policy_core.interfaces import F32
from policy_inference.service.client import connect
from policy_inference.service.protocol import (
    Code,
    Hello,
    ObservationScaling,
    ServiceError,
    Transport,
)


class Served:
    """A service that runs; what it logs is kept."""

    def __init__(self, *arguments: str) -> None:
        """Start it, and return when it is ready or has ended."""
        self.lines = list[str]()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "policy_inference.commands.main", "serve", *arguments],
            stderr=subprocess.PIPE,
            text=True,
        )
        self._decided = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        if not self._decided.wait(_WITHIN_S):
            self.end(signal.SIGKILL)
            raise TimeoutError(f"not ready within {_WITHIN_S:g} s: {self.log}")

    @property
    def log(self) -> str:
        """What it has logged so far; whole after `end`."""
        return "\n".join(self.lines)

    def end(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, unless it has ended; return the exit status."""
        if self._process.poll() is None:
            self._process.send_signal(by)
        try:
            status = self._process.wait(_WITHIN_S)
        finally:
            self._process.kill()
        self._reader.join()
        return status

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            for line in stream:
                self.lines.append(line.rstrip())
                if line.startswith("ready"):
                    self._decided.set()
        self._decided.set()


@contextmanager
def served(*arguments: str) -> Iterator[Served]:
    service = Served("--bundle", str(BUNDLE), *arguments)
    try:
        yield service
    finally:
        service.end()


def reference_rows() -> tuple[F32, F32]:
    """Observations as the model gets them [rows, obs], and the reference model's actions."""
    with np.load(BUNDLE / "golden.npz") as arrays:
        contract = load_bundle(BUNDLE, kind=JointBundle).contract
        (name,), output = contract.observations, contract.action.output
        return arrays[name].reshape(-1, OBS_DIM), arrays[output].reshape(-1, ACT_DIM)


def test_golden_observations_get_the_reference_models_actions(tmp_path: Path) -> None:
    place, (observations, actions) = str(tmp_path / "policy.sock"), reference_rows()
    with served("--framed-socket", place, "--spin-us", "20000"):
        for transport in Transport:
            hello = Hello(
                policy_sha256=bytes.fromhex(load_bundle(BUNDLE, kind=JointBundle).sha256),
                obs_dim=OBS_DIM,
                act_dim=ACT_DIM,
                scaling=ObservationScaling.NORMALISED,
                transport=transport,
            )
            with connect(place, hello) as client:
                found = [client.infer(observation)[0] for observation in observations]
            np.testing.assert_allclose(found, actions, atol=1e-4)


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_end_it_says_so_and_leaves_nothing(tmp_path: Path, by: signal.Signals) -> None:
    raw, framed = tmp_path / "raw.sock", tmp_path / "framed.sock"
    with served("--socket", str(raw), "--framed-socket", str(framed)) as service:
        clients = [connect(str(framed), Hello(transport=transport)) for transport in Transport]
        assert service.end(by) == 0
        for client in clients:
            with pytest.raises(PolicyError) as ending:
                client.infer(np.zeros(OBS_DIM))
            client.close()
        assert isinstance(ending.value, ServiceError)  # through shared memory
        assert ending.value.code is Code.ENDING
        assert not [path for path in (raw, framed) if path.exists()]
        assert service.lines[-1] == "ended"
        assert "Traceback" not in service.log


ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "config" / "bundles" / "lite3_walk"
OBS_DIM, ACT_DIM = 45, 12
_WITHIN_S = 60.0
