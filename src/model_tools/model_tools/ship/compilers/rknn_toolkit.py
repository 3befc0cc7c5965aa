# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""RKNN Toolkit2 2.5: features by chip, and a process that runs the toolkit in its own Python."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_tools.errors import ToolError
from model_tools.ship.compilers import rknn_convert
from model_tools.ship.compilers.compiler import MORE_SAMPLES
from policy_inference.backends.rknn_toolkit.diagnosis import explain
from policy_inference.backends.rknn_toolkit.python import toolkit_python
from policy_inference.worker_process import WorkerProcess

_LOG, _LAST_LINES = "toolkit.log", 12
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_COMPLAINT = re.compile(r"E RKNN: (?:\[[\d:.]+\] )?(.+)")
# Printed for every model, even if the build succeeds.
_ALWAYS_SAID = "Unkown op target: 0"
PRECISIONS: Mapping[str, bool] = {
    "fp16": False,
    "w8a8": True,
    "w16a16i_dfp": True,
    "w8a16": True,
    "w4a16": True,
}
TARGETS = (
    "rk3588",
    "rk3588s",
    "rk3576",
    "rk3568",
    "rk3566",
    "rk3562",
    "rv1126b",
    "rv1106",
    "rv1106b",
    "rv1103",
    "rv1103b",
    "rk2118",
)
FORMER_PRECISIONS: Mapping[str, str] = {
    "asymmetric_quantized-8": "w8a8",
    "asymmetric_affine-u8": "w8a8",
    "int8": "w8a8",
    "i8": "w8a8",
    "dynamic_fixed_point-i8": "w8a8",
    "dfp-8": "w8a8",
    "asymmetric_quantized-16": "w16a16i_dfp",
    "dynamic_fixed_point-i16": "w16a16i_dfp",
    "dfp-16": "w16a16i_dfp",
    "int16": "w16a16i_dfp",
    "w16a16i": "w16a16i_dfp",
    "float16": "fp16",
    "fp": "fp16",
    "float": "fp16",
}
_ONLY_ON = {"w8a16": ("rk3562",), "w4a16": ("rk3576", "rv1126b")}
# Unsupported in version 2.5.0, or aborts for the layers of an MLP.
_NOT_ON = {
    "fp16": ("rv1103", "rv1103b", "rv1106", "rv1106b"),
    "w8a8": ("rk2118",),
    "w16a16i_dfp": ("rv1103b", "rv1106b", "rk2118"),
}
_OF_FEW_BITS = ("w8a16", "w4a16")
_GROUPS = tuple(f"group{size}" for size in range(32, 257, 32))
OPTIONS: Mapping[str, str] = {
    "quantized_algorithm": "normal (default), mmse, kl_divergence, or gdq (w8a16 and w4a16 only)",
    "quantized_method": "channel (default), layer, or group32 to group256 in steps of 32",
    "optimization_level": "0 to 3 (default 3); lower levels change less of the model",
    "hybrid": "yes: layers that lose too much stay in fp16 (default no)",
    "hybrid_cosine": "layers below this cosine stay in fp16 (default 0.98)",
    "accuracy_analysis": "yes: the error of each layer, in a text file beside the model",
}
_HYBRID = "keep the worst layers in fp16 (--option hybrid=yes; accuracy_analysis=yes names them)"
REMEDIES: Mapping[str, str] = {
    "w8a8": f"{MORE_SAMPLES}; {_HYBRID}; or compile w16a16i_dfp or fp16, where supported",
    "w16a16i_dfp": f"{MORE_SAMPLES}; {_HYBRID}; or compile fp16, where the chip supports it",
}
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "quantized_algorithm": ("normal", "mmse", "kl_divergence", "gdq"),
    "quantized_method": ("channel", "layer", *_GROUPS),
    "optimization_level": ("0", "1", "2", "3"),
    "hybrid": ("yes", "no"),
    "accuracy_analysis": ("yes", "no"),
}
_FOR_FLOAT = ("optimization_level",)


