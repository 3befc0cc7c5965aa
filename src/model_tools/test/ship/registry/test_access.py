# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Credentials, TLS and proxies."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import select
import socket
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from policy_core.errors import PolicyError
from policy_store.registry.access import (
    PASSWORD_VARIABLE,
    USER_VARIABLE,
    RegistryError,
    credentials,
)
from testkit.store import NAME, MakeVersion, tool, tool_refused
from testkit.wording import refusal

from .conftest import ACCESS, Pull, Server, Servers, push
from .hostile import Asked, HostileRegistry, hostile_registry

USER, PASSWORD = "robot", "secret"
BCRYPT = "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"
"""Of the password, as `htpasswd -B` writes it."""
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@pytest.fixture
def protected(servers: Servers, tmp_path: Path) -> Server:
    """A registry that asks for a password."""
    file = tmp_path / "htpasswd"
    file.write_text(f"{USER}:{BCRYPT}\n", "utf-8")
    return servers(auth={"htpasswd": {"realm": "fleet", "path": str(file)}})


def log_in(tmp_path: Path, host: str) -> None:
    """Write Docker's configuration, as `docker login` does."""
    (tmp_path / "docker").mkdir(exist_ok=True)
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    text = json.dumps({"auths": {host: {"auth": auth}}})
    (tmp_path / "docker/config.json").write_text(text, "utf-8")


def test_password_comes_from_the_configuration_of_docker(
    tmp_path: Path, make_version: MakeVersion, protected: Server, pull: Pull
) -> None:
    place = f"{protected.host}/{NAME}"
    tool_refused("push", make_version(), place)
    log_in(tmp_path, protected.host)
    push(make_version(), place)
    assert pull(f"{place}:1.0.0").is_new


def test_password_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, make_version: MakeVersion, protected: Server
) -> None:
    monkeypatch.setenv(USER_VARIABLE, USER)
    monkeypatch.setenv(PASSWORD_VARIABLE, "wrong")
    assert tool("push", make_version(), f"{protected.host}/{NAME}") == 4
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    push(make_version(), f"{protected.host}/{NAME}")


@pytest.mark.parametrize("text", ["[]", "{", '{"auths": 3}', '{"auths": {"h": {"auth": "%"}}}'])
def test_configuration_that_is_none_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").write_text(text, "utf-8")
    with refusal(PolicyError):
        credentials("h")


def test_token_is_fetched_where_the_registry_says_and_sent(
    tmp_path: Path, evil: HostileRegistry, make_version: MakeVersion, pull: Pull
) -> None:
    evil.offer(make_version())
    with hostile_registry() as realm:
        host = realm.place.partition("/")[0]
        realm.answers["/token"] = lambda asked: asked.reply(200, b'{"token": "abc"}')
        challenge = f'Bearer realm="http://{host}/token",service="fleet",scope="repository:x:pull"'

        def asks(asked: Asked) -> None:
            if asked.headers["Authorization"] != "Bearer abc":
                return asked.reply(401, b"", {"WWW-Authenticate": challenge})
            name = asked.path.rpartition("/")[2]
            return asked.reply(200 if name in evil.contents else 404, evil.contents.get(name, b""))

        evil.answers["/v2/"] = asks
        log_in(tmp_path, evil.place.partition("/")[0])
        assert pull(f"{evil.place}:1.0.0").is_new
        path, headers = realm.seen[0]
        assert path == "/token?service=fleet&scope=repository%3Ax%3Apull"
        assert headers["Authorization"] == BASIC


@pytest.mark.parametrize(
    "challenge",
    ["", "Digest x", "Bearer", 'Bearer realm="http://10.0.0.1/token"', 'Bearer realm="file:///x"'],
    ids=["none", "digest", "no realm", "another host", "file"],
)
def test_challenges_that_are_not_answered(
    challenge: str, evil: HostileRegistry, pull: Pull
) -> None:
    evil.answers["/v2/"] = lambda asked: asked.reply(401, b"", {"WWW-Authenticate": challenge})
    with refusal(RegistryError):
        pull(f"{evil.place}:1.0.0")


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"token": 3}', b'{"token": "a\\r\\nX: y"}'],
    ids=["nothing", "list", "no token", "number", "line end"],
)
def test_tokens_that_are_none_are_refused(body: bytes, evil: HostileRegistry, pull: Pull) -> None:
    host = evil.place.partition("/")[0]
    challenge = {"WWW-Authenticate": f'Bearer realm="http://{host}/token"'}
    evil.answers["/token"] = lambda asked: asked.reply(200, body)
    evil.answers["/v2/"] = lambda asked: asked.reply(401, b"", challenge)
    with refusal(RegistryError):
        pull(f"{evil.place}:1.0.0")


def test_another_host_gets_no_credentials_after_a_redirect(
    tmp_path: Path, evil: HostileRegistry, make_version: MakeVersion, pull: Pull
) -> None:
    evil.offer(make_version())
    with hostile_registry() as storage:
        storage.contents = evil.contents
        host = storage.place.partition("/")[0]

        def asks(asked: Asked) -> None:
            if asked.headers["Authorization"] != BASIC:
                return asked.reply(401, b"", {"WWW-Authenticate": "Basic realm=x"})
            return asked.reply(307, b"", {"Location": f"http://{host}{asked.path}"})

        evil.answers["/v2/"] = asks
        log_in(tmp_path, evil.place.partition("/")[0])
        assert pull(f"{evil.place}:1.0.0").is_new
        assert storage.seen
        assert not any("Authorization" in headers for _, headers in storage.seen)


