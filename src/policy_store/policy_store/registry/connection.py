# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""HTTP to a registry that may be hostile: proxies, TLS, credentials, redirects, limits.

`http.client` of the standard library: a robot needs no other package, and nothing follows a
redirect, sends a password or reads a body that this module did not decide on. Each request has a
connection of its own, so that no answer can be taken for that of another request.
"""

from __future__ import annotations

import http.client
import json
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from typing import IO
from urllib.parse import SplitResult, urlencode, urljoin, urlsplit

from policy_store.hosts import is_loopback
from policy_store.registry.access import (
    PASSWORD_VARIABLE,
    USER_VARIABLE,
    RegistryAccess,
    RegistryError,
    UnavailableError,
    credentials,
)
from policy_store.registry.http_access import Deadline, basic, open_http, tls_context

MOST_REDIRECTS = 5
SLOWEST_BYTES_PER_S = 1000
"""Of a body; one that comes slower is cut off."""
_LARGEST_TOKEN_BYTES, _BLOCK = 1 << 16, 1 << 16
_DEADLINE = 4
"""Time for the way to the registry, time for an answer's head, and window in which the speed of a
body is judged, each in time-outs."""
_REDIRECTS = (301, 302, 303, 307, 308)
_UNAVAILABLE = (408, 425, 429)
_PORTS = {"http": 80, "https": 443}
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")
"""What OpenSSL 3.0, and newer ones, call the answer of a server that speaks plain HTTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestBody:
    """What is sent: opened again for each attempt."""

    size_bytes: int
    open: Callable[[], IO[bytes]]


class RegistryAnswer:
    """An answer whose status was expected."""

    def __init__(
        self, url: str, response: http.client.HTTPResponse, deadline: Deadline, timeout_s: float
    ) -> None:
        """Take the response; its body is not read yet."""
        self.url, self.status, self.headers = url, response.status, response.headers
        self._response, self._deadline, self._timeout_s = response, deadline, timeout_s

    def blocks(self, limit_bytes: int) -> Iterator[bytes]:
        """Yield the body."""
        read, window_s = 0, _DEADLINE * self._timeout_s
        with _network_errors(self.url), ExitStack() as window:
            window.enter_context(self._deadline.within(window_s))
            ends = SLOWEST_BYTES_PER_S * window_s
            while block := self._response.read1(_BLOCK):
                read += len(block)
                if read > limit_bytes:
                    raise RegistryError(
                        f"{self.url}: expected at most {limit_bytes} bytes, found more"
                    )
                if read >= ends:  # fast enough: the next window begins
                    window.close()
                    window.enter_context(self._deadline.within(window_s))
                    ends = read + SLOWEST_BYTES_PER_S * window_s
                yield block
        stated = self.headers.get("Content-Length")
        if self._deadline.is_over or (_is_size(stated) and int(stated or "") != read):
            raise UnavailableError(
                f"{self.url}: expected {stated or 'all'} bytes in time, found that the body ended "
                f"after {read}; try again"
            )

    def body(self, limit_bytes: int) -> bytes:
        """Return the whole body, as `blocks`."""
        return b"".join(self.blocks(limit_bytes))


