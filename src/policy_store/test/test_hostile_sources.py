# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Folders and archives that others made, installed by a user who may read and write more."""

import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_core.bundle.load import PUBLIC_KEY_VARIABLE
from policy_core.errors import PolicyError
from policy_store.bundle_source import DEEPEST, MOST_FILES, opened
from testkit.fuzzing import bounded, changed_bytes
from testkit.store import NAME, MakeVersion, make_keys, sign, tool, tool_refused
from testkit.wording import refusal

ROOM = 1 << 30


def installed_files(root: Path) -> list[str]:
    return sorted(
        file.relative_to(root).as_posix()
        for file in root.rglob("*")
        if file.is_file() and not file.name.startswith(".")
    )


def link_to_secret(name: str) -> Callable[[Path, Path], object]:
    def spoil(bundle: Path, secret: Path) -> None:
        (bundle / name).unlink(missing_ok=True)
        (bundle / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle / name).symlink_to(secret)

    return spoil


def pipe(bundle: Path, _: Path) -> None:
    (bundle / "golden.npz").unlink()
    os.mkfifo(bundle / "golden.npz")


LINKS: dict[str, Callable[[Path, Path], object]] = {
    "model": link_to_secret("policy.onnx"),
    "contract": link_to_secret("policy.yaml"),
    "signature": link_to_secret("policy.yaml.sig"),
    "pipe": pipe,
}


@pytest.mark.parametrize("kind", LINKS)
def test_links_of_a_folder_are_refused(
    tmp_path: Path, make_version: MakeVersion, kind: str
) -> None:
    """A copy of a file that root alone may read was readable for all afterwards."""
    secret, bundle = tmp_path / "private" / "secret", make_version()
    secret.parent.mkdir()
    secret.write_text("for root alone")
    LINKS[kind](bundle, secret)

    tool_refused("install", bundle, "--root", tmp_path / "models")

    assert not installed_files(tmp_path / "models")


def test_a_file_that_becomes_a_link_meanwhile_is_not_read(
    tmp_path: Path, make_version: MakeVersion
) -> None:
    secret, bundle = tmp_path / "secret", make_version()
    secret.write_text("for root alone")
    (bundle / "data").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes").symlink_to(secret)
    with opened(bundle, ROOM) as source:
        (bundle / "policy.onnx").unlink()
        (bundle / "policy.onnx").symlink_to(secret)
        with refusal(PolicyError):
            source.open("policy.onnx")
        (bundle / "data").rmdir()
        (bundle / "data").symlink_to(tmp_path / "other")
        with refusal(PolicyError):
            source.open("data/notes")


