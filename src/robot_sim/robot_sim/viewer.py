# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A window that shows a simulated robot: MuJoCo's own viewer, which renders on its own thread."""

import copy
import threading
import time
import warnings

import mujoco

from robot_sim.driven import DrivenWorld
from robot_sim.errors import SimError

_PERIOD_S = 1.0 / 30.0
_FREE = mujoco.mjtJoint.mjJNT_FREE


class Viewer:
    """Shows a copy of a world's model and pose, so that the window cannot change the world."""

    def __init__(self, world: DrivenWorld) -> None:
        """Open the window; the camera follows a robot with a free base."""
        _require_display()
        import mujoco.viewer

        self._world, self._model = world, copy.copy(world.model)
        self._data = mujoco.MjData(self._model)
        self._data.qpos[:] = world.pose
        others = set(threading.enumerate())
        self._window = mujoco.viewer.launch_passive(
            self._model, self._data, show_left_ui=False, show_right_ui=False
        )
        # MuJoCo does not expose its thread, and a process that exits while it runs crashes.
        self._threads = set(threading.enumerate()) - others
        self._next_s = 0.0
        if self._model.jnt_type[0] == _FREE:
            with self._window.lock():
                self._window.cam.type = mujoco.mjtCamera.mjCAMERA_TRACKING
                self._window.cam.trackbodyid = self._model.jnt_bodyid[0]
                self._window.cam.distance = 2.5 * self._model.stat.extent

    @property
    def is_open(self) -> bool:
        """True until the user closes the window."""
        return bool(self._window.is_running())

    def show(self) -> None:
        """Show the world's current pose, at most 30 times per second of the steady clock."""
        now_s = time.monotonic()
        if now_s < self._next_s or not self.is_open:
            return
        self._next_s = now_s + _PERIOD_S
        self._data.qpos[:] = self._world.pose
        mujoco.mj_forward(self._model, self._data)
        self._window.sync()

    def close(self) -> None:
        """Close the window; call this before the process exits."""
        self._window.close()
        for thread in self._threads:
            thread.join()


def _require_display() -> None:
    """Raise SimError unless a window can be opened; MuJoCo's viewer would wait forever."""
    import glfw

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        opened = glfw.init()
    if not opened:
        why = "; ".join(str(one.message) for one in said) or "no reason from GLFW"
        raise SimError(
            f"viewer: expected a display, found none ({why}); set DISPLAY, or start without the "
            "viewer"
        )
