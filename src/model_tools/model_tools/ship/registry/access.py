# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""How a registry is reached: credentials, proxy, authorities, deadlines; and how it can fail."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import os
import socket
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from model_tools.errors import ToolError
from policy_inference.safe_files import read_at_most

USER_VARIABLE = "POLICY_INFERENCE_REGISTRY_USER"
PASSWORD_VARIABLE = "POLICY_INFERENCE_REGISTRY_PASSWORD"
CONFIG_VARIABLE = "DOCKER_CONFIG"
"""Environment variables: credentials, and the folder of Docker's `config.json`."""
_LARGEST_CONFIG_BYTES = 1 << 20


class RegistryError(ToolError):
    """What a registry answered cannot be used."""


class UnavailableError(RegistryError):
    """A registry does not answer, or not to the end; a later attempt may succeed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryAccess:
    """How a registry is reached.

    Attributes:
        ca: PEM file of certificate authorities, beside those of the system.
        insecure_http: Whether plain HTTP is allowed to hosts beyond the loopback interface.
        timeout_s: Longest wait for a connection and for each read and write, s.
        backoff_s: Wait before the second attempt, s; doubled before each one after it.
    """

    ca: Path | None = None
    insecure_http: bool = False
    timeout_s: float = 30.0
    backoff_s: float = 0.5


class Deadline:
    """Ends a connection that takes too long in all, although single bytes come in time."""

    def __init__(self, connected: socket.socket | None) -> None:
        """Take the connection's socket, which the response of its last request takes over."""
        self._connected, self.is_over = connected, False

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

    def _end(self) -> None:
        self.is_over = True
        if self._connected is not None:
            with suppress(OSError):
                # Not the method of TLS, which changes what another thread reads from now.
                socket.socket.shutdown(self._connected, socket.SHUT_RDWR)


def credentials(host: str) -> tuple[str, str] | None:
    """Return user and password for a registry: from the environment, or Docker's configuration.

    Raises:
        ToolError: The configuration cannot be read.
    """
    user, password = os.environ.get(USER_VARIABLE), os.environ.get(PASSWORD_VARIABLE)
    if user is not None and password is not None:
        return user, password
    folder = os.environ.get(CONFIG_VARIABLE)
    file = (Path(folder) if folder else Path.home() / ".docker") / "config.json"
    try:
        document = json.loads(read_at_most(file, _LARGEST_CONFIG_BYTES))
        entry = document.get("auths", {}).get(host, {})
        text = base64.b64decode(entry.get("auth", ""), validate=True).decode("utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ToolError(
            f"{file}: expected a file that can be read, found: {error.strerror}"
        ) from error
    except (ValueError, AttributeError, TypeError, binascii.Error, RecursionError) as error:
        raise ToolError(
            f"{file}: expected Docker's configuration with `auths`, found other content; "
            f"`docker login {host}` writes it"
        ) from error
    name, colon, password = text.partition(":")
    return (name, password) if colon else None


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def proxy_of(scheme: str, host: str) -> SplitResult | None:
    """Return the proxy that the environment names for a host; None for none.

    Raises:
        ToolError: It is of a kind that is not supported.
    """
    proxy = urllib.request.getproxies().get(scheme)
    if not proxy or is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.scheme != "http" or not parts.hostname:
        raise ToolError(
            f"{scheme}_proxy: expected http://HOST:PORT, found a proxy of the kind {parts.scheme!r}"
        )
    return parts


def tls_context(ca: Path | None) -> ssl.SSLContext:
    """Return the authorities of the system, and those of a file.

    Raises:
        ToolError: The file has none.
    """
    context = ssl.create_default_context()
    if ca is not None:
        try:
            context.load_verify_locations(ca)
        except (OSError, ssl.SSLError) as error:
            raise ToolError(
                f"{ca}: expected certificate authorities in PEM, found: {error.strerror or error}"
            ) from error
    return context


def basic(user: str, password: str) -> str:
    """Return the value of `Authorization` for user and password."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
