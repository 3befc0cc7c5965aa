# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Common parts of remote models: deadlines, verification of every connection, reconnection.

No run waits for a connection. Without a connection, a run fails immediately, while a separate
thread reconnects with increasing pauses; each new connection is verified before a run uses it.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from policy_core.errors import BackendError, PolicyError, shown
from policy_core.interfaces import Tensor, TensorSpec
from policy_core.safe_files import read_at_most
from policy_inference.backends.base import BackendBase, timed_runs
from policy_store.hosts import is_loopback

CONNECT_WITHIN_S, PROOF_WITHIN_S = 3.0, 30.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
"""Shortest and longest pause between two connection attempts."""
MOST_LATE = 5
"""Number of consecutive late answers after which the server counts as hung."""
_BUDGET_RUNS, _BUDGET_S = 20, 2.0
_BLOCKING_S = 0.1
"""Deadline below which the policy presumably runs in every tick, so that ticks wait for answers."""
_LARGEST_SECRET_BYTES = 1 << 16
_log = logging.getLogger("policy_inference")
Arrays = Mapping[str, Tensor]


class LateError(BackendError):
    """No answer arrived in time."""


class LostError(BackendError):
    """The connection can no longer be used: it has ended, or the server is not trusted."""


class ServerConnection(ABC):
    """A connection to a server, used by one thread at a time.

    Attributes:
        inputs: The server's input tensors; -1 for a dynamic axis.
        outputs: The server's output tensors.
        details: Details that the server reports.
        lost: Reason why the connection ended; empty while it is alive.
        survives_late: True if the connection remains usable after a late answer.
    """

    inputs: Sequence[TensorSpec] = ()
    outputs: Sequence[TensorSpec] = ()
    details: Mapping[str, str] = {}
    lost = ""
    survives_late = True

    @abstractmethod
    def ask(self, inputs: Arrays, outputs: Arrays, within_s: float) -> None:
        """Send `inputs`, and write the answer to `outputs`.

        Raises:
            LateError: No answer arrived within the time limit.
            LostError: The connection ended, or the answer belongs to a different request.
            BackendError: The server refused the request, or failed.
        """

    @abstractmethod
    def prove(self, inputs: Arrays, outputs: Arrays) -> None:
        """Verify the server with known inputs and outputs; the arrays are overwritten.

        Raises:
            BackendError: The server has a different model.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the connection; may be called from any thread, and more than once."""


@contextmanager
def texts_shown() -> Iterator[None]:
    """In errors that the block raises, shorten server texts and make them safe for a terminal.

    The errors' messages go to logs, `~/status` and terminals.
    """
    try:
        yield
    except BackendError as error:
        raise type(error)(shown(str(error))) from error


Connect = Callable[[Callable[[ServerConnection], None]], ServerConnection]
"""Function that connects and returns an unverified connection; its argument is a function to call
with a connection that ends on its own. Raises BackendError.
"""


