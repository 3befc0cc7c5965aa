# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The back end `openpi`; the conformance suite (name="openpi") has models, not its servers."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import load_bundle
from policy_core.errors import BackendError
from policy_core.interfaces import TensorSpec
from policy_core.members.chunk.graphs import ChunkGraphs, ChunkObservation
from policy_inference.backends.registry import open_models
from policy_inference.backends.remote import link, openpi
from policy_inference.backends.remote.openpi import OpenpiBackend
from testkit.chunk_bundles import write_chunk_bundle
from testkit.waiting import until
from testkit.wording import refusal

from .conftest import run_succeeds

pytest.importorskip("msgpack", reason="msgpack is not installed")
pytest.importorskip("websockets.sync.server", reason="websockets is not installed")

from .openpi_server import (
    ARTIFACT,
    CHUNK,
    IMAGE,
    JOINTS,
    STATE,
    STEPS,
    OpenpiServer,
    packed_answer,
    right,
)

Open = Callable[..., OpenpiBackend]


def msgpack_error(dtype: str) -> dict[str, Any]:
    """Return an answer that makes the decoder show a text."""
    return {"actions": {b"__ndarray__": True, b"data": b"", b"dtype": dtype, b"shape": (1,)}}


@pytest.fixture
def openpi_server() -> Iterator[OpenpiServer]:
    with closing(OpenpiServer()) as running:
        yield running


@pytest.fixture
def artifact_file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.openpi.yaml"
    path.write_text(ARTIFACT)
    return path


@pytest.fixture
def open_openpi(artifact_file: Path, openpi_server: OpenpiServer) -> Iterator[Open]:
    with ExitStack() as stack:

        def apply(**options: str) -> OpenpiBackend:
            given = {"endpoint": f"ws://127.0.0.1:{openpi_server.port}", **options}
            backend = OpenpiBackend(artifact_file, [IMAGE, STATE], [CHUNK], options=given)
            return stack.enter_context(closing(backend))

        yield apply


def test_bundle_whose_images_go_as_they_are_runs_from_the_image_to_the_chunk(
    openpi_server: OpenpiServer, tmp_path: Path
) -> None:
    """The contract of docs/remote_models.md: uint8, identity, one graph."""
    text = ARTIFACT.replace(": image}", ": front}").replace(": state}", ": states}")
    identity, tensor = {"mode": "identity"}, {"file": "policy.openpi.yaml", "precision": "fp32"}
    graph = {
        "inputs": {
            "front": {"shape": [1, 3, 16, 24], "dtype": "uint8"},
            "states": {"shape": [1, 3]},
        },
        "outputs": {"Actions": {"shape": [1, 8, 3]}},
        "artifacts": {"openpi": {**tensor, "sha256": hashlib.sha256(text.encode()).hexdigest()}},
    }
    folder = write_chunk_bundle(tmp_path / "arm", sizes={"front": (16, 24)}, encoders=False)
    (folder / "policy.openpi.yaml").write_text(text)
    contract = yaml.safe_load((folder / "policy.yaml").read_text())
    contract["cameras"]["front"] |= {"tensor": "front", "normalisation": identity}
    contract["state"]["normalisation"] = contract["action"]["normalisation"] = identity
    contract["graphs"] = {"policy": graph}
    del contract["golden"]
    (folder / "policy.yaml").write_text(yaml.safe_dump(contract))
    bundle = load_bundle(folder, kind=ChunkBundle)
    openpi_server.policy = lambda seen: {
        "actions": seen["observation/state"] + np.arange(8.0)[:, np.newaxis]
    }
    image = np.arange(16 * 24 * 3, dtype=np.uint8).reshape(16, 24, 3)
    state = np.array([1.0, 2.0, 3.0])
    options = {"openpi": {"endpoint": f"ws://127.0.0.1:{openpi_server.port}"}}
    with open_models(bundle.models, ["openpi"], options) as models:
        graphs = ChunkGraphs(bundle.contract, models)
        chunk = graphs.run(ChunkObservation(images={"front": image}, state=state))
    np.testing.assert_array_equal(openpi_server.seen[-1]["observation/image"], image)
    np.testing.assert_allclose(chunk, state + np.arange(8.0)[:, np.newaxis])


