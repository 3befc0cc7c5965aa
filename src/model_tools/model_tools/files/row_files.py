# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Read rows for a bundle's model from recorded rollouts and ROS 2 recordings."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.arrays import (
    EPISODE,
    OBSERVATION,
    TIME,
    check_rows,
    checked,
    first_array,
    read_arrays,
    sensed,
    write_arrays,
)
from model_tools.files.bags.bag import Bag, is_bag, refuse_set_back
from model_tools.files.bags.bag_replay import (
    IN_RUN,
    Replay,
    input_types,
    perceived_filters,
    skipped_messages,
    tick_timeouts_ns,
)
from model_tools.files.bags.run_ticks import read_run_ticks
from model_tools.files.bags.streams import in_time, newest_times_ns
from model_tools.files.bags.topics import OneRobot, find_topics
from model_tools.files.rows import Row
from model_tools.files.terms import check_observations
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.contract import JointContract, Model
from policy_core.interfaces import Tensor, Times
from policy_core.observation.pairing import Arrival
from policy_core.observation.ticks import count_ticks
from policy_inference.comparison.rows import Rows

_RECORDED_ACTIONS = ("actions", "action")
_SENSED = ("joint_pos", "joint_vel")
_LATE = 0.3
"""Maximum deviation of the time between two rows from the period, as a fraction of the period."""
_log = logging.getLogger("model_tools")


def read_rows(path: Path, bundle: JointBundle, topics: Mapping[str, str] | None = None) -> Rows:
    """Read rows for a bundle's model.

    Args:
        path: `.npz` with an array [rows, ...] for each model input, or a recorded rollout with
            `obs` and optionally `actions` or `action`; `.npy` for a model with one observation; a
            rosbag2 recording, on which the reference model is replayed. Optional additional arrays:
            the sensed state (`model_tools.files.arrays.sensed`), `time` (s) and `episode`, both
            [rows].
        bundle: Bundle that states names and shapes; its `onnx` artifact is replayed.
        topics: Recorded topics, by input, for inputs whose topics were renamed.
    """
    if is_bag(path):
        return _replayed(BagSource(bundle, path, topics), bundle.contract.model)
    return check_observations(_recorded(path, bundle), bundle)


def _replayed(source: BagSource, model: Model) -> Rows:
    tensors, sensed, breaks = [], [], []
    for row in source.rows():
        tensors.append({name: array.copy() for name, array in row.tensors.items()})
        sensed.append({name: row.sensed[name].copy() for name in _SENSED})
        if row.begins and row.number:
            breaks.append(row.number)
    return Rows(
        source=source.name,
        inputs={name: np.stack([each[name] for each in tensors]) for name in model.inputs},
        outputs={name: np.stack([each[name] for each in tensors]) for name in model.outputs},
        sensed={name: np.stack([each[name] for each in sensed]) for name in _SENSED},
        breaks=tuple(breaks),
    )


def _recorded(file: Path, bundle: JointBundle) -> Rows:
    arrays, contract, model = read_arrays(file), bundle.contract, bundle.contract.model
    alone = (OBSERVATION,) if len(contract.observations) == 1 else ()
    inputs = {
        name: found
        for name in contract.observations
        if (found := first_array(arrays, (name, *alone))) is not None
    }
    missing = [name for name in contract.observations if name not in inputs]
    if missing:
        raise ToolError(
            f"{file}: expected arrays of the model's inputs ({', '.join(missing)}), "
            f"found {'only ' if arrays else ''}{', '.join(arrays) or 'none'}"
        )
    inputs |= {pair.input: arrays[pair.input] for pair in contract.state if pair.input in arrays}
    actions = first_array(arrays, (contract.action.output, *_RECORDED_ACTIONS))
    outputs = {} if actions is None else {contract.action.output: actions}
    if bundle.statistics and not outputs:
        raise ToolError(
            f"{file}: expected actions as well (they show whether the observations are already "
            "normalized), found none"
        )
    count = len(np.atleast_1d(inputs[next(iter(contract.observations))]))
    return Rows(
        source=file.name,
        inputs={
            name: checked(file, name, array, model.inputs[name], count)
            for name, array in inputs.items()
        },
        outputs={
            name: checked(file, name, array, model.outputs[name], count)
            for name, array in outputs.items()
        },
        sensed=sensed(file, arrays, contract, count),
        breaks=_breaks(file, arrays, contract.period_ns * 1e-9, count),
    )


def _breaks(
    file: Path, arrays: Mapping[str, Tensor], period_s: float, count: int
) -> tuple[int, ...]:
    """Return the rows that begin an episode, or do not come one period after the previous row."""
    broken = np.zeros(count - 1, bool)
    for name, usual, slack in ((EPISODE, 0.0, 0.0), (TIME, period_s, _LATE * period_s)):
        if name in arrays:
            check_rows(file, name, arrays[name], (count,))
            broken |= np.abs(np.diff(arrays[name].astype(np.float64)) - usual) > slack
    return tuple((np.flatnonzero(broken) + 1).tolist())