class RemoteLink:
    """Link to a server: a verified connection, or a thread that tries to establish one."""

    def __init__(
        self, where: str, connect: Connect, prove: Callable[[ServerConnection], None]
    ) -> None:
        """Connect for the first time, without verification.

        Args:
            where: The server's name, used in messages.
            connect: Establishes a connection.
            prove: Verifies a connection; raises BackendError if it leads to a different model.

        Raises:
            BackendError: The connection failed.
        """
        self._where, self._connect, self._prove = where, connect, prove
        self._changed, self._is_closed, self._late = threading.Condition(), False, 0
        self._why = ""
        self._connection: ServerConnection | None = None
        self._thread: threading.Thread | None = None
        self.first = connect(self._lose)

    @property
    def problem(self) -> str:
        """Reason why runs currently fail; "" if they can succeed."""
        return f"no connection to {self._where}: {self._why}" if self._why else ""

    def start(self) -> None:
        """Verify the first connection, then use it.

        Raises:
            BackendError: The server has a different model.
        """
        self._prove(self.first)
        self._use(self.first)
        self._thread = threading.Thread(target=self._work, name="remote", daemon=True)
        self._thread.start()

    def ask(self, inputs: Arrays, outputs: Arrays, within_s: float) -> None:
        """Send a request as `ServerConnection.ask` does; fail immediately without a connection."""
        connection = self._connection
        if connection is None:
            raise LostError(self.problem)
        try:
            with texts_shown():
                connection.ask(inputs, outputs, within_s)
        except LostError as error:
            self._lose(connection, str(error))
            raise
        except LateError as error:
            self._late += 1
            if self._late >= MOST_LATE or not connection.survives_late:
                self._lose(connection, str(error))
            raise
        self._late = 0

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if self._thread is not None:
            # A thread that is connecting closes the new connection itself.
            self._thread.join(CONNECT_WITHIN_S + 1.0)
        for connection in (self.first, self._connection):
            if connection is not None:
                connection.close()

    def _use(self, connection: ServerConnection) -> None:
        with self._changed:
            self._connection, self._why, self._late = connection, "", 0
        if connection.lost:  # lost before this link used it
            self._lose(connection)

    def _lose(self, connection: ServerConnection, why: str = "") -> None:
        with self._changed:
            if connection is self._connection:
                self._connection, self._why = None, why or connection.lost
                self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                lost = self._connection
                self._changed.wait_for(lambda: self._is_closed or self._connection is None)
                if self._is_closed:
                    return
            if lost is not None:
                lost.close()
            _log.warning("%s: %s; reconnecting", self._where, self._why)
            self._again()

    def _again(self) -> None:
        began_s, pause_s, said = time.monotonic(), FIRST_PAUSE_S, self._why
        while not self._closed_within(pause_s):
            connection = None
            try:
                connection = self._connect(self._lose)
                self._prove(connection)
            except BackendError as error:
                if connection is not None:
                    connection.close()
                self._why, pause_s = str(error), min(2 * pause_s, LONGEST_PAUSE_S)
                if said != self._why:
                    _log.warning("%s: %s; reconnecting", self._where, self._why)
                said = self._why
                continue
            if self._closed_within(0.0):
                connection.close()
                return
            _log.info("%s: reconnected after %.1f s", self._where, time.monotonic() - began_s)
            self._use(connection)
            return

    def _closed_within(self, time_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._is_closed, time_s)


