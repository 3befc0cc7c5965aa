# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Makes a complete bundle from a contract and its reference model."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import logging
import shutil
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.arrays import write_arrays
from model_tools.files.baked import baked_normaliser
from model_tools.files.contract_text import DRAFT_LINE, set_section
from model_tools.files.control_flow import count_control_flow, require_bounded_turns
from model_tools.files.file_types import refuse_checkpoint
from model_tools.files.onnx_model import OnnxModel, read_onnx
from model_tools.files.outputs import copy_folder, new_file, new_folder
from model_tools.files.row_files import read_rows, save_rows
from model_tools.files.terms import counts_ticks
from model_tools.make.importers.draft import open_questions, other_problems
from model_tools.make.nominal import MeasuredRuns, check_guard, measure_nominal
from model_tools.make.parity import (
    drop_nominal,
    drop_reports_of_others,
    is_proven,
    longest_run_s,
    replayed_rows,
)
from model_tools.make.unrecorded import drawn_rows
from policy_core.bundle.bundle import CONTRACT_FILE, JointBundle, file_entry
from policy_core.bundle.contract import JointContract
from policy_core.bundle.load import load_bundle, parse_contract
from policy_core.bundle.schema import load_yaml, read_bytes
from policy_core.errors import BundleError, plural
from policy_inference.comparison.rows import Rows, evenly
from policy_inference.kinds.joint import JointKind
from policy_inference.kinds.parity import check_opening

REFERENCE, FEWEST_GOLDEN = "onnx", 16
Measure = Callable[[JointBundle], MeasuredRuns]
_log = logging.getLogger("model_tools")
GOLDEN_FILE, GOLDEN_ROWS = "golden.npz", 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """Sources of golden rows and nominal figures.

    Attributes:
        measure: Function that measures healthy runs of a bundle; None leaves the nominal figures
            unchanged.
        golden: Golden rows to check and use. If None, rows from the runs are used; without runs,
            random rows.
        rows_output: File for all rows from the runs, for calibration and comparison.
        force: Replace an existing file.
    """

    measure: Measure | None = None
    golden: Path | None = None
    rows_output: Path | None = None
    force: bool = False


DRAWN = Completion()
"""Only golden rows, drawn at random around the default position."""


def make_bundle(
    contract: Path,
    model: Path | None,
    output: Path,
    completion: Completion = DRAWN,
    *,
    force: bool = False,
) -> JointBundle:
    """Make a complete bundle; after a failure, `output` is unchanged.

    Args:
        contract: Folder with the `policy.yaml`; its other files are copied too.
        model: The reference model, whose hash must match the contract; None if the model is in the
            folder.
        output: Folder of the bundle; may be `contract` itself.
        completion: Sources of golden rows and nominal figures.
        force: Replace an existing bundle.

    Returns:
        The bundle, at its final path.
    """
    if not (contract / CONTRACT_FILE).is_file():
        raise ToolError(
            f"{contract}: expected a folder with a {CONTRACT_FILE}, found no such file; "
            "`model_tools import` writes one from the files of a training run"
        )
    _read_answered(contract / CONTRACT_FILE)  # so that errors name the user's own path
    with new_folder(output, marker=CONTRACT_FILE, force=force, kept=contract) as made:
        copy_folder(contract, made)
        if model is not None:
            _take_model(model, made)
        complete(made, completion)
    return load_bundle(output, kind=JointBundle)


def _read_answered(file: Path) -> None:
    """Read a contract; report its open questions in a single error."""
    try:
        parse_contract(
            read_bytes(file),
            file,
            instead="`model_tools export act` writes complete bundles of chunk "
            "policies, with their golden rows",
            kind=JointContract,
        )
    except BundleError as error:
        try:
            questions = open_questions(load_yaml(file))
        except BundleError:  # not even valid YAML, as the first error states
            questions = {}
        if not questions:
            raise
        raise ToolError(
            f"{file}: expected no open questions, found {len(questions)}; answer them in the file, "
            "or with --set or --answers in the import",
            *(f"TODO {key}: {question}" for key, question in questions.items()),
            *map(str, other_problems(error.problems, questions)),
        ) from error


def _take_model(model: Path, folder: Path) -> None:
    entry = parse_contract(
        read_bytes(folder / CONTRACT_FILE), folder / CONTRACT_FILE, kind=JointContract
    ).model.artifacts.get(REFERENCE)
    if entry is None:
        raise ToolError(f"{CONTRACT_FILE}: model.artifacts: expected {REFERENCE}, found none")
    content = model.read_bytes()
    refuse_checkpoint(model, io.BytesIO(content))
    found = hashlib.sha256(content).hexdigest()
    if found != entry.sha256:
        remedy = (
            f"get it from {entry.url}"
            if entry.url
            else (
                "give the model for which the contract was written, or write the hash of this "
                f"model to model.artifacts.{REFERENCE}.sha256"
            )
        )
        raise ToolError(f"{model}: expected sha256 {entry.sha256}, found {found}; {remedy}")
    (folder / entry.file).parent.mkdir(parents=True, exist_ok=True)
    (folder / entry.file).write_bytes(content)


