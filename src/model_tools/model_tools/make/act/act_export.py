# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Export a LeRobot checkpoint to a chunk policy's bundle, completely or not at all."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from model_tools.errors import ToolError
from model_tools.files.arrays import read_arrays, write_arrays
from model_tools.files.bpu_files import BOARD_FILES, workspace_files, write_board_files
from model_tools.files.lerobot.checkpoint import PolicyFeature
from model_tools.files.lerobot.dataset_info import INFO
from model_tools.files.lerobot.statistics import PolicyStatistics
from model_tools.files.observation_sources import open_source
from model_tools.files.outputs import new_folder
from model_tools.make.act.act_contract import ActRequest, contract_text, graph_entry, make_contract
from model_tools.make.act.checkpoint import ARCHITECTURES, LerobotCheckpoint
from model_tools.make.act.checkpoint_config import ACTION, STATE, CheckpointConfig
from model_tools.make.act.demonstrated import demonstrated
from model_tools.make.act.golden_rows import (
    ReferenceGraphs,
    action_normaliser,
    drawn_rows,
    golden_tolerance,
    recorded_rows,
    require_same,
)
from model_tools.make.act.robots import ActRobot, of_size, read_arm
from model_tools.make.portable import simplified
from policy_core.bundle.body import Nominal
from policy_core.bundle.bundle import CONTRACT_FILE, SIGNATURE_FILE, file_entry
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import GOLDEN_CHUNK, ChunkContract, Scaling
from policy_core.bundle.contract import Graph
from policy_core.bundle.load import load_bundle
from policy_core.bundle.resolve import resolve
from policy_core.bundle.schema import Reader
from policy_core.interfaces import F64, Tensor

GOLDEN = "golden.npz"
_TURN_RAD = 6.3
_FULL_RANGE = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedAct:
    """Result of an export: contract, measured differences (in words) and suspicious values."""

    contract: ChunkContract
    checked: Sequence[str]
    warnings: Sequence[str]


def export_checkpoint(
    request: ActRequest, finish: Callable[[Path], object] = lambda folder: None
) -> ExportedAct:
    """Export a checkpoint, verify the graphs, and write the bundle.

    Args:
        request: Options for the export.
        finish: Function that adds files to the bundle's folder before the folder is moved into
            place; if the function raises, nothing is written or replaced.
    """
    robot = _robot(request)
    models = request.checkpoint.graphs(request.opset, request.graphs)
    with new_folder(
        request.output, marker=CONTRACT_FILE, force=request.force, owned=_owned(models)
    ) as folder:
        draft = make_contract(request, robot, _written(folder, models))
        rows, normalised, checked = _rows(request, draft, models)
        if request.simplify:
            models = {name: simplified(model) for name, model in models.items()}
            checked.append(_compared(draft, models, rows, normalised))
            draft = dataclasses.replace(draft, graphs=_written(folder, models))
        chunks = action_normaliser(draft).undo(normalised)
        write_arrays(folder / GOLDEN, {**rows, GOLDEN_CHUNK: chunks.astype(np.float32)})
        contract = dataclasses.replace(
            draft, golden=file_entry(folder / GOLDEN, folder), nominal=_nominal(request, draft)
        )
        text = contract_text(contract, request.robot)
        (folder / CONTRACT_FILE).write_text(text, encoding="utf-8")
        if contract.denoising is None:  # D-Robotics' script runs ACT graphs only
            write_board_files(folder, contract, normalised[0].astype(np.float32))
        load_bundle(folder, kind=ChunkBundle).golden()
        finish(folder)
    return ExportedAct(
        contract=contract,
        checked=checked,
        warnings=_suspicions(request.checkpoint, robot, request.units),
    )


def _owned(models: Mapping[str, onnx.ModelProto]) -> tuple[str, ...]:
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
    """Return the policy's robot, checking it and the requested steps against the checkpoint."""
    config = request.checkpoint.config
    steps, size = request.steps, config.action.shape[0]
    if steps is not None and not 1 <= steps <= config.chunk_size:
        raise ToolError(
            f"--n-action-steps: expected 1 to {config.chunk_size} (the steps of a "
            f"chunk), found {steps}"
        )
    if config.state is not None and config.state.shape[0] != size:
        raise ToolError(
            f"{config.file}: expected a state and an action for the same joints, found "
            f"{config.state.shape[0]} and {size} values"
        )
    return of_size(read_arm(request.robot), size, request.prefix)


def _written(folder: Path, models: Mapping[str, onnx.ModelProto]) -> dict[str, Graph]:
    entries = dict[str, Graph]()
    for name, model in models.items():
        file = folder / name / f"{name}.onnx"
        file.parent.mkdir(exist_ok=True)
        onnx.save(model, str(file))
        entries[name] = graph_entry(model, file_entry(file, folder))
    return entries


