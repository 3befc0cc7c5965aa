# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A registry that a test makes as hostile as it wants, on the loopback interface."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from model_tools.ship.push import bundle_layers
from policy_core.bundle.load import load_bundle
from policy_store.registry.manifest import BUNDLE_TYPE, digest_of, manifest_bytes
from testkit.store import NAME

Answer = Callable[["Asked"], None]


class Asked(BaseHTTPRequestHandler):
    """A request; answered from the registry's contents, or as a test says."""

    server: HostileRegistry
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # http.server's name for it
        """Answer."""
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
        """Send an answer."""
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
        """Listen."""
        super().__init__(("127.0.0.1", 0), Asked)
        self.contents = dict[str, bytes]()
        self.answers = dict[str, Answer]()
        self.seen = list[tuple[str, dict[str, str]]]()

    @property
    def place(self) -> str:
        """The repository."""
        return f"127.0.0.1:{self.server_address[1]}/{NAME}"

    def offer(self, bundle: Path, tag: str = "1.0.0") -> dict[str, str]:
        """Have a bundle; return the digest of each file by its title."""
        layers = bundle_layers(load_bundle(bundle))
        for layer, content in layers.items():
            self.contents[layer.digest] = (
                content if isinstance(content, bytes) else content.read_bytes()
            )
        manifest = manifest_bytes(BUNDLE_TYPE, list(layers))
        self.contents |= {tag: manifest, digest_of(manifest): manifest}
        return {layer.title: layer.digest for layer in layers}


@contextmanager
def hostile_registry() -> Iterator[HostileRegistry]:
    """Give one that runs."""
    with HostileRegistry() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
