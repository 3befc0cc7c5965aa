# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Video, pictures and plots of the demo."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from robot_sim.demo.plots import write_plots
from robot_sim.errors import SimError
from robot_sim.render import write_contact_sheet, write_video
from robot_sim.trace import Trace

VIDEO_RATE_HZ = 20.0
_RENDERED: dict[str, Callable[[Trace, Path], None]] = {
    "contact_sheet.png": write_contact_sheet,
    "walk.mp4": partial(write_video, rate_hz=VIDEO_RATE_HZ),
}
_log = logging.getLogger("robot_sim_demo")


def draw(trace: Trace, folder: Path) -> None:
    """Write plots, a contact sheet and a video.

    Where OpenGL does not work the plots are all there is, and the log names what to install.
    """
    for name in _RENDERED:
        (folder / name).unlink(missing_ok=True)
    write_plots(trace, folder / "plots.png")
    _log.info("%s", folder / "plots.png")
    duration_s = trace.time_s[-1] - trace.time_s[0]
    _log.info("rendering, about %.0f pictures", VIDEO_RATE_HZ * duration_s)
    try:
        for name, write in _RENDERED.items():
            write(trace, folder / name)
            _log.info("%s", folder / name)
    except SimError as error:
        _log.warning("no pictures of the robot: %s", error)
