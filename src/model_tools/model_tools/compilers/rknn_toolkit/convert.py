# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Converts the recipe in a folder; a program of its own, which the toolkit's Python runs.

    python convert.py FOLDER [--analyse]

It writes `made.rknn`, with --analyse `error_analysis.txt`, and in the end `result.json`: the
toolkit's version under `tool`, or what it said under `stage` and `text`.
"""

import json
import sys
from pathlib import Path
from typing import Any

from policy_inference.backends.rknn_toolkit.build import ToolkitError, build, call, toolkit_version
from policy_inference.backends.rknn_toolkit.recipe import read_recipe

MADE, RESULT, ANALYSIS = "made.rknn", "result.json", "error_analysis.txt"


def convert(folder: Path, analyse: bool) -> dict[str, Any]:
    """Write `made.rknn`, and perhaps the analysis; return the result."""
    recipe = read_recipe(folder)
    try:
        toolkit = build(folder, recipe)
        try:
            call(toolkit.export_rknn, "export_rknn", str(folder / MADE))
            if analyse:
                files = sorted((folder / "calibration").glob("*.npy"))[: len(recipe.inputs)]
                call(toolkit.accuracy_analysis, "accuracy_analysis", inputs=list(map(str, files)),
                     output_dir=str(folder / "analysis"))
                (folder / "analysis" / ANALYSIS).rename(folder / ANALYSIS)
        finally:
            toolkit.release()
    except ToolkitError as error:
        return {"stage": error.stage, "text": error.text}
    return {"tool": toolkit_version()}


if __name__ == "__main__":
    place = Path(sys.argv[1])
    result = convert(place, "--analyse" in sys.argv)
    (place / RESULT).write_text(json.dumps(result), "utf-8")
