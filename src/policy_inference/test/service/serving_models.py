# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Served models over ONNX Runtime whose answers are easily computed by hand."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnx import helper

from policy_core.bundle.contract import JointContract
from policy_core.interfaces import F32, F64
from policy_inference.backends.onnx import OnnxBackend
from policy_inference.service.policy import make_served
from policy_inference.service.protocol import Answer, Hello, ObservationScaling
from policy_inference.service.serving import ClientSession, ServedModel
from policy_inference.testing.models import save
from testkit.kernel.contracts import bundle_of

Save = Callable[[Path], Path]


def serve_file(
    contract: JointContract, file: Path, statistics: Mapping[str, tuple[F64, F64]] | None = None
) -> ServedModel:
    """Serve a model file under a contract that has no files."""
    backend = OnnxBackend(file, contract.model.input_specs, contract.model.output_specs)
    return ServedModel(make_served(bundle_of(contract, statistics)), backend)


def session_of(
    model: ServedModel,
    *,
    rows: int = 1,
    scaling: ObservationScaling = ObservationScaling.SCALED,
    answer: Answer = Answer.ACTION,
) -> ClientSession:
    return model.open_session(
        Hello(rows=rows, scaling=scaling, answer=answer),
        np.zeros((rows, model.obs_dim), np.float32),
        np.full((rows, model.answer_dim(answer)), np.nan, np.float32),
    )


def ask_alone(model: ServedModel, session: ClientSession, *rows: npt.ArrayLike) -> F32:
    """Let a session ask alone; return its answer, flat where it has one robot."""
    session.observation[: len(rows)] = np.array(rows)
    session.rows = len(rows)
    model.infer([session])
    assert session.problem is None, session.problem
    answer = session.answer[: len(rows)].copy()
    return answer[0] if len(rows) == 1 else answer


def save_first(file: Path, inputs: int, outputs: int, batch: int | str = 1) -> Path:
    """Save ``actions`` = square root of the first values of ``obs``: NaN for negative ones."""
    nodes = [
        helper.make_node("Slice", ["obs", "from", "to", "axis"], ["first"]),
        helper.make_node("Sqrt", ["first"], ["actions"]),
    ]
    return save(
        file,
        nodes,
        {"obs": (batch, inputs)},
        {"actions": (batch, outputs)},
        constants={"from": np.array([0]), "to": np.array([outputs]), "axis": np.array([1])},
    )


def save_counting(
    file: Path,
    inputs: int,
    outputs: int,
    state: Sequence[int | str] = (1, 1, 2),
    batch: int | str = 1,
) -> Path:
    """Save ``actions`` = sum of obs + sum of ``h_in``, with ``h_out = h_in + 1``."""
    nodes = [
        helper.make_node("ReduceSum", ["obs", "values"], ["of_obs"], keepdims=1),
        helper.make_node("ReduceSum", ["h_in", "around"], ["of_state"], keepdims=0),
        helper.make_node("Unsqueeze", ["of_state", "values"], ["of_robot"]),
        helper.make_node("Add", ["of_obs", "of_robot"], ["one"]),
        helper.make_node("Tile", ["one", "times"], ["actions"]),
        helper.make_node("Add", ["h_in", "step"], ["h_out"]),
    ]
    return save(
        file,
        nodes,
        {"obs": (batch, inputs), "h_in": state},
        {"actions": (batch, outputs), "h_out": state},
        constants={
            "values": np.array([1]),
            "around": np.array([0, 2]),
            "times": np.array([1, outputs]),
            "step": np.float32(1),
        },
    )


RECURRENT = {
    "model.inputs": {"h_in": {"shape": [1, 1, 2]}},
    "model.outputs.h_out": {"shape": [1, 1, 2]},
    "state": [{"input": "h_in", "output": "h_out"}],
}
"""Changes that make a contract one of `save_counting`."""
