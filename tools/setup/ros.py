# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Chooses the ROS 2 for the workspace: a sourced one, or wheels in the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.setup.host import SetupError

WHEEL_DISTROS = ("jazzy", "kilted")
SOURCED_DISTROS = ("humble", "jazzy", "kilted")
PATH_VARIABLES = ("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH", "COLCON_PREFIX_PATH", "PYTHONPATH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ros:
    """A ROS 2 installation.

    Attributes:
        distro: Name of the distribution, such as `jazzy`.
        prefix: Location of a sourced ROS 2; None for wheels in `.venv`.
    """

    distro: str
    prefix: Path | None

    @property
    def label(self) -> str:
        """Name to show to people."""
        where = "from wheels" if self.prefix is None else f"in {self.prefix}"
        return f"ROS 2 {self.distro.capitalize()} {where}"


def find_ros(env: Mapping[str, str], root: Path, installed: str | None) -> Ros:
    """Choose the ROS 2 for the workspace in `root`.

    Args:
        env: Environment variables of the caller.
        root: The checkout. What it added to `env` itself does not count as sourced.
        installed: Distribution with which the workspace was previously set up, if any.
    """
    prefix = _sourced_prefix(env, root)
    if prefix is not None and (prefix / "pyvenv.cfg").exists():
        raise SetupError(
            f"{prefix} from another checkout is sourced; open a new shell for this one"
        )
    distro = env.get("ROS_DISTRO") or installed or WHEEL_DISTROS[0]
    known = WHEEL_DISTROS if prefix is None else SOURCED_DISTROS
    if distro not in known:
        how = "as wheels" if prefix is None else "sourced"
        raise SetupError(
            f"ROS_DISTRO: expected one of {', '.join(known)} ({how}), found {distro!r}; "
            "source a ROS 2 installation or set ROS_DISTRO to one of these"
        )
    return Ros(distro=distro, prefix=prefix)


def without_workspace(env: Mapping[str, str], root: Path) -> dict[str, str]:
    """Return `env` without the entries that sourcing this workspace added to its search paths."""
    cleaned = dict(env)
    for name in PATH_VARIABLES:
        kept = [path for path in _paths(env, name) if not path.is_relative_to(root)]
        cleaned[name] = os.pathsep.join(map(str, kept))
    return cleaned


def _sourced_prefix(env: Mapping[str, str], root: Path) -> Path | None:
    marker = Path("share/ament_index/resource_index/packages/rclpy")
    outside = _paths(without_workspace(env, root), "AMENT_PREFIX_PATH")
    return next((prefix for prefix in outside if (prefix / marker).exists()), None)


def _paths(env: Mapping[str, str], name: str) -> list[Path]:
    return [Path(path) for path in env.get(name, "").split(os.pathsep) if path]