class RegistryConnection:
    """Requests to one repository of a registry."""

    def __init__(self, host: str, access: RegistryAccess, *, is_secure: bool = False) -> None:
        """Name the registry.

        Args:
            host: With its port where that is not the usual one.
            access: How it is reached.
            is_secure: Whether it has TLS, although it is on the loopback interface.
        """
        local = is_loopback(urlsplit(f"//{host}").hostname or "")
        self._is_plain = not is_secure and (local or access.insecure_http)
        self._access, self._host = access, host
        self._authorization = dict[str, str]()
        self._context = tls_context(access.ca)

    @property
    def base(self) -> str:
        """URL of the registry: HTTP on the loopback interface or if that is allowed, else HTTPS."""
        return f"{'http' if self._is_plain else 'https'}://{self._host}"

    @contextmanager
    def request(
        self,
        method: str,
        url: str,
        expected: tuple[int, ...],
        *,
        headers: Mapping[str, str] | None = None,
        body: RequestBody | None = None,
    ) -> Iterator[RegistryAnswer]:
        """Send a request, follow redirects, and answer one demand for credentials.

        Args:
            method: Of HTTP.
            url: Absolute, or a path at the registry.
            expected: Status codes that are an answer; all others are errors.
            headers: Of the request.
            body: What is sent.
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
        self, method: str, url: str, headers: dict[str, str], body: RequestBody | None
    ) -> Iterator[RegistryAnswer]:
        parts = self._checked(url)
        # By origin: what another host gets after a redirect has no credentials in it.
        if authorization := self._authorization.get(_origin(url)):
            headers["Authorization"] = authorization
        headers |= {"Accept-Encoding": "identity", "Connection": "close"}
        window_s = _DEADLINE * self._access.timeout_s
        with closing(Deadline()) as deadline, ExitStack() as opened:
            with _network_errors(url):
                with deadline.within(window_s):
                    connection, target = open_http(
                        parts, headers, self._context, self._access.timeout_s, deadline
                    )
                opened.callback(connection.close)
                deadline.require()
                if body is None:
                    connection.request(method, target, headers=headers)
                else:
                    headers["Content-Length"] = str(body.size_bytes)
                    with body.open() as stream:
                        connection.request(method, target, body=stream, headers=headers)
                with deadline.within(window_s):
                    response = connection.getresponse()
                deadline.require()  # headers that were cut off look like all there are
            yield RegistryAnswer(url, response, deadline, self._access.timeout_s)

    def _checked(self, url: str) -> SplitResult:
        """Return the parts of a URL that may be asked."""
        with suppress(ValueError):
            parts = urlsplit(url)
            plain = parts.scheme == "http" and self._is_plain
            allowed = plain and (self._access.insecure_http or is_loopback(parts.hostname or ""))
            if parts.hostname and not parts.username and (parts.scheme == "https" or allowed):
                _ = parts.port  # may raise a ValueError
                return parts
        raise RegistryError(
            f"{self._host}: expected URLs with https (http is for the loopback interface, or with "
            f"--insecure-http), found {url[:200]!r}"
        )

    def _answer_to(self, challenge: str, url: str) -> str:
        """Return the `Authorization` for a challenge: Basic, or a token that was fetched for it."""
        scheme, _, rest = challenge.partition(" ")
        login = credentials(self._host)
        if scheme.lower() == "basic" and login is not None:
            return basic(*login)
        if scheme.lower() == "bearer":
            return f"Bearer {self._token(rest, login)}"
        raise RegistryError(
            f"{self._host}: expected credentials, found none; `docker login {self._host}` writes "
            f"them, or set {USER_VARIABLE} and {PASSWORD_VARIABLE}"
        )

    def _token(self, challenge: str, login: tuple[str, str] | None) -> str:
        found = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        query = urlencode({key: found[key] for key in ("service", "scope") if key in found})
        realm = found.get("realm", "")
        headers = {} if login is None else {"Authorization": basic(*login)}
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
            raise RegistryError(f"{realm}: expected a token in JSON, found other content")
        return token


def joined(base: str, location: str) -> str:
    """Return where a redirect or an upload goes."""
    try:
        url = urljoin(base, location)
        _origin(url)
    except ValueError as error:
        raise RegistryError(f"{base}: expected URLs, found {location[:200]!r}") from error
    return url


def _is_size(text: str | None) -> bool:
    """Return whether a header states a size; Python refuses to read thousands of digits."""
    return re.fullmatch(r"[0-9]{1,18}", text or "") is not None


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or _PORTS.get(parts.scheme)}"


def _unexpected(answer: RegistryAnswer, method: str, expected: tuple[int, ...]) -> RegistryError:
    status = answer.status
    kind = UnavailableError if status >= 500 or status in _UNAVAILABLE else RegistryError
    remedies = {
        401: "; check the credentials",
        403: "; this user may not do that",
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
    except ssl.SSLCertVerificationError as error:
        raise RegistryError(
            f"{url}: expected a certificate that an authority of this machine signed, found: "
            f"{error.verify_message}; name its authority with --ca"
        ) from error
    except ssl.SSLError as error:
        if error.reason in _NO_TLS:
            raise RegistryError(
                f"{url}: expected TLS, found that the registry speaks plain HTTP: --insecure-http "
                "allows that (on the loopback interface: name it without https://)"
            ) from error
        raise _unavailable(url, error) from error
    except (OSError, http.client.HTTPException, UnicodeError) as error:  # also of a host's name
        raise _unavailable(url, error) from error


def _unavailable(url: str, error: Exception) -> UnavailableError:
    found = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return UnavailableError(
        f"{url}: expected an answer, found: {found[:200]}; check network, proxy and registry"
    )
