# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a dataset is one of a mapping's robot, and where its values are."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from lerobot_bridge.features import INTERVENTION, SUCCESS
from lerobot_bridge.mapping import IMAGES, RobotMapping
from model_tools.errors import ToolError
from model_tools.files.lerobot.dataset import Dataset

_OWN = ("timestamp", "frame_index", "episode_index", "index", "task_index", SUCCESS, INTERVENTION)
"""Features that no message carries."""
_OF_A_POSITION = ".pos"
_log = logging.getLogger("lerobot_bridge")


def places_of(dataset: Dataset, mapping: RobotMapping) -> Mapping[str, list[int]]:
    """Check that a dataset has what a mapping describes.

    Returns:
        By feature the place of each of the mapping's names in the dataset's vectors.

    Raises:
        ToolError: It has another rate, lacks a feature, or has one of other names or another size.
    """
    info = dataset.info
    if info.fps != mapping.rate_hz:
        raise ToolError(
            f"{info.file}: expected {mapping.rate_hz} frames per second, as rate_hz of "
            f"the mapping, found {info.fps:g}"
        )
    for name, camera in mapping.cameras.items():
        height, width = dataset.feature(IMAGES + name, camera=True).shape[:2]
        if (height, width) != (camera.height, camera.width) and not camera.resize:
            raise ToolError(
                f"{info.file}: {IMAGES}{name}: expected pictures of {camera.width} x "
                f"{camera.height} pixels, as in the mapping, found {width} x {height}"
            )
    found = {
        feature: _places(dataset, feature, mapping.names(feature)) for feature in mapping.vectors
    }
    known = (*_OWN, *found, *(IMAGES + name for name in mapping.cameras))
    if others := [name for name in info.features if name not in known]:
        _log.warning(
            "%s: left out, since the mapping has no topic for them: %s",
            info.file,
            ", ".join(others),
        )
    return found


def _places(dataset: Dataset, feature: str, names: tuple[str, ...]) -> list[int]:
    """Return where each name is; older datasets call positions by the joint alone."""
    one = dataset.feature(feature)
    plain = [name.removesuffix(_OF_A_POSITION) for name in one.names]
    wanted = [name.removesuffix(_OF_A_POSITION) for name in names]
    if one.shape != (len(names),) or sorted(plain) != sorted(wanted):
        raise ToolError(
            f"{dataset.info.file}: {feature}: expected the values {', '.join(names)}, "
            f"as in the mapping, found {list(one.shape)}: "
            f"{', '.join(one.names) or 'without names'}"
        )
    return [plain.index(name) for name in wanted]
