# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever a `policy.yaml` says and its arrays hold: a bundle, or one error that lists why not."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from policy_core.bundle.arrays import read_rows
from policy_core.bundle.contract import File
from policy_core.bundle.load import parse_contract
from policy_core.errors import MOST_LINES, BundleError
from testkit.fuzzing import bounded, changed_bytes, changed_values, examples
from testkit.wording import refusal

SHIPPED = Path(__file__).parents[4] / "config" / "bundles"
SHAPES = {"obs": (4,), "actions": (2,)}
pytestmark = pytest.mark.fuzz


def npy_of(descr: str, shape: tuple[int, ...]) -> bytes:
    """Return a file of one array that is nothing but its header."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.fixture(scope="session")
def contracts(parsed: dict[str, Any], chunk_parsed: dict[str, Any]) -> list[object]:
    """Return what contracts without a fault say."""
    shipped = [yaml.safe_load(file.read_bytes()) for file in sorted(SHIPPED.glob("*/policy.yaml"))]
    return [parsed, chunk_parsed, *shipped]


@given(data=st.data())
def test_any_contract_is_one_or_one_error(contracts: list[object], data: st.DataObject) -> None:
    value = data.draw(changed_values(*contracts))
    read_any_contract(yaml.dump(value, Dumper=yaml.CSafeDumper, sort_keys=False).encode())


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("x\nrobot: all is well", r"policy.yaml: x\nrobot: all is well"),
        ("x\x1b[2J", "policy.yaml"),
        ("\u202edrahcir", r"policy.yaml: \u202edrahcir"),
        ("k" * 300_000, f"policy.yaml: {'k' * 600}..."),
    ],
    ids=["line", "escape sequence", "right to left", "very many letters"],
)
def test_what_a_file_calls_its_keys_is_shown_in_one_short_line(
    parsed: dict[str, Any], key: str, place: str
) -> None:
    error = read_any_contract(yaml.dump({**parsed, key: 0}, Dumper=yaml.CSafeDumper).encode())
    (line,) = str(error).splitlines()
    assert line.partition(": expected ")[0] == place


def test_a_file_with_very_many_faults_gets_a_message_of_the_first(parsed: dict[str, Any]) -> None:
    odd = {f"key_{i}": 0 for i in range(1_000)}
    error = read_any_contract(yaml.dump({**parsed, **odd}, Dumper=yaml.CSafeDumper).encode())
    assert error is not None
    assert len(error.problems) == len(odd)
    assert str(error).splitlines()[MOST_LINES:] == [f"and {len(odd) - MOST_LINES} more"]


def read_any_contract(content: bytes) -> BundleError | None:
    """Read a contract; what is none must be one error of short lines that any terminal shows."""
    error = None
    try:
        with bounded():
            parse_contract(content, "policy.yaml")
    except BundleError as found:
        error = found
    lines = [str(problem) for problem in error.problems] if error else ["none"]
    assert lines
    assert all(line.isprintable() and len(line) < 4000 for line in lines)
    return error


def stored(array: Any) -> bytes:
    """Return the content of a file of one array (.npy)."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def archived(*files: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return the content of a file of arrays (.npz) of the names of `SHAPES`."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in zip(SHAPES, files, strict=True):
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


ARRAYS = tuple(stored(np.arange(3.0 * size).reshape(3, size)) for size in (4, 2))
COLUMNS = stored(np.zeros((3, 4), order="F"))
array = changed_bytes(*ARRAYS, COLUMNS)


@given(changed_bytes(archived(*ARRAYS)) | st.builds(archived, array, array))
@examples(4)
@example(archived(b"\x93NUMPY\x01\x00\x88\x13" + b"(" * 5000, b""))
@example(archived(npy_of("'|O'", (1,)), npy_of("'<f8'", (-1,))))
@example(archived(npy_of("'<f8'", (1 << 62, 4)), npy_of("'<f8'", (3, 1 << 40))))
@example(archived(npy_of("[('a', '<f8', (1000000000,))]", (9,)), ARRAYS[1]))
@example(archived(*ARRAYS, compression=zipfile.ZIP_LZMA))
def test_any_arrays_are_rows_or_one_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "golden.npz").write_bytes(content)
    entry = File(file="golden.npz", sha256=hashlib.sha256(content).hexdigest())
    try:
        with bounded():
            rows = read_rows(folder, entry, SHAPES)
    except BundleError:
        return
    assert {name: array.shape[1:] for name, array in rows.items()} == SHAPES


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_arrays_in_a_compression_without_bounds_are_refused(
    tmp_path: Path, compression: int
) -> None:
    """zipfile unpacks such a member in one step: 750 bytes took 400 MB, and were valid arrays."""
    array = stored(np.zeros((3, 4)))
    bomb = archived(array + bytes(1 << 25), ARRAYS[1], compression=compression)
    for number, other in (
        (len(array) + (1 << 25), len(array)),
        (zlib.crc32(array + bytes(1 << 25)), zlib.crc32(array)),
    ):
        bomb = bomb.replace(number.to_bytes(4, "little"), other.to_bytes(4, "little"))
    (tmp_path / "golden.npz").write_bytes(bomb)
    entry = File(file="golden.npz", sha256=hashlib.sha256(bomb).hexdigest())
    with bounded(largest_bytes=1 << 24), refusal(BundleError):
        read_rows(tmp_path, entry, SHAPES)
