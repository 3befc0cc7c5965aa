# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Calibration files: provenance, writing, and rows for a compiler."""

from __future__ import annotations

import hashlib
import json
import logging
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.arrays import EPISODE, TIME, write_parts
from model_tools.files.bpu_files import four_axes, sample_folders, write_samples
from model_tools.prove.calibration.collection import KINDS, Collection
from model_tools.prove.calibration.measure import FEWEST
from model_tools.prove.calibration.verdict import CalibrationVerdict
from policy_core.bundle.bundle import Bundle, JointBundle
from policy_core.bundle.contract import JointContract
from policy_core.bundle.verified import sha256_file
from policy_core.interfaces import F32, Tensor
from policy_inference.backends.registry import open_backend
from policy_inference.backends.rknn_toolkit.recipe import DATASET, write_dataset
from policy_inference.comparison.rows import Rows, evenly, play

PROVENANCE = "calibration"
"""Name of the text array in an `.npz`, or of the .json file in a folder."""
FILES, FOLDERS = ("npz", "npy"), ("rknn", "bpu_bin", "bpu_npy")
"""Formats that are files, and formats that are folders."""
MARKER = f"{PROVENANCE}.json"
OWNED = (MARKER, DATASET, "calibration/**", "samples/**")
"""Patterns for the files that a folder may contain if it is to be replaced."""
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # so that equal rows give equal files
_log = logging.getLogger("model_tools")


def choose_format(output: Path, asked: str | None, contract: JointContract) -> str:
    """Return the requested format, or the one that the name implies."""
    named = output.suffix[1:]
    found = asked or named
    if found not in (*FILES, *FOLDERS) or (found in FILES and named != found):
        raise ToolError(
            f"{output}: expected a .npz or .npy file, or --format "
            f"{' or '.join(FOLDERS)} and a folder, found "
            f"{f'--format {asked} and this name' if asked else 'another name'}"
        )
    inputs = contract.model.inputs
    if found == "npy" and len(inputs) != 1:
        raise ToolError(
            f"{output}: expected a model with one input (an .npy holds one array),"
            f" found {', '.join(inputs)}; write an .npz"
        )
    odd = [name for name, tensor in inputs.items() if tensor.dtype != "float32"]
    if found in FOLDERS and odd:
        raise ToolError(
            f"{output}: expected float32 inputs (the vendor's compiler accepts nothing "
            f"else), found others: {', '.join(odd)}"
        )
    return found


def describe_origin(bundle: Bundle, source: str) -> dict[str, Any]:
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
    """Write a collection as a file, or as the files of a folder.

    Args:
        collection: The rows.
        contract: Contract of the bundle.
        form: One of `FILES` or `FOLDERS`.
        place: File to write, or empty folder to fill.
        provenance: Description of the file's origin, as JSON; an `.npy` cannot contain it.
    """
    text, inputs = json.dumps(provenance, indent=1), contract.model.inputs
    if form == "npz":
        _write_npz(collection, contract, place, text)
        return
    if form == "npy":
        with place.open("wb") as stream:
            write_parts(stream, *_array(collection, "tensors", *inputs))
        return
    (place / MARKER).write_text(text + "\n", "utf-8")
    if form == "rknn":
        rows = (row for part in collection.batches() for row in part["tensors"])
        write_dataset(place, (tuple(row[name] for name in inputs) for row in rows))
        return
    for name, folder in zip(inputs, sample_folders(list(inputs)), strict=True):
        shape = four_axes(inputs[name].shape)[1:]
        *_, parts = _array(collection, "tensors", name)
        samples: Iterator[F32] = (part.astype(np.float32).reshape(-1, *shape) for part in parts)
        write_samples(place / "samples" / folder, samples, f".{form.partition('_')[2]}")


