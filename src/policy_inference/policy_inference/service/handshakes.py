# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""TLS handshakes, on a thread of their own: they compute long, and peers may stop in the middle."""

from __future__ import annotations

import selectors
import socket
import ssl
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from policy_inference.service.tls_stream import TlsStream
from policy_inference.service.waker import Waker

MOST = 32
"""Under way at once; with one more, the address that has most of them loses its oldest."""
WITHIN_S = 3.0


@dataclass(slots=True, kw_only=True, eq=False)
class Handshake:
    """One of them.

    Attributes:
        connected: The socket; closed where it failed.
        context: What TLS is made from.
        where: It was accepted.
        address: Of the client's machine.
        client: Who it is, for people; with the name in its certificate once that was verified.
        failure: Why it failed; empty where it did not.
        stream: TLS over the socket, once it has begun.
    """

    connected: socket.socket
    context: ssl.SSLContext
    where: str
    address: str
    client: str
    failure: str = ""
    stream: TlsStream | None = None


class Handshakes:
    """Makes them; `begin`, `ended` and `close` belong to one thread."""

    def __init__(self, wake: Callable[[], None], within_s: float = WITHIN_S) -> None:
        """Start the thread.

        Args:
            wake: Called from that thread whenever one has ended.
            within_s: Time for each.
        """
        self._wake, self._within_s, self._count = wake, within_s, 0
        self._new, self._ended = deque[Handshake](), deque[Handshake]()
        self._waker = Waker()
        self._is_closed = False
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._waker, selectors.EVENT_READ)
        # By the time at which they end; the first that began is the first that is late.
        self._under_way = dict[Handshake, float]()
        self._thread = threading.Thread(target=self._run, name="handshakes", daemon=True)
        self._thread.start()

    @property
    def is_crowded(self) -> bool:
        """Whether those that come push others out."""
        return self._count >= MOST

    @property
    def is_full(self) -> bool:
        """Whether no more can begin: the thread does not keep up."""
        return self._count >= 2 * MOST

    def begin(self, handshake: Handshake) -> None:
        """Begin one; its socket belongs to the thread until it ends."""
        self._count += 1
        self._new.append(handshake)
        self._waker.wake()

    def ended(self) -> list[Handshake]:
        """Return those that have ended since the last call."""
        found = [self._ended.popleft() for _ in range(len(self._ended))]
        self._count -= len(found)
        return found

    def close(self) -> None:
        """End the thread and close all sockets that nobody took."""
        self._is_closed = True
        self._waker.wake()
        self._thread.join()
        for handshake in (*self._new, *self._under_way, *self._ended):
            handshake.connected.close()
        self._selector.close()
        self._waker.close()

    def _run(self) -> None:
        while not self._is_closed:
            for key, _ in self._selector.select(self._until()):
                if key.data is not None:
                    self._go_on(key.data)
            self._waker.awake()
            while self._new:
                self._start(self._new.popleft())
            while len(self._under_way) > MOST:
                self._end(self._superfluous(), "no TLS handshake yet, and others come")
            now_s = time.monotonic()
            while self._under_way and next(iter(self._under_way.values())) <= now_s:
                self._end(next(iter(self._under_way)), "no TLS handshake in time")

    def _superfluous(self) -> Handshake:
        """Return the oldest of the address that has most: one machine keeps no other out."""
        counts = Counter(handshake.address for handshake in self._under_way)
        return max(self._under_way, key=lambda handshake: counts[handshake.address])

    def _until(self) -> float | None:
        ends_s = next(iter(self._under_way.values()), None)
        return None if ends_s is None else max(0.0, ends_s - time.monotonic())

    def _start(self, handshake: Handshake) -> None:
        handshake.stream = TlsStream(handshake.connected, handshake.context)
        self._selector.register(handshake.connected, selectors.EVENT_READ, handshake)
        self._under_way[handshake] = time.monotonic() + self._within_s

    def _go_on(self, handshake: Handshake) -> None:
        """Take one record: a client that sends on and on leaves turns to the others."""
        stream = handshake.stream
        assert stream is not None
        try:
            owner = stream.common_name if stream.shake_hands() else None
        except BlockingIOError:
            self._selector.modify(handshake.connected, selectors.EVENT_WRITE if stream.has_unsent
                                  else selectors.EVENT_READ, handshake)
        except ssl.SSLCertVerificationError as error:
            self._end(handshake, f"its certificate: {error.verify_message}")
        except OSError as error:
            self._end(handshake, f"TLS: {getattr(error, 'reason', None) or error.strerror}")
        except Exception as error:  # noqa: BLE001  # such as text in a certificate that is none
            self._end(handshake, f"its certificate: {type(error).__name__}: {error}")
        else:
            if owner is not None:
                handshake.client = (f"{owner!r} at {handshake.client}" if owner
                                    else handshake.client)
                self._end(handshake)

    def _end(self, handshake: Handshake, failure: str = "") -> None:
        self._selector.unregister(handshake.connected)
        del self._under_way[handshake]
        handshake.failure = failure
        if failure:
            handshake.connected.close()
        self._ended.append(handshake)
        self._wake()
