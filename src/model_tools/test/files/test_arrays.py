# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from model_tools.errors import ToolError
from model_tools.files.arrays import read_arrays, sensed
from policy_core.bundle.arrays import unpacked_arrays
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.errors import BundleError
from testkit.wording import refusal

from ..tiny_bundle import make_bundle

OBS = np.random.default_rng(0).normal(size=(20, 6))


def test_arrays_come_by_name_and_a_single_one_as_obs(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", obs=OBS, actions=OBS)
    np.save(tmp_path / "a.npy", OBS)
    assert list(read_arrays(tmp_path / "a.npz")) == ["obs", "actions"]
    assert np.array_equal(read_arrays(tmp_path / "a.npy")["obs"], OBS)


def test_damage_anywhere_is_one_kind_of_error(tmp_path: Path) -> None:
    file = tmp_path / "rows.npz"
    np.savez_compressed(file, obs=OBS)
    content, refused = file.read_bytes(), 0
    # The last 22 bytes are the end of the archive, whose offsets the system itself refuses.
    for place in range(0, len(content) - 22, 5):
        file.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            read_arrays(file)
        except ToolError as error:
            assert f"{file}: expected numpy arrays" in str(error)  # noqa: PT017  # not all is seen
            refused += 1
    assert refused > 50


@pytest.mark.parametrize(
    "content", [b"", b"obs", b"\x80\x04.", "objects", "bzip2"], ids=lambda value: str(value)[:9]
)
def test_another_kind_of_file_is_refused(tmp_path: Path, content: bytes | str) -> None:
    file = tmp_path / "rows.npz"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content == "objects":
        np.savez(file, obs=np.array([{}], object), allow_pickle=True)
    else:  # a compression without bounds
        np.save(tmp_path / "obs.npy", OBS)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_BZIP2) as archive:
            archive.write(tmp_path / "obs.npy", "obs.npy")
    with refusal(ToolError):
        read_arrays(file)


def test_a_quaternion_may_have_its_real_part_first(tmp_path: Path) -> None:
    contract = load_bundle(make_bundle(tmp_path / "tiny"), kind=JointBundle).contract

    found = sensed(tmp_path / "a.npz", {"quat_wxyz": np.array([[4, 1, 2, 3]])}, contract, 1)

    assert found["quat_xyzw"].tolist() == [[1.0, 2.0, 3.0, 4.0]]


@pytest.mark.parametrize(
    "members",
    [
        {"notes.txt": b"hello"},
        {"obs.npy": b"hello"},
        {f"{number}.npy": b"" for number in range(5000)},
    ],
    ids=["text", "array without its head", "many"],
)
def test_archive_with_members_that_are_no_arrays_or_many_is_one_error(
    tmp_path: Path, members: dict[str, bytes]
) -> None:
    """100,000 members took 151 s, as each was looked for among all."""
    file = tmp_path / "rows.npz"
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)

    with refusal(ToolError):
        read_arrays(file)
    with refusal(BundleError):
        unpacked_arrays(file, file.read_bytes(), None, 1 << 28)