def _nominal(request: ActRequest, contract: ChunkContract) -> Nominal | None:
    """Return the nominal figures from a dataset's demonstrations; None for a recording."""
    dataset = request.dataset
    if dataset is None or not (dataset / INFO).is_file():
        return None
    # Loading the bundle reports what cannot be resolved.
    return demonstrated(resolve(contract, Reader(CONTRACT_FILE)), dataset)


def _rows(
    request: ActRequest, contract: ChunkContract, models: Mapping[str, onnx.ModelProto]
) -> tuple[dict[str, Tensor], F64, list[str]]:
    """Return the golden observations and the policy's normalized chunks.

    Also return a line of text for each comparison with given chunks.
    """
    reference = ReferenceGraphs(contract, models)
    if request.golden is None:
        rows = (
            drawn_rows(contract)
            if request.dataset is None
            else recorded_rows(contract, open_source(contract, request.dataset))
        )
        return rows, reference.normalised(rows), []
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
    said = f"{request.golden.name}: {difference:.2g} in {len(expected)} rows"
    return given, normalised, [said]


def _compared(
    contract: ChunkContract,
    models: Mapping[str, onnx.ModelProto],
    rows: Mapping[str, Tensor],
    normalised: F64,
) -> str:
    """Compare the chunks of simplified and original graphs; return the difference in words."""
    found = ReferenceGraphs(contract, models).normalised(rows)
    difference = float(np.abs(found - normalised).max())
    limit = golden_tolerance(
        difference,
        found,
        lambda: ReferenceGraphs(contract, models, exact=True).normalised(rows),
    )
    if not difference <= limit:
        raise ToolError(
            "model: expected the same chunks after simplifying, found a difference of "
            f"{difference:.2g}; leave out --onnx-sim"
        )
    return f"simplified: {difference:.2g} in {len(found)} rows"


def _suspicions(checkpoint: LerobotCheckpoint, robot: ActRobot, units: str) -> tuple[str, ...]:
    """Return a line for each value that is valid but rarely intended."""
    config, statistics = checkpoint.config, checkpoint.statistics
    return (
        *_still(config, statistics, robot),
        *_units(statistics, robot, units),
        *(
            f"{feature.name}: not exported: the policy does not use it"
            for feature in config.ignored
        ),
        *(
            f"{config.file.name}: {key!r}: LeRobot 0.3 to 0.6 has no such key for this policy, so "
            "the export ignores it; if it changes the network, its inputs or its actions, the "
            "bundle is a different policy"
            for key in config.unknown_keys
        ),
    )


def _still(
    config: CheckpointConfig, statistics: PolicyStatistics, robot: ActRobot
) -> Iterator[str]:
    for feature in config.features:
        names = _names(feature, robot)
        still = [
            name
            for name, width in zip(names, _widths(statistics.scalings[feature.name]), strict=False)
            if width == 0.0
        ]
        if still:
            what = (
                "the policy always commands the same value"
                if feature.name == ACTION
                else "any other value becomes huge when it is normalized"
            )
            yield (
                f"{feature.name}: {', '.join(still)} never moved in the training data (standard "
                f"deviation 0): {what}"
            )


def _widths(scaling: Scaling) -> list[float]:
    if scaling.mode == "mean_std":
        return list(scaling.std or ())
    return list(np.subtract(scaling.max or (), scaling.min or ()))


def _names(feature: PolicyFeature, robot: ActRobot) -> tuple[str, ...]:
    if feature.name in (STATE, ACTION):
        return robot.names
    if feature.kind == "VISUAL":
        return ("red", "green", "blue")
    return tuple(f"value {i}" for i in range(feature.shape[0]))


def _units(statistics: PolicyStatistics, robot: ActRobot, units: str) -> Iterator[str]:
    body = np.array([not joint.gripper for joint in robot.joints.values()])
    for name in (STATE, ACTION):
        largest = statistics.largest.get(name)
        if largest is None or not body.any():
            continue
        most = float(largest[body].max())
        joint = np.array(robot.names)[body][int(np.argmax(largest[body]))]
        if units == "range" and most > _FULL_RANGE:
            yield (
                f"{name}: {joint} reaches {most:.4g} in the data, outside -100 to 100; should it "
                "be --units degrees?"
            )
        elif units == "radians" and most > _TURN_RAD:
            yield (
                f"{name}: {joint} reaches {most:.4g} in the data, more than a turn; should it be "
                "--units degrees or range?"
            )
        elif units != "radians" and most < np.pi:
            yield (
                f"{name}: no joint exceeds {most:.3g} in the data; should it be --units radians?"
            )
