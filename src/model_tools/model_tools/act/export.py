# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""From a checkpoint of LeRobot's ACT to the bundle of a chunk policy, whole or not at all."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from model_tools.act.board_files import BOARD_FILES, write_board_files
from model_tools.act.config import ActConfig, read_act_config, renamed
from model_tools.act.contract import Settings, contract_text, graph_entry, make_contract
from model_tools.act.graphs import POLICY, VISION, WHOLE, How, write_graphs
from model_tools.act.nominal import demonstrated
from model_tools.act.reference import (
    Reference,
    action_normaliser,
    require_same,
    tolerance_of,
)
from model_tools.act.robots import of_size, read_arm
from model_tools.act.rows import drawn_rows, recorded_rows
from model_tools.act.suspicions import suspicions
from model_tools.act.weights import Weights
from model_tools.array_files import read_arrays, write_arrays
from model_tools.chunk_rows.sources import open_source
from model_tools.compilers.chunk_workspace import workspace_files
from model_tools.errors import ToolError
from model_tools.exporting.portable import simplified
from model_tools.files import new_folder
from model_tools.inspect.safetensors_file import read_tensors
from model_tools.lerobot.dataset_info import INFO
from model_tools.lerobot.statistics import Statistics, read_statistics
from policy_inference.bundle.chunk_contract import GOLDEN_CHUNK, ChunkContract
from policy_inference.bundle.contract import Graph, Provenance
from policy_inference.bundle.expected import Nominal
from policy_inference.bundle.load import (
    CONTRACT_FILE,
    SIGNATURE_FILE,
    file_entry,
    load_chunk_bundle,
)
from policy_inference.bundle.schema import PerJoint
from policy_inference.bundle.verified import sha256_of
from policy_inference.interfaces import F64, Tensor

WEIGHTS, GOLDEN = "model.safetensors", "golden.npz"
TOOL = "model_tools"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to export, and what is said besides.

    Attributes:
        checkpoint: Folder with `config.json` and `model.safetensors`.
        output: Bundle folder to be.
        robot: Name or file of the robot, or of one arm of two.
        units: One of `choices.UNITS`.
        rate_hz: Steps of a chunk per second.
        name: Of the policy.
        version: Of the policy.
        prefix: Before the names of the joints.
        steps: How many of a chunk are executed; the checkpoint's number if None.
        resize: Whether pictures of another size are stretched, on the robot and of the dataset.
        graphs: Encoder and transformer, or one graph.
        opset: 11 to 20.
        simplify: Whether onnxsim goes over the graphs.
        golden: File of golden rows that the training answered, to compare with and to keep.
        dataset: Dataset or recording that golden rows are of, where no file gives them; else
            they are drawn. Steps and torques of a dataset are the contract's `nominal`.
        licence: SPDX identifier of the weights' licence.
        max_relative_target: Largest distance of a target from the measured position, rad.
        force: Whether a bundle that is there may be replaced.
    """

    checkpoint: Path
    output: Path
    robot: str
    units: str
    rate_hz: float
    name: str
    version: str = "0.1.0"
    prefix: str = ""
    steps: int | None = None
    resize: bool = False
    graphs: How = "two"
    opset: int = 19
    simplify: bool = False
    golden: Path | None = None
    dataset: Path | None = None
    licence: str = "NOASSERTION"
    max_relative_target: PerJoint | None = None
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was made: the contract, differences in words, and what is suspicious."""

    contract: ChunkContract
    checked: Sequence[str]
    warnings: Sequence[str]


def export_act(
    request: Request, finish: Callable[[Path], object] = lambda folder: None
) -> Exported:
    """Export a checkpoint, prove the graphs, and write the bundle.

    Args:
        request: What to export.
        finish: Adds to the bundle's folder before it is moved into place; where it raises, nothing
            is made or replaced.

    Raises:
        ToolError: The checkpoint cannot be used, the graphs answer something else, or a bundle is
            there that may not be replaced, or holds files that no export wrote.
        BundleError: The contract that comes of it does not hold.
        OSError: A file cannot be read or written.
    """
    config = read_act_config(request.checkpoint)
    file = request.checkpoint / WEIGHTS
    if not file.is_file():
        raise ToolError(f"{file}: expected the weights beside config.json, found none")
    statistics = read_statistics(request.checkpoint, file, config.features)
    config = renamed(config, statistics.observed)
    settings = _settings(request, config)
    models = write_graphs(config, Weights(file, read_tensors(file)), opset=request.opset,
                          how=request.graphs)
    with new_folder(request.output, marker=CONTRACT_FILE, force=request.force,
                    owned=_owned(models)) as folder:
        draft = _contract(request, config, statistics, settings, _written(folder, models))
        rows, checked = _rows(request, draft, models)
        if request.simplify:
            models = {name: _simplified(model) for name, model in models.items()}
            checked.append(_compared("simplified", draft, models, rows))
            draft = dataclasses.replace(draft, graphs=_written(folder, models))
        chunks = action_normaliser(draft).undo(rows.normalised)
        write_arrays(folder / GOLDEN, {**rows.observations,
                                       GOLDEN_CHUNK: chunks.astype(np.float32)})
        contract = dataclasses.replace(draft, golden=file_entry(folder / GOLDEN, folder),
                                       nominal=_nominal(request, draft))
        text = contract_text(contract, request.robot)
        (folder / CONTRACT_FILE).write_text(text, encoding="utf-8")
        write_board_files(folder, contract, rows.normalised[0].astype(np.float32))
        load_chunk_bundle(folder).golden()
        finish(folder)
    return Exported(contract=contract, checked=checked, warnings=suspicions(
        config, statistics, settings.robot, request.units))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """Golden observations, and the normalised chunks [rows, steps, actions] of the policy."""

    observations: dict[str, Tensor]
    normalised: F64


