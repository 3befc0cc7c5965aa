# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""From a checkpoint of LeRobot to the bundle of a chunk policy, whole or not at all."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from model_tools.errors import ToolError
from model_tools.files.arrays import read_arrays, write_arrays
from model_tools.files.bpu_files import BOARD_FILES, workspace_files, write_board_files
from model_tools.files.lerobot.dataset_info import INFO
from model_tools.files.observation_sources import open_source
from model_tools.files.outputs import new_folder
from model_tools.make.act.act_contract import ActRequest, contract_text, graph_entry, make_contract
from model_tools.make.act.checkpoint import ARCHITECTURES
from model_tools.make.act.demonstrated import demonstrated
from model_tools.make.act.golden_rows import (
    ReferenceGraphs,
    action_normaliser,
    drawn_rows,
    recorded_rows,
    require_same,
    tolerance_of,
)
from model_tools.make.act.robots import ActRobot, of_size, read_arm
from model_tools.make.act.suspicions import suspicions
from model_tools.make.portable import simplified
from policy_core.bundle.body import Nominal
from policy_core.bundle.bundle import CONTRACT_FILE, SIGNATURE_FILE, file_entry
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import GOLDEN_CHUNK, ChunkContract
from policy_core.bundle.contract import Graph
from policy_core.bundle.load import load_bundle
from policy_core.bundle.resolve import resolve
from policy_core.bundle.schema import Reader
from policy_core.interfaces import F64, Tensor

GOLDEN = "golden.npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedAct:
    """What was made: the contract, differences in words, and what is suspicious."""

    contract: ChunkContract
    checked: Sequence[str]
    warnings: Sequence[str]