def test_keys_with_dots_are_maps_and_images_may_have_channels_first(
    open_openpi: Open, openpi_server: OpenpiServer, artifact_file: Path
) -> None:
    artifact_file.write_text(
        "images: {images.cam_high: image}\nstate: {state: state}\nchannels_first: true\n"
        "metadata: {policy: reach}\n"
    )
    openpi_server.policy = lambda seen: {"actions": np.zeros((STEPS, JOINTS), np.float32)}
    open_openpi().run()
    assert openpi_server.seen[-1]["images"]["cam_high"].shape == (3, 6, 8)
    assert "prompt" not in openpi_server.seen[-1]


def test_images_are_made_square_with_black_bars(
    open_openpi: Open, openpi_server: OpenpiServer, artifact_file: Path
) -> None:
    pytest.importorskip("PIL", reason="pillow is not installed")
    artifact_file.write_text(f"{ARTIFACT}image_size: 4\n")
    backend = open_openpi()
    backend.inputs["image"][:] = np.array([10, 20, 30], np.uint8).reshape(1, 3, 1, 1)
    backend.run()
    seen = openpi_server.seen[-1]["observation/image"]
    np.testing.assert_array_equal(seen[:3], np.broadcast_to([10, 20, 30], (3, 4, 3)))
    np.testing.assert_array_equal(seen[3:], np.zeros((1, 4, 3)))


