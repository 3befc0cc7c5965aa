# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A BPU workspace around a chunk policy's bundle, in the layout of D-Robotics' ACT exporter."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from model_tools.chunk_rows.graph_samples import Progress, collect_samples, count_of
from model_tools.chunk_rows.sources import open_source
from model_tools.compilers.bpu.graph import ACT, Graph, fits
from model_tools.compilers.bpu.toolchain import MARCHES
from model_tools.compilers.bpu.workspace import (
    BUILD_ALL,
    RECORD,
    Settings,
    write_workspace,
)
from model_tools.compilers.compiled_bundle import reference
from model_tools.errors import ToolError
from policy_inference.bundle.load import load_chunk_bundle

PRECISION, _CALIBRATION = "int16", "default"
_NUMBER = "[0-9]" * 10
"""Of a sample, in the name of its file."""


def prepare_workspace(
    bundle_folder: Path, march: str, dataset: Path, cal_num: int | None, jobs: int,
    progress: Progress = lambda seen, total: None,
) -> int:  # fmt: skip
    """Write what the vendor's compiler needs into the folder of a bundle.

    For each graph GRAPH, beside GRAPH/GRAPH.onnx: config_GRAPH.yaml, build_GRAPH.sh and
    calibration_data_GRAPH/; and build_all.sh, whose results go to bpu_output/. Files that were
    there stay, bpu_output/ with all that is in it.

    Args:
        bundle_folder: A chunk policy's bundle.
        march: nash-e, nash-m, nash-p, bayes or bayes-e.
        dataset: LeRobot dataset or rosbag2 recording to calibrate with.
        cal_num: Samples, of each camera; the usual number, or all, if None.
        jobs: Processes of the compiler.
        progress: Is told how many samples were taken.

    Returns:
        How many samples were taken.

    Raises:
        ToolError: There is a workspace; the march is unknown; or dataset or graphs do not fit.
        PolicyError: The folder is no bundle of a chunk policy, or an encoder does not run.
        OSError: A file cannot be read or written.
    """
    if march not in MARCHES:
        raise ToolError(f"expected a type among {', '.join(MARCHES)}, found {march!r}")
    if jobs < 1:
        raise ToolError(f"expected at least 1 job of the compiler, found {jobs}")
    bundle = load_chunk_bundle(bundle_folder)
    settings = Settings(march=march, precision=PRECISION, calibration=_CALIBRATION, jobs=jobs,
                        optimize_level=MARCHES[march].levels[-1])
    if (bundle_folder / RECORD).exists():
        raise ToolError(f"{bundle_folder}: expected no workspace there yet, found {RECORD}; name "
                        "another folder")
    source = open_source(bundle.contract, dataset)
    count = count_of(source, cal_num)
    with tempfile.TemporaryDirectory(prefix=".workspace.", dir=bundle_folder) as scratch:
        samples, growing = Path(scratch, "samples"), Path(scratch, "workspace")
        samples.mkdir()
        growing.mkdir()
        taken = collect_samples(bundle, source, count, samples, progress)
        graphs = list[Graph]()
        for model in bundle.models:
            name = model.key.removeprefix("graphs.")
            graph = Graph(name=name, model=reference(model), inputs=model.model.input_specs,
                          outputs=model.model.output_specs, samples=taken[name].inputs,
                          files=taken[name].files, layout=ACT)
            # Another model must not take the place of the bundle's own.
            kept = fits(graph, settings.toolchain.last_opset)
            graphs.append(graph if kept else replace(graph, file=_converted(name, march)))
        write_workspace(growing, graphs, settings)
        _move(growing, bundle_folder)
    return count


def workspace_files(graphs: Iterable[str]) -> tuple[str, ...]:
    """Return patterns of the files of a workspace around these graphs, and of no others.

    What the vendor's compiler made there took it hours, and is not among them.
    """
    found = [RECORD, BUILD_ALL]
    for name in graphs:
        samples = ACT.calibration.format(name)
        found += [f"{name}/{each}" for each in (
            ACT.config.format(name), ACT.build.format(name),
            *(_converted(name, march) for march in MARCHES),
            *(f"{samples}/{sample}{suffix}" for sample in (f"*_{_NUMBER}", f"*/{_NUMBER}")
              for suffix in (".npy", ".bin")))]
    return tuple(found)


def _converted(graph: str, march: str) -> str:
    return f"{graph}.{march}.onnx"


def _move(growing: Path, folder: Path) -> None:
    """Move a workspace into the bundle's folder, whose own files stay."""
    for part in growing.iterdir():
        if part.is_file():
            part.rename(folder / part.name)
            continue
        (folder / part.name).mkdir(exist_ok=True)
        for entry in part.iterdir():
            if not (folder / part.name / entry.name).exists():
                entry.rename(folder / part.name / entry.name)