def export_checkpoint(
    request: ActRequest, finish: Callable[[Path], object] = lambda folder: None
) -> ExportedAct:
    """Export a checkpoint, prove the graphs, and write the bundle.

    Args:
        request: What to export.
        finish: Adds to the bundle's folder before it is moved into place; where it raises, nothing
            is made or replaced.
    """
    robot = _robot(request)
    models = request.checkpoint.graphs(request.opset, request.graphs)
    with new_folder(
        request.output, marker=CONTRACT_FILE, force=request.force, owned=_owned(models)
    ) as folder:
        draft = make_contract(request, robot, _written(folder, models))
        rows, checked = _rows(request, draft, models)
        if request.simplify:
            models = {name: _simplified(model) for name, model in models.items()}
            checked.append(_compared("simplified", draft, models, rows))
            draft = dataclasses.replace(draft, graphs=_written(folder, models))
        chunks = action_normaliser(draft).undo(rows.normalised)
        write_arrays(
            folder / GOLDEN, {**rows.observations, GOLDEN_CHUNK: chunks.astype(np.float32)}
        )
        contract = dataclasses.replace(
            draft, golden=file_entry(folder / GOLDEN, folder), nominal=_nominal(request, draft)
        )
        text = contract_text(contract, request.robot)
        (folder / CONTRACT_FILE).write_text(text, encoding="utf-8")
        if contract.denoising is None:  # D-Robotics' script runs the graphs of ACT
            write_board_files(folder, contract, rows.normalised[0].astype(np.float32))
        load_bundle(folder, kind=ChunkBundle).golden()
        finish(folder)
    return ExportedAct(
        contract=contract,
        checked=checked,
        warnings=suspicions(request.checkpoint, robot, request.units),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _GoldenChunks:
    """Golden observations, and the normalised chunks [rows, steps, actions] of the policy."""

    observations: dict[str, Tensor]
    normalised: F64


def _owned(models: Mapping[str, onnx.ModelProto]) -> tuple[str, ...]:
    """Return patterns of the files that an export, or reports on it, wrote."""
    graphs = dict.fromkeys(
        (*models, *(name for each in ARCHITECTURES.values() for name in each.graphs))
    )
    return (
        CONTRACT_FILE,
        SIGNATURE_FILE,
        GOLDEN,
        "reports/*",
        *BOARD_FILES,
        *(f"{name}/{name}.onnx" for name in graphs),
        *workspace_files(graphs),
    )


def _robot(request: ActRequest) -> ActRobot:
    """Return the robot of the policy, if it and the steps asked for fit the checkpoint."""
    config = request.checkpoint.config
    steps, size = request.steps, config.action.shape[0]
    if steps is not None and not 1 <= steps <= config.chunk_size:
        raise ToolError(
            f"--n-action-steps: expected 1 to {config.chunk_size}, the steps of a "
            f"chunk, found {steps}"
        )
    if config.state is not None and config.state.shape[0] != size:
        raise ToolError(
            f"{config.file}: expected a state and an action of the same joints, found "
            f"{config.state.shape[0]} and {size} values"
        )
    return of_size(read_arm(request.robot), size, request.prefix)


def _written(folder: Path, models: Mapping[str, onnx.ModelProto]) -> dict[str, Graph]:
    """Write the graphs and return their entries in the contract."""
    entries = dict[str, Graph]()
    for name, model in models.items():
        file = folder / name / f"{name}.onnx"
        file.parent.mkdir(exist_ok=True)
        onnx.save(model, str(file))
        entries[name] = graph_entry(model, file_entry(file, folder))
    return entries


def _nominal(request: ActRequest, contract: ChunkContract) -> Nominal | None:
    """Return what the demonstrations of a dataset asked for; a recording has none."""
    dataset = request.dataset
    if dataset is None or not (dataset / INFO).is_file():
        return None
    # What cannot be resolved is an error when the bundle is loaded.
    return demonstrated(resolve(contract, Reader(CONTRACT_FILE)), dataset)


def _rows(
    request: ActRequest, contract: ChunkContract, models: Mapping[str, onnx.ModelProto]
) -> tuple[_GoldenChunks, list[str]]:
    reference = ReferenceGraphs(contract, models)
    if request.golden is None:
        rows = (
            drawn_rows(contract)
            if request.dataset is None
            else recorded_rows(contract, open_source(contract, request.dataset))
        )
        return _GoldenChunks(observations=rows, normalised=reference.normalised(rows)), []
    given = read_arrays(request.golden)
    expected = given.pop(GOLDEN_CHUNK, None)
    wanted = {name: array[0].shape for name, array in drawn_rows(contract).items()}
    found = {name: array.shape[1:] for name, array in given.items()}
    if expected is None or found != wanted:
        raise ToolError(
            f"{request.golden}: expected rows of {GOLDEN_CHUNK}, "
            f"{', '.join(f'{name} {list(shape)}' for name, shape in wanted.items())}, "
            f"found {', '.join(f'{n} {list(s)}' for n, s in found.items())}"
            f"{'' if expected is None else f', {GOLDEN_CHUNK}'}"
        )
    normalised = reference.normalised(given)
    if expected.shape != normalised.shape:
        raise ToolError(
            f"{request.golden}: {GOLDEN_CHUNK}: expected {list(normalised.shape)}, "
            f"found {list(expected.shape)}"
        )
    difference = require_same(
        normalised,
        expected,
        contract,
        str(request.golden),
        lambda: ReferenceGraphs(contract, models, exact=True).normalised(given),
    )
    return (
        _GoldenChunks(observations=given, normalised=normalised),
        [f"{request.golden.name}: {difference:.2g} in {len(expected)} rows"],
    )


def _simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    result = simplified(model)
    result.ir_version = model.ir_version
    return result


def _compared(
    what: str, contract: ChunkContract, models: Mapping[str, onnx.ModelProto], rows: _GoldenChunks
) -> str:
    found = ReferenceGraphs(contract, models).normalised(rows.observations)
    difference = float(np.abs(found - rows.normalised).max())
    limit = tolerance_of(
        difference,
        found,
        lambda: ReferenceGraphs(contract, models, exact=True).normalised(rows.observations),
    )
    if not difference <= limit:
        raise ToolError(
            f"model: expected the same chunks when {what}, found a difference of "
            f"{difference:.2g}; leave out --onnx-sim"
        )
    return f"{what}: {difference:.2g} in {len(found)} rows"
