# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Convert a LeRobot checkpoint's statistics to the form used in a contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Literal

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.arrays import read_tensors
from model_tools.files.foreign import Node, read_json
from model_tools.files.lerobot.checkpoint import (
    NORMALISERS,
    PROCESSORS,
    WEIGHTS_FILE,
    PolicyFeature,
    buffer_place,
    is_buffer,
    unsupported,
)
from policy_core.bundle.chunk_contract import Scaling
from policy_core.interfaces import F64, Tensor

DEFAULT_EPS = 1e-8
"""LeRobot's default epsilon."""
_MODES: dict[str, tuple[Literal["mean_std", "min_max"], str, str]] = {
    "MEAN_STD": ("mean_std", "mean", "std"),
    "MIN_MAX": ("min_max", "min", "max"),
    "QUANTILES": ("min_max", "q01", "q99"),
    "QUANTILE10": ("min_max", "q10", "q90"),
}
"""Contract mode and names of the two statistics, by LeRobot's mode name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyStatistics:
    """Normalization statistics from a checkpoint.

    Attributes:
        scalings: Scalings by feature name.
        observed: Names of the observations on the robot, by feature name, where the names differ.
        means: Means of the training data [size], where known, by feature name.
        largest: Largest |value| [size] in the statistics, by feature name.
    """

    scalings: dict[str, Scaling]
    observed: dict[str, str]
    means: dict[str, F64]
    largest: dict[str, F64]


@dataclass(slots=True, kw_only=True)
class _Source:
    """Statistics for the inputs or for the outputs, as stored in files."""

    place: str
    values: Mapping[str, Tensor]
    """Arrays by `feature.statistic`."""
    modes: Mapping[str, str] = field(default_factory=dict)
    """Modes by kind of feature, where the file's modes differ from the configuration's."""
    eps: float = DEFAULT_EPS
    only: frozenset[str] | None = None
    """Names of the normalized inputs; None for all."""


def read_statistics(
    folder: Path, tensors: Mapping[str, Tensor], features: Sequence[PolicyFeature]
) -> PolicyStatistics:
    """Read the normalization statistics of a checkpoint's features.

    Args:
        folder: The checkpoint.
        tensors: Tensors from the checkpoint's weights file, which contained the statistics until
            LeRobot 0.3.
        features: Normalized inputs and outputs.
    """
    beside = [name for name in PROCESSORS.values() if (folder / name).is_file()]
    weights = folder / WEIGHTS_FILE
    buffers = {name: tensor for name, tensor in tensors.items() if is_buffer(name)}
    if beside and buffers:
        raise ToolError(
            f"{weights}: expected statistics in one place, found some inside the weights and some "
            f"in {' and '.join(beside)}; keep only those used in training"
        )
    if not beside and not buffers:
        raise ToolError(
            f"{folder}: expected {' and '.join(PROCESSORS.values())}, or statistics "
            f"inside {weights.name}, found neither; copy the whole folder"
        )
    observed, found = (
        dict[str, str](),
        PolicyStatistics(scalings={}, observed={}, means={}, largest={}),
    )
    for is_input, file in PROCESSORS.items():
        ours = [feature for feature in features if feature.is_input == is_input]
        source = (
            _of_processor(folder, file, observed, is_input=is_input)
            if beside
            else _of_buffers(weights, buffers, ours)
        )
        for feature in ours:
            found.scalings[feature.name] = _scaling(source, feature)
            known = _known(source, feature)
            if known:
                found.largest[feature.name] = np.max(np.abs(list(known.values())), axis=0)
            if "mean" in known:
                found.means[feature.name] = known["mean"]
    names = {feature.name for feature in features}
    found.observed.update({new: old for old, new in observed.items() if new in names})
    return found


def _known(source: _Source, feature: PolicyFeature) -> dict[str, F64]:
    """Return a feature's mean, min and max [size], except those with missing values."""
    found = {name: source.values.get(f"{feature.name}.{name}") for name in ("mean", "min", "max")}
    return {
        name: np.ravel(array).astype(np.float64)
        for name, array in found.items()
        if array is not None and array.size == feature.statistics_size and np.isfinite(array).all()
    }


def _of_buffers(
    weights: Path, buffers: Mapping[str, Tensor], features: Sequence[PolicyFeature]
) -> _Source:
    values = dict[str, Tensor]()
    for feature in features:
        start = buffer_place(feature)
        values |= {
            f"{feature.name}.{name.removeprefix(start)}": array
            for name, array in buffers.items()
            if name.startswith(start)
        }
    return _Source(place=str(weights), values=values)