class RemoteBackend(BackendBase):
    """A model on another machine, behind a `RemoteLink`.

    A subclass implements `_prepare` and `_connect`.
    """

    is_remote = True
    warm_up_runs = 1  # warm-up is the server's task; answer times are measured on opening
    _link: RemoteLink | None = None
    _within_s = PROOF_WITHIN_S
    """Time limit for the next run; longer for the first run, which is part of opening."""
    where = ""
    """The server's name, used in messages."""

    @abstractmethod
    def _prepare(self, file: Path) -> None:
        """Read the file and the options, import the packages, and set `where`."""

    @abstractmethod
    def _connect(self, lose: Callable[[ServerConnection], None]) -> ServerConnection:
        """Return a connection; see `Connect`."""

    def problem(self) -> str:
        return self._link.problem if self._link is not None else ""

    def _open(
        self, file: Path
    ) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec], Mapping[str, str]]:
        self._prepare(file)
        self._deadline_s = self._number("deadline_ms", 1e3 * self._deadline_s) * 1e-3
        self._link = RemoteLink(self.where, self._connected, self._proven)
        first = self._link.first
        details = {key: shown(text) for key, text in first.details.items()}
        return first.inputs, first.outputs, {**details, "device": f"server {self.where}"}

    def _bind(self) -> None:
        assert self._link is not None
        self._link.start()
        self.details = {**self.details, "round_trip": self._budget(self._link)}

    def _run(self) -> None:
        assert self._link is not None
        within_s, self._within_s = self._within_s, self._deadline_s
        try:
            self._link.ask(self.inputs, self.outputs, within_s)
        except BackendError as error:
            raise BackendError(f"{self.name}: {self.where}: {error}") from error

    def _close(self) -> None:
        if self._link is not None:
            self._link.close()

    def _connected(self, lose: Callable[[ServerConnection], None]) -> ServerConnection:
        try:
            with texts_shown():
                return self._connect(lose)
        except BackendError as error:
            raise BackendError(f"{self.name}: {self.where}: {error}") from error

    def _proven(self, connection: ServerConnection) -> None:
        """Raise an error unless a connection has the first connection's tensors and model."""
        inputs, outputs = self.specs
        for what, ours, theirs in (
            ("inputs", self._link_first.inputs, connection.inputs),
            ("outputs", self._link_first.outputs, connection.outputs),
        ):
            if {*ours} != {*theirs}:
                raise BackendError(
                    f"{what}: expected {', '.join(map(str, ours))} as when it was opened, found "
                    f"{', '.join(map(str, theirs))}"
                )
        with texts_shown():
            connection.prove(
                {spec.name: spec.empty() for spec in inputs},
                {spec.name: spec.empty() for spec in outputs},
            )

    @property
    def _link_first(self) -> ServerConnection:
        assert self._link is not None
        return self._link.first

    def _budget(self, link: RemoteLink) -> str:
        """Measure the answer times, and describe them in words.

        Raises:
            BackendError: Most answers would arrive too late.
        """
        took_s = timed_runs(
            lambda: link.ask(self.inputs, self.outputs, PROOF_WITHIN_S), _BUDGET_RUNS, _BUDGET_S
        )
        usual_s = median(took_s)
        text = f"{usual_s * 1e3:.3g} ms (slowest of {len(took_s)}: {max(took_s) * 1e3:.3g} ms)"
        if usual_s >= self._deadline_s:
            raise BackendError(
                f"{self.name}: {self.where}: expected answers within the deadline of "
                f"{self._deadline_s * 1e3:g} ms, found {text}; use a faster or nearer server, or "
                f"raise {self.name}.deadline_ms as far as the policy can wait"
            )
        if self._deadline_s < _BLOCKING_S:
            _log.warning(
                "%s: each tick waits for %s: an answer takes %s; a tick whose answer takes longer "
                "than %g ms has no target (HOLD)",
                self.name,
                self.where,
                text,
                self._deadline_s * 1e3,
            )
        return f"{text}; deadline {self._deadline_s * 1e3:g} ms"

    def _number(self, option: str, default: float) -> float:
        """Return an option's value, a positive number; `default` if it is not set."""
        text = self._given.get(option, "")
        try:
            number = float(text) if text else default
        except ValueError:
            number = 0.0
        if not 0.0 < number < 1e6:
            raise BackendError(f"{self.name}: {option}: expected a positive number, found {text!r}")
        return number

    def _secret(self, option: str) -> str:
        """Return the stripped text of a file that an option names; "" if the option is not set."""
        return self._read_option(option).decode("ascii", "replace").strip()

    def _read_option(self, option: str) -> bytes:
        """Return the content of a file that an option names; empty if the option is not set."""
        file = self._given.get(option, "")
        if not file:
            return b""
        try:
            return read_at_most(Path(file), _LARGEST_SECRET_BYTES)
        except (OSError, PolicyError) as error:
            raise BackendError(
                f"{self.name}: {option}: expected a file that can be read, found: {error}"
            ) from error

    def _require_private(self, host: str, *, is_encrypted: bool, option: str) -> None:
        """Raise an error if a secret would be sent unencrypted to another machine."""
        if not is_encrypted and self._given.get(option) and not is_loopback(host):
            raise BackendError(
                f"{self.name}: {option}: expected TLS to {host} (without it, anyone could read the "
                "secret in transit), found none"
            )
