# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The registry of the distribution, run for the tests; signed bundles; requests in Python."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from examples.demos.fleet.servers import start_registry
from model_tools.ship.push import bundle_layers, manifest_bytes
from policy_core.bundle.load import load_bundle, trusted_keys
from policy_core.bundle.signature import TrustedKeys
from policy_store.install import Installed
from policy_store.registry.access import (
    CONFIG_VARIABLE,
    PASSWORD_VARIABLE,
    USER_VARIABLE,
    RegistryAccess,
)
from policy_store.registry.manifest import BUNDLE_TYPE, make_digest, parse_reference
from policy_store.registry.pull import pull_to_store
from policy_store.registry.remote import PullRequest
from testkit.store import NAME, MakeVersion, make_keys, tool

SERVER = "docker-registry"
ACCESS = RegistryAccess(timeout_s=2.0, backoff_s=0.01)
OTHER_MODEL = b"a model of another back end" * 1000


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No registry knows the user who runs the tests."""
    monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "docker"))
    for name in (USER_VARIABLE, PASSWORD_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    for scheme in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(scheme, raising=False)
        monkeypatch.delenv(scheme.upper(), raising=False)


Servers = Callable[..., str]


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Return what starts the distribution's registry, and returns its host."""
    if shutil.which(SERVER) is None:
        pytest.skip(f"{SERVER} is not installed (apt-get install docker-registry)")
    with ExitStack() as running:

        def start(**more: object) -> str:
            server = start_registry(tmp_path_factory.mktemp("registry"), {}, **more)
            return f"127.0.0.1:{running.enter_context(server).port}"

        yield start


@pytest.fixture(scope="session")
def shared_registry(servers: Servers) -> str:
    """A registry that all tests share, each with repositories of its own."""
    return servers()


@pytest.fixture
def repository(shared_registry: str, tmp_path: Path) -> str:
    """A repository of the test's own, as text."""
    return f"{shared_registry}/{tmp_path.name.lower().replace('_', '-').strip('-')}/{NAME}"


@pytest.fixture
def two_backends(make_version: MakeVersion) -> Callable[..., Path]:
    """Return what makes a bundle with models for onnx and rknn."""

    def make(version: str = "1.0.0", *changes: tuple[str, str]) -> Path:
        line = (
            "  golden: {file: golden.npz",
            f"    rknn: {{file: rknn/policy.rknn, sha256: {sha256(OTHER_MODEL).hexdigest()},\n"
            "      precision: fp16, target: rk3588}\n  golden: {file: golden.npz",
        )
        folder = make_version(version, line, *changes)
        (folder / "rknn").mkdir()
        (folder / "rknn/policy.rknn").write_bytes(OTHER_MODEL)
        return folder

    return make


@dataclass
class Signer:
    """A person with a key, which robots know."""

    private: Path
    public: Path

    @property
    def trusted(self) -> TrustedKeys:
        found = trusted_keys(str(self.public))
        assert found is not None
        return found

    def sign(self, path: Path) -> Path:
        assert tool("sign", path, "--key", self.private, "--force") == 0
        return path

    def statement(self, file: Path, text: str) -> Path:
        file.write_text(text, "utf-8")
        return self.sign(file)


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    """The one whose key the robots of the test have."""
    return Signer(*make_keys(tmp_path))


@pytest.fixture
def evil() -> Iterator[HostileRegistry]:
    """A registry that answers as it should until a test changes that."""
    with hostile_registry() as server:
        yield server


Pull = Callable[..., Installed]


@pytest.fixture
def pull(tmp_path: Path) -> Pull:
    """Return what pulls to the test's root."""

    def pulled(
        reference: str,
        trusted: TrustedKeys | None = None,
        *,
        root: Path = tmp_path / "models",
        access: RegistryAccess = ACCESS,
        **asked: object,
    ) -> Installed:
        request = PullRequest(reference=parse_reference(reference), **asked)  # type: ignore[arg-type]
        return pull_to_store(request, access, root, trusted, lambda done, total: None)

    return pulled


@dataclass
class RegistrySite:
    """A repository of a registry, who publishes there, and a robot that pulls from it."""

    make_version: MakeVersion
    signer: Signer
    repository: str
    pull: Pull
    folder: Path
    request: pytest.FixtureRequest

    @property
    def root(self) -> Path:
        return Path(self.request.getfixturevalue("root"))

    def offer(self, version: str = "1.0.0") -> Path:
        bundle = self.signer.sign(self.make_version(version))
        push(bundle, self.repository)
        return bundle

    def state(self, text: str, *more: object) -> Path:
        file = self.signer.statement(self.folder / "statement.yaml", text)
        push(file, self.repository, *more)
        return file


@pytest.fixture
def site(
    make_version: MakeVersion,
    signer: Signer,
    repository: str,
    pull: Pull,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> RegistrySite:
    return RegistrySite(make_version, signer, repository, pull, tmp_path, request)


def push(folder: Path, repository: str, *more: object) -> None:
    assert tool("push", folder, repository, *more) == 0


Answer = Callable[["Asked"], None]


class Asked(BaseHTTPRequestHandler):
    """A request; answered from the registry's contents, or as a test says."""

    server: HostileRegistry
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # http.server's name for it
        self.server.seen.append((self.path, dict(self.headers)))
        for part, answer in self.server.answers.items():
            if part in self.path:
                return answer(self)
        name = self.path.rpartition("/")[2]
        found = self.server.contents.get(name)
        if found is None:
            return self.reply(404)
        if "Range" in self.headers:
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            end = f"bytes {start}-{len(found) - 1}/{len(found)}"
            return self.reply(206, found[start:], {"Content-Range": end})
        return self.reply(200, found)

    do_POST = do_PUT = do_HEAD = do_GET  # noqa: N815  # names of http.server

    def reply(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class HostileRegistry(ThreadingHTTPServer):
    """What it has, by digest or tag, and how it answers, by a part of the path."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.contents = dict[str, bytes]()
        self.answers = dict[str, Answer]()
        self.seen = list[tuple[str, dict[str, str]]]()

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}/{NAME}"

    def offer(self, bundle: Path, tag: str = "1.0.0") -> dict[str, str]:
        layers = bundle_layers(load_bundle(bundle))
        for layer, content in layers.items():
            self.contents[layer.digest] = (
                content if isinstance(content, bytes) else content.read_bytes()
            )
        manifest = manifest_bytes(BUNDLE_TYPE, list(layers))
        self.contents |= {tag: manifest, make_digest(manifest): manifest}
        return {layer.title: layer.digest for layer in layers}


@contextmanager
def hostile_registry() -> Iterator[HostileRegistry]:
    with HostileRegistry() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
