# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""HTTP to an untrusted registry: credentials, redirects, size limits, time limits.

urllib3 connects, through a proxy and with TLS if needed. It is set to follow no redirects, retry
nothing and decode nothing, so this module decides which passwords are sent and which bodies are
read.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import closing, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlencode, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, SSLError

from policy_core.errors import PolicyError
from policy_core.safe_files import reading
from policy_store.hosts import is_loopback
from policy_store.registry.access import (
    PASSWORD_VARIABLE,
    USER_VARIABLE,
    RegistryAccess,
    RegistryError,
    UnavailableError,
    credentials,
)

MOST_REDIRECTS = 5
SLOWEST_BYTES_PER_S = 1000
"""Minimum average transfer rate after one time-out of grace; slower transfers are aborted."""
_LARGEST_TOKEN_BYTES, _BLOCK = 1 << 16, 1 << 16
_HEAD = 4
"""Time limit for connecting and receiving the response's head, as a number of time-outs."""
_REDIRECTS = (301, 302, 303, 307, 308)
_UNAVAILABLE = (408, 425, 429)
_PORTS = {"http": 80, "https": 443}
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")
"""OpenSSL's error codes (3.0 and newer) for a response from a server that speaks plain HTTP."""
T = TypeVar("T")
Content = bytes | Path
"""Body of a request: in memory, or a file."""


class HttpAnswer:
    """An HTTP response: URL, status and headers; the body is read on demand."""

    def __init__(self, url: str, response: urllib3.BaseHTTPResponse, timeout_s: float) -> None:
        """Wrap the response; its body is not read yet."""
        self.url, self.status, self.headers = url, response.status, response.headers
        self._response, self._timeout_s = response, timeout_s

    def blocks(self, limit_bytes: int) -> Iterator[bytes]:
        """Yield the body in blocks.

        Raises:
            RegistryError: The body is larger than `limit_bytes`.
            UnavailableError: The connection failed, or is too slow.
        """
        read, begun = 0, time.monotonic()
        with _network_errors(self.url):
            read_block = partial(self._response.read1, _BLOCK)
            while block := within(self._timeout_s, read_block, self._response.shutdown):
                read += len(block)
                if read > limit_bytes:
                    raise RegistryError(
                        f"{self.url}: expected at most {limit_bytes} bytes, found more"
                    )
                if time.monotonic() - begun > self._timeout_s + read / SLOWEST_BYTES_PER_S:
                    raise TimeoutError(f"only {read} bytes so far")
                yield block

    def body(self, limit_bytes: int) -> bytes:
        """Return the whole body; see `blocks`."""
        return b"".join(self.blocks(limit_bytes))


@contextmanager
def exchange(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: Content | None = None,
    context: ssl.SSLContext | None = None,
    timeout_s: float,
) -> Iterator[HttpAnswer]:
    """Send a request on a new connection, and yield the response, whatever its status.

    Args:
        method: HTTP method.
        url: Absolute URL.
        headers: Request headers.
        body: Request body.
        context: Trusted certificates; None for the system's.
        timeout_s: Maximum wait for a connection and for each read and write, s.
    """
    sent, size_bytes = dict(headers or {}), 0
    if body is not None:
        size_bytes = len(body) if isinstance(body, bytes) else body.stat().st_size
        sent["Content-Length"] = str(size_bytes)
    with _network_errors(url):
        send = partial(
            http_to(url, context).request,
            method,
            url,
            headers=sent,
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
            timeout=timeout_s,
        )
        longest_s = _HEAD * timeout_s + size_bytes / SLOWEST_BYTES_PER_S
        with reading(body) if isinstance(body, Path) else nullcontext(body) as content:
            response = within(longest_s, lambda: send(body=content))
    with closing(response):
        yield HttpAnswer(url, response, timeout_s)


