# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One thread that serves all clients: read from ready clients, infer once, answer."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial

from policy_core.errors import BackendError
from policy_inference.peers import Waker
from policy_inference.service.connection import (
    Connection,
    Disconnected,
    RawConnection,
    client_name,
    set_options,
)
from policy_inference.service.endpoints import Listener
from policy_inference.service.framed import FramedConnection
from policy_inference.service.observer import Observer
from policy_inference.service.protocol import Code, ServiceError
from policy_inference.service.serving import ClientSession, ServedModel
from policy_inference.service.spinning import Spinning

HELLO_WITHIN_NS = 1_000_000_000
REST_WITHIN_NS = 100_000_000
_PAUSE_NS = 5_000_000
"""Time until clients are accepted again after system resources have run out."""
_SILENT_NS = 10_000_000_000
"""Time without a request after which a client may be disconnected to make room for another."""
_ACCEPTED_PER_PASS = 2
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_IDLE_S = 1.0
"""Maximum time between wake-ups, so the loop's observer can report that it is alive."""
_NO_HELLO = f"no HELLO within {HELLO_WITHIN_NS // 1_000_000} ms"
_NO_REST = f"the rest of a request did not follow within {REST_WITHIN_NS // 1_000_000} ms"


class ServiceLoop:
    """Serves clients until it is stopped.

    Each pass is bounded: it accepts a few clients, and reads at most one request from each
    connection. Requests that are ready together share an inference; none waits for the others.
    """

    def __init__(
        self,
        model: ServedModel,
        listeners: Sequence[Listener],
        *,
        clients: int = 64,
        spin_ns: int = 0,
        observer: Observer | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Register the listeners.

        Args:
            model: The served model.
            listeners: Listening sockets; closed with the loop.
            clients: Maximum number of simultaneous clients.
            spin_ns: Time to poll shared memory for the next request before sleeping, ns.
            observer: Receives all events.
            clock: Clock for all time-outs, ns.
        """
        self._model, self._most_clients = model, clients
        self._observer, self._clock = observer or Observer(), clock
        self._connections = dict[int, Connection]()
        # With their deadlines: entries of one kind have equal time-outs, so the oldest comes first.
        self._greeting, self._incomplete = dict[Connection, int](), dict[Connection, int]()
        self._paused = dict[Listener, int]()
        self._waiting = dict[Connection, ClientSession]()
        self._poll = select.epoll()
        self._most_events = clients + len(listeners) + 1
        self._sources = dict[int, Callable[[], None]]()
        self._waker, self._spinning = Waker(), Spinning(spin_ns)
        self._listeners, self._is_stopped, self._now_ns = listeners, False, clock()
        self._watch(self._waker.fileno(), self._waker.awake)
        for listener in listeners:
            self._watch(listener.socket.fileno(), partial(self._accept, listener))

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when a pass has work to do."""
        return self._poll.fileno()

    def stop(self) -> None:
        """Make `run` return; any thread may call this."""
        self._is_stopped = True
        self._waker.wake()

    def run(self) -> None:
        while not self._is_stopped:
            self.step(_IDLE_S)

    def step(self, timeout_s: float) -> None:
        """Make one pass, waiting for work up to a time limit."""
        # Waits that begin in this pass cannot expire in it.
        may_be_late = bool(self._incomplete or self._greeting or self._paused)
        asking, events = (
            self._spinning.wait(self._poll, self._most_events, timeout_s, self._clock)
            if self._spinning.expected
            else ((), [])
        )
        if not asking and not events:
            events = self._poll.poll(
                self._until(timeout_s) if may_be_late else timeout_s, self._most_events
            )
        self._now_ns = now_ns = self._clock()
        for client in asking:
            self._read(client, client.read_memory)
        for fd, _ in events:
            if (connection := self._connections.get(fd)) is not None:
                self._read(connection, connection.read)
            elif (source := self._sources.get(fd)) is not None:  # else closed in this pass
                source()
        if self._waiting:
            self._answer()
        if may_be_late:
            self._end_late_ones()
        self._observer.passed(now_ns)

    def close(self) -> None:
        """Announce the end of the service to framed clients, and close everything."""
        ending = ServiceError(Code.ENDING, "the service is stopping")
        for connection in [*self._connections.values()]:
            self._end(connection, ending)
        for listener in self._listeners:
            listener.close()
        self._poll.close()
        self._waker.close()

    def __enter__(self) -> ServiceLoop:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- requests from connected clients

    def _read(self, connection: Connection, read: Callable[[], bool]) -> None:
        try:
            is_complete = read()
        except (ServiceError, Disconnected) as error:
            self._end(connection, error)
            return
        if is_complete:
            self._incomplete.pop(connection, None)
            assert connection.session is not None
            connection.asked_ns = self._now_ns
            self._waiting[connection] = connection.session
            return
        if connection.is_incomplete:
            self._incomplete.setdefault(connection, self._now_ns + REST_WITHIN_NS)
        else:
            self._incomplete.pop(connection, None)
        if connection.session is not None and self._greeting.pop(connection, None) is not None:
            connection.asked_ns = self._now_ns

    def _answer(self) -> None:
        """Run inference for all waiting clients, and answer them."""
        sessions, began_ns = [*self._waiting.values()], self._clock()
        self._model.infer(sessions)
        took_ns = self._clock() - began_ns
        if spoken := self._poll.poll(0, self._most_events):
            self._send_away_impatient(spoken)
        waiting, self._waiting, rows = self._waiting, {}, 0
        for connection in waiting:
            try:
                connection.answer()
            except ServiceError as error:
                self._fail(connection, error)
            except Disconnected as error:
                self._end(connection, error)
            else:
                now_ns = self._clock()
                self._observer.answered(connection, now_ns - self._now_ns)
                if connection.memory is not None:
                    self._spinning.expect(connection, now_ns)
        for session in sessions:
            rows += session.rows
        self._observer.inferred(rows, took_ns)

    def _send_away_impatient(self, events: Sequence[tuple[int, int]]) -> None:
        """Disconnect clients that sent more data while the model was computing their answer."""
        for fd, _ in events:
            connection = self._connections.get(fd)
            if connection in self._waiting and connection.has_more():
                self._end(
                    connection,
                    ServiceError(Code.NOT_IN_TURN, "sent more than one request before its answer"),
                )

    def _fail(self, connection: Connection, error: ServiceError) -> None:
        if error.code.closes or connection.protocol == "raw":
            self._end(connection, error)
        else:
            self._observer.failed(connection, error)
            try:
                connection.say(error)
            except Disconnected as gone:
                self._end(connection, gone)
        if error.code is Code.INFERENCE_FAILED and (problem := self._model.problem):
            raise BackendError(problem)

    def _end(self, connection: Connection, reason: ServiceError | Disconnected) -> None:
        """Close a connection, with a reason if the client's protocol supports it."""
        if isinstance(reason, ServiceError):
            self._observer.failed(connection, reason)
            with contextlib.suppress(Disconnected):
                connection.say(reason)
        del self._connections[connection.fileno()]
        self._spinning.forget(connection.memory)
        for clients in self._waiting, self._greeting, self._incomplete:
            clients.pop(connection, None)
        connection.close()
        self._observer.disconnected(connection, str(reason))

    # -- new clients

    def _accept(self, listener: Listener) -> None:
        """Accept a few clients; if that fails, leave the rest queued for a moment."""
        for _ in range(_ACCEPTED_PER_PASS):
            try:
                connected, address = listener.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    continue  # that client has already left
                self._observer.cannot_accept(listener.where, str(error.strerror))
                self._poll.modify(listener.socket.fileno(), 0)
                self._paused[listener] = self._now_ns + _PAUSE_NS
                return
            connected.setblocking(False)
            try:
                client = client_name(connected, address)
                set_options(connected)
            except OSError:  # it has already left
                connected.close()
                continue
            self._let_in(listener.protocol, connected, f"{listener.where}: {client}")

    def _let_in(self, protocol: str, connected: socket.socket, name: str) -> None:
        kind = RawConnection if protocol == "raw" else FramedConnection
        connection: Connection = kind(connected, name, self._model)
        if not self._has_room():
            error = ServiceError(
                Code.FULL,
                f"expected fewer than {self._most_clients} other clients, found that many; "
                "disconnect one, or allow more (--clients)",
            )
            with contextlib.suppress(Disconnected):
                connection.say(error)
            connection.close()
            self._observer.refused(name, str(error))
            return
        self._connections[connection.fileno()] = connection
        self._poll.register(connection.fileno(), select.EPOLLIN)
        if connection.session is None:
            self._greeting[connection] = self._now_ns + HELLO_WITHIN_NS
        self._observer.connected(connection)

    def _has_room(self) -> bool:
        """Return True if there is room for a client; disconnect a silent one if necessary."""
        if len(self._connections) < self._most_clients:
            return True
        silent = min(self._connections.values(), key=lambda client: client.asked_ns)
        if silent.asked_ns >= 0 and self._now_ns - silent.asked_ns <= _SILENT_NS:
            return False
        since = "yet" if silent.asked_ns < 0 else f"for {_SILENT_NS // 1_000_000_000} s"
        self._end(
            silent,
            ServiceError(Code.FULL, f"has sent no request {since}, and other clients are waiting"),
        )
        return True

    # -- deadlines

    def _until(self, timeout_s: float) -> float:
        """Return the time until the first deadline, at most `timeout_s`."""
        ends_ns = [
            next(iter(late.values()))
            for late in (self._incomplete, self._greeting, self._paused)
            if late
        ]
        return min(timeout_s, max(0.0, (min(ends_ns) - self._clock()) * 1e-9))

    def _end_late_ones(self) -> None:
        for late, what in (self._incomplete, _NO_REST), (self._greeting, _NO_HELLO):
            while late and next(iter(late.values())) <= self._now_ns:
                self._end(next(iter(late)), ServiceError(Code.TOO_LATE, what))
        while self._paused and next(iter(self._paused.values())) <= self._now_ns:
            listener = next(iter(self._paused))
            del self._paused[listener]
            self._poll.modify(listener.socket.fileno(), select.EPOLLIN)

    # -- event sources that wake the loop

    def _watch(self, fd: int, source: Callable[[], None]) -> None:
        self._sources[fd] = source
        self._poll.register(fd, select.EPOLLIN)
