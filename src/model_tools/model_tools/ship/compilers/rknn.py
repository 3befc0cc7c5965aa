# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Rockchip NPUs: a `.rknn` file, and the recipe from which the simulator builds the same model."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from model_tools.errors import ToolError
from model_tools.ship.compilers.compiler import CompileOrder, Made
from model_tools.ship.compilers.rknn_convert import ANALYSIS, MADE, PROOF
from model_tools.ship.compilers.rknn_toolkit import (
    FORMER_PRECISIONS,
    OPTIONS,
    PRECISIONS,
    REMEDIES,
    TARGETS,
    RknnSettings,
    rknn_settings,
    run_toolkit,
)
from policy_core.bundle.verified import sha256_file
from policy_core.errors import BackendError
from policy_core.interfaces import Tensor
from policy_inference.backends.onnx import OnnxBackend
from policy_inference.backends.rknn_file import STORED_AS, RknnFile, read_rknn
from policy_inference.backends.rknn_toolkit.prepare import prepare, read_tensors
from policy_inference.backends.rknn_toolkit.recipe import MODEL, Recipe, pack, write_recipe
from policy_inference.comparison.limits import judged_by_walking
from policy_inference.comparison.rows import Rows, evenly, play

_ENOUGH = 300
"""Recommended minimum number of samples; with fewer, the largest error is several times as large as
with 500.
"""
_PROVEN = 16
_OTHER_FUNCTION = {False: 0.05, True: 0.7}
"""Largest relative error of a correct result; True is for coarse precisions. Correct results differ
by 0.001 in fp16 and by 0.1 in w8a8; an incorrectly computed layer causes 0.2 to 2."""
_log = logging.getLogger("model_tools")


class RknnCompiler:
    """Drives RKNN Toolkit2, which has a Python environment of its own (`make setup-rknn`)."""

    backend, suffix = "rknn", ".rknn"
    precisions: Mapping[str, bool] = PRECISIONS
    former_precisions: Mapping[str, str] = FORMER_PRECISIONS
    targets: tuple[str, ...] = TARGETS
    options: Mapping[str, str] = OPTIONS
    also_for = ("rknn_sim",)
    remedies: Mapping[str, str] = REMEDIES

    def compile(self, order: CompileOrder) -> Made:
        """Write `order.output`, and next to it the model for `rknn_sim`."""
        assert order.target is not None  # checked by precheck
        settings = rknn_settings(order.precision, order.target, order.options)
        if order.samples is not None and (rows := _rows(order.samples)) < _ENOUGH:
            _log.warning(
                "rknn: %d calibration rows; with %d or more the largest errors are several times "
                "smaller",
                rows,
                _ENOUGH,
            )
        with tempfile.TemporaryDirectory(prefix="rknn.") as scratch:
            try:
                return _compiled(order, settings, Path(scratch))
            except BackendError as error:
                raise ToolError(*error.args) from error


def _compiled(order: CompileOrder, settings: RknnSettings, folder: Path) -> Made:
    recipe = _recipe(order, settings)
    tensors = (*order.inputs, *order.outputs)
    prepare(order.model, folder / MODEL, {spec.name: spec.shape for spec in tensors})
    write_recipe(recipe, folder, order.samples)
    _write_proof(order, recipe, folder / PROOF)
    result, complaints = run_toolkit(order.model, folder, analyse=settings.analyse)
    for text in complaints:
        _log.warning(
            "rknn: %s: the toolkit says: %s; such layers may be slow on the chip, or fail to run",
            order.model.name,
            text,
        )
    _check_made(order, recipe, read_rknn(folder / MADE))
    _check_proof(order, result)
    shutil.copyfile(folder / MADE, order.output)
    simulated = order.output.with_suffix(".rknn_sim.zip")
    pack(folder, simulated)
    if settings.analyse:
        shutil.copyfile(folder / ANALYSIS, order.output.with_suffix(".layers.txt"))
    return Made(tool=str(result["tool"]), how=_how(order, settings), beside={"rknn_sim": simulated})


def _recipe(order: CompileOrder, settings: RknnSettings) -> Recipe:
    shapes = {spec.name: spec.shape for spec in (*order.inputs, *order.outputs)}
    inputs, outputs = (
        [replace(spec, shape=shapes.get(spec.name, spec.shape)) for spec in side]
        for side in read_tensors(order.model)
    )
    odd = ", ".join(str(spec) for spec in inputs if spec.dtype != "float32")
    if odd:
        raise ToolError(
            f"{order.model}: expected inputs in float32, found {odd}; cast them inside the model"
        )
    tag = f"policy_inference onnx=sha256:{sha256_file(order.model)} precision={order.precision}"
    return Recipe(
        target=settings.target,
        precision=order.precision,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        settings=settings.config,
        hybrid=settings.hybrid,
        tag=tag,
    )


