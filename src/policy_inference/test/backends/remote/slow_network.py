# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A network between this machine and itself: bytes come late, and some are sent again.

`python slow_network.py PORT DELAY_S JITTER_S LOSS` prints the port that connections are made to.
"""

import queue
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_PACKET_BYTES = 1448
"""Of TCP over Ethernet."""


@contextmanager
def slow_network(port: int, delay_s: float, jitter_s: float, loss: float) -> Iterator[int]:
    """Forward connections to a port of this machine; yield the port that they are made to.

    Packets are on their way side by side, and arrive in order, as those of TCP do: one that is lost
    is sent again a round trip later, and those behind it wait for it.

    Args:
        port: Of the server.
        delay_s: Mean time on the way, both ways together, s.
        jitter_s: Largest difference from it, s.
        loss: Share of the packets that are lost.
    """
    listening = socket.create_server(("127.0.0.1", 0))
    chance = random.Random(1)

    def send(source: socket.socket, sent: queue.SimpleQueue[tuple[float, bytes]]) -> None:
        arrives_s = 0.0
        with suppress(OSError):
            while packet := source.recv(_PACKET_BYTES):
                on_way_s = 0.5 * chance.uniform(delay_s - jitter_s, delay_s + jitter_s)
                while chance.random() < loss:
                    on_way_s += delay_s
                arrives_s = max(arrives_s, time.monotonic() + on_way_s)
                sent.put((arrives_s, packet))
        sent.put((arrives_s, b""))

    def arrive(sink: socket.socket, sent: queue.SimpleQueue[tuple[float, bytes]]) -> None:
        with suppress(OSError):
            while True:
                arrives_s, packet = sent.get()
                time.sleep(max(0.0, arrives_s - time.monotonic()))
                if not packet:
                    break
                sink.sendall(packet)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = listening.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", port))
                except OSError:  # the server is gone
                    near.close()
                    continue
                for source, sink in ((near, far), (far, near)):
                    sent = queue.SimpleQueue[tuple[float, bytes]]()
                    for work, end in ((send, source), (arrive, sink)):
                        threading.Thread(target=work, args=(end, sent), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


if __name__ == "__main__":
    with slow_network(int(sys.argv[1]), *map(float, sys.argv[2:5])) as open_port:
        sys.stdout.write(f"{open_port}\n")
        sys.stdout.flush()
        signal.pause()
