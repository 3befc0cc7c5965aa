# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A build recipe: a folder or zip file from which the same model can be built again.

The recipe contains `recipe.json` (target, precision, settings, tensors), `model.onnx` in the form
that the toolkit accepts, and each input's calibration rows [rows, *shape without the batch axis] in
`samples/0.npy`, ...
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from policy_core.errors import BackendError
from policy_core.interfaces import Tensor, TensorSpec
from policy_core.onnx_file import LARGEST_BYTES, require_whole
from policy_core.safe_files import BOUNDED_COMPRESSIONS

MODEL, RECIPE, SAMPLES, DATASET = "model.onnx", "recipe.json", "samples", "dataset.txt"
FLOAT = "fp16"
_VERSION, _LONG_AGO = 1, (2000, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Specification of a toolkit build.

    Attributes:
        target: Chip, as the toolkit names it.
        precision: fp16, or one of the chip's quantized types.
        inputs, outputs: Tensors, in the model's order.
        settings: Settings for `RKNN.config`, except target and precision.
        hybrid: True to use fp16 for layers that would otherwise lose too much accuracy.
        tag: Text stored in the file.
    """

    target: str
    precision: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    hybrid: bool = False
    tag: str = ""

    @property
    def quantised(self) -> bool:
        """True if the build is calibrated with samples."""
        return self.precision != FLOAT


def write_recipe(recipe: Recipe, folder: Path, samples: Mapping[str, Tensor] | None) -> None:
    """Write `recipe.json` and the samples into a folder that already contains the model."""
    content = {"version": _VERSION, **asdict(recipe)}
    (folder / RECIPE).write_text(json.dumps(content, indent=1), "utf-8")
    if samples is not None:
        (folder / SAMPLES).mkdir()
        for place, spec in enumerate(recipe.inputs):
            np.save(folder / SAMPLES / f"{place}.npy", samples[spec.name])


def read_recipe(folder: Path) -> Recipe:
    """Read `recipe.json`.

    Raises:
        KeyError, TypeError, ValueError: The file is not a recipe of this version.
    """
    content = json.loads((folder / RECIPE).read_text("utf-8"))
    if content.pop("version") != _VERSION:
        raise ValueError("a recipe of a different version")
    for key in ("inputs", "outputs"):
        content[key] = tuple(
            TensorSpec(name=t["name"], shape=tuple(t["shape"]), dtype=t["dtype"])
            for t in content[key]
        )
    return Recipe(**content)


def pack(folder: Path, file: Path) -> None:
    """Pack a recipe's folder into a file; identical content gives an identical file."""
    names = [RECIPE, MODEL, *sorted(f"{SAMPLES}/{f.name}" for f in folder.glob(f"{SAMPLES}/*.npy"))]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(
                zipfile.ZipInfo(name, _LONG_AGO), (folder / name).read_bytes(), zipfile.ZIP_DEFLATED
            )


def unpack(file: Path, folder: Path) -> Recipe:
    """Unpack a file into an empty folder, and read the recipe.

    Raises:
        BackendError: The file is not a recipe, or is damaged.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            _extract(archive, RECIPE, folder)
            recipe = read_recipe(folder)
            require_whole(file, _extract(archive, MODEL, folder))
            for place in range(len(recipe.inputs) if recipe.quantised else 0):
                _extract(archive, f"{SAMPLES}/{place}.npy", folder)
    except (
        EOFError,
        KeyError,
        RecursionError,
        TypeError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise BackendError(
            f"{file}: expected a model for rknn_sim, made by `model_tools compile "
            f"rknn`, found: {error}; compile it again"
        ) from error
    return recipe


def _extract(archive: zipfile.ZipFile, name: str, folder: Path) -> bytes:
    stated = archive.getinfo(name)
    if stated.compress_type not in BOUNDED_COMPRESSIONS:
        raise ValueError(f"{name} with a compression that `pack` does not write")
    if stated.file_size > LARGEST_BYTES:
        raise ValueError(f"{name} of more than {LARGEST_BYTES} bytes")
    place = folder / name
    place.parent.mkdir(exist_ok=True)
    content = archive.read(name)
    place.write_bytes(content)
    return content


def read_samples(folder: Path, inputs: int) -> Iterator[tuple[Tensor, ...]]:
    """Yield the samples in a folder: for each row, one array per input, without the batch axis."""
    return zip(
        *(np.load(folder / SAMPLES / f"{place}.npy") for place in range(inputs)), strict=True
    )


def write_dataset(folder: Path, rows: Iterable[Sequence[Tensor]]) -> Path:
    """Write the toolkit's calibration list: one file per input and sample, batch axis first.

    Args:
        folder: Folder for the list and its subfolder `calibration`.
        rows: For each sample, one array per model input, without the batch axis.

    Returns:
        Path of the list, which has one line per sample; paths are relative to the list's folder.
    """
    (folder / "calibration").mkdir()
    dataset = folder / DATASET
    with dataset.open("w", encoding="utf-8") as lines:
        for number, row in enumerate(rows):
            names = [f"calibration/{number:05d}.{place}.npy" for place in range(len(row))]
            for name, values in zip(names, row, strict=True):
                np.save(folder / name, values[np.newaxis])
            lines.write(" ".join(names) + "\n")
    return dataset