def complete(folder: Path, completion: Completion) -> None:
    """Write golden rows and nominal figures into an unfinished bundle."""
    bundle = load_bundle(folder, kind=JointBundle)
    model = read_onnx(bundle.artifact(REFERENCE)[1])
    require_bounded_turns(model)
    if operators := count_control_flow(model):
        _declare_control_flow(bundle, operators, "not measured")  # a model must declare it to run
        bundle = load_bundle(folder, kind=JointBundle)
    _refuse_double_normalisation(bundle, model)
    wanted = completion.rows_output
    with new_file(wanted, force=completion.force) if wanted else nullcontext() as rows_file:
        # The contract's limits are the only guard during the measurement.
        bare = dataclasses.replace(bundle.contract, nominal=None)
        measure = completion.measure
        measured = measure(dataclasses.replace(bundle, contract=bare)) if measure else None
        proven = is_proven(bundle)
        drop_reports_of_others(bundle)
        if not proven and measured is None:
            drop_nominal(bundle)
        if completion.golden is not None or measured is not None or not proven:
            _put_golden(folder, completion.golden, measured.runs[0].rows if measured else None)
        if measured is not None:
            _set(folder, "nominal", measure_nominal(bundle.contract, measured))
            check_guard(load_bundle(folder, kind=JointBundle).contract, measured)
            if rows_file is not None:
                save_rows([run.rows for run in measured.runs], bundle.contract, rows_file)
    whole = load_bundle(folder, kind=JointBundle)
    rows = JointKind().golden_rows(whole)
    replayed_rows(whole, rows)
    check_opening(whole, REFERENCE)
    if operators:
        longest_s, period_s = longest_run_s(whole, rows), 1.0 / whole.contract.rate_hz
        text = f"longest of {plural(len(rows), 'golden row')}: {1e3 * longest_s:.2f} ms"
        _declare_control_flow(whole, operators, text)
        late = longest_s > period_s
        _log.warning(
            "%s; other inputs may take longer%s",
            text,
            f"; expected less than the period, {1e3 * period_s:g} ms" if late else "",
        )
    _forget_questions(folder / CONTRACT_FILE)


def _forget_questions(contract: Path) -> None:
    """Remove the line in which a draft asks for answers."""
    lines = contract.read_text("utf-8").splitlines(keepends=True)
    contract.write_text("".join(line for line in lines if line.rstrip() != DRAFT_LINE), "utf-8")


def _declare_control_flow(bundle: JointBundle, operators: Mapping[str, int], run: str) -> None:
    """Write the control-flow operators, and what is known of their run, to the contract."""
    names = ", ".join(f"{count} {name}" for name, count in operators.items())
    artifact = bundle.contract.model.artifacts[REFERENCE]
    declared = dataclasses.replace(artifact, control_flow=f"{names}; {run}")
    _set(bundle.path, f"model.artifacts.{REFERENCE}", declared)


def _refuse_double_normalisation(bundle: JointBundle, model: OnnxModel) -> None:
    """Raise if the model normalizes what the contract has already normalized."""
    if bundle.statistics and (inside := baked_normaliser(model)):
        raise ToolError(
            f"{CONTRACT_FILE}: expected one normalization, found two: {inside} in the model and "
            f"statistics of {', '.join(bundle.statistics)} in the contract; remove `normalisation` "
            "from the contract"
        )


def _put_golden(folder: Path, given: Path | None, rows: Rows | None) -> None:
    file = folder / GOLDEN_FILE
    if given is None:
        bundle = load_bundle(folder, kind=JointBundle)
        # A recorded run does not reach every tick count that the model distinguishes.
        if rows is None or counts_ticks(bundle.contract):
            rows = drawn_rows(bundle)
        write_golden(file, rows)
    else:
        _check_given(given, load_bundle(folder, kind=JointBundle))
        shutil.copyfile(given, file)
    _set(folder, "model.golden", file_entry(file, folder))


def _check_given(golden: Path, bundle: JointBundle) -> None:
    """Raise unless enough rows differ and their observations match the contract."""
    rows = read_rows(golden, bundle)
    different = len(
        np.unique(
            np.hstack(
                [array.reshape(len(rows), -1).astype(np.float64) for array in rows.inputs.values()]
            ),
            axis=0,
        )
    )
    if different < FEWEST_GOLDEN:
        raise ToolError(
            f"{golden}: expected at least {FEWEST_GOLDEN} different golden rows (fewer "
            f"prove nothing), found {different}"
        )


def _set(folder: Path, key: str, value: Any) -> None:
    file = folder / CONTRACT_FILE
    try:
        text = set_section(file.read_text("utf-8"), key, value)
    except ValueError as error:
        raise ToolError(f"{CONTRACT_FILE}: {error}; write that section in block style") from error
    file.write_text(text, "utf-8")


def write_golden(file: Path, rows: Rows) -> None:
    """Write at most 256 evenly spaced rows, which must have all tensors of the model."""
    chosen = evenly(len(rows), GOLDEN_ROWS)
    tensors = {**rows.inputs, **rows.outputs}
    write_arrays(file, {name: array[chosen] for name, array in tensors.items()})
