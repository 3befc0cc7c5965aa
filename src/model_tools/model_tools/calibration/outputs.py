# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The files that a collection becomes: rows for this suite, or what a vendor's compiler reads."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from model_tools.array_files import EPISODE, TIME, write_parts
from model_tools.calibration.collection import KINDS, Collection
from model_tools.calibration.provenance import PROVENANCE
from model_tools.compilers.bpu.graph import four_axes
from model_tools.compilers.bpu.sample_files import sample_folders, write_samples
from model_tools.errors import ToolError
from policy_inference.backends.rknn_toolkit.recipe import DATASET, write_dataset
from policy_inference.bundle.contract import JointContract
from policy_inference.interfaces import F32, Tensor

FILES, FOLDERS = ("npz", "npy"), ("rknn", "bpu_bin", "bpu_npy")
"""Formats that are a file, and such that are a folder."""
MARKER = f"{PROVENANCE}.json"
OWNED = (MARKER, DATASET, "calibration/**", "samples/**")
"""What a folder may hold to be replaced."""
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the same rows make the same file


def format_of(output: Path, asked: str | None, contract: JointContract) -> str:
    """Return the format that is asked for, or that the name says.

    Raises:
        ToolError: The name says none, or another one; or the model's inputs do not fit it.
    """
    named = output.suffix[1:]
    found = asked or named
    if found not in (*FILES, *FOLDERS) or (found in FILES and named != found):
        raise ToolError(f"{output}: expected a file .npz or .npy, or --format "
                        f"{' or '.join(FOLDERS)} and a folder, found "
                        f"{f'--format {asked} and this name' if asked else 'another name'}")
    inputs = contract.model.inputs
    if found == "npy" and len(inputs) != 1:
        raise ToolError(f"{output}: expected a model with one input, since an .npy holds one array,"
                        f" found {', '.join(inputs)}; write an .npz")
    odd = [name for name, tensor in inputs.items() if tensor.dtype != "float32"]
    if found in FOLDERS and odd:
        raise ToolError(f"{output}: expected inputs in float32, which the vendor's compiler takes, "
                        f"found others: {', '.join(odd)}")
    return found


def write(
    collection: Collection, contract: JointContract, form: str, place: Path,
    provenance: Mapping[str, Any],
) -> None:  # fmt: skip
    """Write a collection.

    Args:
        collection: Holds rows.
        contract: Of the bundle.
        form: One of `FILES` or `FOLDERS`.
        place: File to write, or empty folder to fill.
        provenance: What the file says of itself, as JSON; an `.npy` has no place for it.

    Raises:
        OSError: The disk is full.
    """
    text = json.dumps(provenance, indent=1)
    if form == "npz":
        _write_npz(collection, contract, place, text)
    elif form == "npy":
        [name] = contract.model.inputs
        with place.open("wb") as stream:
            write_parts(stream, *_kind(collection, "tensors", name),
                        _parts(collection, "tensors", name))
    else:
        (place / MARKER).write_text(text + "\n", "utf-8")
        _write_list(collection, contract, form, place)


def _write_npz(
    collection: Collection, contract: JointContract, file: Path, provenance: str
) -> None:
    names = {name: kind for kind in reversed(KINDS) for name in collection.names(kind)}
    with zipfile.ZipFile(file, "w") as archive:
        def member(name: str, dtype: np.dtype[Any], shape: tuple[int, ...],
                   parts: Iterator[Tensor]) -> None:  # fmt: skip
            info = zipfile.ZipInfo(f"{name}.npy", _LONG_AGO)
            with archive.open(info, "w", force_zip64=True) as stream:
                write_parts(stream, dtype, shape, parts)

        for name, kind in names.items():
            member(name, *_kind(collection, kind, name), _parts(collection, kind, name))
        count = (len(collection),)
        member(TIME, np.dtype(np.float64), count, (rows["time"] for rows in collection.batches()))
        member(EPISODE, np.dtype(np.int64), count, _episodes(collection))
        for name, array in (("joint_names", np.array(contract.joints.names)),
                            (PROVENANCE, np.array(provenance))):
            member(name, array.dtype, array.shape, iter([array]))


def _write_list(
    collection: Collection, contract: JointContract, form: str, folder: Path
) -> None:
    inputs = contract.model.inputs
    if form == "rknn":
        write_dataset(folder, (tuple(row[name] for name in inputs)
                               for rows in collection.batches() for row in rows["tensors"]))
        return
    for name, place in zip(inputs, sample_folders(list(inputs)), strict=True):
        shape = four_axes(inputs[name].shape)[1:]
        parts: Iterator[F32] = (part.astype(np.float32).reshape(-1, *shape)
                                for part in _parts(collection, "tensors", name))
        write_samples(folder / "samples" / place, parts, f".{form.partition('_')[2]}")


def _kind(collection: Collection, kind: str, name: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return type and shape of an array with all rows."""
    field = collection.layout[kind][name]
    return field.base, (len(collection), *field.shape)


def _parts(collection: Collection, kind: str, name: str) -> Iterator[Tensor]:
    return (rows[kind][name] for rows in collection.batches())


def _episodes(collection: Collection) -> Iterator[Tensor]:
    """Yield the number of the episode of each row, from 0."""
    number = None
    for rows in collection.batches():
        counted = np.cumsum(rows["begins"])
        if number is None:
            number = -int(counted[0])
        yield counted + number
        number += int(counted[-1])
