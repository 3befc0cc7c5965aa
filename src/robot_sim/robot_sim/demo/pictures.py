# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Video, pictures and plots of the demo."""

import logging
from collections.abc import Callable
from pathlib import Path

from robot_sim.demo.plots import write_plots
from robot_sim.errors import SimError
from robot_sim.render import write_animation, write_contact_sheet, write_video
from robot_sim.trace import Trace

_RENDERED: dict[str, Callable[[Trace, Path], None]] = {
    "contact_sheet.png": write_contact_sheet,
    "walk.webp": write_animation,
    "walk.mp4": write_video,
}
_log = logging.getLogger("robot_sim_demo")


def draw(trace: Trace, folder: Path) -> None:
    """Write plots, a contact sheet, an animated picture and a video.

    Where OpenGL does not work the plots are all there is, and the log names what to install.
    """
    write_plots(trace, folder / "plots.png")
    _log.info("%s", folder / "plots.png")
    try:
        for name, write in _RENDERED.items():
            write(trace, folder / name)
            _log.info("%s", folder / name)
    except SimError as error:
        _log.warning("no pictures of the robot: %s", error)