@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [
        ["d/" * (DEEPEST + 3)],
        map(str, range(MOST_FILES + 1)),
        ["same"] * (MOST_FILES + 1),
        (f"{i}/" + "d/" * 8 + "file" for i in range(MOST_FILES // 8)),
    ],
    ids=["deep", "many", "many of one name", "many folders"],
)
def test_an_archive_that_is_too_deep_or_too_large_is_refused(
    tmp_path: Path, names: Iterable[str]
) -> None:
    archive = tmp_path / "source.tar"
    with tarfile.open(archive, "w") as made:
        for name in names:
            made.addfile(tarfile.TarInfo(name))
    with refusal(PolicyError), opened(archive, ROOM):
        pass


def with_checksums(content: bytes) -> bytes:
    """Return an archive whose headers have right checksums, without which none is looked at."""
    data = bytearray(content)
    for at in range(0, len(data) - 511, 512):
        if data[at + 257 : at + 262] == b"ustar":
            data[at + 148 : at + 156] = b" " * 8
            data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
    return bytes(data)


def made_by_hand(
    content: bytes = b"", kind: bytes = tarfile.REGTYPE, **changes: object
) -> tarfile.TarInfo:
    """Return the header of a file, with what `tar` would never write."""
    info = tarfile.TarInfo(str(changes.pop("name", "notes")))
    info.size, info.type = len(content), kind
    for name, value in changes.items():
        setattr(info, name, value)
    return info


def of_pax(**headers: str) -> bytes:
    return made_by_hand(pax_headers=headers).tobuf(tarfile.PAX_FORMAT)


ODD_FILES = {
    "sparse": of_pax(**{"GNU.sparse.size": "1", "GNU.sparse.map": "0,1"}),
    "file as a folder": made_by_hand(name="policy.yaml/x").tobuf(),
    "negative size": made_by_hand(size=-512).tobuf(tarfile.GNU_FORMAT),
    "negative size of PAX": of_pax(size="-512"),
    "zero": of_pax(path="a\0b"),
}


@pytest.mark.parametrize("kind", ODD_FILES)
def test_a_file_that_no_bundle_has_is_refused(
    tmp_path: Path, make_version: MakeVersion, kind: str
) -> None:
    made, file = io.BytesIO(), tmp_path / "bundle.tar.gz"
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.add(make_version() / "policy.yaml", "policy.yaml")
        length = archive.offset
    content = made.getvalue()[:length] + ODD_FILES[kind] + bytes(1024)
    file.write_bytes(gzip.compress(content, 1))
    with bounded(largest_bytes=1 << 25), refusal(PolicyError), opened(file, ROOM):
        pass


def test_nothing_of_an_unsigned_bundle_is_parsed(
    tmp_path: Path, make_version: MakeVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each message is of the signature; none is of the YAML, which is none."""
    private, public = make_keys(tmp_path)
    bundle, archive = make_version(), tmp_path / "bundle.tar.gz"
    sign(bundle / "policy.yaml", private)
    monkeypatch.setenv(PUBLIC_KEY_VARIABLE, str(public))
    (bundle / "policy.yaml").write_text("[" * 1000)
    with tarfile.open(archive, "w:gz") as made:
        made.add(bundle, "bundle")

    for source in (bundle, archive):
        tool_refused("install", source, "--root", tmp_path / "models")
    (bundle / "policy.yaml.sig").unlink()
    tool_refused("install", bundle, "--root", tmp_path / "models")


@pytest.mark.parametrize("signed", [False, True], ids=["not signed", "signed"])
def test_what_the_contract_does_not_name_stays_behind(
    tmp_path: Path, make_version: MakeVersion, monkeypatch: pytest.MonkeyPatch, signed: bool
) -> None:
    """The workspace of a compiler is a gigabyte; no signature covers a script."""
    bundle, root, secret = make_version(), tmp_path / "models", tmp_path / "secret"
    secret.write_text("for root alone")
    os.mkfifo(bundle / "pipe")
    (bundle / "a\nb").touch()
    for name in ("extra.sh", "bpu_output/policy.hbm"):
        (bundle / name).parent.mkdir(exist_ok=True)
        (bundle / name).write_text("harmless")
    for name in ("link", "a/b/c"):
        link_to_secret(name)(bundle, secret)
    if signed:
        private, public = make_keys(tmp_path)
        sign(bundle / "policy.yaml", private)
        monkeypatch.setenv(PUBLIC_KEY_VARIABLE, str(public))

    for _ in range(2):  # again is no error
        assert tool("install", bundle, "--activate", "--root", root) == 0

    named = ["golden.npz", "model_version.json", "policy.onnx", "policy.yaml"]
    expected = [*named, "policy.yaml.sig"] if signed else named
    assert installed_files(root / NAME / "1.0.0") == expected
    assert tool("verify", "--root", root) == 0


def archive_bytes(bundle: Path, kind: int) -> bytes:
    """Return an archive of a bundle, in one of the three formats that Python writes."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=kind) as archive:
        archive.add(bundle, "bundle", filter=_with_pax)
    return made.getvalue()


def _with_pax(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.pax_headers = {"comment": "made by a test"}
    return info


@pytest.fixture(scope="session")
def archives(make_version: MakeVersion) -> list[bytes]:
    """Return archives of a bundle that can be installed: each format, packed two ways, or not."""
    bundle = make_version()
    plain = [archive_bytes(bundle, kind) for kind in (0, 1, 2)]
    return [*plain, gzip.compress(plain[0]), lzma.compress(plain[1])]


@pytest.mark.fuzz
@given(data=st.data())
def test_any_archive_is_a_source_or_one_error(
    archives: Sequence[bytes], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    changed = changed_bytes(*archives)
    file = tmp_path_factory.getbasetemp() / "bundle.tar"
    file.write_bytes(data.draw(changed.map(with_checksums) | changed))
    with suppress(PolicyError), bounded(), opened(file, 1 << 24) as source:
        source.read_contract()
        with suppress(FileNotFoundError), source.open("policy.onnx") as stream:
            stream.read(1 << 16)
