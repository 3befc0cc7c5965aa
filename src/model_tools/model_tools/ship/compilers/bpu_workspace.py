# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The workspace in which the vendor's compiler runs, here or in the vendor's container."""

from __future__ import annotations

import json
import re
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePath
from typing import Any

import yaml

from model_tools.errors import ToolError
from model_tools.files.bpu_files import (
    BUILD_ALL,
    CALIBRATION,
    CONFIG,
    MARCHES,
    RECORD,
    Toolchain,
    converted_file,
    sample_folders,
    write_samples,
)
from model_tools.files.observation_sources import open_source
from model_tools.prove.calibration.graph_samples import (
    Progress,
    collect_samples,
    sample_count,
)
from model_tools.ship.compilers.bpu_graph import BpuGraph, fits, write_prepared
from model_tools.ship.compilers.compile_request import reference
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import load_bundle
from policy_core.bundle.verified import sha256_file

RESULTS, BUILD_LOG = "bpu_output", "build.log"
WORKING = "model_output"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
PRECISION, _CALIBRATION = "int16", "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class BpuSettings:
    """Settings for the compiler.

    Attributes:
        march: One of `MARCHES`.
        precision: `int8` or `int16` for every node.
        calibration: Calibration method: `default`, `mix`, `kl` or `max`.
        optimize_level: One of the toolchain's levels.
        jobs: Number of compiler processes.
    """

    march: str
    precision: str
    calibration: str
    optimize_level: str
    jobs: int

    @property
    def toolchain(self) -> Toolchain:
        """The compiler for this march."""
        return MARCHES[self.march]


def write_workspace(folder: Path, graphs: Sequence[BpuGraph], settings: BpuSettings) -> None:
    """Write everything that the vendor's compiler needs into an empty folder.

    For each graph there is a folder with its name, which holds the model, settings, a script, and
    calibration samples by input, named as in `BpuGraph.files`. Above these folders, `build_all.sh`
    writes the results to `bpu_output/`, and `workspace.json` records the sources.
    """
    names = [graph.name for graph in graphs]
    if len(set(names)) != len(names) or RESULTS in names or not all(map(_NAME.fullmatch, names)):
        raise ToolError(
            "expected distinct graph names of letters, digits, '_', '-' and '.', other than "
            f"{RESULTS}, found {', '.join(map(repr, names))}"
        )
    for graph in graphs:
        graph.check()
    for graph in graphs:
        _write_graph(folder / graph.name, graph, settings)
    (folder / RESULTS).mkdir()
    lines = [f"bash {shlex.quote(graph.name)}/{graph.build_name}" for graph in graphs]
    _write_script(folder / BUILD_ALL, lines)
    text = json.dumps(record(graphs, settings), indent=2)
    (folder / RECORD).write_text(f"{text}\n", "utf-8")


def owned(graphs: Sequence[BpuGraph]) -> tuple[str, ...]:
    """Return patterns for the files in a workspace, including the vendor's compiler output."""
    folders = RESULTS, *(graph.name for graph in graphs)
    return RECORD, BUILD_ALL, BUILD_LOG, *(f"{name}/**" for name in folders)


def record(graphs: Sequence[BpuGraph], settings: BpuSettings) -> dict[str, Any]:
    """Return the inputs from which a workspace is made: settings, models and samples.

    The number of compiler processes is left out, since it does not affect the result.
    """
    described = {
        graph.name: {
            "model_sha256": sha256_file(graph.model),
            "samples": len(next(iter(graph.samples.values()))),
            "samples_sha256": graph.samples_sha256(),
        }
        for graph in graphs
    }
    asked = {key: value for key, value in asdict(settings).items() if key != "jobs"}
    return {**asked, "graphs": described}


def result(folder: Path, graph: str, settings: BpuSettings) -> Path:
    """Return the path of the compiled graph."""
    return folder / RESULTS / f"{graph}{settings.toolchain.suffix}"


def container_command(folder: Path, image: str) -> str:
    """Return the command that compiles a workspace in the vendor's container."""
    return (
        f"docker run --rm --shm-size=15g -v {shlex.quote(str(folder.resolve()))}:/workspace "
        f"-w /workspace {shlex.quote(image)} bash {BUILD_ALL}"
    )


def _write_graph(folder: Path, graph: BpuGraph, settings: BpuSettings) -> None:
    toolchain = settings.toolchain
    folder.mkdir()
    write_prepared(graph, toolchain.last_opset, folder / graph.file_name)
    for spec, place in zip(graph.inputs, _sample_folders(graph), strict=True):
        names = graph.files.get(spec.name)
        write_samples(
            folder / place,
            [graph.rows(spec.name)],
            toolchain.sample_suffix,
            names and [PurePath(name).name for name in names],
        )
    text = yaml.safe_dump(_config(graph, settings), sort_keys=False, width=1000)
    config, made = CONFIG.format(graph.name), f"{graph.name}{toolchain.suffix}"
    (folder / config).write_text(text, "utf-8")
    _write_script(
        folder / graph.build_name, [toolchain.command(config), f"cp {WORKING}/{made} ../{RESULTS}/"]
    )