def save_rows(sets: Sequence[Rows], contract: JointContract, file: Path) -> None:
    """Write sets of rows in order, each as an episode, in the format of `read_rows`."""
    columns = [{**rows.inputs, **rows.outputs} for rows in sets]
    arrays = {name: np.concatenate([column[name] for column in columns]) for name in columns[0]}
    for name in set.intersection(*(set(rows.sensed) for rows in sets)):
        arrays[name] = np.concatenate([rows.sensed[name] for rows in sets])
    arrays[EPISODE] = np.repeat(np.arange(len(sets)), [len(rows) for rows in sets])
    write_arrays(file, {**arrays, "joint_names": np.array(contract.joints.names)})


class BagSource:
    """Rows from a policy replayed on a rosbag2 recording, in RUN if the recording states modes.

    Attributes:
        name: Name of the recording's folder or file.
        count: Number of ticks.
        topics: Topic of each input.
        decoder, problem: See `HeardMessages`.
    """

    def __init__(
        self,
        bundle: JointBundle,
        path: Path,
        topics: Mapping[str, str] | None = None,
        *,
        from_s: float = 0.0,
        to_s: float = math.inf,
    ) -> None:
        """Find the policy's inputs in the recording, and the ticks at which the policy can run.

        Args:
            bundle: Bundle whose `onnx` artifact is replayed.
            path: Folder of the recording, or its only file.
            topics: Recorded topics, by input, for inputs whose topics were renamed.
            from_s: Start of the rows, s since the first tick (in RUN). A policy with memory is
                nevertheless replayed from the beginning, so the rows equal those of a full replay.
            to_s: End of the rows, s since the first tick.
        """
        self.name, bag = path.name, Bag(path)
        self._bundle, self._from_s, self._to_s = bundle, from_s, to_s
        self._period_ns = bundle.contract.period_ns
        self.topics: Mapping[str, str] = find_topics(
            bag, input_types(bundle.contract), topics or {}
        )
        self._bag, self.decoder, self.problem = bag, bag.decoder, bag.problem
        refuse_set_back(bag, self.topics)
        run = read_run_ticks(bag, self.topics, self._period_ns)
        if run is None:
            _log.warning(
                "%s: all ticks are used, also those in STAND and DAMP: expected one topic with the "
                "robot's modes (joint_command, or a policy node's status), found none or several",
                path,
            )
        elif not len(run.times_ns):
            raise ToolError(
                f"{path}: expected ticks in RUN, found only other modes on {run.topic}; record a "
                "robot that the policy moves"
            )
        self._run_ticks_ns = None if run is None else run.times_ns
        timeouts_ns = tick_timeouts_ns(bundle.contract)
        look, filters = OneRobot(bag, self.topics, bundle.contract).look, perceived_filters(self)
        with newest_times_ns(bag, self.topics, self._period_ns, look, filters=filters) as times_ns:
            required: dict[str, Iterable[Times]] = {**times_ns}
            if run is not None:
                timeouts_ns[IN_RUN], required[IN_RUN] = 0, [run.times_ns]
            ticks = count_ticks(self._period_ns, timeouts_ns, required)
        if skipped := skipped_messages(self, filters):
            _log.warning("%s: skipped: %s", path, skipped)
        self.count: int | None = ticks.present
        late = ", ".join(
            f"{self._stale_reason(name)} (affected ticks: {count})"
            for name, count in ticks.stale.items()
        )
        if not ticks.present:
            raise ToolError(
                f"{path}: expected a tick with all inputs of the policy, found none: "
                f"{late or skipped or 'the recording is shorter than one period'}"
            )
        if ticks.dropped:
            _log.warning(
                "%s: %d of %d ticks are left out: %s",
                path,
                ticks.dropped,
                ticks.dropped + ticks.present,
                late,
            )

    def _stale_reason(self, name: str) -> str:
        if name == IN_RUN:
            return "the robot was not in RUN"
        return f"the newest message on {self.topics[name]} is too old"

    def rows(self, wanted: Sequence[int] | None = None) -> Iterator[Row]:
        """Yield rows in time order; their arrays are views, valid until the next row.

        Args:
            wanted: Sorted tick numbers below `count`; None for all.
        """
        for row in Replay(self._bundle, self, self._run_ticks_ns).rows(wanted):
            if row.time_s > self._to_s:
                return
            if row.time_s >= self._from_s:
                yield row

    def arrivals(self) -> Iterator[Arrival]:
        """Yield messages in time order; see `HeardMessages`."""
        filters = perceived_filters(self)
        return in_time(self._bag, self.topics, self._period_ns, filters=filters)