def _write_npz(
    collection: Collection, contract: JointContract, file: Path, provenance: str
) -> None:
    arrays = {
        name: _array(collection, kind, name)
        for kind in reversed(KINDS)
        for name in collection.names(kind)
    }
    count = (len(collection),)
    times = (rows["time"] for rows in collection.batches())
    arrays[TIME] = np.dtype(np.float64), count, times
    arrays[EPISODE] = np.dtype(np.int64), count, _episodes(collection)
    for name, array in (
        ("joint_names", np.array(contract.joints.names)),
        (PROVENANCE, np.array(provenance)),
    ):
        arrays[name] = array.dtype, array.shape, iter([array])
    with zipfile.ZipFile(file, "w") as archive:
        for name, parts in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", _LONG_AGO)
            with archive.open(info, "w", force_zip64=True) as stream:
                write_parts(stream, *parts)


def _array(
    collection: Collection, kind: str, name: str
) -> tuple[np.dtype[Any], tuple[int, ...], Iterator[Tensor]]:
    """Return the type and shape of an array with all rows, and an iterator over its parts."""
    field = collection.layout[kind][name]
    parts = (rows[kind][name] for rows in collection.batches())
    return field.base, (len(collection), *field.shape), parts


def _episodes(collection: Collection) -> Iterator[Tensor]:
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
    """Return calibration rows for every model input, by name.

    Args:
        bundle: Bundle of the reference model, which computes recurrent states.
        file: File that the rows were read from.
        rows: Result of `model_tools.files.row_files.read_rows`.
        count: Number of rows to take, evenly spaced; capped at half of the rows in the file, so
            that the rest are left for comparison.
    """
    if count < FEWEST:
        raise ToolError(f"expected at least {FEWEST} calibration rows, found {count}")
    _repeat_verdict(file, bundle)
    chosen = evenly(len(rows), min(count, len(rows) // 2))
    samples = {name: array[chosen] for name, array in _with_states(bundle, rows).items()}
    flat = [array.reshape(len(array), -1).astype(np.float64) for array in samples.values()]
    different = len(np.unique(np.concatenate(flat, axis=1), axis=0))
    if different < FEWEST:
        raise ToolError(
            f"{file}: expected at least {FEWEST} different calibration rows in half of its "
            f"{len(rows)} rows (every other one), found {different}; record the running policy in "
            "every gait"
        )
    return samples


def _repeat_verdict(file: Path, bundle: JointBundle) -> None:
    if not zipfile.is_zipfile(file):
        return
    with np.load(file) as arrays:
        kept = kept_in(arrays[PROVENANCE]) if PROVENANCE in arrays.files else None
    if kept is None:
        return
    if kept.bundle != bundle.contract.name:
        _log.warning(
            "%s: contains rows for %s, not for %s", file, kept.bundle, bundle.contract.name
        )
    for gap in kept.verdict.warnings:
        _log.warning("%s: %s", file, gap)


def hash_samples(samples: Path) -> str:
    """Return the SHA-256 of a file; for a folder, of the list of its files' hashes."""
    if samples.is_file():
        return sha256_file(samples)
    lines = [
        f"{sha256_file(file)}  {file.relative_to(samples)}\n"
        for file in sorted(samples.rglob("*"))
        if file.is_file()
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _with_states(bundle: JointBundle, rows: Rows) -> Mapping[str, Tensor]:
    """Add recurrent states that are not recorded; computing them takes the whole sequence."""
    state = bundle.contract.state
    if all(pair.input in rows.inputs for pair in state):
        return rows.inputs
    backend, _ = open_backend(bundle, ["onnx"])
    try:
        played = play(backend, rows, state)
    finally:
        backend.close()
    return {name: played[name] for name in bundle.contract.model.inputs}


class Kept(NamedTuple):
    """Origin of a file's rows, the bundle for which they were made, and the verdict."""

    source: str
    bundle: str
    verdict: CalibrationVerdict


def kept_in(array: Tensor) -> Kept | None:
    """Return the content of the `PROVENANCE` array; None if another program wrote the file."""
    try:
        document = json.loads(str(array))
        verdict = document["verdict"]
        said = CalibrationVerdict(
            problems=tuple(map(str, verdict["problems"])),
            warnings=tuple(map(str, verdict["warnings"])),
        )
        return Kept(str(document["source"]), str(document["bundle"]), said)
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
