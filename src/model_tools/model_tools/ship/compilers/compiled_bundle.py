# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A bundle with a compiled model: the same contract, golden rows and nominal, another artifact."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model_tools.errors import ToolError
from model_tools.files.contract_text import remove_section, set_section
from model_tools.files.onnx_model import read_onnx
from model_tools.files.outputs import copy_folder, new_folder
from model_tools.files.terms import EXACT_IN_FLOAT16, tick_inputs
from model_tools.prove.calibration.calibration_files import (
    calibration_samples,
    hash_of,
)
from model_tools.ship.compilers.compiler import CompileOrder, Compiler, Made, find_compiler
from policy_inference.bundle.bundle import (
    CONTRACT_FILE,
    AnyContract,
    JointBundle,
    ModelFiles,
    file_entry,
    stated_hashes,
)
from policy_inference.bundle.contract import Artifact, Calibration, File, Graph
from policy_inference.bundle.expected import Limits
from policy_inference.bundle.load import load_bundle, parse_contract
from policy_inference.bundle.schema import read_bytes
from policy_inference.onnx_file import LARGEST_BYTES, require_whole
from policy_inference.safe_files import read_at_most

REFERENCE, REFERENCE_PRECISION = "onnx", "fp32"
_ROWS = 512
_log = logging.getLogger("model_tools")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileRequest:
    """What a user asks for.

    Attributes:
        compiler: Name of a registered compiler.
        bundle: Folder of the bundle with the reference model.
        precision, target: Among those of the compiler.
        options: Values by name, among those of the compiler.
        samples: Calibration rows, as `model_tools.files.row_files.read_rows` takes them; of a chunk
            policy a LeRobot dataset or a rosbag2 recording. Not used for a precision that needs
            none.
        topics: Topics of a recording by input, where they have other names.
        rows: How many of them to take; None for as many as are usual.
        output: Folder of the new bundle.
        force: Whether a bundle that is there may be replaced.
    """

    compiler: str
    bundle: Path
    precision: str
    target: str | None
    samples: Path | None
    rows: int | None
    output: Path
    force: bool = False
    topics: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)


def compile_bundle(request: CompileRequest) -> JointBundle:
    """Compile the reference model of a joint policy's bundle into a new bundle.

    Raises:
        PolicyError: Something does not fit: compiler, precision, target, samples, bundle, model.
        OSError: A file cannot be read or written.
    """
    compiler = find_compiler(request.compiler)
    check(request, compiler)
    bundle = load_bundle(request.bundle, kind=JointBundle)
    model = reference(bundle.models[0])
    file = request.output / f"policy.{request.precision}{compiler.suffix}"
    precheck(
        compiler, [order_of(request, bundle.contract.model, model=model, output=file, samples=None)]
    )
    if request.precision == "fp16":
        _warn_of_ticks(bundle, model)
    rows = calibrating(request, compiler)
    count = _ROWS if request.rows is None else request.rows
    samples = None if rows is None else calibration_samples(bundle, rows, count, request.topics)
    with new_folder(
        request.output, marker=CONTRACT_FILE, force=request.force, kept=bundle.path
    ) as made:
        copy_folder(bundle.path, made)
        golden = bundle.golden() if bundle.contract.model.golden else None
        order = order_of(
            request,
            bundle.contract.model,
            model=model,
            output=made / file.name,
            samples=samples,
            golden=golden,
        )
        made_of = artifacts(compiler.backend, order, compiler.compile(order), made, rows)
        enter(made, {bundle.models[0].key: made_of})
        load_bundle(made, kind=JointBundle)
    return load_bundle(request.output, kind=JointBundle)


def _warn_of_ticks(bundle: JointBundle, model: Path) -> None:
    """Say where float16 does not hold the count of ticks."""
    contract = bundle.contract
    for name in tick_inputs(contract):
        rows = read_onnx(model).rows_chosen_by(name)
        if contract.model.inputs[name].dtype == "float32" and (
            rows is None or rows > EXACT_IN_FLOAT16 + 1
        ):
            _log.warning(
                "%s: %s counts ticks, which float16 holds one by one up to %d only (%.0f s at %g "
                "Hz): longer runs are computed with wrong ones; take another precision, or export "
                "the model with %s in int64 where the back end has that",
                contract.name,
                name,
                EXACT_IN_FLOAT16,
                EXACT_IN_FLOAT16 / contract.rate_hz,
                contract.rate_hz,
                name,
            )


def order_of(request: CompileRequest, graph: Graph, **given: Any) -> CompileOrder:
    """Return the order for a graph; `given` are the other attributes of `CompileOrder`."""
    return CompileOrder(
        precision=request.precision,
        target=request.target,
        options=request.options,
        force=request.force,
        inputs=graph.input_specs,
        outputs=graph.output_specs,
        **given,
    )


