# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of a bundle's model in files: recorded rollouts, and recordings of ROS 2."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from model_tools.array_files import (
    EPISODE,
    OBSERVATION,
    TIME,
    check_rows,
    checked,
    first_of,
    read_arrays,
    sensed,
    write_arrays,
)
from model_tools.bags.bag import Bag, is_bag
from model_tools.bags.replay import Replay
from model_tools.errors import ToolError
from model_tools.observed import check_observations
from policy_inference.bundle.contract import JointContract, Model
from policy_inference.bundle.load import Bundle
from policy_inference.comparison.rows import Rows
from policy_inference.interfaces import Tensor

_log = logging.getLogger("model_tools")
_RECORDED_ACTIONS = ("actions", "action")
_LATE = 0.3
"""Share of a period by which a row may be late or early."""


def read_rows(path: Path, bundle: Bundle, topics: Mapping[str, str] | None = None) -> Rows:
    """Read rows for a bundle's model.

    Args:
        path: `.npz` with an array [rows, ...] for each model input, or a recorded rollout with
            `obs` and perhaps `actions` or `action`; `.npy` for a model with one observation; a
            rosbag2 recording, which the reference model is replayed on. Beside them there may
            be what was sensed (`model_tools.array_files.sensed`), `time` [rows], s, and `episode`
            [rows].
        bundle: Says names and shapes; its artifact `onnx` is replayed.
        topics: Topics of a recording by input, where they have other names.

    Raises:
        ToolError: No such arrays or topics, other shapes, no row, values that are not finite, or
            observations that are not what the contract makes of what was sensed.
        PolicyError: The reference model does not run.
        OSError: The file cannot be read.
    """
    if is_bag(path):
        return _replayed(Replay(bundle, Bag(path), topics or {}), path, bundle.contract.model)
    return check_observations(_recorded(path, bundle), bundle)


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
        sensed={"joint_pos": np.stack([tick.joint_pos for tick in ticks]),
                "joint_vel": np.stack([tick.joint_vel for tick in ticks])},
        breaks=tuple(row for row, tick in enumerate(ticks) if row and tick.begins),
    )


def _ages(replay: Replay) -> str:
    return ", ".join(f"{replay.topics[name]} is too old at {count}"
                     for name, count in replay.stale.items())


def _recorded(file: Path, bundle: Bundle) -> Rows:
    arrays, contract, model = read_arrays(file), bundle.contract, bundle.contract.model
    alone = (OBSERVATION,) if len(contract.observations) == 1 else ()
    inputs = {name: found for name in contract.observations
              if (found := first_of(arrays, (name, *alone))) is not None}
    missing = [name for name in contract.observations if name not in inputs]
    if missing:
        raise ToolError(f"{file}: expected rows of the model's inputs {', '.join(missing)}, found "
                        f"the arrays {', '.join(arrays) or 'none'}")
    inputs |= {pair.input: arrays[pair.input] for pair in contract.state if pair.input in arrays}
    actions = first_of(arrays, (contract.action.output, *_RECORDED_ACTIONS))
    outputs = {} if actions is None else {contract.action.output: actions}
    if bundle.statistics and not outputs:
        raise ToolError(f"{file}: expected the actions beside the observations, which tell whether "
                        "these are normalised already, as the model gets them, found none")
    count = len(np.atleast_1d(inputs[next(iter(contract.observations))]))
    return Rows(
        source=file.name,
        inputs={name: checked(file, name, array, model.inputs[name], count)
                for name, array in inputs.items()},
        outputs={name: checked(file, name, array, model.outputs[name], count)
                 for name, array in outputs.items()},
        sensed=sensed(file, arrays, contract, count),
        breaks=_breaks(file, arrays, contract.period_ns * 1e-9, count),
    )  # fmt: skip


def _breaks(
    file: Path, arrays: Mapping[str, Tensor], period_s: float, count: int
) -> tuple[int, ...]:
    """Return the rows that begin an episode, or are not a period after the row before."""
    broken = np.zeros(count - 1, bool)
    for name, usual, slack in ((EPISODE, 0.0, 0.0), (TIME, period_s, _LATE * period_s)):
        if name in arrays:
            check_rows(file, name, arrays[name], (count,))
            broken |= np.abs(np.diff(arrays[name].astype(np.float64)) - usual) > slack
    return tuple((np.flatnonzero(broken) + 1).tolist())


def save_rows(sets: Sequence[Rows], contract: JointContract, file: Path) -> None:
    """Write sets of rows one after another, each an episode, as `read_rows` takes them."""
    columns = [{**rows.inputs, **rows.outputs} for rows in sets]
    arrays = {name: np.concatenate([column[name] for column in columns]) for name in columns[0]}
    for name in set.intersection(*(set(rows.sensed) for rows in sets)):
        arrays[name] = np.concatenate([rows.sensed[name] for rows in sets])
    arrays[EPISODE] = np.repeat(np.arange(len(sets)), [len(rows) for rows in sets])
    write_arrays(file, {**arrays, "joint_names": np.array(contract.joints.names)})
