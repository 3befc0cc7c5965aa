# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Registries that lie, break off, or never end: refused, and nothing is installed."""

import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from policy_core.errors import BundleError, PolicyError
from policy_store.registry import client
from policy_store.registry.access import RegistryError, UnavailableError
from policy_store.registry.manifest import (
    BUNDLE_TYPE,
    LARGEST_MANIFEST_BYTES,
    make_digest,
    parse_manifest,
)
from testkit.fuzzing import bounded, changed_bytes
from testkit.store import NAME, MakeVersion, versions
from testkit.wording import check_wording, refusal

from ..test_fleet import head, hello_requests, odd_server
from .conftest import ACCESS, Answer, Asked, HostileRegistry, Pull, RegistrySite, Signer

IMPATIENT = replace(ACCESS, timeout_s=0.2)


@pytest.fixture
def offered(evil: HostileRegistry, make_version: MakeVersion) -> dict[str, str]:
    """The digests of a bundle that it has, by title."""
    return evil.offer(make_version())


def pull_in_vain(
    pull: Pull, evil: HostileRegistry, root: Path, error: type[Exception] = RegistryError
) -> str:
    """Pull; nothing changes in the root. Return the message."""
    with pytest.raises(error) as caught:
        pull(f"{evil.place}:1.0.0", root=root, access=IMPATIENT)
    assert versions(root) == []
    return str(caught.value)


def test_manifest_of_another_digest_is_refused(
    evil: HostileRegistry, offered: dict[str, str], pull: Pull
) -> None:
    asked = make_digest(b"another")
    evil.contents[asked] = evil.contents["1.0.0"]
    with refusal(RegistryError):
        pull(f"{evil.place}@{asked}")


@pytest.mark.parametrize("title", ["policy.yaml", "policy.onnx"])
def test_content_with_another_digest_is_refused_and_not_kept(
    title: str, evil: HostileRegistry, offered: dict[str, str], pull: Pull, tmp_path: Path
) -> None:
    digest = offered[title]
    good = evil.contents[digest]
    evil.contents[digest] = bytes([good[0] ^ 1]) + good[1:]
    check_wording(pull_in_vain(pull, evil, tmp_path))
    evil.contents[digest] = good
    assert pull(f"{evil.place}:1.0.0", root=tmp_path).is_new


def endless(asked: Asked) -> None:
    """Send chunks until the client has gone."""
    asked.send_response(200)
    asked.send_header("Transfer-Encoding", "chunked")
    asked.end_headers()
    with suppress(OSError):
        while True:
            asked.wfile.write(b"1000\r\n" + bytes(0x1000) + b"\r\n")


def drip(after: bytes) -> Answer:
    """Return what sends this, then a byte now and then, each before the client's time-out."""

    def answer(asked: Asked) -> None:
        with suppress(OSError):
            asked.wfile.write(b"HTTP/1.1 200 OK\r\n" + after)
            while True:
                asked.wfile.write(b"x")
                asked.wfile.flush()
                time.sleep(0.05)  # is what is tried here

    return answer


def never_answers(asked: Asked) -> None:
    """Say nothing for longer than the client waits."""
    time.sleep(0.5)  # is what is tried here
    asked.close_connection = True


def redirect(location: str) -> Answer:
    return lambda asked: asked.reply(302, b"", {"Location": location})


ANSWERS: dict[str, Answer] = {
    "status 500": lambda asked: asked.reply(500),
    "status 403": lambda asked: asked.reply(403),
    "status 401": lambda asked: asked.reply(401),
    "redirect to itself": lambda asked: redirect(asked.path)(asked),
    "redirect to a file": redirect("file:///etc/passwd"),
    "redirect to plain HTTP": redirect("http://10.0.0.1/x"),
    "redirect with a password": redirect("https://u:p@x/"),
    "redirect to half a URL": redirect("http://[x"),
    "endless": endless,
}
UNCLEAR: dict[str, Answer] = {
    "body drop by drop": drip(b"\r\n"),
    "header drop by drop": drip(b"X-Slow: "),
    "size of a chunk drop by drop": drip(b"Transfer-Encoding: chunked\r\n\r\n1;"),
    "silence": never_answers,
    "redirect to control characters": redirect("/\xe9 \x01"),
    "redirect to a long host": redirect(f"https://{'x' * 70}"),
    "body cut off": lambda asked: asked.reply(200, b"x", {"Content-Length": "7"}),
    "large header": lambda asked: asked.reply(200, b"", {"X": "y" * 70_000}),
    "large length": lambda asked: asked.reply(200, b"x", {"Content-Length": "9" * 5000}),
}
"""Answers of which the message depends on how far the client came, or on Python."""


