# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A chunk policy's bundle with compiled graphs: all of them, calibrated with the same samples."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from model_tools.files.observation_sources import open_source
from model_tools.files.outputs import BUNDLE_FILES, new_folder
from model_tools.prove.calibration.graph_samples import (
    GraphSamples,
    Progress,
    collect_samples,
    count_of,
)
from model_tools.ship.compilers.compiled_bundle import (
    CompileRequest,
    artifacts,
    calibrating,
    check,
    enter,
    order_of,
    precheck,
    reference,
)
from model_tools.ship.compilers.compiler import CompileOrder, Compiler, Made, find_compiler
from policy_inference.bundle.bundle import CONTRACT_FILE, ChunkBundle, stated_hashes
from policy_inference.bundle.load import load_bundle


def compile_chunk_bundle(
    request: CompileRequest, progress: Progress = lambda seen, total: None
) -> ChunkBundle:
    """Compile all graphs of a chunk policy's bundle into a new bundle.

    Args:
        request: What is asked for; its samples are a LeRobot dataset or a recording.
        progress: Is told how many observations were taken.

    Raises:
        PolicyError: Something does not fit: compiler, precision, target, samples, bundle, model.
        OSError: A file cannot be read or written.
    """
    compiler = find_compiler(request.compiler)
    check(request, compiler)
    bundle = load_bundle(request.bundle, kind=ChunkBundle)
    models = {model.key: reference(model) for model in bundle.models}
    precheck(
        compiler,
        [
            _order(request, bundle, key, file, request.output, compiler.suffix, {})
            for key, file in models.items()
        ],
    )
    source = calibrating(request, compiler)
    opened = None if source is None else open_source(bundle.contract, source, request.topics)
    count = 0 if opened is None else count_of(opened, request.rows)
    owned = (*BUNDLE_FILES, *(f"{name}/*" for name in bundle.contract.graphs))
    with new_folder(
        request.output, marker=CONTRACT_FILE, force=request.force, kept=bundle.path, owned=owned
    ) as made:
        _copy(bundle, made)
        with tempfile.TemporaryDirectory(prefix=".samples.", dir=made) as scratch:
            samples = (
                {}
                if opened is None
                else collect_samples(bundle, opened, count, Path(scratch), progress)
            )
            orders = {
                key: _order(request, bundle, key, file, made, compiler.suffix, samples)
                for key, file in models.items()
            }
            results = _compiled(compiler, list(orders.values()))
        enter(
            made,
            {
                key: artifacts(compiler.backend, order, result, made, source)
                for (key, order), result in zip(orders.items(), results, strict=True)
            },
        )
        load_bundle(made, kind=ChunkBundle)
    return load_bundle(request.output, kind=ChunkBundle)


def _order(
    request: CompileRequest,
    bundle: ChunkBundle,
    key: str,
    model: Path,
    made: Path,
    suffix: str,
    samples: dict[str, GraphSamples],
) -> CompileOrder:
    name = key.removeprefix("graphs.")
    file = made / model.relative_to(bundle.path).with_name(f"{name}.{request.precision}{suffix}")
    found = samples.get(name)
    return order_of(
        request,
        bundle.contract.graphs[name],
        name=name,
        model=model,
        output=file,
        samples=found and found.inputs,
        sample_files=found.files if found else {},
    )


def _compiled(compiler: Compiler, orders: list[CompileOrder]) -> list[Made]:
    together = getattr(compiler, "compile_all", None)
    if together is not None:
        made: list[Made] = together(orders)
        return made
    return [compiler.compile(order) for order in orders]


def _copy(bundle: ChunkBundle, folder: Path) -> None:
    """Copy the contract and what it names; a workspace that lies among it stays behind."""
    for name in (CONTRACT_FILE, *stated_hashes(bundle.contract)):
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.path / name, place)