def check(request: CompileRequest, compiler: Compiler) -> None:
    """Check that the compiler offers what is asked for, with samples where it calibrates.

    Raises:
        ToolError: It does not.
    """
    if request.precision not in compiler.precisions:
        now = getattr(compiler, "former_precisions", {}).get(request.precision)
        raise ToolError(
            f"{request.compiler}: expected a precision among "
            f"{', '.join(compiler.precisions)}, found {request.precision!r}"
            + (f", which is called {now} now" if now else "")
        )
    if request.target not in (compiler.targets or (None,)):
        offered = ", ".join(compiler.targets) or "none, since its files run on any machine"
        raise ToolError(
            f"{request.compiler}: expected a target among those it has ({offered}), "
            f"found {request.target or 'none'}"
        )
    unknown = ", ".join(sorted(set(request.options) - set(compiler.options)))
    if unknown:
        raise ToolError(
            f"{request.compiler}: expected options among "
            f"{', '.join(compiler.options) or 'none'}, found {unknown}"
        )
    if compiler.precisions[request.precision] and request.samples is None:
        raise ToolError(
            f"{request.compiler}: {request.precision}: expected rows to calibrate with "
            "(--samples, or --dataset for a chunk policy), found none"
        )
    if request.output.resolve().is_relative_to(request.bundle.resolve()):
        raise ToolError(
            f"{request.output}: expected a folder outside the bundle that is compiled, "
            f"found one in {request.bundle}"
        )


def precheck(compiler: Compiler, orders: Sequence[CompileOrder]) -> None:
    """Let a compiler look at what it can before samples are collected; see `Compiler`.

    Raises:
        ToolError: Something is missing or does not fit.
    """
    look: Callable[[Sequence[CompileOrder]], None] | None = getattr(compiler, "precheck", None)
    if look is not None:
        look(orders)


def calibrating(request: CompileRequest, compiler: Compiler) -> Path | None:
    """Return the samples where the precision is calibrated; else say that they are not used."""
    if compiler.precisions[request.precision]:
        return request.samples
    if request.samples is not None:
        _log.warning("%s is not calibrated: %s is not used", request.precision, request.samples)
    return None


def reference(model: ModelFiles) -> Path:
    """Return the verified file of a reference model, whose weights are finite.

    Raises:
        PolicyError: There is none, or it is in another precision or damaged, or some of its
            weights are in a second file.
    """
    entry, file = model.artifact(REFERENCE)
    if entry.precision != REFERENCE_PRECISION:
        raise ToolError(
            f"{model.folder}: expected the artifact {REFERENCE} in "
            f"{REFERENCE_PRECISION}, found {entry.precision}; compile from the bundle "
            "with the reference model"
        )
    require_whole(file, read_at_most(file, LARGEST_BYTES))
    read_onnx(file).require_finite()
    return file


def artifacts(
    backend: str, order: CompileOrder, made: Made, folder: Path, samples: Path | None
) -> dict[str, Artifact]:
    """Return what the contract of a bundle in `folder` says of each file, by back end."""
    how, calibration, found = made.how, None, dict[str, Artifact]()
    if samples is not None and order.samples is not None:
        how += f" of {samples.name}"
        calibration = Calibration(
            source=samples.name,
            sha256=hash_of(samples),
            rows=len(next(iter(order.samples.values()))),
        )
    for name, file in {backend: made.file or order.output, **made.beside}.items():
        entry = file_entry(file, folder)
        found[name] = Artifact(
            file=entry.file,
            sha256=entry.sha256,
            precision=order.precision,
            target=order.target,
            tool=made.tool,
            made=how,
            integers=made.integers,
            calibration=calibration,
        )
    return found


def enter(folder: Path, made: Mapping[str, Mapping[str, Artifact]]) -> None:
    """Write artifacts into the contract; what was said of those before them goes.

    Closed-loop limits stay: they say how the robot has to walk, whatever runs it.

    Args:
        folder: Of the bundle.
        made: By key of the model in the contract, and by back end.
    """
    contract, file = load_bundle(folder).contract, folder / CONTRACT_FILE
    text, backends = file.read_text("utf-8"), {name for part in made.values() for name in part}
    for key, model in contract.models.items():
        text = _set(text, f"{key}.artifacts", {**model.artifacts, **made[key]})
    reports = {name: entry for name, entry in contract.reports.items() if name not in backends}
    text = _set(text, "reports", reports)
    text = _set(text, "limits", _limits_of_walking(contract, backends))
    file.write_text(text, "utf-8")
    for name in (
        stated_hashes(contract).keys()
        - stated_hashes(parse_contract(read_bytes(file), file)).keys()
    ):
        (folder / name).unlink(missing_ok=True)


def _limits_of_walking(contract: AnyContract, made: Collection[str]) -> dict[str, Limits]:
    limits = dict(contract.limits)
    for backend in made:
        former = limits.pop(backend, None)
        if former is not None and former.closed_loop is not None:
            limits[backend] = Limits(closed_loop=former.closed_loop)
    return limits


def _set(text: str, key: str, entries: Mapping[str, Artifact | Limits | File]) -> str:
    try:
        return set_section(text, key, dict(entries)) if entries else remove_section(text, key)
    except ValueError as error:
        raise ToolError(f"{CONTRACT_FILE}: {error}") from error