def _check_made(order: CompileOrder, recipe: Recipe, made: RknnFile) -> None:
    if made.targets != (recipe.target,):
        raise ToolError(
            f"{order.model}: expected a file for {recipe.target}, found one for "
            f"{', '.join(made.targets)}"
        )
    for kind, expected, found in (
        ("inputs", recipe.inputs, made.inputs),
        ("outputs", recipe.outputs, made.outputs),
    ):
        wanted = {spec.name: spec.shape for spec in expected}
        got = {name: tensor.shape for name, tensor in found.items()}
        if wanted != got:
            raise ToolError(
                f"{order.model}: expected the {kind} {_listed(wanted)} in the file that the "
                f"toolkit made, found {_listed(got)}; the toolkit drops an output that duplicates "
                "another: export the model without duplicate outputs"
            )
    stored = made.precisions
    wanted_type = STORED_AS.get(order.precision, "float16")
    # Layers that the chip supports only in float, such as a GRU, stay float in any precision.
    if stored - {wanted_type, "float16"}:
        raise ToolError(
            f"{order.model}: expected tensors in {wanted_type}, found "
            f"{', '.join(sorted(stored))} in the file that the toolkit made"
        )
    if wanted_type not in stored:
        _log.warning(
            "rknn: %s: inputs, outputs and perhaps all layers stay in float16; "
            "accuracy_analysis=yes shows which, and a lower hybrid_cosine quantizes more",
            order.model.name,
        )


def _write_proof(order: CompileOrder, recipe: Recipe, file: Path) -> None:
    """Write input rows with the reference's outputs.

    The rows are golden rows if given, otherwise samples, otherwise random rows.
    """
    given = order.golden or order.samples
    random = np.random.default_rng(0)
    rows: dict[str, Tensor] = {
        spec.name: random.standard_normal((_PROVEN, *spec.shape[1:])).astype(np.float32)
        for spec in order.inputs
    }
    if given is not None:
        chosen = evenly(_rows(given), min(_PROVEN, _rows(given)))
        rows = {spec.name: given[spec.name][chosen] for spec in order.inputs}
    backend = OnnxBackend(order.model, order.inputs, order.outputs)
    try:
        played = play(backend, Rows(source="proof", inputs=rows, outputs={}), ())
    finally:
        backend.close()
    np.savez(
        file,
        **{  # type: ignore[arg-type]  # allow_pickle
            f"{kind}.{place}": played[spec.name]
            for kind, side in (("in", recipe.inputs), ("out", recipe.outputs))
            for place, spec in enumerate(side)
        },
    )


def _check_proof(order: CompileOrder, result: Mapping[str, Any]) -> None:
    """Raise if the simulator computes a different function; `compare` judges the accuracy."""
    if "unproven" in result:
        _log.warning(
            "rknn: %s: the simulator does not run the result (%s): verify it on the board with "
            "`policy_inference self-test`",
            order.model.name,
            result["unproven"],
        )
        return
    most = _OTHER_FUNCTION[judged_by_walking(order.precision)]
    wrong = {name: error for name, error in result["errors"].items() if error > most}
    if wrong:
        raise ToolError(
            f"{order.model}: expected the simulator's outputs to differ from the model's by at "
            f"most {most:.0%} ({order.precision}), found "
            + ", ".join(f"{error:.0%} for {name}" for name, error in wrong.items())
            + "; try --option optimization_level=0 or another precision, and report this model, "
            "because the toolkit compiles it incorrectly"
        )


def _how(order: CompileOrder, settings: RknnSettings) -> str:
    if order.samples is None:
        return f"weights and activations float16 for {settings.target}"
    config = settings.config
    words = [config.get("quantized_algorithm", "normal"), config.get("quantized_method", "channel")]
    if settings.hybrid:
        words.append(f"layers below a cosine of {config['auto_hybrid_cos_thresh']:g} in float16")
    return (
        f"{order.precision} for {settings.target} ({', '.join(words)}), over "
        f"{_rows(order.samples)} rows"
    )


def _rows(samples: Mapping[str, Tensor]) -> int:
    return len(next(iter(samples.values())))


def _listed(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