def within(seconds: float, act: Callable[[], T], stop: Callable[[], None] | None = None) -> T:
    """Return the result of `act`, or raise TimeoutError after this time.

    urllib3 limits only individual waits: a head, the size of a chunk, trailers or a TLS handshake
    that arrives byte by byte would never time out. After a time-out, the thread that runs `act` is
    abandoned. If it holds a lock that the caller needs, `stop` makes it end.
    """
    done = Future[T]()

    def run() -> None:
        try:
            done.set_result(act())
        except BaseException as error:  # noqa: BLE001  # the caller raises it
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return done.result(seconds)
    except FutureTimeoutError as error:  # differs from the built-in TimeoutError in Python 3.10
        if stop is not None:
            with suppress(OSError, ValueError):  # it has ended meanwhile
                stop()
        raise TimeoutError("it did not end in time") from error


def http_to(url: str, context: ssl.SSLContext | None) -> urllib3.PoolManager:
    """Return a connection pool for a server, through the environment's proxy if there is one."""
    parts = urllib3.util.parse_url(url)
    host = (parts.host or "").strip("[]")
    proxy = urllib.request.getproxies().get(parts.scheme or "")
    if not proxy or is_loopback(host) or urllib.request.proxy_bypass(host):
        return urllib3.PoolManager(ssl_context=context)
    place = urllib3.util.parse_url(proxy)
    login = None
    if place.auth:
        login = urllib3.make_headers(proxy_basic_auth=unquote(place.auth))
    where = place._replace(scheme=place.scheme or "http", auth=None).url
    return urllib3.ProxyManager(where, proxy_headers=login, ssl_context=context)


def tls_context(ca: Path) -> ssl.SSLContext:
    """Return a context that trusts the system's certificate authorities and those in a file."""
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca)
    except (OSError, ssl.SSLError) as error:
        raise PolicyError(
            f"{ca}: expected certificate authorities in PEM, found: {error.strerror or error}"
        ) from error
    return context


class RegistryConnection:
    """Sends requests to a registry, with its credentials."""

    def __init__(self, host: str, access: RegistryAccess, *, is_secure: bool = False) -> None:
        """Prepare requests to a registry; nothing is sent yet.

        Args:
            host: Host, with its port unless that is the default.
            access: Options for access.
            is_secure: True to use TLS even on the loopback interface.
        """
        local = is_loopback(urlsplit(f"//{host}").hostname or "")
        self._is_plain = not is_secure and (local or access.insecure_http)
        self._access, self._host = access, host
        self._authorization = dict[str, str]()
        self._context = None if access.ca is None else tls_context(access.ca)

    @property
    def base(self) -> str:
        """URL of the registry: HTTP on the loopback interface or if allowed, otherwise HTTPS."""
        return f"{'http' if self._is_plain else 'https'}://{self._host}"

    @contextmanager
    def request(
        self,
        method: str,
        url: str,
        expected: tuple[int, ...],
        *,
        headers: Mapping[str, str] | None = None,
        body: Content | None = None,
    ) -> Iterator[HttpAnswer]:
        """Send a request and yield the response; follow redirects and answer one login challenge.

        Args:
            method: HTTP method.
            url: Absolute URL, or a path at the registry.
            expected: Accepted status codes; all others are errors.
            headers: Request headers.
            body: Request body.
        """
        url, redirects, asked = urljoin(self.base, url), 0, False
        while True:
            with self._exchange(method, url, dict(headers or {}), body) as answer:
                status = answer.status
                if status in expected:
                    yield answer
                    return
                if status in _REDIRECTS and redirects < MOST_REDIRECTS:
                    redirects += 1
                    url = joined(url, answer.headers.get("Location") or "")
                    continue
                challenge = answer.headers.get("WWW-Authenticate", "")
                if status != 401 or asked or _origin(url) != _origin(self.base):
                    raise _unexpected(answer, method, expected)
            asked = True
            self._authorization[_origin(url)] = self._answer_to(challenge, url)

    @contextmanager
    def _exchange(
        self, method: str, url: str, headers: dict[str, str], body: Content | None
    ) -> Iterator[HttpAnswer]:
        self._require_allowed(url)
        # Credentials are kept by origin: after a redirect, another host receives none.
        if authorization := self._authorization.get(_origin(url)):
            headers["Authorization"] = authorization
        with exchange(
            method,
            url,
            headers=headers,
            body=body,
            context=self._context,
            timeout_s=self._access.timeout_s,
        ) as answer:
            yield answer

    def _require_allowed(self, url: str) -> None:
        with suppress(ValueError):
            parts = urlsplit(url)
            plain = parts.scheme == "http" and self._is_plain
            allowed = plain and (self._access.insecure_http or is_loopback(parts.hostname or ""))
            if parts.hostname and not parts.username and (parts.scheme == "https" or allowed):
                return
        raise RegistryError(
            f"{self._host}: expected an https URL (http is only for the loopback interface, or "
            f"with --insecure-http), found {url[:200]!r}"
        )

    def _answer_to(self, challenge: str, url: str) -> str:
        """Return the `Authorization` header for a challenge: Basic, or a token fetched for it."""
        scheme, _, rest = challenge.partition(" ")
        login = credentials(self._host)
        if scheme.lower() == "basic" and login is not None:
            return _basic(*login)
        if scheme.lower() == "bearer":
            return f"Bearer {self._token(rest, login)}"
        raise RegistryError(
            f"{self._host}: expected credentials, found none; run `docker login {self._host}`, "
            f"or set {USER_VARIABLE} and {PASSWORD_VARIABLE}"
        )

    def _token(self, challenge: str, login: tuple[str, str] | None) -> str:
        found = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        query = urlencode({key: found[key] for key in ("service", "scope") if key in found})
        realm = found.get("realm", "")
        headers = {} if login is None else {"Authorization": _basic(*login)}
        # Registries name the host of their token service, such as auth.docker.io. On another port
        # of a host, another user's program may listen.
        if headers and _origin(realm) != _origin(self.base) and not _is_https(realm):
            raise RegistryError(
                f"{self._host}: expected a token service on the registry's own port or on port 443 "
                f"(it receives the password), found {realm[:200]!r}"
            )
        with self._exchange("GET", f"{realm}?{query}", headers, None) as answer:
            if answer.status != 200:
                raise _unexpected(answer, "GET", (200,))
            content = answer.body(_LARGEST_TOKEN_BYTES)
        try:
            document = json.loads(content)
            token = document.get("token") or document["access_token"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            token = None
        if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
            raise RegistryError(f"{realm}: expected a token in JSON, found none")
        return token


def joined(base: str, location: str) -> str:
    """Return the absolute URL for a `Location` header, or raise RegistryError if it is invalid."""
    try:
        url = urljoin(base, location)
        _origin(url)
    except ValueError as error:
        raise RegistryError(f"{base}: expected a valid URL, found {location[:200]!r}") from error
    return url


def _basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or _PORTS.get(parts.scheme)}"


