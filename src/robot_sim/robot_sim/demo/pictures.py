# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Video, pictures and plots of the demo."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from robot_sim.demo.plots import write_plots
from robot_sim.errors import SimError
from robot_sim.render import write_contact_sheet, write_video
from robot_sim.trace import Trace

VIDEO_RATE_HZ = 20.0
PICTURES = ("plots.png", "contact_sheet.png", "walk.mp4")
"""What `draw` writes."""
_MEASURED_PICTURES = 10
_log = logging.getLogger("robot_sim_demo")


def draw(trace: Trace, folder: Path) -> None:
    """Write plots, a contact sheet and a video.

    Where OpenGL does not work the plots are all there is, and the log names what to install.
    """
    plots, contact_sheet, video = (folder / name for name in PICTURES)
    write_plots(trace, plots)
    _log.info("%s", plots)
    try:
        write_contact_sheet(trace, contact_sheet)
        _log.info("%s", contact_sheet)
        write_video(trace, video, rate_hz=VIDEO_RATE_HZ, on_picture=_forecast())
        _log.info("%s", video)
    except SimError as error:
        _log.warning("no pictures of the robot: %s", error)


def _forecast() -> Callable[[int, int], None]:
    """Return what logs, once some pictures are done, how long the others will take."""
    began_s = time.monotonic()

    def look(done: int, total: int) -> None:
        if done == _MEASURED_PICTURES:
            left_s = (time.monotonic() - began_s) / done * (total - done)
            _log.info("rendering %d pictures for the video, about %.0f s; --no-pictures (make demo "
                      "PICTURES=no) leaves it out", total, left_s)

    return look
