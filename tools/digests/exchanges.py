# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What `policy_inference serve` answers, byte for byte: raw, framed, through shared memory."""

from __future__ import annotations

import hashlib
import mmap
import os
import select
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from policy_inference.processes import environment
from tools.digests.bundles import seeded_walk
from tools.digests.digest import Case, CaseError
from tools.digests.robots import on_grid, wave
from tools.digests.seeded_backend import FAULT, TAP
from tools.digests.texts import plain_lines

Rows = npt.NDArray[np.float32]
OBS_DIM, ACT_DIM = 45, 12
_WAKE = b"\0"
_WITHIN_S = 60.0
_HEADER = struct.Struct("<IBBHIIQQQ")
_MAGIC = 0x464E4950
_HELLO_FRAME, _OBSERVATION_FRAME = 1, 3
_PHYSICAL, _SCALED, _NORMALISED = range(3)
_ACTION, _TARGET = range(2)
_ROWS = 60


def exchange(folder: Path) -> Iterator[tuple[str, Case]]:
    """Return a case for each protocol and scaling, and one of what is refused."""
    bundle = seeded_walk(folder / "seeded")
    token, fault, tap = folder / "token", folder / "fault", folder / "tap"
    token.write_text("a token of this test alone", "utf-8")
    token.chmod(0o600)
    raw, framed, guarded = folder / "raw", folder / "framed", folder / "guarded"
    with environment({FAULT: str(fault), TAP: str(tap)}):
        serving = Service(bundle, "--socket", raw, "--framed-socket", framed)
    with serving:
        for scaling in (_PHYSICAL, _SCALED, _NORMALISED):
            for answer in (_ACTION, _TARGET):
                name = ("physical", "scaled", "normalised")[scaling]
                what = ("action", "target")[answer]
                yield f"{name}_{what}", serving.framed(framed, scaling, answer)
        yield "shared_memory", serving.shared(framed)
        yield "raw", serving.raw(raw)
        yield "refusals", serving.refused(framed, fault)
    with Service(bundle, "--framed-socket", guarded, "--token-file", token) as serving:
        hellos = [_hello(token=text) for text in (b"", b"another", b"a token of this test alone")]
        yield (
            "token",
            {"answers": [line for hello in hellos for line in serving.first(guarded, hello)]},
        )


