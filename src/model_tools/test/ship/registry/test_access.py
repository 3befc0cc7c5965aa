# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Credentials, TLS and proxies."""

import base64
import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import urllib3

from policy_core.errors import PolicyError
from policy_store.registry.access import (
    PASSWORD_VARIABLE,
    USER_VARIABLE,
    RegistryError,
    credentials,
)
from policy_store.registry.connection import http_to
from testkit.store import NAME, MakeVersion, tool, tool_refused
from testkit.wording import refusal

from .conftest import ACCESS, Asked, HostileRegistry, Pull, Servers, hostile_registry, push

# They stand with the tests of the service.
certificates: Any = importlib.import_module("src.policy_inference.test.service.certificates")
USER, PASSWORD = "robot", "secret"
BCRYPT = "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"
"""Of the password, as `htpasswd -B` writes it."""
AUTH = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
BASIC = f"Basic {AUTH}"


@pytest.fixture
def protected(servers: Servers, tmp_path: Path) -> str:
    """A registry that asks for a password."""
    file = tmp_path / "htpasswd"
    file.write_text(f"{USER}:{BCRYPT}\n", "utf-8")
    return servers(auth={"htpasswd": {"realm": "fleet", "path": str(file)}})


def log_in(tmp_path: Path, host: str) -> None:
    """Write Docker's configuration, as `docker login` does."""
    (tmp_path / "docker").mkdir(exist_ok=True)
    text = json.dumps({"auths": {host: {"auth": AUTH}}})
    (tmp_path / "docker/config.json").write_text(text, "utf-8")


def test_password_comes_from_the_configuration_of_docker(
    tmp_path: Path, make_version: MakeVersion, protected: str, pull: Pull
) -> None:
    place = f"{protected}/{NAME}"
    tool_refused("push", make_version(), place)
    log_in(tmp_path, protected)
    push(make_version(), place)
    assert pull(f"{place}:1.0.0").is_new


def test_password_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, make_version: MakeVersion, protected: str
) -> None:
    monkeypatch.setenv(USER_VARIABLE, USER)
    monkeypatch.setenv(PASSWORD_VARIABLE, "wrong")
    assert tool("push", make_version(), f"{protected}/{NAME}") == 4
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    push(make_version(), f"{protected}/{NAME}")


@pytest.mark.parametrize("text", ["[]", "{", '{"auths": 3}', '{"auths": {"h": {"auth": "%"}}}'])
def test_configuration_that_is_none_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").write_text(text, "utf-8")
    with refusal(PolicyError):
        credentials("h")


TOKEN_PATH = "/token?service=fleet&scope=repository%3Ax%3Apull"


def ask_for_token(registry: HostileRegistry, realm: str) -> None:
    """Let a registry answer only requests with a token from this realm, which it serves itself."""
    challenge = f'Bearer realm="{realm}",service="fleet",scope="repository:x:pull"'

    def answer(asked: Asked) -> None:
        if asked.headers["Authorization"] != "Bearer abc":
            return asked.reply(401, b"", {"WWW-Authenticate": challenge})
        name = asked.path.rpartition("/")[2]
        contents = registry.contents
        return asked.reply(200 if name in contents else 404, contents.get(name, b""))

    registry.answers["/v2/"] = answer
    registry.answers["/token"] = lambda asked: asked.reply(200, b'{"token": "abc"}')


def test_token_is_fetched_where_the_registry_says_and_sent(
    tmp_path: Path, evil: HostileRegistry, make_version: MakeVersion, pull: Pull
) -> None:
    evil.offer(make_version())
    host = evil.place.partition("/")[0]
    ask_for_token(evil, f"http://{host}/token")
    log_in(tmp_path, host)
    assert pull(f"{evil.place}:1.0.0").is_new
    asked = [headers for path, headers in evil.seen if path == TOKEN_PATH]
    assert [headers["Authorization"] for headers in asked] == [BASIC]


def test_a_token_service_on_another_port_gets_no_password(
    tmp_path: Path, evil: HostileRegistry, make_version: MakeVersion, pull: Pull
) -> None:
    evil.offer(make_version())
    with hostile_registry() as realm:
        realm.answers["/token"] = lambda asked: asked.reply(200, b'{"token": "abc"}')
        ask_for_token(evil, f"http://{realm.place.partition('/')[0]}/token")
        log_in(tmp_path, evil.place.partition("/")[0])
        with refusal(RegistryError):
            pull(f"{evil.place}:1.0.0")
        assert realm.seen == []


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


def test_tls_is_verified_with_the_authorities_that_are_named(
    servers: Servers, make_version: MakeVersion, pull: Pull, tmp_path: Path
) -> None:
    made = certificates.make_certificate(tmp_path, "registry")
    host = servers(tls={"certificate": str(made.cert), "key": str(made.key)})
    place, ca = f"https://{host}/{NAME}", made.cert
    assert tool("push", make_version(), place, "--ca", ca) == 0
    assert pull(f"{place}:1.0.0", access=replace(ACCESS, ca=ca)).is_new
    with refusal(RegistryError):
        pull(f"{place}:1.0.0")


def test_proxy_of_the_environment_is_taken_but_not_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:pw@proxy.invalid:3128")
    found = http_to("https://registry.invalid/v2/", None)
    assert isinstance(found, urllib3.ProxyManager)
    assert found.proxy is not None
    assert (found.proxy.host, found.proxy.port, found.proxy.auth) == ("proxy.invalid", 3128, None)
    assert found.proxy_headers["proxy-authorization"] == "Basic dXNlcjpwdw=="
    for url in ("http://registry.invalid/", "https://127.0.0.1/"):
        assert not isinstance(http_to(url, None), urllib3.ProxyManager)
    monkeypatch.setenv("NO_PROXY", "registry.invalid")
    assert not isinstance(http_to("https://registry.invalid/", None), urllib3.ProxyManager)
