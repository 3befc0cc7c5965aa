# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Writes calibration files for the graphs of a chunk policy, from a dataset or recording."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.bpu_files import CALIBRATION, sample_folders, write_samples
from model_tools.files.outputs import new_folder
from model_tools.files.rows import ObservationSource
from model_tools.prove.calibration.calibration_files import MARKER, describe_origin
from model_tools.prove.calibration.graph_samples import (
    GraphSamples,
    Progress,
    collect_samples,
    sample_count,
)
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.interfaces import F32
from policy_inference.backends.rknn_toolkit.recipe import write_dataset

FORMATS = ("npy", "rknn", "bpu_bin", "bpu_npy")
_FAR = 10.0
"""Normalized values this many standard deviations from the mean cannot be joint measurements."""
_log = logging.getLogger("model_tools")


def calibrate_chunks(
    bundle: ChunkBundle,
    source: ObservationSource,
    wanted: int | None,
    output: Path,
    form: str,
    *,
    force: bool = False,
    progress: Progress = lambda seen, total: None,
) -> dict[str, Any]:
    """Write a folder of samples, with a subfolder per graph; return `calibration.json`'s content.

    Args:
        bundle: Bundle of the policy.
        source: Source of the observations.
        wanted: Number of samples; an encoder gets this many from each of its cameras. None for the
            usual number, or all if there are fewer.
        output: Folder to write, including `calibration.json`, which describes the folder's
            contents.
        form: `npy`: an array per input; `rknn`: RKNN Toolkit2's list; `bpu_bin`, `bpu_npy`:
            the files of D-Robotics' compilers for bayes and for nash.
        force: Replace an existing folder of this kind.
        progress: Called with the number of observations read so far.
    """
    if form not in FORMATS:
        raise ToolError(
            f"expected one of the formats {', '.join(FORMATS)} for a chunk policy, found {form!r}"
        )
    count = sample_count(source, wanted)
    owned = (MARKER, *(f"{name}/**" for name in bundle.contract.graphs))
    with new_folder(output, marker=MARKER, owned=owned, force=force) as made:
        with tempfile.TemporaryDirectory(prefix=".samples.", dir=made) as scratch:
            samples = collect_samples(bundle, source, count, Path(scratch), progress)
            for name, found in samples.items():
                (made / name).mkdir()
                _write(found, name, form, made / name)
            # The arrays are on disk, so read row by row.
            ranges = {
                graph: {
                    name: {
                        "samples": len(array),
                        "min": min(float(np.asarray(row, np.float32).min()) for row in array),
                        "max": max(float(np.asarray(row, np.float32).max()) for row in array),
                    }
                    for name, array in found.inputs.items()
                }
                for graph, found in samples.items()
            }
        _warn(bundle, ranges)
        whole = {
            **describe_origin(bundle, source.name),
            "samples": count,
            "of": source.count,
            "graphs": ranges,
        }
        text = json.dumps(whole, indent=1)
        (made / MARKER).write_text(text + "\n", "utf-8")
    return whole


def _write(samples: GraphSamples, graph: str, form: str, folder: Path) -> None:
    if form == "rknn":
        arrays = list(samples.inputs.values())
        write_dataset(
            folder, (tuple(array[row] for array in arrays) for row in range(len(arrays[0])))
        )
        return
    places = sample_folders(list(samples.inputs))
    for (name, array), place in zip(samples.inputs.items(), places, strict=True):
        if form == "npy":
            np.save(folder / f"{place}.npy", array, allow_pickle=False)
            continue
        files = [Path(file) for file in samples.files[name]]
        rows: F32 = array.astype(np.float32, copy=False)
        write_samples(
            folder / CALIBRATION.format(graph) / files[0].parent,
            [rows],
            f".{form.removeprefix('bpu_')}",
            [file.name for file in files],
        )


def _warn(bundle: ChunkBundle, ranges: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    state = bundle.contract.state
    if state is not None:
        found = ranges[bundle.contract.observing_graph][state.tensor]
        if max(-found["min"], found["max"]) > _FAR:
            _log.warning(
                "%s: normalized values range from %.3g to %.3g; are the joints in the units that "
                "the policy was trained with?",
                state.tensor,
                found["min"],
                found["max"],
            )