class Service:
    """A service as a process."""

    def __init__(self, bundle: Path, *words: str | Path, backend: str = "seeded") -> None:
        """Start it.

        Args:
            bundle: What is served.
            words: Further arguments.
            backend: What runs it.
        """
        self._bundle = bundle
        self._sha256 = hashlib.sha256((bundle / "policy.yaml").read_bytes()).digest()
        command = ["policy_inference", "serve", "--bundle", str(bundle), "--backend", backend]
        with (bundle.parent / "serve.log").open("ab") as stream:
            self._process = subprocess.Popen(
                [*command, *map(str, words)], stdin=subprocess.DEVNULL, stderr=stream
            )

    def __enter__(self) -> Service:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(_WITHIN_S)

    @property
    def log(self) -> str:
        """What the service printed so far."""
        return (self._bundle.parent / "serve.log").read_text("utf-8", errors="replace")

    def connect(self, path: Path) -> socket.socket:
        """Connect as soon as the service listens."""
        ends_s = time.monotonic() + _WITHIN_S
        while True:
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(_WITHIN_S)
            try:
                client.connect(str(path))
            except (FileNotFoundError, ConnectionRefusedError):
                client.close()
                if time.monotonic() > ends_s or self._process.poll() is not None:
                    raise CaseError(
                        f"policy_inference serve: does not listen at {path}\n{self.log}"
                    ) from None
                time.sleep(0.05)
            else:
                return client

    def framed(self, path: Path, scaling: int, answer: int) -> Case:
        """Return what comes of observations over the framed protocol."""
        with self.connect(path) as client:
            welcome = self.asked(client, _hello(scaling=scaling, answer=answer))
            frames = [
                self.asked(client, _frame(_OBSERVATION_FRAME, row.tobytes(), number, rows=1))
                for number, row in enumerate(_observations())
            ]
        return {"welcome": self.lines(welcome), **_answers(frames)}

    def shared(self, path: Path) -> Case:
        """Return what comes of observations through shared memory."""
        with self.connect(path) as client:
            client.sendall(_hello(transport=1))
            data, (memory,), *_ = socket.recv_fds(client, 4096, 1)
            (size,) = struct.unpack_from("<I", data, _HEADER.size + 44)
            block = mmap.mmap(memory, size)
            request_bytes = -(-(_HEADER.size + 4 * OBS_DIM) // 64) * 64
            answer_at = 256 + request_bytes
            answer_bytes = _HEADER.size + 4 * ACT_DIM
            frames = list[bytes]()
            for number, row in enumerate(_observations()):
                request = _frame(_OBSERVATION_FRAME, row.tobytes(), number, rows=1)
                block[256 : 256 + len(request)] = request
                struct.pack_into("<I", block, 128, 1)
                struct.pack_into("<Q", block, 0, number + 1)
                client.sendall(_WAKE)
                while struct.unpack_from("<Q", block, 64) != (number + 1,):
                    if not select.select([client], [], [], _WITHIN_S)[0]:
                        raise CaseError("policy_inference serve: expected a wake, found none")
                    client.recv(64)
                frames.append(_plain(block[answer_at : answer_at + answer_bytes]))
            block.close()
            os.close(memory)
        return {"welcome": self.lines(_plain(data)), **_answers(frames)}

    def raw(self, path: Path, observations: Rows | None = None) -> Case:
        """Return what comes of observations over the raw protocol, and of one that is refused."""
        with self.connect(path) as client:
            rows = list[bytes]()
            for row in _observations() if observations is None else observations.astype("<f4"):
                client.sendall(row.tobytes())
                rows.append(_received(client, 4 * ACT_DIM))
            client.sendall(np.full(OBS_DIM, np.nan, "<f4").tobytes())
            end = client.recv(1)
        return {
            "actions": np.array([np.frombuffer(row, "<f4") for row in rows]),
            "bytes": [row.hex() for row in rows] + [f"at NaN: {end!r}"],
        }

    def refused(self, path: Path, fault: Path) -> Case:
        """Return the errors that requests get which are wrong."""
        row = _observations()[0]
        good = _frame(_OBSERVATION_FRAME, row.tobytes(), 1, rows=1)
        bad = {
            "other hash": _hello(sha256=bytes([7]) * 32),
            "this hash": _hello(sha256=self._sha256),
            "other size": _hello(obs_dim=44),
            "too many rows": _hello(rows=2),
            "other magic": b"XXXX" + _hello()[4:],
            "other version": _hello()[:4] + b"\x09" + _hello()[5:],
            "unknown scaling": _hello(scaling=9),
            "before the hello": good,
        }
        lines = [f"{what}: {line}" for what, sent in bad.items() for line in self.first(path, sent)]
        with self.connect(path) as client:
            self.asked(client, _hello())
            for what, values in (("nan", np.nan), ("inf", np.inf), ("huge", 1e30)):
                sent = _frame(_OBSERVATION_FRAME, np.full(OBS_DIM, values, "<f4").tobytes(), 2, 1)
                lines += [f"{what}: {line}" for line in self.lines(self.asked(client, sent))]
            for what in ("raise", "nan"):
                fault.write_text(what, "utf-8")
                lines += [f"model {what}: {at}" for at in self.lines(self.asked(client, good))]
                fault.unlink()
            lines += [f"after: {line}" for line in self.lines(self.asked(client, good))]
            short = _frame(_OBSERVATION_FRAME, row[:-1].tobytes(), 1, rows=1)
            lines += [f"short: {line}" for line in self.lines(self.asked(client, short))]
        return {"errors": lines}

    def first(self, path: Path, request: bytes) -> list[str]:
        """Return what a new client gets for its first request."""
        with self.connect(path) as client:
            return self.lines(self.asked(client, request))

    def asked(self, client: socket.socket, request: bytes) -> bytes:
        """Return the frame that answers, without what the clock says."""
        client.sendall(request)
        header = _received(client, _HEADER.size)
        return _plain(header + _received(client, _HEADER.unpack(header)[4]))

    def lines(self, frame: bytes) -> list[str]:
        """Return a frame as text, without the hash of the contract."""
        header = _HEADER.unpack_from(frame)
        payload = frame[_HEADER.size :]
        words = f"type {header[1 + 1]} rows {header[5]} sequence {header[6]} stamp {header[7]}"
        if header[2] == 5:
            text = payload.decode().replace(self._sha256.hex(), "<sha256>")
            return [words, *plain_lines(text, work=self._bundle.parent)]
        return [words, payload.replace(self._sha256, bytes(32)).hex()]


def _observations() -> Rows:
    """Return rows that whole numbers make; some values are beyond a healthy run's."""
    rows = [on_grid(2.0 * wave(tick, OBS_DIM, 30)) for tick in range(_ROWS)]
    return np.array(rows).astype("<f4")


def _answers(frames: list[bytes]) -> Case:
    """Return the stages of answers: values, then bytes with all of the header."""
    values = [np.frombuffer(frame[_HEADER.size :], "<f4") for frame in frames]
    return {"answers": np.array(values), "bytes": [frame.hex() for frame in frames]}


def _hello(
    *,
    sha256: bytes = bytes(32),
    obs_dim: int = 0,
    rows: int = 1,
    scaling: int = _SCALED,
    answer: int = _ACTION,
    transport: int = 0,
    token: bytes = b"",
) -> bytes:
    words = struct.pack(
        "<32sIIIHHHH", sha256, obs_dim, 0, rows, scaling, answer, transport, len(token)
    )
    return _frame(_HELLO_FRAME, words + token, 0, rows=0)


def _frame(kind: int, payload: bytes, sequence: int, rows: int) -> bytes:
    stamp_ns = 1_000_000 * sequence
    header = _HEADER.pack(_MAGIC, 1, kind, 0, len(payload), rows, sequence, stamp_ns, 0)
    return header + payload


def _plain(frame: bytes) -> bytes:
    """Return a frame with the time 0 of its answer."""
    return frame[: _HEADER.size - 8] + bytes(8) + frame[_HEADER.size :]


def _received(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = client.recv(size - len(data))
        if not part:
            raise CaseError(f"policy_inference serve: expected {size} bytes, found the end")
        data += part
    return data
