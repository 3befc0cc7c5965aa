# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A bundle with a compiled model: the same contract, golden rows and nominal, another artifact."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from model_tools.compilers.base import Compiler, Made, Order
from model_tools.compilers.registry import find_compiler
from model_tools.compilers.samples import calibration_samples, hash_of
from model_tools.contract_text import remove_section, set_section
from model_tools.errors import ToolError
from model_tools.files import copy_folder, new_folder
from model_tools.onnx_model import read_onnx
from policy_inference.bundle.contract import Artifact, Calibration, File, JointContract
from policy_inference.bundle.expected import Limits
from policy_inference.bundle.load import CONTRACT_FILE, Bundle, file_entry, load_bundle

REFERENCE, REFERENCE_PRECISION = "onnx", "fp32"
_log = logging.getLogger("model_tools")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a user asks for.

    Attributes:
        compiler: Name of a registered compiler.
        bundle: Folder of the bundle with the reference model.
        precision, target: Among those of the compiler.
        options: Values by name, among those of the compiler.
        samples: Calibration rows, as `model_tools.row_files.read_rows` takes them; not used for a
            precision that needs none.
        topics: Topics of a recording by input, where they have other names.
        rows: How many of them to take.
        output: Folder of the new bundle.
        force: Whether a bundle that is there may be replaced.
    """

    compiler: str
    bundle: Path
    precision: str
    target: str | None
    samples: Path | None
    rows: int
    output: Path
    force: bool = False
    topics: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)


def compile_bundle(request: Request) -> Bundle:
    """Compile a bundle's reference model into a new bundle.

    Raises:
        PolicyError: Something does not fit: compiler, precision, target, samples, bundle, model.
        OSError: A file cannot be read or written.
    """
    compiler = find_compiler(request.compiler)
    _check(request, compiler)
    bundle = load_bundle(request.bundle)
    model = _reference(bundle)
    rows = _calibrating(request, compiler)
    samples = None if rows is None else calibration_samples(bundle, rows, request.rows,
                                                            request.topics)
    tensors = bundle.contract.model
    with new_folder(request.output, marker=CONTRACT_FILE, force=request.force,
                    kept=bundle.path) as made:
        copy_folder(bundle.path, made)
        file = made / f"policy.{request.precision}{compiler.suffix}"
        order = Order(
            model=model, output=file, precision=request.precision, target=request.target,
            inputs=tensors.input_specs, samples=samples,
            outputs=tensors.output_specs, options=request.options,
            force=request.force,
        )  # fmt: skip
        _enter(made, _artifacts(compiler.backend, order, compiler.compile(order), rows))
        load_bundle(made)
    return load_bundle(request.output)


def _check(request: Request, compiler: Compiler) -> None:
    """Raise unless the compiler offers what is asked for, with samples where it calibrates."""
    if request.precision not in compiler.precisions:
        now = getattr(compiler, "former_precisions", {}).get(request.precision)
        raise ToolError(f"{request.compiler}: expected a precision among "
                        f"{', '.join(compiler.precisions)}, found {request.precision!r}"
                        + (f", which is called {now} now" if now else ""))
    if request.target not in (compiler.targets or (None,)):
        offered = ", ".join(compiler.targets) or "none, since its files run on any machine"
        raise ToolError(f"{request.compiler}: expected a target among those it has ({offered}), "
                        f"found {request.target or 'none'}")
    unknown = ", ".join(sorted(set(request.options) - set(compiler.options)))
    if unknown:
        raise ToolError(f"{request.compiler}: expected options among "
                        f"{', '.join(compiler.options) or 'none'}, found {unknown}")
    if compiler.precisions[request.precision] and request.samples is None:
        raise ToolError(f"{request.compiler}: {request.precision}: expected rows to calibrate with "
                        "(--samples), found none")
    if request.output.resolve().is_relative_to(request.bundle.resolve()):
        raise ToolError(f"{request.output}: expected a folder outside the bundle that is compiled, "
                        f"found one in {request.bundle}")


def _calibrating(request: Request, compiler: Compiler) -> Path | None:
    """Return the samples where the precision is calibrated; else say that they are not used."""
    if compiler.precisions[request.precision]:
        return request.samples
    if request.samples is not None:
        _log.warning("%s is not calibrated: %s is not used", request.precision, request.samples)
    return None


def _reference(bundle: Bundle) -> Path:
    """Return the verified file of the reference model, whose weights are finite."""
    entry, file = bundle.artifact(REFERENCE)
    if entry.precision != REFERENCE_PRECISION:
        raise ToolError(f"{bundle.path}: expected the artifact {REFERENCE} in "
                        f"{REFERENCE_PRECISION}, found {entry.precision}; compile from the bundle "
                        "with the reference model")
    read_onnx(file).require_finite()
    return file


def _artifacts(
    backend: str, order: Order, made: Made, samples: Path | None
) -> dict[str, Artifact]:
    """Return what the contract says of each file, by back end."""
    how, calibration, found = made.how, None, dict[str, Artifact]()
    if samples is not None and order.samples is not None:
        how += f" of {samples.name}"
        calibration = Calibration(source=samples.name, sha256=hash_of(samples),
                                  rows=len(next(iter(order.samples.values()))))
    for name, file in {backend: made.file or order.output, **made.beside}.items():
        entry = file_entry(file, order.output.parent)
        found[name] = Artifact(
            file=entry.file, sha256=entry.sha256, precision=order.precision, target=order.target,
            tool=made.tool, made=how, calibration=calibration,
        )  # fmt: skip
    return found


def _enter(folder: Path, made: Mapping[str, Artifact]) -> None:
    """Write the artifacts into the contract; what was said of those before them goes.

    Closed-loop limits stay: they say how the robot has to walk, whatever runs it.
    """
    contract, file = load_bundle(folder).contract, folder / CONTRACT_FILE
    artifacts = {**contract.model.artifacts, **made}
    reports = {name: entry for name, entry in contract.reports.items() if name not in made}
    text = file.read_text("utf-8")
    for key, entries in (("model.artifacts", artifacts), ("reports", reports),
                         ("limits", _limits_of_walking(contract, made))):
        text = _set(text, key, entries)
    file.write_text(text, "utf-8")
    for before, now in ((contract.model.artifacts, artifacts), (contract.reports, reports)):
        for name in {e.file for e in before.values()} - {e.file for e in now.values()}:
            (folder / name).unlink(missing_ok=True)


def _limits_of_walking(contract: JointContract, made: Collection[str]) -> dict[str, Limits]:
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
