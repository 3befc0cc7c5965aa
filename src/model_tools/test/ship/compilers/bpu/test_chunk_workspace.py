# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The workspace of a chunk policy: D-Robotics' names, both graphs, nothing lost that was there."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model_tools.errors import ToolError
from model_tools.files.bpu_files import MARCHES
from model_tools.prove.calibration.graph_samples import Progress
from model_tools.ship.compilers.bpu_workspace import prepare_workspace
from model_tools.ship.compilers.compile_request import CompileRequest
from model_tools.ship.compilers.compiled_bundle import compile_bundle
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import load_bundle
from testkit.chunk_bundles import ENCODER, POLICY, write_chunk_bundle
from testkit.wording import refusal

from ..conftest import SIZES
from . import vendor_tool
from .graphs import read_config

Prepare = Callable[..., Path]
Tool = Callable[..., None]


@pytest.fixture
def prepared(tmp_path: Path, arm_dataset: Path) -> Prepare:
    folder = write_chunk_bundle(tmp_path / "arm", sizes=SIZES)

    def apply(march: str = "nash-e", count: int = 6, jobs: int = 6) -> Path:
        prepare_workspace(folder, march, arm_dataset, count, jobs)
        return folder

    return apply


def graph_config(folder: Path, graph: str) -> dict[str, dict[str, Any]]:
    return read_config(folder / graph / f"config_{graph}.yaml")


@pytest.mark.parametrize("march", ["nash-e", "bayes-e"])
def test_the_vendors_tool_takes_both_graphs(prepared: Prepare, march: str) -> None:
    folder = prepared(march)

    for graph, shapes in (
        (ENCODER, [(1, 3, 48, 64)]),
        (POLICY, [(1, 3), (1, 2, 12, 16), (1, 2, 12, 16)]),
    ):
        settings = graph_config(folder, graph)
        assert vendor_tool.check_settings(MARCHES[march].tool, folder / graph, settings) == shapes
        assert settings["model_parameters"]["march"] == march
        assert settings["compiler_parameters"]["jobs"] == 6
        assert "set_all_nodes_int16" in settings["calibration_parameters"]["optimization"]


@pytest.mark.parametrize(("march", "suffix"), [("nash-e", ".npy"), ("bayes-e", ".bin")])
def test_names_are_those_of_the_vendors_exporter(
    prepared: Prepare, march: str, suffix: str
) -> None:
    folder = prepared(march)

    encoder, policy = (folder / graph / f"calibration_data_{graph}" for graph in (ENCODER, POLICY))
    assert sorted(file.name for file in encoder.iterdir()) == [
        f"{camera}_{i:010d}{suffix}" for camera in SIZES for i in range(6)
    ]
    assert sorted(place.name for place in policy.iterdir()) == ["laptop", "phone", "state"]
    assert {len(list(place.iterdir())) for place in policy.iterdir()} == {6}
    assert graph_config(folder, POLICY)["calibration_parameters"]["cal_data_dir"] == ";".join(
        f"calibration_data_{POLICY}/{name}" for name in ("state", "laptop", "phone")
    )
    assert (folder / "build_all.sh").read_text("utf-8").count("bash BPU_ACTPolicy_") == 2
    for graph in (ENCODER, POLICY):
        assert (folder / graph / f"build_{graph}.sh").is_file()
    assert (folder / "bpu_output").is_dir()


@pytest.mark.parametrize(
    "given", [{"march": "nash-x"}, {"jobs": 0}, {"count": 37}], ids=["march", "jobs", "count"]
)
def test_what_cannot_be_leaves_nothing_behind(
    prepared: Prepare, tmp_path: Path, given: dict[str, Any]
) -> None:
    before = sorted((tmp_path / "arm").rglob("*"))

    with refusal(ToolError):
        prepared(**given)

    assert sorted((tmp_path / "arm").rglob("*")) == before


@pytest.mark.parametrize(
    ("march", "tool", "suffix"),
    [("nash-e", "hb_compile", ".hbm"), ("bayes-e", "hb_mapper", ".bin")],
)
def test_build_all_compiles_and_the_bundle_takes_what_it_made(
    prepared: Prepare,
    put_on_path: Tool,
    arm_dataset: Path,
    tmp_path: Path,
    march: str,
    tool: str,
    suffix: str,
) -> None:
    folder = prepared(march, 8)
    put_on_path(tool)
    subprocess.run(["bash", str(folder / "build_all.sh")], check=True, capture_output=True)

    bundle = compile_graphs(folder, arm_dataset, tmp_path / "made", march, compiled=folder)

    for graph in (ENCODER, POLICY):
        artifact = bundle.contract.graphs[graph].artifacts["bpu"]
        assert artifact.file == f"{graph}/{graph}.int16{suffix}"
        assert (artifact.precision, artifact.target) == ("int16", march)
        assert (folder / "bpu_output" / f"{graph}{suffix}").is_file()
    assert not (bundle.path / "build_all.sh").exists()
    bundle.verify()


def compile_graphs(
    folder: Path,
    arm_dataset: Path,
    output: Path,
    march: str,
    progress: Progress = lambda seen, total: None,
    **options: object,
) -> ChunkBundle:
    request = CompileRequest(
        compiler="bpu",
        bundle=folder,
        precision="int16",
        target=march,
        rows=arm_dataset,
        samples=8,
        output=output,
        options={name: str(value) for name, value in options.items()},
    )
    return load_bundle(compile_bundle(request, progress), kind=ChunkBundle)