def run_toolkit(model: Path, folder: Path, *, analyse: bool) -> tuple[dict[str, Any], list[str]]:
    """Convert the recipe in a folder.

    Args:
        model: The source model, for error messages.
        folder: Contains a recipe and verification rows; the toolkit may leave files in it.
        analyse: Compute the error of each layer.

    Returns:
        The result of `convert`, with the toolkit's name and version as `tool`; and the native
        compiler's errors.
    """
    log = folder / _LOG
    python = toolkit_python()
    with log.open("wb") as said:
        try:
            toolkit = WorkerProcess(
                ["-m", rknn_convert.__name__, str(folder), *(["--analyse"] if analyse else [])],
                interpreter=python,
                folder=folder,
                environment={"TMPDIR": str(folder)},
                output=said,
            )
        except OSError as error:
            raise ToolError(f"expected to start {python}, found: {error.strerror}") from error
    status = toolkit.run_to_end()
    lines = _lines(log)
    result = _result(folder)
    if result is None or status != 0:
        remedy = (
            "some combinations of precision, operator and chip cause this: try another precision"
            if status < 0
            else "make its environment again with `make setup-rknn`"
        )
        raise ToolError(
            f"{model}: expected RKNN Toolkit2 to succeed, found exit status {status}; {remedy}; "
            "its last output: " + " | ".join(lines[-_LAST_LINES:])
        )
    if "stage" in result:
        raise ToolError(f"{model}: {explain(result['stage'], result['text'])}")
    return result, complaints(lines)


def complaints(lines: list[str]) -> list[str]:
    """Return the native compiler's errors, each once, except for the one that it always prints."""
    found = (match[1] for line in lines if (match := _COMPLAINT.search(line)))
    return list(dict.fromkeys(text for text in found if text != _ALWAYS_SAID))


def _result(folder: Path) -> dict[str, Any] | None:
    file = folder / rknn_convert.RESULT
    return json.loads(file.read_text("utf-8")) if file.is_file() else None


def _lines(log: Path) -> list[str]:
    """Return the printed lines without colors; for a progress bar, only its last state."""
    text = _COLOURS.sub("", log.read_text("utf-8", "replace"))
    last = (line.rstrip("\r").rpartition("\r")[2].strip() for line in text.split("\n"))
    return [line for line in last if line]


@dataclass(frozen=True, slots=True, kw_only=True)
class RknnSettings:
    """Settings for a conversion.

    Attributes:
        target: The toolkit's name for the chip.
        config: Arguments of `RKNN.config` other than target and precision.
        hybrid: Keep in fp16 those layers that otherwise lose too much accuracy.
        analyse: Compute the error of each layer.
    """

    target: str
    config: Mapping[str, Any]
    hybrid: bool
    analyse: bool


def rknn_settings(precision: str, target: str, options: Mapping[str, str]) -> RknnSettings:
    """Return the settings for a precision, chip and options."""
    chip = "rk3588" if target == "rk3588s" else target
    offered = list_precisions(chip)
    if precision not in offered:
        raise ToolError(
            f"rknn: expected a precision that {target} supports ({', '.join(offered)}), found "
            f"{precision}"
        )
    for name, value in options.items():
        if not PRECISIONS[precision] and name not in _FOR_FLOAT:
            raise ToolError(
                f"rknn: {name}: expected no value (fp16 needs no calibration), found {value!r}"
            )
        if name in _CHOICES and value not in _CHOICES[name]:
            raise ToolError(
                f"rknn: {name}: expected one of {', '.join(_CHOICES[name])}, found {value!r}"
            )
    if options.get("quantized_algorithm") == "gdq" and precision not in _OF_FEW_BITS:
        raise ToolError(
            "rknn: quantized_algorithm: expected an algorithm other than gdq (only "
            f"{' and '.join(_OF_FEW_BITS)} support it), found gdq for {precision}"
        )
    config: dict[str, Any] = {
        name: options[name]
        for name in ("quantized_algorithm", "quantized_method")
        if name in options
    }
    config["optimization_level"] = int(options.get("optimization_level", "3"))
    hybrid = options.get("hybrid") == "yes"
    if hybrid:
        config["auto_hybrid_cos_thresh"] = _cosine(options.get("hybrid_cosine", "0.98"))
    elif "hybrid_cosine" in options:
        raise ToolError(
            "rknn: hybrid_cosine: expected hybrid=yes as well, found hybrid_cosine alone"
        )
    return RknnSettings(
        target=chip, config=config, hybrid=hybrid, analyse=options.get("accuracy_analysis") == "yes"
    )


def list_precisions(chip: str) -> tuple[str, ...]:
    return tuple(
        name
        for name in PRECISIONS
        if chip in _ONLY_ON.get(name, (chip,)) and chip not in _NOT_ON.get(name, ())
    )


def _cosine(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 < value <= 1.0:
        raise ToolError(
            f"rknn: hybrid_cosine: expected a number above 0 and at most 1, found {text!r}"
        )
    return value
