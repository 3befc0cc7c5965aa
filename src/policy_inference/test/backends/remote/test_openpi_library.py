# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The back end `openpi` and openpi's own client and server.

OPENPI names a checkout of https://github.com/Physical-Intelligence/openpi; nothing of it is
installed. Its server imports no more than its client does.
"""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy_inference.backends.remote.openpi import OpenpiBackend, PaddedSquare
from testkit.waiting import until

pytest.importorskip("msgpack", reason="msgpack is not installed")
pytest.importorskip("websockets.sync.server", reason="websockets is not installed")

from policy_inference.backends.remote.msgpack_arrays import packed, unpacked

from .openpi_server import ARTIFACT, CHUNK, IMAGE, JOINTS, STATE, STEPS, OpenpiServer

CHECKOUT = Path(os.environ.get("OPENPI", ""))
CLIENT = CHECKOUT / "packages" / "openpi-client" / "src"
SERVER = CHECKOUT / "src" / "openpi" / "serving" / "websocket_policy_server.py"
pytestmark = pytest.mark.skipif(
    not SERVER.is_file(), reason="OPENPI does not name a checkout of openpi"
)

Open = Callable[..., OpenpiBackend]


class Server:
    """openpi's server, always on the same port."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        script = Path(__file__).with_name("openpi_library.py")
        paths = os.pathsep.join([str(CLIENT), *filter(None, sys.path)])
        self._process = subprocess.Popen(
            [sys.executable, script, SERVER, str(self.port)],
            env={**os.environ, "PYTHONPATH": paths},
            stderr=subprocess.DEVNULL,
        )
        until(self._is_there)

    def _is_there(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(f"http://127.0.0.1:{self.port}/healthz") as answer:
                return bool(answer.read() == b"OK\n")
        except urllib.error.URLError:
            return False

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture(scope="module")
def library_server() -> Iterator[Server]:
    running = Server()
    running.start()
    yield running
    running.kill()


@pytest.fixture
def openpi_client(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Import a module of openpi's client."""
    pytest.importorskip("typing_extensions", reason="typing_extensions is not installed")
    pytest.importorskip("PIL", reason="pillow is not installed")
    monkeypatch.syspath_prepend(CLIENT)
    return lambda name: importlib.import_module(f"openpi_client.{name}")


@pytest.fixture
def open_library(library_server: Server, tmp_path: Path) -> Iterator[Open]:
    file = tmp_path / "policy.openpi.yaml"
    with ExitStack() as stack:

        def apply(text: str = ARTIFACT, **options: str) -> OpenpiBackend:
            file.write_text(text)
            given = {"endpoint": f"ws://127.0.0.1:{library_server.port}", **options}
            backend = OpenpiBackend(file, [IMAGE, STATE], [CHUNK], options=given)
            return stack.enter_context(closing(backend))

        yield apply


def test_requests_are_the_bytes_of_openpis_client(openpi_client: Callable[[str], Any]) -> None:
    theirs, rng = openpi_client("msgpack_numpy"), np.random.default_rng(1)
    request = {
        "observation/image": rng.integers(0, 256, (6, 8, 3), np.uint8),
        "observation/state": rng.normal(size=7).astype(np.float32),
        "images": {"cam_high": rng.integers(0, 256, (3, 6, 8), np.uint8).transpose(1, 2, 0)},
        "prompt": "pick up the cube",
        "step": np.int64(3),
    }
    assert packed(request) == theirs.packb(request)
    answer = {
        "actions": rng.normal(size=(4, 7)),
        "half": rng.normal(size=3).astype(np.float16),
        "server_timing": {"infer_ms": 1.5, "steps": np.float32(2.5)},
    }
    read = unpacked(theirs.packb(answer))
    np.testing.assert_array_equal(read["actions"], answer["actions"])
    np.testing.assert_array_equal(read["half"], answer["half"])
    assert read["server_timing"] == answer["server_timing"]


@pytest.mark.parametrize(("height", "width"), [(480, 640), (640, 480), (96, 128), (224, 224)])
def test_images_of_a_size_are_those_of_openpis_client(
    openpi_client: Callable[[str], Any], height: int, width: int
) -> None:
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    expected = openpi_client("image_tools").resize_with_pad(image, 224, 224)
    np.testing.assert_array_equal(PaddedSquare(height, width, 224)(image), expected)


def test_server_answers_with_its_chunk(open_library: Open) -> None:
    backend = open_library()
    backend.inputs["image"][:], backend.inputs["state"][:] = 7, [0.5, -0.5]
    backend.run()
    expected = np.array([0.5, -0.5]) + 12.0 * np.arange(STEPS)[:, np.newaxis]
    np.testing.assert_allclose(backend.outputs["actions"][0], expected)


def test_server_of_our_tests_is_one_to_openpis_client(openpi_client: Callable[[str], Any]) -> None:
    policy_class = openpi_client("websocket_client_policy").WebsocketClientPolicy
    image = np.full((6, 8, 3), 7, np.uint8)
    seen = {"observation/image": image, "observation/state": np.zeros(JOINTS), "prompt": "reach"}
    with closing(OpenpiServer()) as double:
        policy = policy_class("127.0.0.1", double.port)
        answer = policy.infer(seen)
        assert policy.get_server_metadata() == {"policy": "reach", "version": 3}
        np.testing.assert_allclose(answer["actions"][:, 0], 12.0 * np.arange(STEPS))
        with pytest.raises(RuntimeError, match="KeyError"):
            policy.infer({"prompt": "reach"})
