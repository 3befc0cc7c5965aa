# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""HTTP to servers that may be hostile: proxy, TLS, and deadlines for what comes drop by drop.

A time-out of a socket bounds one wait. A server that sends a byte now and then, or TLS messages
without data for ever, is ended by a `Deadline`: for the way to it, the head and the body.
"""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from policy_core.errors import PolicyError
from policy_store.hosts import is_loopback

_PORTS = {"http": 80, "https": 443}


class Deadline:
    """Ends a connection that takes too long in all, although single bytes come in time.

    Attributes:
        is_over: Whether it has ended one: what was read then may look whole, and is not.
    """

    def __init__(self) -> None:
        """Begin without a connection."""
        self.is_over = False
        self._connected: socket.socket | None = None

    def connect(self, place: tuple[str, int], timeout_s: float) -> socket.socket:
        """Return a connection, which is ended from now on when a time is over."""
        connected = socket.create_connection(place, timeout_s)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Its own descriptor: TLS takes the other one over before it has shaken hands.
        self._connected = connected.dup()
        if self.is_over:
            self._end()
        return connected

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """End the connection after that time, unless the block is left before."""
        timer = threading.Timer(seconds, self._end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def require(self) -> None:
        """Raise TimeoutError if a time was over."""
        if self.is_over:
            raise TimeoutError("an answer that does not end in time")

    def close(self) -> None:
        """Forget the connection."""
        connected, self._connected = self._connected, None
        if connected is not None:
            connected.close()

    def _end(self) -> None:
        self.is_over = True
        connected = self._connected
        if connected is not None:
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)


def fetch(url: str, within_s: float, largest_bytes: int) -> bytes:
    """Return what is at a URL; redirects are not followed.

    Args:
        url: Of http or https.
        within_s: Time for all of it, s.
        largest_bytes: What is larger is refused.
    """
    try:
        parts = urlsplit(url)
        is_known = parts.scheme in _PORTS and parts.hostname and parts.port != 0
    except ValueError:
        is_known = False
    if not is_known:
        raise PolicyError(f"{url}: expected a URL of http or https")
    try:
        with closing(Deadline()) as deadline, deadline.within(within_s):
            return _content(url, parts, deadline, within_s, largest_bytes)
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        found = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise PolicyError(f"{url}: expected an answer, found: {found[:200]}") from error


def _content(
    url: str, parts: SplitResult, deadline: Deadline, timeout_s: float, largest_bytes: int
) -> bytes:
    headers = {"Accept-Encoding": "identity", "Connection": "close"}
    context = tls_context() if parts.scheme == "https" else None
    connection, target = open_http(parts, headers, context, timeout_s, deadline)
    with closing(connection):
        connection.request("GET", target, headers=headers)
        with connection.getresponse() as response:
            content = response.read(largest_bytes + 1)
            deadline.require()
            is_whole = not response.length
    if response.status != 200:
        place = response.headers.get("Location")
        more = f", which leads to {place[:200]}; name that URL" if place else ""
        raise PolicyError(f"{url}: expected an answer, found status {response.status}{more}")
    if len(content) > largest_bytes:
        raise PolicyError(f"{url}: expected at most {largest_bytes / 2**20:g} MiB, found more")
    if not is_whole:
        raise PolicyError(f"{url}: expected a whole answer, found that it was cut off")
    return content


def open_http(
    parts: SplitResult,
    headers: dict[str, str],
    context: ssl.SSLContext | None,
    timeout_s: float,
    deadline: Deadline,
) -> tuple[http.client.HTTPConnection, str]:
    """Connect to the server of a URL, through the proxy of the environment if there is one.

    Args:
        parts: Of the URL: http or https, with a host.
        headers: Of the request; what a proxy needs is added.
        context: Whose certificates are believed; a URL of https needs it.
        timeout_s: Longest wait for each step, s.
        deadline: Of the connection.

    Returns:
        The connection, and the target to ask for.
    """
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    target = parts._replace(scheme="", netloc="", fragment="", path=parts.path or "/").geturl()
    proxy = proxy_of(parts.scheme, host)
    place, login = (host, port), dict[str, str]()
    if proxy is not None:
        place = proxy.hostname or "", proxy.port or _PORTS["http"]
        if proxy.username:
            words = basic(unquote(proxy.username), unquote(proxy.password or ""))
            login = {"Proxy-Authorization": words}
    connected = deadline.connect(place, timeout_s)
    try:
        if parts.scheme == "http":
            connection = http.client.HTTPConnection(host, port)
            if proxy is not None:
                headers |= login
                target = parts._replace(fragment="").geturl()
        else:
            assert context is not None
            connection = http.client.HTTPSConnection(host, port, context=context)
            if proxy is not None:
                _ask_for_tunnel(connected, host, port, login)
            connected = context.wrap_socket(connected, server_hostname=host)
    except BaseException:
        connected.close()
        raise
    connection.sock = connected
    return connection, target


def _ask_for_tunnel(
    connected: socket.socket, host: str, port: int, headers: dict[str, str]
) -> None:
    """Have a proxy connect to a server."""
    name = f"[{host}]" if ":" in host else host.encode("idna").decode("ascii")
    lines = [f"CONNECT {name}:{port} HTTP/1.1", f"Host: {name}:{port}"]
    lines += [f"{key}: {value}" for key, value in headers.items()]
    connected.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
    with http.client.HTTPResponse(connected, method="CONNECT") as response:
        response.begin()
        if response.status != 200:
            raise OSError(f"the proxy refuses with {response.status} {response.reason}"[:200])


def proxy_of(scheme: str, host: str) -> SplitResult | None:
    """Return the proxy that the environment names for a host; None for none."""
    proxy = urllib.request.getproxies().get(scheme)
    if not proxy or is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.scheme != "http" or not parts.hostname:
        raise PolicyError(
            f"{scheme}_proxy: expected http://HOST:PORT, found a proxy of the kind {parts.scheme!r}"
        )
    return parts


def tls_context(ca: Path | None = None) -> ssl.SSLContext:
    """Return the authorities of the system, and those of a file."""
    context = ssl.create_default_context()
    if ca is not None:
        try:
            context.load_verify_locations(ca)
        except (OSError, ssl.SSLError) as error:
            raise PolicyError(
                f"{ca}: expected certificate authorities in PEM, found: {error.strerror or error}"
            ) from error
    return context


def basic(user: str, password: str) -> str:
    """Return the value of `Authorization` for user and password."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
