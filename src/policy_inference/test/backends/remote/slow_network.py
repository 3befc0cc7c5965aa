# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A network between this machine and itself: bytes come late, and some are sent again."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_RESENT_S = 0.2
"""What a lost packet costs over TCP, which sends it again."""


@contextmanager
def slow_network(port: int, delay_s: float, jitter_s: float, loss: float) -> Iterator[int]:
    """Forward connections to a port of this machine; yield the port that they are made to.

    Args:
        port: Of the server.
        delay_s: Mean time on the way, both ways together, s.
        jitter_s: Largest difference from it, s.
        loss: Share of the pieces that are lost.
    """
    listening = socket.create_server(("127.0.0.1", 0))
    chance = random.Random(1)

    def forward(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(1 << 16):
                time.sleep(0.5 * chance.uniform(delay_s - jitter_s, delay_s + jitter_s))
                if chance.random() < loss:
                    time.sleep(_RESENT_S)
                sink.sendall(piece)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = listening.accept()
                far = socket.create_connection(("127.0.0.1", port))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=forward, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
