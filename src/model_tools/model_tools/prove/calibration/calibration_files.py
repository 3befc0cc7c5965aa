# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Calibration files: what they say of themselves, how they are written, and rows for a compiler."""

from __future__ import annotations

import hashlib
import json
import logging
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.arrays import EPISODE, TIME, write_parts
from model_tools.files.bpu_files import four_axes, sample_folders, write_samples
from model_tools.prove.calibration.collection import KINDS, Collection
from policy_core.bundle.bundle import Bundle, JointBundle
from policy_core.bundle.contract import JointContract
from policy_core.bundle.verified import sha256_of
from policy_core.interfaces import F32, Tensor
from policy_inference.backends.registry import open_backend
from policy_inference.backends.rknn_toolkit.recipe import DATASET, write_dataset
from policy_inference.comparison.rows import Rows, evenly, play

PROVENANCE = "calibration"
"""Name of the array of text in an `.npz`; of the file, with .json, in a folder."""
FILES, FOLDERS = ("npz", "npy"), ("rknn", "bpu_bin", "bpu_npy")
"""Formats that are a file, and such that are a folder."""
MARKER = f"{PROVENANCE}.json"
OWNED = (MARKER, DATASET, "calibration/**", "samples/**")
"""What a folder may hold to be replaced."""
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the same rows make the same file
_log = logging.getLogger("model_tools")
FEWEST = 32
"""With fewer the largest errors of a walking policy grow severalfold."""


def format_of(output: Path, asked: str | None, contract: JointContract) -> str:
    """Return the format that is asked for, or that the name says."""
    named = output.suffix[1:]
    found = asked or named
    if found not in (*FILES, *FOLDERS) or (found in FILES and named != found):
        raise ToolError(
            f"{output}: expected a file .npz or .npy, or --format "
            f"{' or '.join(FOLDERS)} and a folder, found "
            f"{f'--format {asked} and this name' if asked else 'another name'}"
        )
    inputs = contract.model.inputs
    if found == "npy" and len(inputs) != 1:
        raise ToolError(
            f"{output}: expected a model with one input, since an .npy holds one array,"
            f" found {', '.join(inputs)}; write an .npz"
        )
    odd = [name for name, tensor in inputs.items() if tensor.dtype != "float32"]
    if found in FOLDERS and odd:
        raise ToolError(
            f"{output}: expected inputs in float32, which the vendor's compiler takes, "
            f"found others: {', '.join(odd)}"
        )
    return found


def origin_of(bundle: Bundle, source: str) -> dict[str, Any]:
    """Return the origin of the samples, which every file with samples states."""
    return {
        "by": "model_tools calibrate",
        "source": source,
        "bundle": bundle.contract.name,
        "bundle_version": bundle.contract.version,
        "bundle_sha256": bundle.sha256,
    }


def write(
    collection: Collection,
    contract: JointContract,
    form: str,
    place: Path,
    provenance: Mapping[str, Any],
) -> None:
    """Write a collection.

    Args:
        collection: Holds rows.
        contract: Of the bundle.
        form: One of `FILES` or `FOLDERS`.
        place: File to write, or empty folder to fill.
        provenance: What the file states about itself, as JSON; an `.npy` has no place for it.
    """
    text = json.dumps(provenance, indent=1)
    if form == "npz":
        _write_npz(collection, contract, place, text)
    elif form == "npy":
        [name] = contract.model.inputs
        with place.open("wb") as stream:
            write_parts(
                stream, *_kind(collection, "tensors", name), _parts(collection, "tensors", name)
            )
    else:
        (place / MARKER).write_text(text + "\n", "utf-8")
        _write_list(collection, contract, form, place)


def _write_npz(
    collection: Collection, contract: JointContract, file: Path, provenance: str
) -> None:
    names = {name: kind for kind in reversed(KINDS) for name in collection.names(kind)}
    with zipfile.ZipFile(file, "w") as archive:

        def member(
            name: str, dtype: np.dtype[Any], shape: tuple[int, ...], parts: Iterator[Tensor]
        ) -> None:
            info = zipfile.ZipInfo(f"{name}.npy", _LONG_AGO)
            with archive.open(info, "w", force_zip64=True) as stream:
                write_parts(stream, dtype, shape, parts)

        for name, kind in names.items():
            member(name, *_kind(collection, kind, name), _parts(collection, kind, name))
        count = (len(collection),)
        member(TIME, np.dtype(np.float64), count, (rows["time"] for rows in collection.batches()))
        member(EPISODE, np.dtype(np.int64), count, _episodes(collection))
        for name, array in (
            ("joint_names", np.array(contract.joints.names)),
            (PROVENANCE, np.array(provenance)),
        ):
            member(name, array.dtype, array.shape, iter([array]))