@pytest.mark.parametrize("what", ["manifests", "blobs"])
@pytest.mark.parametrize("answer", [*ANSWERS, *UNCLEAR])
def test_answers_that_are_none_end_in_an_error(
    what: str,
    answer: str,
    evil: HostileRegistry,
    offered: dict[str, str],
    pull: Pull,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "ATTEMPTS", 2)
    evil.answers[f"/{what}/"] = (ANSWERS | UNCLEAR)[answer]
    begun = time.monotonic()
    message = pull_in_vain(pull, evil, tmp_path)
    if answer in ANSWERS:
        check_wording(message)
    else:
        assert evil.place.partition("/")[0] in message or "xxx" in message
    assert time.monotonic() - begun < 60


@pytest.mark.parametrize("answer", [head, hello_requests])
def test_way_to_a_registry_that_never_ends_is_given_up(
    answer: Callable[[socket.socket], None], pull: Pull, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that never ends its answer; TLS messages that mean nothing, without end."""
    with odd_server(answer) as port:
        place = f"127.0.0.1:{port}"
        if answer is head:
            monkeypatch.setenv("HTTPS_PROXY", f"http://{place}")
            place = "registry.invalid"
        begun = time.monotonic()
        with refusal(UnavailableError):
            pull(f"https://{place}/{NAME}:1.0.0", access=IMPATIENT)
        assert time.monotonic() - begun < 30


def test_registry_that_is_overloaded_for_a_moment_is_asked_again(
    evil: HostileRegistry, offered: dict[str, str], pull: Pull
) -> None:
    left = [503, 429]

    def overloaded(asked: Asked) -> None:
        if not left:
            del evil.answers["/blobs/"]
        asked.reply(left.pop() if left else 503)

    evil.answers["/blobs/"] = overloaded
    assert pull(f"{evil.place}:1.0.0").is_new


def test_download_that_breaks_off_is_continued_where_it_ended(
    evil: HostileRegistry, offered: dict[str, str], pull: Pull
) -> None:
    digest = offered["policy.onnx"]
    content = evil.contents[digest]

    def breaks(asked: Asked) -> None:
        if "Range" in asked.headers:
            del evil.answers[digest]
            return asked.do_GET()
        half = {"Content-Length": str(len(content))}
        asked.reply(200, content[:100], half)
        asked.close_connection = True
        return None

    evil.answers[digest] = breaks
    assert pull(f"{evil.place}:1.0.0").is_new
    assert "bytes=100-" in [headers.get("Range") for _, headers in evil.seen]


@pytest.mark.parametrize("left", [b"x" * 100, b"x" * (1 << 20)], ids=["part", "more"])
def test_part_that_was_damaged_on_the_disk_begins_again(
    left: bytes, evil: HostileRegistry, offered: dict[str, str], pull: Pull, tmp_path: Path
) -> None:
    manifest = make_digest(evil.contents["1.0.0"]).removeprefix("sha256:")
    folder = tmp_path / NAME / f".pulling.{manifest[:8]}"
    folder.mkdir(parents=True)
    (folder / "policy.onnx").write_bytes(left)
    (folder / "of_another_back_end").write_bytes(left)
    assert pull(f"{evil.place}:1.0.0", root=tmp_path).is_new


@pytest.mark.parametrize("answer", ["200", "206 of another place", "416"])
def test_range_that_is_not_answered_begins_again(
    answer: str, evil: HostileRegistry, offered: dict[str, str], pull: Pull
) -> None:
    digest = offered["policy.onnx"]
    content = evil.contents[digest]

    def ignores(asked: Asked) -> None:
        if "Range" not in asked.headers:
            evil.answers[digest] = ignores_range
            asked.reply(200, content[:100], {"Content-Length": str(len(content))})
            asked.close_connection = True

    def ignores_range(asked: Asked) -> None:
        if "Range" not in asked.headers or answer == "200":
            asked.reply(200, content)
        elif answer == "416":
            asked.reply(416)
        else:
            asked.reply(206, content[7:], {"Content-Range": f"bytes 7-{len(content)}/9"})

    evil.answers[digest] = ignores
    done = pull(f"{evil.place}:1.0.0")
    assert (done.folder / "policy.onnx").read_bytes() == content


def layer(title: str, content: bytes = b"x", **other: Any) -> dict[str, Any]:
    annotations = {"org.opencontainers.image.title": title}
    digest = make_digest(content)
    return {"digest": digest, "size": len(content), "annotations": annotations} | other


def document(*layers: Any, **other: Any) -> bytes:
    return json.dumps(
        {"schemaVersion": 2, "artifactType": BUNDLE_TYPE, "layers": [*layers]} | other
    ).encode()


MANIFESTS = {
    "nothing": b"",
    "list": b"[]",
    "deep": b"[" * 100_000,
    "no text": b"\xff\xfe",
    "other schema": document(schemaVersion=1),
    "other type": document(artifactType="application/vnd.docker.image"),
    "layers in a mapping": document(layers={}),
    "layer without a title": document({}),
    "no layer": document(None),
    "digest of another kind": document(layer("a", digest="md5:1")),
    "digest with a path": document(layer("a", digest="sha256:../../x")),
    "negative size": document(layer("a", size=-1)),
    "truth as size": document(layer("a", size=True)),
    "fraction as size": document(layer("a", size=1e9)),
    "huge size": document(layer("a", size=1 << 60)),
}


@pytest.mark.parametrize("kind", MANIFESTS)
def test_manifests_with_tricks_are_refused(kind: str) -> None:
    with refusal(RegistryError):
        parse_manifest(MANIFESTS[kind], BUNDLE_TYPE, "here")


@pytest.mark.parametrize(
    "title",
    ["../evil", "/tmp/evil", "policy.yaml/evil", ".hidden", "a\\b", "a\x00b", "POLICY.ONNX"],
)
def test_titles_that_the_contract_does_not_name_are_not_downloaded(
    title: str, evil: HostileRegistry, offered: dict[str, str], pull: Pull, tmp_path: Path
) -> None:
    manifest = json.loads(evil.contents["1.0.0"])
    manifest["layers"].insert(0, layer(title, b"malware"))
    evil.contents["1.0.0"] = json.dumps(manifest).encode()
    folder = pull(f"{evil.place}:1.0.0", root=tmp_path / "models").folder
    assert not any(make_digest(b"malware") in path for path, _ in evil.seen)
    assert {file.name for file in folder.iterdir()} == {"model_version.json", *offered}


@pytest.mark.fuzz
@given(content=changed_bytes(document(layer("policy.yaml"), layer("rknn/policy.rknn"))))
def test_changed_manifests_are_parsed_or_refused(content: bytes) -> None:
    with suppress(RegistryError), bounded():
        parse_manifest(content, BUNDLE_TYPE, "here")


def test_manifest_that_is_too_large_is_not_read(
    evil: HostileRegistry, pull: Pull, tmp_path: Path
) -> None:
    evil.contents["1.0.0"] = b" " * (LARGEST_MANIFEST_BYTES + 1)
    check_wording(pull_in_vain(pull, evil, tmp_path))


@pytest.mark.parametrize("change", ["digest", "absent", "huge", "short"])
def test_layers_that_the_contract_does_not_mean_are_refused(
    change: str, evil: HostileRegistry, offered: dict[str, str], pull: Pull, tmp_path: Path
) -> None:
    manifest = json.loads(evil.contents["1.0.0"])
    model = next(one for one in manifest["layers"] if "onnx" in str(one["annotations"]))
    if change == "digest":
        evil.contents[make_digest(b"malware")] = b"malware"
        model |= {"digest": make_digest(b"malware"), "size": 7}
    elif change == "absent":
        manifest["layers"].remove(model)
    else:
        model["size"] = 1 << 39 if change == "huge" else 3
    evil.contents["1.0.0"] = json.dumps(manifest).encode()
    check_wording(pull_in_vain(pull, evil, tmp_path, PolicyError))


def test_signature_is_checked_before_the_contract_is_parsed(
    evil: HostileRegistry, make_version: MakeVersion, signer: Signer, pull: Pull
) -> None:
    evil.offer(make_version())
    with refusal(BundleError):
        pull(f"{evil.place}:1.0.0", signer.trusted)
    bundle = signer.sign(make_version())
    (bundle / "policy.yaml").write_text("no: contract", "utf-8")
    layers = {name: (bundle / name).read_bytes() for name in ("policy.yaml", "policy.yaml.sig")}
    evil.contents |= {make_digest(content): content for content in layers.values()}
    evil.contents["1.0.0"] = document(*(layer(*one) for one in layers.items()))
    with refusal(BundleError):
        pull(f"{evil.place}:1.0.0", signer.trusted)


def test_tag_shows_the_version_that_it_names(evil: HostileRegistry, site: RegistrySite) -> None:
    for tag in ("1.3.0", "1.3.0_a", "1.3.0_a_b"):  # of 1.3.0+a+b
        evil.offer(site.signer.sign(site.make_version("1.0.0")), tag)
        with refusal(RegistryError):
            site.pull(f"{evil.place}:{tag}", site.signer.trusted)


def test_bundle_with_another_name_is_refused(
    evil: HostileRegistry, make_version: MakeVersion, pull: Pull
) -> None:
    evil.offer(make_version("1.0.0", ("name: tiny", "name: other")))
    with refusal(RegistryError):
        pull(f"{evil.place}:1.0.0")
