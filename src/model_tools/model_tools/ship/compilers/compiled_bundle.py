# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Makes a bundle with compiled models, and the same contract, golden rows and nominal values."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from model_tools.errors import ToolError
from model_tools.files.contract_text import remove_section, set_section
from model_tools.files.outputs import new_folder
from model_tools.prove.calibration.calibration_files import hash_samples
from model_tools.prove.calibration.graph_samples import Progress
from model_tools.ship.compilers.compile_request import (
    REFERENCE,
    CompileRequest,
    calibrating,
    check,
    reference,
)
from model_tools.ship.compilers.compiler import CompileOrder, Compiler, Made, find_compiler
from model_tools.ship.compilers.models_to_compile import (
    ModelsToCompile,
    Samples,
    models_to_compile,
)
from policy_core.bundle.body import SENSITIVITY, AnyContract, ComparisonLimits
from policy_core.bundle.bundle import (
    CONTRACT_FILE,
    AnyBundle,
    file_entry,
    is_onnx,
    served_name,
    stated_hashes,
)
from policy_core.bundle.contract import Artifact, Calibration, File
from policy_core.bundle.load import load_bundle, parse_contract
from policy_core.bundle.schema import read_bytes
from policy_core.bundle.verified import sha256_file
from policy_core.interfaces import Tensor


def compile_bundle(request: CompileRequest, progress: Progress = lambda seen, total: None) -> Path:
    """Compile all reference models of a bundle into a new bundle.

    Args:
        request: Options for the compilation.
        progress: Called with the number of samples so far.

    Returns:
        The folder of the new bundle.
    """
    compiler = find_compiler(request.compiler)
    check(request, compiler)
    bundle = load_bundle(request.bundle)
    kind = models_to_compile(bundle, request)
    files = {model.key: reference(model) for model in bundle.models}
    if precheck := getattr(compiler, "precheck", None):
        precheck([*_orders(request, compiler, bundle, kind, files, request.output).values()])
    for file in files.values():
        kind.require_exact(file, request.precision)
    source = calibrating(request, compiler)
    samples = kind.samples(source, progress)
    with new_folder(
        request.output,
        marker=CONTRACT_FILE,
        force=request.force,
        kept=bundle.path,
        owned=kind.owned,
    ) as made:
        kind.copy(made)
        with tempfile.TemporaryDirectory(prefix=".samples.", dir=made) as scratch:
            taken, golden = samples(Path(scratch)), kind.golden()
            orders = _orders(request, compiler, bundle, kind, files, made, taken, golden)
            results: list[Made] = (
                compiler.compile_all([*orders.values()])
                if hasattr(compiler, "compile_all")
                else [compiler.compile(order) for order in orders.values()]
            )
        _enter(
            made,
            {
                key: _artifacts(compiler.backend, order, result, made, source)
                for (key, order), result in zip(orders.items(), results, strict=True)
            },
        )
        load_bundle(made)
    return request.output


def _orders(
    request: CompileRequest,
    compiler: Compiler,
    bundle: AnyBundle,
    kind: ModelsToCompile,
    files: Mapping[str, Path],
    folder: Path,
    samples: Samples | None = None,
    golden: Mapping[str, Tensor] | None = None,
) -> dict[str, CompileOrder]:
    orders = dict[str, CompileOrder]()
    for model in bundle.models:
        key, file, found = model.key, files[model.key], (samples or {}).get(model.key)
        place = kind.place(key, file)
        orders[key] = CompileOrder(
            name=kind.name(key),
            served_name=served_name(bundle.contract, key),
            model=file,
            inputs=model.model.input_specs,
            outputs=model.model.output_specs,
            output=folder / place.with_name(f"{place.name}.{request.precision}{compiler.suffix}"),
            precision=request.precision,
            target=request.target,
            options=request.options,
            force=request.force,
            samples=found.inputs if found else None,
            sample_files=found.files if found else {},
            golden=golden,
        )
    return orders


def _artifacts(
    backend: str, order: CompileOrder, made: Made, folder: Path, samples: Path | None
) -> dict[str, Artifact]:
    """Return the contract entries for a model's compiled files in `folder`, by back end."""
    how, calibration, found = made.how, None, dict[str, Artifact]()
    if samples is not None and order.samples is not None:
        how += f" of {samples.name}"
        calibration = Calibration(
            source=samples.name,
            sha256=hash_samples(samples),
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
            compiled_from=sha256_file(order.model),
            integers=made.integers,
            calibration=calibration,
        )
    return found


def _enter(folder: Path, made: Mapping[str, Mapping[str, Artifact]]) -> None:
    """Write artifacts into the contract; remove entries about the artifacts that they replace.

    Closed-loop limits are kept, since they apply to the walk with any artifact.

    Args:
        folder: Folder of the bundle.
        made: Artifacts by the model's key in the contract, then by back end.
    """
    contract, file = load_bundle(folder).contract, folder / CONTRACT_FILE
    text, backends = file.read_text("utf-8"), {name for part in made.values() for name in part}
    for key, model in contract.models.items():
        declared = model.artifacts[REFERENCE].control_flow
        entries = {
            name: replace(artifact, control_flow=declared) if is_onnx(name, artifact) else artifact
            for name, artifact in made[key].items()
        }
        text = _set(text, f"{key}.artifacts", {**model.artifacts, **entries})
    reports = {
        key: entry
        for key, entry in contract.reports.items()
        if key.removeprefix(SENSITIVITY) not in backends
    }
    text = _set(text, "reports", reports)
    text = _set(text, "limits", _limits_of_walking(contract, backends))
    file.write_text(text, "utf-8")
    for name in (
        stated_hashes(contract).keys()
        - stated_hashes(parse_contract(read_bytes(file), file)).keys()
    ):
        (folder / name).unlink(missing_ok=True)


def _limits_of_walking(contract: AnyContract, made: Collection[str]) -> dict[str, ComparisonLimits]:
    limits = dict(contract.limits)
    for backend in made:
        former = limits.pop(backend, None)
        if former is not None and former.closed_loop is not None:
            limits[backend] = ComparisonLimits(closed_loop=former.closed_loop)
    return limits


def _set(text: str, key: str, entries: Mapping[str, Artifact | ComparisonLimits | File]) -> str:
    try:
        return set_section(text, key, dict(entries)) if entries else remove_section(text, key)
    except ValueError as error:
        raise ToolError(f"{CONTRACT_FILE}: {error}") from error