def _write_list(collection: Collection, contract: JointContract, form: str, folder: Path) -> None:
    inputs = contract.model.inputs
    if form == "rknn":
        write_dataset(
            folder,
            (
                tuple(row[name] for name in inputs)
                for rows in collection.batches()
                for row in rows["tensors"]
            ),
        )
        return
    for name, place in zip(inputs, sample_folders(list(inputs)), strict=True):
        shape = four_axes(inputs[name].shape)[1:]
        parts: Iterator[F32] = (
            part.astype(np.float32).reshape(-1, *shape)
            for part in _parts(collection, "tensors", name)
        )
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


def calibration_samples(
    bundle: JointBundle, file: Path, rows: Rows, count: int
) -> dict[str, Tensor]:
    """Return rows of every model input.

    Args:
        bundle: JointBundle of the reference model, which computes recurrent states.
        file: Where the rows are from.
        rows: What `model_tools.files.row_files.read_rows` found there.
        count: Rows to take, evenly spaced; at most half of the file's, so that some are held back.
    """
    if count < FEWEST:
        raise ToolError(f"expected at least {FEWEST} rows to calibrate with, found {count}")
    _repeat_verdict(file, bundle)
    chosen = evenly(len(rows), min(count, len(rows) // 2))
    samples = {name: array[chosen] for name, array in _with_states(bundle, rows).items()}
    different = _different(samples)
    if different < FEWEST:
        raise ToolError(
            f"{file}: expected at least {FEWEST} different rows to calibrate with in "
            f"every second of its {len(rows)}, found {different}; record the policy at "
            "work, in every gait"
        )
    return samples


def _repeat_verdict(file: Path, bundle: JointBundle) -> None:
    """Repeat the verdict that the file holds about its rows, where `calibrate` made it."""
    kept = kept_verdict(file)
    if kept is None:
        return
    if kept.bundle != bundle.contract.name:
        _log.warning("%s: rows for %s, not for %s", file, kept.bundle, bundle.contract.name)
    for gap in kept.warnings:
        _log.warning("%s: %s", file, gap)


def hash_of(samples: Path) -> str:
    """Return the SHA-256 of a file; of a folder, that of the list of its files' hashes."""
    if samples.is_file():
        return sha256_of(samples)
    lines = [
        f"{sha256_of(file)}  {file.relative_to(samples)}\n"
        for file in sorted(samples.rglob("*"))
        if file.is_file()
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _with_states(bundle: JointBundle, rows: Rows) -> Mapping[str, Tensor]:
    """Add the recurrent states that are not recorded, which only the whole sequence gives."""
    state = bundle.contract.state
    if all(pair.input in rows.inputs for pair in state):
        return rows.inputs
    backend, _ = open_backend(bundle, ["onnx"])
    try:
        played = play(backend, rows, state)
    finally:
        backend.close()
    return {name: played[name] for name in bundle.contract.model.inputs}


def _different(samples: Mapping[str, Tensor]) -> int:
    flat = [array.reshape(len(array), -1).astype(np.float64) for array in samples.values()]
    return len(np.unique(np.concatenate(flat, axis=1), axis=0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The verdict on a file's rows, where these are from, and for which bundle they were made."""

    source: str
    bundle: str
    problems: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def words(self) -> str:
        """The verdict in a line."""
        return in_words(self.problems, self.warnings)


def in_words(problems: Sequence[str], warnings: Sequence[str]) -> str:
    """Return a verdict in a line."""
    if problems:
        return "not usable"
    return "usable, with gaps" if warnings else "usable"


def kept_verdict(file: Path) -> Kept | None:
    """Return what an `.npz` of `calibrate` keeps; None for any other file or folder."""
    if not zipfile.is_zipfile(file):
        return None
    with np.load(file) as arrays:
        return kept_in(arrays[PROVENANCE]) if PROVENANCE in arrays.files else None


def kept_in(array: Tensor) -> Kept | None:
    """Return what stands in the array of that name; None if another program wrote it."""
    try:
        document = json.loads(str(array))
        verdict = document["verdict"]
        return Kept(
            source=str(document["source"]),
            bundle=str(document["bundle"]),
            problems=tuple(map(str, verdict["problems"])),
            warnings=tuple(map(str, verdict["warnings"])),
        )
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
