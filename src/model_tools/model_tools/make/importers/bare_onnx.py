# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Import an ONNX model alone: its tensors are known; everything else is a question."""

from __future__ import annotations

import math

from model_tools.errors import ToolError
from model_tools.make.importers import onnx_metadata
from model_tools.make.importers.draft import Draft
from model_tools.make.importers.onnx_metadata import ask_action, ask_terms
from model_tools.make.importers.source import Given, TrainingSource, find_model, put_model

NAME = "bare_onnx"


def recognise(source: TrainingSource) -> bool:
    """Return whether a file is an ONNX model without joint names in its metadata."""
    return source.model is not None and not onnx_metadata.recognise(source)


def read(source: TrainingSource, given: Given) -> Draft:
    """Return a draft with tensors and questions."""
    model = find_model(source, given)
    draft = Draft(source.path.name, model)
    tensors = put_model(draft)
    count = _width(draft, tensors.action)
    draft.remark(
        f"{source.path.name} states only its tensors. A file from the training run, such as "
        "env.yaml or deploy.yaml, answers most questions: model_tools import FILE --model "
        f"{source.path.name}"
    )
    names = given.joints.in_simulator_order() if given.joints else None
    if names is None:
        values = f"the {count} values" if count else "the values"
        draft.ask(
            "joints.names",
            f"names of the joints in the order of {values} of {tensors.action or 'the action'}, as "
            "[hip, knee]; --joints also states them, as names or a URDF or MJCF file with "
            "--joint-order",
        )
    elif count not in (None, len(names)):
        raise ToolError(
            f"--joints: expected {count} joints (one per value of {tensors.action}), found "
            f"{len(names)} ({', '.join(names)}); list the policy's joints, in its order"
        )
    else:
        draft.put("joints.names", names, "given by the user")
        if given.joints is not None:
            draft.remark(given.joints.describe_order(names))
    if tensors.action is not None:
        draft.put("action.output", tensors.action)
    draft.ask("action.output", f"output that commands the joints, of {', '.join(model.outputs)}")
    draft.put("action.terms", [{"joints": names or [".*"]}])
    ask_action(draft, model, tensors.action)
    for name, width in tensors.observations.items():
        ask_terms(draft, name, width)
    return draft


def _width(draft: Draft, output: str | None) -> int | None:
    """Return the number of action values; None if unknown."""
    shape = draft.find(("model", "outputs", output, "shape")) if output is not None else None
    return math.prod(shape) if isinstance(shape, list) else None
