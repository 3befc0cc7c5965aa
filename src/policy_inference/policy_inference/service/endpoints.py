# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Client endpoints: listening sockets, their permissions, and refusal of unsafe ones."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from policy_core.errors import PolicyError
from policy_inference.peers import BACKLOG, listen_tcp
from policy_inference.service import unix_socket

SOCKET_NAME = "policy.sock"
_RUN = Path("/run/policy_inference")


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointOptions:
    """Requested endpoints; if there are none, `default_socket` is used.

    Attributes:
        socket: Socket path for the raw protocol.
        tcp: Host and port for the raw protocol.
        framed_socket: Socket path for the framed protocol.
        socket_group: Group of the socket files; the process's group if empty.
        insecure_tcp: True if other machines may reach raw TCP.
    """

    socket: Path | None = None
    tcp: tuple[str, int] | None = None
    framed_socket: Path | None = None
    socket_group: str = ""
    insecure_tcp: bool = False


class Listener:
    """A listening socket for clients.

    Attributes:
        socket: The non-blocking socket.
        protocol: "raw" or "framed".
        where: Address used in messages.
        port: TCP port; 0 for a Unix socket.
        warning: Security warning; may be empty.
    """

    def __init__(
        self,
        listening: socket.socket,
        protocol: str,
        where: str,
        *,
        path: Path | None = None,
        warning: str = "",
    ) -> None:
        listening.setblocking(False)
        self.socket, self.protocol, self.where = listening, protocol, where
        self.warning = warning
        self.port: int = 0 if path else listening.getsockname()[1]
        self._path, self._identity = path, path.lstat().st_ino if path else None

    def close(self) -> None:
        """Close the socket, and remove its file if this listener still owns it."""
        self.socket.close()
        if self._path is not None:
            with contextlib.suppress(OSError):
                if self._path.lstat().st_ino == self._identity:
                    self._path.unlink()


def open_listeners(asked: EndpointOptions) -> list[Listener]:
    """Open all requested endpoints, or none."""
    framed_socket = asked.framed_socket
    if not (asked.socket or asked.tcp or framed_socket):
        framed_socket = default_socket(os.environ)
    with contextlib.ExitStack() as opened:
        listeners = list[Listener]()

        def add(listener: Listener) -> None:
            opened.callback(listener.close)
            listeners.append(listener)

        for path, protocol in ((asked.socket, "raw"), (framed_socket, "framed")):
            if path is not None:
                listening = unix_socket.listen(path, BACKLOG, asked.socket_group)
                add(Listener(listening, protocol, str(path), path=path))
        if asked.tcp is not None:
            add(_raw_tcp(asked.tcp, asked))
        opened.pop_all()
    return listeners


def default_socket(environment: Mapping[str, str]) -> Path:
    """Return the socket path used if no endpoint is requested; creates its folder.

    The folder is the runtime directory set by systemd, otherwise a folder in the user's runtime
    directory, otherwise one in /run.
    """
    given = environment.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given, SOCKET_NAME)
    users = environment.get("XDG_RUNTIME_DIR", "")
    if users:
        folder = Path(users, "policy_inference")
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise PolicyError(
                f"{folder}: expected a folder for {SOCKET_NAME}, found: "
                f"{error.strerror}; name a path with --framed-socket"
            ) from error
        return folder / SOCKET_NAME
    if os.access(_RUN, os.W_OK | os.X_OK):
        return _RUN / SOCKET_NAME
    raise PolicyError(
        "expected a runtime directory for the socket (RUNTIME_DIRECTORY, "
        f"XDG_RUNTIME_DIR, or {_RUN} that this user may write to), found none; name "
        "a path: --framed-socket"
    )


def _raw_tcp(place: tuple[str, int], asked: EndpointOptions) -> Listener:
    where, listening, is_beyond = listen_tcp(
        "--tcp",
        place,
        needs_secret=not asked.insecure_tcp,
        remedy="the raw protocol has no encryption and no authentication: use --open-inference "
        "with TLS, or add --insecure-tcp",
    )
    warning = (
        f"INSECURE: {where} serves the raw protocol to other machines: any program that "
        "reaches it can query the policy (--insecure-tcp), and queries are not encrypted"
    )
    return Listener(listening, "raw", where, warning=warning if is_beyond else "")