def test_api_key_is_sent_unless_it_is_to_another_machine_without_tls(
    open_openpi: Open, openpi_server: OpenpiServer, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("abc123\n")
    open_openpi(key_file=str(tmp_path / "key"), prompt="lift").run()
    assert openpi_server.headers["Authorization"] == "Api-Key abc123"
    assert openpi_server.seen[-1]["prompt"] == "lift"
    with refusal(BackendError):
        open_openpi(endpoint="ws://192.0.2.1:8000", key_file=str(tmp_path / "key"))


PICKLED = (
    b"\x81\xa7actions\x84\xc4\x0b__ndarray__\xc3\xc4\x04data\xc4\x01."
    b"\xc4\x05dtype\xa1O\xc4\x05shape\x91\x01"
)
GENERIC = b"\x83\xc4\x0d__npgeneric__\xc3\xc4\x04data\xcd\x01\x2c\xc4\x05dtype\xa2i1"
WRONG: dict[str, Callable[[Any], Any]] = {
    "joints": lambda seen: {"actions": np.zeros((STEPS, 3))},
    "error": lambda seen: "Traceback:\nKeyError: 'observation/wrist'",
    "not msgpack": lambda seen: b"\xc1\xff",
    "Python objects": lambda seen: PICKLED,
    "63 MiB of empty lists": lambda seen: b"\xdd\x03\xf0\x00\x00" + b"\x90" * (63 << 20),
    "lists": lambda seen: b"\x91\xdc\x0f\xff" + b"\x90" * 4095,
    "a number of another size": lambda seen: GENERIC,
}


@pytest.mark.parametrize("wrong", WRONG)
def test_answer_that_cannot_be_right_is_refused_and_the_next_right_one_is_taken(
    open_openpi: Open, openpi_server: OpenpiServer, wrong: str
) -> None:
    backend = open_openpi()
    openpi_server.policy = WRONG[wrong]
    with refusal(BackendError):
        backend.run()
    openpi_server.policy = right
    until(lambda: run_succeeds(backend))


TERMINAL = "\x1b]52;c;cm0gLXJm\x07\x1b[2J\rservice stopped\n\x9b31m"
"""Writes the clipboard, clears the screen, forges a line."""


@pytest.mark.parametrize(
    "answer",
    [TERMINAL, {"actions": np.zeros(3), TERMINAL: 1}, msgpack_error(TERMINAL)],
    ids=["error", "key", "type"],
)
def test_texts_of_a_server_do_not_control_a_terminal(
    open_openpi: Open, openpi_server: OpenpiServer, answer: Any
) -> None:
    backend = open_openpi()
    openpi_server.policy = lambda seen: answer
    with pytest.raises(BackendError) as caught:
        backend.run()
    assert str(caught.value).isprintable()
    assert backend.problem().isprintable()
    with closing(OpenpiServer({"policy": TERMINAL * 100})) as hostile:
        with pytest.raises(BackendError) as caught:
            open_openpi(endpoint=f"ws://127.0.0.1:{hostile.port}")
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 1000


@pytest.mark.slow
def test_server_that_stops_reading_is_late(
    artifact_file: Path, openpi_server: OpenpiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "_BUDGET_S", 0.0)
    image = TensorSpec(name="image", shape=(1, 3, 1536, 1536), dtype="uint8")
    given = {"endpoint": f"ws://127.0.0.1:{openpi_server.port}", "deadline_ms": "3000"}
    with closing(OpenpiBackend(artifact_file, [image, STATE], [CHUNK], options=given)) as backend:
        with (
            openpi_server.connection.protocol_mutex,  # without which it takes nothing more
            refusal(BackendError),
        ):
            backend.run()
        until(lambda: run_succeeds(backend))


INVALID_TEXT = b"\x81\x01\xff"
FRAGMENTS = b"\x02\x00" + 50_000 * b"\x00\x00"
"""The beginning of a binary message, and continuations, all of them empty."""


@pytest.mark.parametrize("frames", [INVALID_TEXT, FRAGMENTS], ids=["invalid text", "fragments"])
def test_server_that_does_not_close_an_invalid_connection_is_late(
    open_openpi: Open,
    openpi_server: OpenpiServer,
    monkeypatch: pytest.MonkeyPatch,
    frames: bytes,
) -> None:
    """The client waited for its own limit for closing a connection, instead of the deadline."""
    monkeypatch.setattr(openpi, "_CLOSE_WITHIN_S", 60.0)
    backend, has_given_up = open_openpi(deadline_ms="200"), threading.Event()
    in_time = list[bool]()

    def hold(seen: dict[str, Any]) -> Any:
        connection = openpi_server.connection
        with connection.protocol_mutex:  # without which it closes nothing
            connection.socket.sendall(frames)
            in_time.append(has_given_up.wait(10.0))
        return right(seen)

    openpi_server.policy = hold
    with refusal(BackendError):
        backend.run()
    has_given_up.set()
    openpi_server.policy = right
    until(lambda: run_succeeds(backend))
    assert in_time == [True]


def test_late_answer_is_never_taken_for_the_next_request(
    open_openpi: Open, openpi_server: OpenpiServer
) -> None:
    def slow(seen: dict[str, Any]) -> Any:
        time.sleep(0.3)
        return {"actions": np.full((STEPS, JOINTS), 7.0)}

    backend = open_openpi(deadline_ms="100")
    openpi_server.policy = slow
    with refusal(BackendError):
        backend.run()
    openpi_server.policy = right
    until(lambda: run_succeeds(backend))
    time.sleep(0.3)
    backend.run()
    assert (backend.outputs["actions"] != 7.0).all()


def test_answer_that_was_not_asked_for_is_refused(
    open_openpi: Open, openpi_server: OpenpiServer
) -> None:
    def twice(seen: dict[str, Any]) -> Any:
        openpi_server.connection.send(packed_answer(right(seen)))
        return right(seen)

    backend = open_openpi()
    openpi_server.policy = twice
    with refusal(BackendError):
        until(lambda: backend.run())  # until it raises
    openpi_server.policy = right
    until(lambda: run_succeeds(backend))


def test_server_that_ends_is_an_error_at_once_and_is_used_again(
    open_openpi: Open, openpi_server: OpenpiServer
) -> None:
    backend = open_openpi()
    openpi_server.close()
    with refusal(BackendError):
        backend.run()
    until(lambda: "expected a server of openpi" in backend.problem())
    with closing(OpenpiServer(port=openpi_server.port)):
        until(lambda: run_succeeds(backend))


def test_policy_that_its_server_does_not_name_needs_an_option(
    open_openpi: Open, artifact_file: Path
) -> None:
    artifact_file.write_text(ARTIFACT.partition("metadata")[0])
    with pytest.raises(BackendError, match=r"openpi\.unproven=yes"):
        open_openpi()
    assert "not proven" in open_openpi(unproven="yes").details["policy"]


@pytest.mark.parametrize(
    "text", ["images: {a: image, b: state}", "colour: red"], ids=["image of a state", "key"]
)
def test_artifact_that_makes_no_sense_is_refused(
    open_openpi: Open, artifact_file: Path, text: str
) -> None:
    artifact_file.write_text(text)
    with refusal(BackendError) as caught:
        open_openpi()
    assert str(artifact_file) in str(caught.value)


@pytest.mark.parametrize("endpoint", ["", "http://127.0.0.1:8000"])
def test_endpoint_that_is_none_is_refused(open_openpi: Open, endpoint: str) -> None:
    with refusal(BackendError):
        open_openpi(endpoint=endpoint)
