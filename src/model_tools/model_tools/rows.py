# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Rows for a model: golden ones, recorded ones, given ones; and what a model makes of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_tools.bags.bag import Bag, is_bag
from model_tools.bags.replay import Replay
from model_tools.errors import ToolError
from model_tools.recorded import checked, first_of, measured_joints, read_arrays
from policy_inference.bundle.contract import JointContract, Model, StatePair
from policy_inference.bundle.load import Bundle
from policy_inference.core.recurrent import RecurrentState
from policy_inference.interfaces import F64, Backend, Tensor

_log = logging.getLogger("model_tools")
_RECORDED_OBSERVATION = "obs"
_RECORDED_ACTIONS = ("actions", "action")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Rows of a model's tensors, each [rows, *shape without the batch axis].

    Attributes:
        source: Where they are from.
        inputs: By model input; a recurrent state that is absent is carried from row to row.
        outputs: What the reference model gave; empty where that was not recorded.
        joint_pos, joint_vel: As measured, [rows, joints] in contract order, rad and rad/s; None
            where they were not recorded.
    """

    source: str
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    joint_pos: F64 | None = None
    joint_vel: F64 | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.inputs.values())))


def golden_rows(bundle: Bundle) -> Rows:
    """Return the bundle's golden rows.

    Raises:
        BundleError: It has none, or not those that it states.
    """
    golden, model = bundle.golden(), bundle.contract.model
    return Rows(source="golden rows", inputs={name: golden[name] for name in model.inputs},
                outputs={name: golden[name] for name in model.outputs})


def read_rows(path: Path, bundle: Bundle, topics: Mapping[str, str] | None = None) -> Rows:
    """Read rows for a bundle's model.

    Args:
        path: `.npz` with an array [rows, ...] for each model input, or a recorded rollout with
            `obs` and perhaps `actions` or `action`; `.npy` for a model with one observation; a
            rosbag2 recording, which the reference model is replayed on.
        bundle: Says names and shapes; its artifact `onnx` is replayed.
        topics: Topics of a recording by input, where they have other names.

    Raises:
        ToolError: No such arrays or topics, other shapes, no row, or values that are not finite.
        PolicyError: The reference model does not run.
        OSError: The file cannot be read.
    """
    if is_bag(path):
        return _replayed(Replay(bundle, Bag(path), topics or {}), path, bundle.contract.model)
    return _recorded(path, bundle.contract)


def _replayed(replay: Replay, path: Path, model: Model) -> Rows:
    ticks = list(replay.ticks())
    if not ticks:
        raise ToolError(f"{path}: expected a tick at which each input of the policy is there, "
                        f"found none: {_ages(replay) or 'it is shorter than a period'}")
    if replay.dropped:
        _log.warning("%s: %d of %d ticks are left out: %s", path, replay.dropped,
                     replay.dropped + len(ticks), _ages(replay))
    return Rows(
        source=path.name,
        inputs={name: np.stack([tick.tensors[name] for tick in ticks]) for name in model.inputs},
        outputs={name: np.stack([tick.tensors[name] for tick in ticks]) for name in model.outputs},
        joint_pos=np.stack([tick.joint_pos for tick in ticks]),
        joint_vel=np.stack([tick.joint_vel for tick in ticks]),
    )


def _ages(replay: Replay) -> str:
    return ", ".join(f"{replay.topics[name]} is too old at {count}"
                     for name, count in replay.stale.items())


def _recorded(file: Path, contract: JointContract) -> Rows:
    arrays, model = read_arrays(file, alone=_RECORDED_OBSERVATION), contract.model
    alone = (_RECORDED_OBSERVATION,) if len(contract.observations) == 1 else ()
    inputs = {name: found for name in contract.observations
              if (found := first_of(arrays, (name, *alone))) is not None}
    missing = [name for name in contract.observations if name not in inputs]
    if missing:
        raise ToolError(f"{file}: expected rows of the model's inputs {', '.join(missing)}, found "
                        f"the arrays {', '.join(arrays) or 'none'}")
    inputs |= {pair.input: arrays[pair.input] for pair in contract.state if pair.input in arrays}
    actions = first_of(arrays, (contract.action.output, *_RECORDED_ACTIONS))
    outputs = {} if actions is None else {contract.action.output: actions}
    count = len(np.atleast_1d(inputs[next(iter(contract.observations))]))
    return Rows(
        source=file.name,
        inputs={name: checked(file, name, array, model.inputs[name], count)
                for name, array in inputs.items()},
        outputs={name: checked(file, name, array, model.outputs[name], count)
                 for name, array in outputs.items()},
        **measured_joints(file, arrays, contract, count),
    )  # fmt: skip


def play(
    backend: Backend, inputs: Mapping[str, Tensor], state: Sequence[StatePair]
) -> dict[str, Tensor]:
    """Run a model row by row.

    Args:
        backend: Opened backend; its arrays are overwritten.
        inputs: Rows by model input.
        state: Recurrent pairs; those without rows start at zero and are carried on.

    Returns:
        Rows of all inputs and outputs of the model, as they were fed and computed.
    """
    carried = RecurrentState([pair for pair in state if pair.input not in inputs], backend)
    tensors = {**backend.inputs, **backend.outputs}
    count = len(next(iter(inputs.values())))
    seen = {name: np.empty((count, *array.shape[1:]), array.dtype)
            for name, array in tensors.items()}
    for row in range(count):
        for name, values in inputs.items():
            backend.inputs[name][0] = values[row]
        backend.run()
        for name, array in tensors.items():
            seen[name][row] = array[0]
        carried.advance()
    return seen


def evenly(present: int, count: int) -> npt.NDArray[np.int64]:
    """Return the numbers of at most `count` rows, evenly spaced from the first to the last."""
    return np.linspace(0, present - 1, min(count, present)).round().astype(np.int64)
