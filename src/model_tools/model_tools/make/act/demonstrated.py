# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Nominal figures from demonstrations, which bound a chunk policy's commands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.lerobot.dataset import Dataset
from model_tools.files.observation_sources import joint_places
from model_tools.make.act.checkpoint_config import ACTION
from policy_core.bundle.body import Nominal
from policy_core.bundle.chunk_contract import ChunkContract, JointVector
from policy_core.interfaces import F64
from policy_core.members.chunk.normalise import Units

_SLOWEST = 0.1
"""Fraction of a joint's speed limit that is always accepted: some joints never move in the data."""


def demonstrated(contract: ChunkContract, path: Path) -> Nominal | None:
    """Return the nominal figures from a dataset's demonstrations; see `asked_for`.

    Args:
        contract: Contract that states units, gains and joints.
        path: LeRobot dataset with `action`, and with the state if the policy takes one.
    """
    dataset, units = Dataset(path), Units(contract.units, contract.action.joints)
    vectors = {ACTION: contract.action} | (
        {} if contract.state is None else {contract.state.feature: contract.state}
    )
    places = {name: _places(dataset, name, vector) for name, vector in vectors.items()}

    def episodes() -> Iterator[tuple[F64, F64 | None]]:
        for episode in dataset.episodes:
            rows = dataset.rows(episode, list(vectors))
            action, *states = (
                units.to_rad(rows[name][:, places[name]].astype(np.float64)) for name in vectors
            )
            yield action, states[0] if states else None

    return asked_for(contract, episodes(), f"demonstrations in the dataset {path.resolve().name}")


def asked_for(
    contract: ChunkContract, episodes: Iterable[tuple[F64, F64 | None]], source: str
) -> Nominal | None:
    """Return, per joint, the largest step of the action and the largest torque that it demands.

    A step is the change between two frames of an episode. The torque is |stiffness (action - state)
    - damping velocity|, as the guard computes it, or |stiffness (action - state)| if that is
    larger. Without a state, it is the torque for a target one step away. The torque returned is at
    least the drive's limit.

    Args:
        contract: Contract that states gains and joints.
        episodes: Healthy episodes: commanded and measured positions [frames, joints of the action],
            rad, at the policy's rate; None for unknown measured positions.
        source: Description of the episodes.

    Returns:
        The nominal figures; None if nothing moves.
    """
    joints, names = contract.action.joints, contract.joints.names
    stiffness, damping, speed, torque = (
        value[[names.index(joint) for joint in joints]]
        for value in (
            contract.joints.stiffness,
            contract.joints.damping,
            contract.joints.velocity_limit,
            contract.joints.effort_limit,
        )
    )
    largest, ticks = np.zeros((2, len(joints))), 0
    for action, state in episodes:
        steps = np.abs(np.diff(action, axis=0))
        demands = [stiffness * steps]
        if state is not None and len(action) > 1:
            spring = stiffness * (action - state)
            velocity = np.gradient(state, axis=0) * contract.rate_hz
            demands = [np.abs(spring), np.abs(spring - damping * velocity)]
        largest[0] = np.max(steps, axis=0, initial=0.0).clip(largest[0])
        largest[1] = np.max(np.concatenate(demands), axis=0, initial=0.0).clip(largest[1])
        ticks += len(action)
    if not largest[0].any():
        return None
    # With a new chunk, a gripper moves directly to its target, from any position.
    share = np.where([joint in contract.action.grippers for joint in joints], 1.0, _SLOWEST)
    step = np.maximum(largest[0], share * speed / contract.rate_hz)
    # A servo arm sags under load, and a dataset may record the next state as the action.
    effort = np.maximum(largest[1], torque)
    return Nominal(
        source=source,
        ticks=ticks,
        target_step=_by_name(joints, step),
        effort_demand=_by_name(joints, effort),
    )


def _places(dataset: Dataset, name: str, vector: JointVector) -> list[int]:
    feature = dataset.feature(name)
    if feature.shape != (len(vector.joints),):
        raise ToolError(
            f"{dataset.info.file}: {name}: expected {len(vector.joints)} values, like the policy, "
            f"found {list(feature.shape)}"
        )
    return joint_places(feature, vector.joints)


def _by_name(joints: tuple[str, ...], values: F64) -> Any:
    return {name: float(f"{value:.4g}") for name, value in zip(joints, values, strict=True)}
