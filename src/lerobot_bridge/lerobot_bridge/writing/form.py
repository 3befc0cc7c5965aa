# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""In which form episodes are written, without LeRobot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # commands import this for CODECS
    from lerobot_bridge.mapping import RobotMapping

CODECS = ("h264", "hevc", "libsvtav1")
"""Codecs of videos that LeRobot writes on any machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The same for all episodes of a dataset.

    Attributes:
        codec: Of the videos, one of CODECS; None: each picture is a PNG in the rows.
        judged: Those of features.SUCCESS and INTERVENTION that the dataset has.
        encoder_threads: Of each video; None: as many as the codec likes.
    """

    codec: str | None = CODECS[0]
    judged: tuple[str, ...] = ()
    encoder_threads: int | None = None


def not_for_videos(mapping: RobotMapping) -> Iterator[str]:
    """Yield which cameras cannot be videos: these keep colours for each four pixels."""
    for name, camera in mapping.cameras.items():
        if camera.height % 2 or camera.width % 2:
            yield (
                f"cameras.{name}: expected an even height and width for a video, found "
                f"{camera.height} and {camera.width}; --images writes pictures, resize in the "
                "mapping stretches them"
            )