def _owned(models: Mapping[str, onnx.ModelProto]) -> tuple[str, ...]:
    """Return patterns of the files that an export, or reports on it, wrote."""
    graphs = dict.fromkeys((*models, VISION, f"{VISION}_*", POLICY, WHOLE))
    return (CONTRACT_FILE, SIGNATURE_FILE, GOLDEN, "reports/*", *BOARD_FILES,
            *(f"{name}/{name}.onnx" for name in graphs), *workspace_files(graphs))


def _settings(request: Request, config: ActConfig) -> Settings:
    steps, size = request.steps, config.action.shape[0]
    if steps is not None and not 1 <= steps <= config.chunk_size:
        raise ToolError(f"--n-action-steps: expected 1 to {config.chunk_size}, the steps of a "
                        f"chunk, found {steps}")
    if config.state is not None and config.state.shape[0] != size:
        raise ToolError(f"{config.file}: expected a state and an action of the same joints, found "
                        f"{config.state.shape[0]} and {size} values")
    return Settings(name=request.name, version=request.version, units=request.units,
                    robot=of_size(read_arm(request.robot), size, request.prefix),
                    rate_hz=request.rate_hz, steps=steps, resize=request.resize,
                    max_relative_target=request.max_relative_target)


def _written(folder: Path, models: Mapping[str, onnx.ModelProto]) -> dict[str, Graph]:
    """Write the graphs and return their entries in the contract."""
    entries = dict[str, Graph]()
    for name, model in models.items():
        file = folder / name / f"{name}.onnx"
        file.parent.mkdir(exist_ok=True)
        onnx.save(model, str(file))
        entries[name] = graph_entry(model, file_entry(file, folder), TOOL)
    return entries


def _contract(
    request: Request, config: ActConfig, statistics: Statistics, settings: Settings,
    graphs: Mapping[str, Graph],
) -> ChunkContract:  # fmt: skip
    today = datetime.datetime.now(datetime.timezone.utc).date()
    provenance = Provenance(
        source=f"LeRobot checkpoint {request.checkpoint.resolve().name}", exporter=TOOL,
        licence=request.licence, date=today.isoformat(),
        checkpoint_sha256=sha256_of(request.checkpoint / WEIGHTS))
    return make_contract(config, statistics, settings, request.graphs, graphs, provenance)


def _nominal(request: Request, contract: ChunkContract) -> Nominal | None:
    """Return what the demonstrations of a dataset asked for; a recording has none."""
    dataset = request.dataset
    return demonstrated(contract, dataset) if dataset and (dataset / INFO).is_file() else None


def _rows(
    request: Request, contract: ChunkContract, models: Mapping[str, onnx.ModelProto]
) -> tuple[_Rows, list[str]]:
    reference = Reference(contract, models)
    if request.golden is None:
        rows = (drawn_rows(contract) if request.dataset is None
                else recorded_rows(contract, open_source(contract, request.dataset)))
        return _Rows(observations=rows, normalised=reference.normalised(rows)), []
    given = read_arrays(request.golden)
    expected = given.pop(GOLDEN_CHUNK, None)
    wanted = {name: array[0].shape for name, array in drawn_rows(contract).items()}
    found = {name: array.shape[1:] for name, array in given.items()}
    if expected is None or found != wanted:
        raise ToolError(f"{request.golden}: expected rows of {GOLDEN_CHUNK}, "
                        f"{', '.join(f'{name} {list(shape)}' for name, shape in wanted.items())}, "
                        f"found {', '.join(f'{n} {list(s)}' for n, s in found.items())}"
                        f"{'' if expected is None else f', {GOLDEN_CHUNK}'}")
    normalised = reference.normalised(given)
    if expected.shape != normalised.shape:
        raise ToolError(f"{request.golden}: {GOLDEN_CHUNK}: expected {list(normalised.shape)}, "
                        f"found {list(expected.shape)}")
    difference = require_same(
        normalised, expected, contract, str(request.golden),
        lambda: Reference(contract, models, exact=True).normalised(given))
    return (_Rows(observations=given, normalised=normalised),
            [f"{request.golden.name}: {difference:.2g} in {len(expected)} rows"])


def _simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    result = simplified(model)
    result.ir_version = model.ir_version
    return result


def _compared(
    what: str, contract: ChunkContract, models: Mapping[str, onnx.ModelProto], rows: _Rows
) -> str:
    found = Reference(contract, models).normalised(rows.observations)
    difference = float(np.abs(found - rows.normalised).max())
    limit = tolerance_of(difference, found, lambda: Reference(
        contract, models, exact=True).normalised(rows.observations))
    if not difference <= limit:
        raise ToolError(f"model: expected the same chunks when {what}, found a difference of "
                        f"{difference:.2g}; leave out --onnx-sim")
    return f"{what}: {difference:.2g} in {len(found)} rows"
