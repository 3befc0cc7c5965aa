# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is legal in a checkpoint and yet seldom meant."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from model_tools.files.lerobot.checkpoint import PolicyFeature
from model_tools.files.lerobot.statistics import PolicyStatistics
from model_tools.make.act.checkpoint import LerobotCheckpoint
from model_tools.make.act.checkpoint_config import ACTION, STATE, CheckpointConfig
from model_tools.make.act.robots import ActRobot
from policy_core.bundle.chunk_contract import Scaling

_TURN_RAD = 6.3
_FULL_RANGE = 100.0
_NARROWEST, _WIDEST = 1e-6, 1e6
"""Of a spread that data in any unit have."""


def suspicions(checkpoint: LerobotCheckpoint, robot: ActRobot, units: str) -> tuple[str, ...]:
    """Return a line for each."""
    config, statistics = checkpoint.config, checkpoint.statistics
    return (
        *_still(config, statistics, robot),
        *_spreads(config, statistics, robot),
        *_units(statistics, robot, units),
        *_cameras(config),
        *(
            f"{feature.name}: not exported, the policy does not look at it"
            for feature in config.ignored
        ),
        *(
            f"{config.file.name}: {key!r}: LeRobot 0.3 to 0.6 has no such key for this policy, and "
            "the export ignores it; if it changes the network, its inputs or its actions, the "
            "bundle is another policy"
            for key in config.unknown_keys
        ),
    )


def _still(
    config: CheckpointConfig, statistics: PolicyStatistics, robot: ActRobot
) -> Iterator[str]:
    for feature in config.features:
        names = _names(feature, robot)
        still = [
            name
            for name, width in zip(names, _widths(statistics.scalings[feature.name]), strict=False)
            if width == 0.0
        ]
        if still:
            what = (
                "the policy always commands the same there"
                if feature.name == ACTION
                else "any other value than in training becomes huge"
            )
            yield f"{feature.name}: {', '.join(still)} never moved in the data (no spread): {what}"


def _spreads(
    config: CheckpointConfig, statistics: PolicyStatistics, robot: ActRobot
) -> Iterator[str]:
    for feature in config.features:
        scaling = statistics.scalings[feature.name]
        widths = dict(zip(_names(feature, robot), _widths(scaling), strict=False))
        odd = [
            f"{name} {width:.3g}"
            for name, width in widths.items()
            if width and not _NARROWEST <= width <= _WIDEST
        ]
        far = max(
            map(abs, (*(scaling.mean or ()), *(scaling.min or ()), *(scaling.max or ()))),
            default=0.0,
        )
        if odd:
            yield (
                f"{feature.name}: a spread of {', '.join(odd)}, which no data have; are the "
                "statistics damaged?"
            )
        if far > _WIDEST:
            yield (
                f"{feature.name}: statistics of up to {far:.3g}, which no data have; are they "
                "damaged?"
            )


def _widths(scaling: Scaling) -> list[float]:
    if scaling.mode == "mean_std":
        return list(scaling.std or ())
    return list(np.subtract(scaling.max or (), scaling.min or ()))


def _names(feature: PolicyFeature, robot: ActRobot) -> tuple[str, ...]:
    if feature.name in (STATE, ACTION):
        return robot.names
    if feature.kind == "VISUAL":
        return ("red", "green", "blue")
    return tuple(f"value {i}" for i in range(feature.shape[0]))


def _units(statistics: PolicyStatistics, robot: ActRobot, units: str) -> Iterator[str]:
    body = np.array([not joint.gripper for joint in robot.joints.values()])
    for name in (STATE, ACTION):
        largest = statistics.largest.get(name)
        if largest is None or not body.any():
            continue
        most = float(largest[body].max())
        joint = np.array(robot.names)[body][int(np.argmax(largest[body]))]
        if units == "range" and most > _FULL_RANGE:
            yield (
                f"{name}: {joint} reaches {most:.4g} in the data, which -100 to 100 cannot be; "
                "is it --units degrees?"
            )
        elif units == "radians" and most > _TURN_RAD:
            yield (
                f"{name}: {joint} reaches {most:.4g} in the data, more than a turn; is it "
                "--units degrees or range?"
            )
        elif units != "radians" and most < np.pi:
            yield (
                f"{name}: no joint reaches more than {most:.3g} in the data; is it --units radians?"
            )


def _cameras(config: CheckpointConfig) -> Iterator[str]:
    for camera in config.cameras:
        if camera.observed.rpartition(".")[2] != camera.name:
            yield f"{camera.observed}: its topic is {camera.name}/image_raw"
