# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Renders images of a model without a display, with OpenGL from EGL or OSMesa."""

import functools
import importlib
import subprocess
import sys
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from robot_sim.errors import SimError
from robot_sim.figures import Array

Frame = npt.NDArray[np.uint8]
# added to those of the model: lights, skies, shadows by MuJoCo, and the dots of an image
_OTHER_SHAPES = 500
_DOT_M, _DOT_RGBA = 0.008, np.array([0.95, 0.35, 0.1, 1.0], dtype=np.float32)
_GL_MODULES = {"egl": "mujoco.egl", "osmesa": "mujoco.osmesa"}
_PROBE = "import {module} as gl; gl.GLContext(8, 8).make_current()"


class Offscreen:
    """An image buffer for one model; use it only on the thread that created it."""

    def __init__(self, model: mujoco.MjModel, *, shadows: bool) -> None:
        self._model = model
        size = (model.vis.global_.offwidth, model.vis.global_.offheight)
        self._context = importlib.import_module(_gl_module()).GLContext(*size)
        self._context.make_current()
        self._scene = mujoco.MjvScene(model, maxgeom=_OTHER_SHAPES + model.ngeom)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = shadows
        self._option = mujoco.MjvOption()
        self._gl = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._gl)

    def image(
        self,
        data: mujoco.MjData,
        view: mujoco.MjvCamera,
        *,
        width: int,
        height: int,
        dots: Array | None = None,
    ) -> Frame:
        """Render the view of a camera as an image [height, width, 3], RGB.

        Args:
            data: State of the model.
            view: Camera.
            width: Width of the image.
            height: Height of the image.
            dots: Points to mark [n, 3], m, world.
        """
        self._context.make_current()
        category = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(self._model, data, self._option, None, view, category, self._scene)
        for dot in () if dots is None else dots:
            shape = self._scene.geoms[self._scene.ngeom]
            size, turn = np.full(3, _DOT_M), np.eye(3).ravel()
            mujoco.mjv_initGeom(shape, mujoco.mjtGeom.mjGEOM_SPHERE, size, dot, turn, _DOT_RGBA)
            self._scene.ngeom += 1
        frame = np.empty((height, width, 3), dtype=np.uint8)
        rect = mujoco.MjrRect(0, 0, width, height)
        mujoco.mjr_render(rect, self._scene, self._gl)
        mujoco.mjr_readPixels(frame, None, rect, self._gl)
        return np.flipud(frame)

    def close(self) -> None:
        self._gl.free()
        self._context.free()


def fixed_view(model: mujoco.MjModel, camera: str) -> mujoco.MjvCamera:
    view = mujoco.MjvCamera()
    view.type = mujoco.mjtCamera.mjCAMERA_FIXED
    view.fixedcamid = model.camera(camera).id
    return view


@functools.cache
def _gl_module() -> str:
    """Return MuJoCo's module for the first OpenGL back end that works without a display.

    Each back end is tried in its own process, because PyOpenGL stays bound to the first one
    imported.
    """
    problems: list[str] = []
    for name, module in _GL_MODULES.items():
        probe: Any = subprocess.run(
            [sys.executable, "-c", _PROBE.format(module=module)], capture_output=True, text=True
        )
        if probe.returncode == 0:
            return module
        problems.append(f"{name}: {(probe.stderr.strip().splitlines() or ['no output'])[-1]}")
    raise SimError(
        f"rendering: expected EGL or OSMesa, found neither ({'; '.join(problems)}); "
        "install the Debian package libegl1 (with a driver, as in libgl1-mesa-dri) or libosmesa6"
    )
