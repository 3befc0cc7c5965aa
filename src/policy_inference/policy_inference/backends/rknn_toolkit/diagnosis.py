# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Explanations and remedies for the toolkit's messages."""

from __future__ import annotations

import re

_SETUP = "make its environment again with `make setup-rknn`, and point RKNN_TOOLKIT_PYTHON at it"
_KNOWN: tuple[tuple[str, str, str], ...] = (
    # Pattern of the toolkit's message; expectation; remedy.
    (r"No module named 'rknn|import of rknn", "RKNN Toolkit2 in this Python", _SETUP),
    (r"No module named 'pkg_resources'", "setuptools older than 81 in this Python", _SETUP),
    (r"no attribute 'mapping'", "onnx up to 1.18 in this Python", _SETUP),
    (
        r"'FieldDescriptor' object has no attribute 'label'",
        "protobuf older than 5 in this Python",
        _SETUP,
    ),
    (
        r"not support in '",
        "a precision that this chip supports",
        "choose one of the chip's: fp16, w8a8 or w16a16i_dfp for rk3588",
    ),
    (
        r"not support do_quantization = False",
        "a quantized precision (this chip has no floating point)",
        "compile w8a8",
    ),
    (
        r"only support in \[",
        "an algorithm that this precision supports",
        "leave quantized_algorithm at normal",
    ),
    (
        r"Invalid target_platform '",
        "a chip that the toolkit supports, such as rk3588 or rk3566",
        "name the robot's chip",
    ),
    (
        r"Invalid \w+ '|' is not support! |Please set it according to the actual platform",
        "settings that this version of the toolkit supports",
        _SETUP,
    ),
    (r"Unsupport onnx opset", "an opset up to 19", "export the model with --opset 17"),
    (r"Model file .* not exists", "the model's file", "compile the bundle again"),
    (
        r"The input shape \[.*\] of '.*' is not support",
        "fixed sizes, batch 1",
        "export the model without dynamic axes",
    ),
    (
        r"No opset import for domain|No Op registered for|[Uu]nsupport(?:ed)? (?:onnx )?op",
        "operators that the toolkit supports",
        "export without custom operators, simplify the model (onnxsim), or lower the opset",
    ),
    (r"Error parsing message|DecodeError", "an ONNX model", "copy or export it again"),
    (
        r"The input shape \(.*\) is wrong|The input num: \d+ in .* not match",
        "samples with the sizes of the model's inputs",
        "use rows from this policy",
    ),
    (
        r"cannot convert float NaN to integer|[Ii]nf(?:inity)? to integer",
        "finite samples",
        "leave out rows with NaN or infinity",
    ),
    (
        r"dataset file need be provided|Dataset file .* not found|"
        r"No such file or directory: .*\.npy",
        "calibration samples",
        "give rows with --rows",
    ),
    (
        r"MemoryError|[Cc]annot allocate memory|std::bad_alloc",
        "enough memory",
        "free memory, or calibrate with fewer samples (--samples)",
    ),
    (
        r"No space left on device",
        "space in the folder for temporary files",
        "free some space, or set TMPDIR",
    ),
    (
        r"not support inference on the simulator",
        "a model that the simulator builds itself",
        "open the file for rknn_sim, or the ONNX model",
    ),
    (
        r"no devices/emulators found|Not support in simulator",
        "a function that the simulator supports",
        "open the bundle with rknn on the board",
    ),
    (r"Unsupport inputs\[\d+\]\.dtype", "inputs in float32", "cast them inside the model"),
    (
        r"call rknn\.config first|load it first|call init_runtime first",
        "the toolkit's steps in order",
        "report this: it is a bug in this program",
    ),
)
_BY_STAGE = {
    "import": ("RKNN Toolkit2 to start", _SETUP),
    "load_onnx": (
        "a model that RKNN Toolkit2 loads",
        "simplify it (onnxsim), or export it with a lower opset (--opset 17)",
    ),
    "export_rknn": ("a writable folder for temporary files", "set TMPDIR to one"),
    "build": (
        "a model that RKNN Toolkit2 builds in this precision",
        "try another precision or --option optimization_level=0, calibrate with more samples "
        "(--rows), or simplify the model (onnxsim)",
    ),
}
_OTHER = ("RKNN Toolkit2 to work", "look at its log")


def explain(stage: str, text: str) -> str:
    """Return what was expected, what was found, and the remedy.

    Args:
        stage: The toolkit call that failed.
        text: The toolkit's message, possibly a traceback.
    """
    expected, remedy = next(
        ((expected, remedy) for pattern, expected, remedy in _KNOWN if re.search(pattern, text)),
        _BY_STAGE.get(stage, _OTHER),
    )
    return f"expected {expected}, found an error in {stage}: {_cause(text)}; {remedy}"


def _cause(text: str) -> str:
    """Return the line that gives the cause: in a traceback, the last error line."""
    lines = [line.rstrip() for line in text.strip().splitlines() if line.strip()]
    causes = [line for line in lines if re.match(r"[\w.]+(?:Error|Exception|Graph|Fail)\b", line)]
    return (causes or lines or ["nothing"])[-1].strip().rstrip(".!")