def test_another_host_cannot_ask_for_credentials(
    tmp_path: Path, evil: HostileRegistry, pull: Pull
) -> None:
    with hostile_registry() as storage:
        host = storage.place.partition("/")[0]
        evil.answers["/v2/"] = lambda asked: asked.reply(
            307, b"", {"Location": f"http://{host}{asked.path}"}
        )
        storage.answers["/v2/"] = lambda asked: asked.reply(
            401, b"", {"WWW-Authenticate": "Basic realm=x"}
        )
        log_in(tmp_path, evil.place.partition("/")[0])
        with refusal(RegistryError):
            pull(f"{evil.place}:1.0.0")
        assert not any("Authorization" in headers for _, headers in storage.seen)


def test_plain_http_to_another_machine_is_for_those_who_ask_for_it(pull: Pull) -> None:
    impatient = replace(ACCESS, timeout_s=0.1)
    with refusal(RegistryError):
        pull(f"registry.invalid/{NAME}:1.0.0", access=impatient)
    with refusal(RegistryError):
        pull(f"registry.invalid/{NAME}:1.0.0", access=replace(impatient, insecure_http=True))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of this machine that signs itself, and its key."""
    folder, key = tmp_path_factory.mktemp("tls"), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "registry")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [
                    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
                    x509.DNSName("registry.invalid"),
                ]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    cert, private = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(made.public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return cert, private


@pytest.fixture(scope="module")
def secure(servers: Servers, certificate: tuple[Path, Path]) -> Server:
    """A registry with TLS."""
    cert, key = map(str, certificate)
    return servers(http={"tls": {"certificate": cert, "key": key}})


def test_tls_is_verified_with_the_authorities_that_are_named(
    secure: Server, certificate: tuple[Path, Path], make_version: MakeVersion, pull: Pull
) -> None:
    place, ca = f"https://{secure.host}/{NAME}", certificate[0]
    assert tool("push", make_version(), place, "--ca", ca) == 0
    assert pull(f"{place}:1.0.0", access=replace(ACCESS, ca=ca)).is_new
    with refusal(RegistryError):
        pull(f"{place}:1.0.0")


def test_registry_without_tls_is_named_as_such(shared_registry: Server, pull: Pull) -> None:
    with refusal(RegistryError):
        pull(f"https://{shared_registry.host}/{NAME}:1.0.0")


def test_authorities_that_are_none_are_refused(tmp_path: Path, pull: Pull) -> None:
    (tmp_path / "ca.pem").write_text("none", "utf-8")
    for file in ("ca.pem", "absent.pem"):
        with refusal(PolicyError):
            pull(f"h/{NAME}:1.0.0", access=replace(ACCESS, ca=tmp_path / file))


class Proxy(threading.Thread):
    """Passes CONNECT, and requests with whole URLs, to one server, whatever host they name."""

    def __init__(self, target: str) -> None:
        super().__init__(daemon=True)
        host, _, port = target.partition(":")
        self._target = host, int(port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://user:pw@127.0.0.1:{self._listening.getsockname()[1]}"
        self.heads = list[bytes]()

    def run(self) -> None:
        """Serve one connection at a time until it is closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                with client, socket.create_connection(self._target) as server:
                    head = b""
                    while b"\r\n\r\n" not in head:
                        head += client.recv(1)
                    self.heads.append(head)
                    if head.startswith(b"CONNECT"):
                        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    else:
                        server.sendall(head)
                    self._pass(client, server)

    def _pass(self, client: socket.socket, server: socket.socket) -> None:
        others = {client: server, server: client}
        while True:
            for one in select.select(list(others), [], [])[0]:
                data = one.recv(1 << 16)
                if not data:
                    return
                others[one].sendall(data)

    def close(self) -> None:
        """End it."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


def test_https_goes_through_the_proxy_of_the_environment(
    secure: Server,
    certificate: tuple[Path, Path],
    make_version: MakeVersion,
    pull: Pull,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ca = certificate[0]
    assert tool("push", make_version(), f"https://{secure.host}/{NAME}", "--ca", ca, "--force") == 0
    proxy = Proxy(secure.host)
    proxy.start()
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    access = replace(ACCESS, ca=ca)
    assert pull(f"registry.invalid/{NAME}:1.0.0", access=access).is_new
    assert proxy.heads[0].startswith(b"CONNECT registry.invalid:443 ")
    assert b"proxy-authorization: basic dxnlcjpwdw==" in proxy.heads[0].lower()
    monkeypatch.setenv("NO_PROXY", "registry.invalid")
    with refusal(RegistryError):
        pull(f"registry.invalid/{NAME}:1.0.0", access=access)
    proxy.close()


def test_plain_http_goes_through_its_proxy(
    shared_registry: Server,
    make_version: MakeVersion,
    pull: Pull,
    repository: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    push(make_version(), repository)
    proxy = Proxy(shared_registry.host)
    proxy.start()
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    far = repository.replace(shared_registry.host, "registry.invalid")
    assert pull(f"{far}:1.0.0", access=replace(ACCESS, insecure_http=True)).is_new
    assert proxy.heads[0].startswith(b"GET http://registry.invalid/v2/")
    proxy.close()


def test_proxy_of_another_kind_is_refused(pull: Pull, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1")
    with refusal(PolicyError):
        pull(f"registry.invalid/{NAME}:1.0.0")