def _config(graph: BpuGraph, settings: BpuSettings) -> dict[str, dict[str, object]]:
    def each(text: str) -> str:
        return ";".join([text] * len(graph.inputs))

    toolchain = settings.toolchain
    calibration: dict[str, object] = {"cal_data_dir": ";".join(_sample_folders(graph))}
    if toolchain.sample_suffix == ".bin":  # raw files do not state their type
        calibration["cal_data_type"] = each("float32")
    calibration["calibration_type"] = settings.calibration
    if settings.precision == "int16":
        calibration["optimization"] = toolchain.all_int16
    return {
        "model_parameters": {
            "onnx_model": graph.file_name,
            "march": settings.march,
            "working_dir": WORKING,
            "output_model_file_prefix": graph.name,
            "layer_out_dump": False,
        },
        "input_parameters": {
            "input_name": ";".join(spec.name for spec in graph.inputs),
            "input_shape": ";".join("x".join(map(str, graph.shape(spec))) for spec in graph.inputs),
            "input_type_rt": each("featuremap"),
            "input_layout_rt": each("NCHW"),
            "input_type_train": each("featuremap"),
            "input_layout_train": each("NCHW"),
            "norm_type": each("no_preprocess"),
        },
        "calibration_parameters": calibration,
        "compiler_parameters": {
            "compile_mode": "latency",
            "core_num": 1,
            "jobs": settings.jobs,
            "optimize_level": settings.optimize_level,
            **toolchain.keys,
        },
    }


def _sample_folders(graph: BpuGraph) -> list[str]:
    places = sample_folders([spec.name for spec in graph.inputs])
    if graph.files:
        places = [str(PurePath(graph.files[spec.name][0]).parent) for spec in graph.inputs]
    return [str(PurePath(CALIBRATION.format(graph.name), place)) for place in places]


def _write_script(file: Path, lines: Sequence[str]) -> None:
    head = ["#!/bin/bash", "set -euo pipefail", 'cd "$(dirname "$0")"']
    file.write_text("\n".join([*head, *lines, ""]), "utf-8")
    file.chmod(0o755)


def prepare_workspace(
    bundle_folder: Path,
    march: str,
    dataset: Path,
    wanted: int | None,
    jobs: int,
    progress: Progress = lambda seen, total: None,
) -> int:
    """Write the workspace for the vendor's compiler into the folder of a bundle.

    For each graph GRAPH, this adds config_GRAPH.yaml, build_GRAPH.sh and calibration_data_GRAPH/
    next to GRAPH/GRAPH.onnx; it also adds build_all.sh, whose results go to bpu_output/. Existing
    files are kept, including bpu_output/.

    Args:
        bundle_folder: Bundle of a chunk policy.
        march: nash-e, nash-m, nash-p, bayes or bayes-e.
        dataset: LeRobot dataset or rosbag2 recording for calibration.
        wanted: Number of samples per camera; None for the usual number, or all if there are fewer.
        jobs: Number of compiler processes.
        progress: Called with the number of samples so far.

    Returns:
        The number of samples.
    """
    if march not in MARCHES:
        raise ToolError(f"expected one of {', '.join(MARCHES)}, found {march!r}")
    if jobs < 1:
        raise ToolError(f"expected at least 1 compiler job, found {jobs}")
    bundle = load_bundle(bundle_folder, kind=ChunkBundle)
    settings = BpuSettings(
        march=march,
        precision=PRECISION,
        calibration=_CALIBRATION,
        jobs=jobs,
        optimize_level=MARCHES[march].levels[-1],
    )
    if (bundle_folder / RECORD).exists():
        raise ToolError(
            f"{bundle_folder}: expected a folder without a workspace, found {RECORD}; choose "
            "another folder"
        )
    source = open_source(bundle.contract, dataset)
    count = sample_count(source, wanted)
    with tempfile.TemporaryDirectory(prefix=".workspace.", dir=bundle_folder) as scratch:
        samples, growing = Path(scratch, "samples"), Path(scratch, "workspace")
        samples.mkdir()
        growing.mkdir()
        taken = collect_samples(bundle, source, count, samples, progress)
        graphs = list[BpuGraph]()
        for model in bundle.models:
            name = model.key.removeprefix("graphs.")
            graph = BpuGraph(
                name=name,
                model=reference(model),
                inputs=model.model.input_specs,
                outputs=model.model.output_specs,
                samples=taken[name].inputs,
                files=taken[name].files,
            )
            # Do not replace the bundle's own model with a converted one.
            kept = fits(graph, settings.toolchain.last_opset)
            graphs.append(graph if kept else replace(graph, file=converted_file(name, march)))
        write_workspace(growing, graphs, settings)
        _move(growing, bundle_folder)
    return count


def _move(growing: Path, folder: Path) -> None:
    """Move a workspace into the bundle's folder, keeping the bundle's own files."""
    for part in growing.iterdir():
        if part.is_file():
            part.rename(folder / part.name)
            continue
        (folder / part.name).mkdir(exist_ok=True)
        for entry in part.iterdir():
            if not (folder / part.name / entry.name).exists():
                entry.rename(folder / part.name / entry.name)
