# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""LeRobot's encoder of videos, which drops no frame."""

from __future__ import annotations

import queue
import threading
from pathlib import Path
from typing import Any

from lerobot.datasets.video_utils import StreamingVideoEncoder

from policy_inference.core.images import Picture

_LOOK_S = 1.0
"""How often a full queue is left to see whether its encoder still lives."""


class WaitingEncoder(StreamingVideoEncoder):  # type: ignore[misc]  # it carries no types
    """Waits where its base, made for recording in real time, drops a frame after 0.1 s.

    In a dataset made of a recording there is time, and a dropped frame would shift all later ones
    of the video against their rows.
    """

    def feed_frame(self, video_key: str, image: Picture) -> None:
        """Give an encoder its next frame [height, width, 3], which is copied.

        Raises:
            OSError: It cannot write its video.
        """
        self._await_room(video_key)
        try:
            super().feed_frame(video_key, image)
        except RuntimeError as error:
            raise OSError(
                f"{video_key}: expected an encoder that writes its video, found: {error}"
            ) from error

    def finish_episode(self) -> dict[str, tuple[Path, dict[str, Any] | None]]:
        """End the videos; return file and statistics of each.

        Raises:
            OSError: One cannot be written.
        """
        for key in self._frame_queues:
            self._await_room(key)
        try:
            found: dict[str, tuple[Path, dict[str, Any] | None]] = super().finish_episode()
        except RuntimeError as error:
            raise OSError(f"expected encoders that write their videos, found: {error}") from error
        return found

    def _await_room(self, key: str) -> None:
        """Wait until a frame fits into a queue; an encoder that has ended has none left to take."""
        frames: queue.Queue[object] = self._frame_queues[key]
        encoder: threading.Thread = self._threads[key]
        with frames.not_full:
            while len(frames.queue) >= frames.maxsize:
                if not encoder.is_alive():
                    raise OSError(
                        f"{key}: expected an encoder that writes its video, found it "
                        "ended; is there room on the disk?"
                    )
                frames.not_full.wait(_LOOK_S)
