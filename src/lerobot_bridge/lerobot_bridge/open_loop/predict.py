# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Predicts a chunk policy's actions for the recorded observations of an episode."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lerobot_bridge.dataset_form import INTERVENTION
from model_tools.errors import ToolError
from model_tools.files.lerobot.dataset import DatasetEpisode
from model_tools.files.lerobot.dataset_info import DatasetFeature
from model_tools.files.observation_sources import DatasetSource, joint_places
from policy_core.bundle.chunk_contract import GOLDEN_NOISE, JointVector
from policy_core.interfaces import F64, Backend
from policy_core.members.chunk.graphs import ChunkGraphs
from policy_inference.comparison.chunks import drawn_noise

_log = logging.getLogger("lerobot_bridge")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predicted:
    """An episode, recorded and predicted; all values are in the policy's units.

    Attributes:
        episode: The episode.
        begins: Frames from whose observations a chunk was computed.
        actions: Recorded actions [frames, joints of the action].
        predicted: Predicted actions [frames, joints]: step k of frame b's chunk is at frame b + k.
        state: Recorded states [frames, joints of the state]; None if the policy has no state input.
        compared: Whether to compare each frame [frames]; False where a person drove.
    """

    episode: DatasetEpisode
    begins: tuple[int, ...]
    actions: F64
    predicted: F64
    state: F64 | None
    compared: npt.NDArray[np.bool_]


class OpenLoop:
    """Runs a dataset's episodes through a policy as a robot would in synchronous operation.

    Every `every` frames, the policy gets the recorded observation, and its chunk is used until the
    next one. The predicted actions do not change the observations (open loop).
    """

    def __init__(
        self,
        source: DatasetSource,
        backends: Mapping[str, Backend],
        every: int,
        *,
        interventions: bool = False,
    ) -> None:
        """Check that the dataset's actions match the policy's.

        Args:
            source: The dataset, checked for the policy.
            backends: Opened back ends, by `graphs.NAME`.
            every: Number of frames from one chunk to the next.
            interventions: True to also compare the frames in which a person, not the policy, drove.
        """
        contract = source.contract
        if not 1 <= every <= contract.chunk.size:
            raise ToolError(
                f"--every: expected 1 to {contract.chunk.size} frames (a chunk of "
                f"{contract.name} has {contract.chunk.size} steps), found {every}"
            )
        self._source, self._every = source, every
        self._noise = drawn_noise(contract, 1).get(GOLDEN_NOISE)
        self._graphs = ChunkGraphs(contract, backends)
        self._action = _Vector(source, contract.action)
        self._state = contract.state and _Vector(source, contract.state)
        self._all_count = interventions or INTERVENTION not in source.dataset.info.features

    def run(self, episode: DatasetEpisode) -> Predicted:
        begins = range(0, episode.length, self._every)
        actions = self._action.of(episode)
        predicted = np.empty_like(actions)
        for begin, seen in zip(begins, self._source.of_episode(episode, begins), strict=True):
            steps = predicted[begin : begin + self._every]
            steps[:] = self._graphs.run(
                seen.as_observed(),
                None if self._noise is None else self._noise[0],
            )[: len(steps)]
        return Predicted(
            episode=episode,
            begins=tuple(begins),
            actions=actions,
            predicted=predicted,
            state=self._state.of(episode) if self._state else None,
            compared=self._compared(episode),
        )

    def _compared(self, episode: DatasetEpisode) -> npt.NDArray[np.bool_]:
        if self._all_count:
            return np.ones(episode.length, np.bool_)
        driven = self._source.dataset.rows(episode, [INTERVENTION])[INTERVENTION]
        return np.logical_not(driven.reshape(-1).astype(np.bool_))


class _Vector:
    """A feature with joint values, read in the policy's order."""

    def __init__(self, source: DatasetSource, one: JointVector) -> None:
        self._dataset, self._name = source.dataset, one.feature
        feature = source.dataset.feature(one.feature)
        _check_names(source, feature, one.joints)
        self._places = joint_places(feature, one.joints)

    def of(self, episode: DatasetEpisode) -> F64:
        rows = self._dataset.rows(episode, [self._name])[self._name]
        values: F64 = rows.astype(np.float64)[:, self._places]
        return values


def _check_names(source: DatasetSource, feature: DatasetFeature, joints: Sequence[str]) -> None:
    """Refuse names if only some are the policy's joints; if none are, values match by order."""
    where, found = f"{source.dataset.info.file}: {feature.name}", feature.names
    contract = source.contract
    if feature.shape != (len(joints),):
        raise ToolError(
            f"{where}: expected the {len(joints)} values of {contract.name} "
            f"({', '.join(joints)}), found shape {list(feature.shape)} "
            f"({', '.join(found) or 'without names'})"
        )
    plain = {name.removesuffix(".pos") for name in found}
    if plain == set(joints):
        return
    if plain & set(joints):
        raise ToolError(
            f"{where}: expected the joints of {contract.name} ({', '.join(joints)}), found "
            f"{', '.join(found)}; pass the training dataset"
        )
    pairs = ", ".join(
        f"{name} is {joint}"
        for name, joint in zip(found or map(str, range(len(joints))), joints, strict=True)
    )
    _log.warning(
        "%s: none of its names is a joint of %s; values are assigned in order: %s",
        where,
        contract.name,
        pairs,
    )