def _of_processor(folder: Path, file: str, observed: dict[str, str], *, is_input: bool) -> _Source:
    """Read a pipeline's normalizer; add renamed features to `observed`."""
    normalisers = list[Node]()
    for step in read_json(_present(folder, file))["steps"].elements():
        if error := unsupported(step, is_input=is_input):
            raise error
        config, name = step.get("config"), step.get("registry_name")
        renamed = config.get("rename_map") if config else None
        if renamed and renamed.items() and normalisers:
            raise renamed.wrong("renaming before the normalizer (its statistics use the new names)")
        observed |= {old: new.text() for old, new in renamed.items()} if renamed else {}
        if name is not None and name.value == NORMALISERS[is_input]:
            normalisers.append(step)
    if len(normalisers) != 1:
        raise ToolError(
            f"{folder / file}: steps: expected one {NORMALISERS[is_input]}, found "
            f"{len(normalisers) or 'none'}"
        )
    return _of_normaliser(folder, file, normalisers[0])


def _of_normaliser(folder: Path, file: str, step: Node) -> _Source:
    state, config = step.get("state_file"), step["config"]
    if state is None:
        raise ToolError(
            f"{folder / file}: {step.key}.state_file: expected a file with the "
            "statistics, found none; the policy was saved without these statistics"
        )
    # Links are followed, since every file in a cache of the Hub is a link.
    if not all(
        kind(state.text()).name == state.text() for kind in (PurePosixPath, PureWindowsPath)
    ):
        raise state.wrong("the name of a file in the same folder")
    path, eps, modes = _present(folder, state.text()), config.get("eps"), config.get("norm_map")
    only = config.get("normalize_observation_keys")
    return _Source(
        place=str(path),
        values=read_tensors(path),
        eps=eps.number() if eps else DEFAULT_EPS,
        modes={kind: mode.text() for kind, mode in modes.items()} if modes else {},
        only=frozenset(only.texts()) if only else None,
    )


def _present(folder: Path, name: str) -> Path:
    if not (folder / name).is_file():
        raise ToolError(
            f"{folder / name}: expected this file of the checkpoint, found none; copy "
            "the whole folder"
        )
    return folder / name


def _scaling(source: _Source, feature: PolicyFeature) -> Scaling:
    mode = source.modes.get(feature.kind, feature.mode)
    left_out = feature.is_input and source.only is not None and feature.name not in source.only
    if mode == "IDENTITY" or left_out:
        return Scaling(mode="identity")
    if mode not in _MODES:
        raise ToolError(
            f"{source.place}: {feature.name}: expected normalization "
            f"{', '.join(_MODES)} or IDENTITY, found {mode}"
        )
    kind, *names = _MODES[mode]
    low, high = (_values(source, feature, name, mode) for name in names)
    if kind == "mean_std":
        if min(high) < 0.0:
            raise ToolError(
                f"{source.place}: {feature.name}.{names[1]}: expected values >= 0, "
                f"found {min(high):g}"
            )
        return Scaling(mode=kind, mean=low, std=high, eps=source.eps)
    return Scaling(mode=kind, min=low, max=high, eps=source.eps)


def _values(source: _Source, feature: PolicyFeature, name: str, mode: str) -> tuple[float, ...]:
    place, array = (
        f"{source.place}: {feature.name}.{name}",
        source.values.get(f"{feature.name}.{name}"),
    )
    if array is None:
        raise ToolError(
            f"{place}: expected this statistic ({mode} needs it), found none; "
            "without it every action is wrong"
        )
    if array.size != feature.statistics_size:
        raise ToolError(
            f"{place}: expected {feature.statistics_size} values (like the feature), "
            f"found {array.size} ({list(array.shape)})"
        )
    if not np.isfinite(array).all():
        where = np.flatnonzero(~np.isfinite(np.ravel(array))).tolist()
        raise ToolError(
            f"{place}: expected finite values, found NaN or infinity at "
            f"{', '.join(map(str, where))}; compute the dataset's statistics again"
        )
    if np.any(np.abs(array) > np.finfo(np.float32).max):
        raise ToolError(
            f"{place}: expected values that float32 can hold, found up to {np.abs(array).max():g}"
        )
    # The shortest decimal of each float32, since people read contracts too.
    return tuple(float(str(value)) for value in np.ravel(array).astype(np.float32))
