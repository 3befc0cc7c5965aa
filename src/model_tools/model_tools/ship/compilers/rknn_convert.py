# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Converts the recipe in a folder; a separate program that runs in the toolkit's Python.

    python -m model_tools.ship.compilers.rknn_convert FOLDER [--analyse]

The program writes `made.rknn`, with --analyse also `error_analysis.txt`, and finally `result.json`:
the toolkit's version as `tool`, or its error as `stage` and `text`. The simulator runs the result
on the rows of `proof.npz`: inputs `in.0` ..., expected outputs `out.0` ..., [rows, *shape without
the batch axis]. `errors` contains, by output, the RMS of the differences relative to the RMS of the
expected values; `unproven` states why the simulator does not run the result.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from policy_inference.backends.rknn_toolkit.build import ToolkitError, build, call, toolkit_version
from policy_inference.backends.rknn_toolkit.recipe import Recipe, read_recipe

MADE, RESULT, ANALYSIS, PROOF = "made.rknn", "result.json", "error_analysis.txt", "proof.npz"
_PROOF_S = 20.0
"""Time after which no further row starts (the first always runs); a large image takes seconds."""
_SMALLEST = 1e-3


def convert(folder: Path, analyse: bool) -> dict[str, Any]:
    """Write `made.rknn` and, on request, the analysis; return the content of `result.json`."""
    recipe = read_recipe(folder)
    try:
        toolkit = build(folder, recipe)
        try:
            call(toolkit.export_rknn, "export_rknn", str(folder / MADE))
            proof = _proof(toolkit, folder, recipe)
            if analyse:
                files = sorted((folder / "calibration").glob("*.npy"))[: len(recipe.inputs)]
                call(
                    toolkit.accuracy_analysis,
                    "accuracy_analysis",
                    inputs=list(map(str, files)),
                    output_dir=str(folder / "analysis"),
                )
                (folder / "analysis" / ANALYSIS).rename(folder / ANALYSIS)
        finally:
            toolkit.release()
    except ToolkitError as error:
        return {"stage": error.stage, "text": error.text}
    return {"tool": toolkit_version(), **proof}


def _proof(toolkit: Any, folder: Path, recipe: Recipe) -> dict[str, Any]:
    began, found = time.monotonic(), list[list[Any]]()
    with np.load(folder / PROOF) as rows:
        fed = [rows[f"in.{place}"] for place in range(len(recipe.inputs))]
        expected = [rows[f"out.{place}"] for place in range(len(recipe.outputs))]
    try:
        call(toolkit.init_runtime, "init_runtime")
        for row in zip(*fed, strict=True):
            if found and time.monotonic() - began > _PROOF_S:
                break
            found.append(
                call(
                    toolkit.inference,
                    "inference",
                    data_format=["nchw"] * len(fed),
                    inputs=[values[np.newaxis] for values in row],
                )
            )
    except ToolkitError as error:
        return {"unproven": f"{error.stage}: {error.text}"}
    return {
        "errors": {
            spec.name: _relative(np.stack([row[place] for row in found]), values[: len(found)])
            for place, (spec, values) in enumerate(zip(recipe.outputs, expected, strict=True))
        }
    }


def _relative(found: Any, expected: Any) -> float:
    difference = found.reshape(expected.shape) - expected
    size = max(float(np.sqrt(np.mean(expected**2))), _SMALLEST)
    error = float(np.sqrt(np.mean(difference**2))) / size
    return error if np.isfinite(error) else float(np.finfo(np.float32).max)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    result = convert(place, "--analyse" in sys.argv)
    (place / RESULT).write_text(json.dumps(result), "utf-8")