def _is_https(url: str) -> bool:
    """Return True for an https URL on the usual port."""
    return _origin(url).startswith("https:") and _origin(url).endswith(f":{_PORTS['https']}")


def _unexpected(answer: HttpAnswer, method: str, expected: tuple[int, ...]) -> RegistryError:
    status = answer.status
    kind = UnavailableError if status >= 500 or status in _UNAVAILABLE else RegistryError
    remedies = {
        401: "; check the credentials",
        403: "; this user is not permitted to do that",
        404: "; check registry, name and tag",
        405: "; this registry may be read-only",
    }
    return kind(
        f"{method} {answer.url}: expected status {' or '.join(map(str, expected))}, "
        f"found {status}{remedies.get(status, '')}"
    )


@contextmanager
def _network_errors(url: str) -> Iterator[None]:
    try:
        yield
    except SSLError as error:
        cause = error.args[0]
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise RegistryError(
                f"{url}: expected a certificate from an authority that this machine trusts, "
                f"found: {cause.verify_message}; name its authority with --ca"
            ) from error
        if getattr(cause, "reason", "") in _NO_TLS:
            raise RegistryError(
                f"{url}: expected TLS, found plain HTTP; to allow it, pass --insecure-http (for a "
                "registry on the loopback interface, just omit https://)"
            ) from error
        raise _unavailable(url, error) from error
    except (OSError, HTTPError, UnicodeError) as error:  # UnicodeError: an invalid host name
        raise _unavailable(url, error) from error


def _unavailable(url: str, error: Exception) -> UnavailableError:
    found = str(error) or type(error).__name__
    return UnavailableError(
        f"{url}: expected an answer, found: {found[:200]}; check network, proxy and server"
    )
