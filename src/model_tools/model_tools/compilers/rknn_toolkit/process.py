# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the toolkit as a process in its own Python; its noise goes to a file, its litter with it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import policy_inference
from model_tools.compilers.rknn_toolkit import convert
from model_tools.errors import ToolError
from policy_inference.backends.rknn_toolkit.diagnosis import explain
from policy_inference.backends.rknn_toolkit.python import toolkit_python

_LOG, _LAST_LINES = "toolkit.log", 12
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_COMPLAINT = re.compile(r"E RKNN: (?:\[[\d:.]+\] )?(.+)")
# Said with every model that it builds well.
_ALWAYS_SAID = "Unkown op target: 0"


def run_toolkit(model: Path, folder: Path, *, analyse: bool) -> tuple[dict[str, Any], list[str]]:
    """Convert the recipe in a folder.

    Args:
        model: What it is made from, for errors.
        folder: Has a recipe, and rows to prove with; is the toolkit's to litter.
        analyse: Whether the error of each layer is computed.

    Returns:
        The result of `convert`, with the toolkit's name and version under `tool`; and what it
        complained of.

    Raises:
        ToolError: The toolkit failed; says why, and what it said last.
        BackendError: It is not installed.
    """
    log = folder / _LOG
    command = [toolkit_python(), convert.__file__, str(folder), *(["--analyse"] if analyse else [])]
    with log.open("wb") as said:
        try:
            status = subprocess.run(command, cwd=folder, env=_environment(folder), stdout=said,
                                    stderr=said, stdin=subprocess.DEVNULL, check=False).returncode
        except OSError as error:
            raise ToolError(f"expected to start {command[0]}, found: {error.strerror}") from error
    lines = _lines(log)
    result = _result(folder)
    if result is None or status != 0:
        remedy = ("some precisions do so with some operators on some chips: try another precision"
                  if status < 0 else "make its environment again with `make setup-rknn`")
        raise ToolError(f"{model}: expected RKNN Toolkit2 to end well, found that it ended with "
                        f"status {status}; {remedy}; its last words: "
                        + " | ".join(lines[-_LAST_LINES:]))
    if "stage" in result:
        raise ToolError(f"{model}: {explain(result['stage'], result['text'])}")
    return result, complaints(lines)


def complaints(lines: list[str]) -> list[str]:
    """Return the native compiler's errors, each once, less the one that it always has."""
    found = (match[1] for line in lines if (match := _COMPLAINT.search(line)))
    return list(dict.fromkeys(text for text in found if text != _ALWAYS_SAID))


def _result(folder: Path) -> dict[str, Any] | None:
    file = folder / convert.RESULT
    return json.loads(file.read_text("utf-8")) if file.is_file() else None


def _lines(log: Path) -> list[str]:
    """Return what was said, without colours; of a progress bar, what it said in the end."""
    text = _COLOURS.sub("", log.read_text("utf-8", "replace"))
    last = (line.rstrip("\r").rpartition("\r")[2].strip() for line in text.split("\n"))
    return [line for line in last if line]


def _environment(folder: Path) -> dict[str, str]:
    """Return ours, less what belongs to our Python; temporary files are made in the folder."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    packages = str(Path(policy_inference.__file__).parents[1])
    return kept | {"PYTHONPATH": packages, "TMPDIR": str(folder)}
