# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Command `python3 -m tools.setup.lerobot`: LeRobot in `.venv-lerobot`, together with ROS 2.

LeRobot is not needed to run a policy, but it is needed to train policies, write datasets, and drive
ROS 2 robots with LeRobot's own commands. LeRobot limits PyTorch to versions from before its own
release; its ACT also trains with the later version below.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from pathlib import Path

from tools.arguments import refuse_arguments
from tools.setup import stamp
from tools.setup.apart import FOR_CPU, make_apart, require_python
from tools.setup.environment import FOLDER, install_into, known_lock, read_origin
from tools.setup.host import SetupError, run
from tools.setup.ros import Ros, find_ros
from tools.setup.workspace import ROOT

VENV = ".venv-lerobot"
PYTHONS = ((3, 10), (3, 11), (3, 12), (3, 13))
HOOK = FOLDER / "torchvision_beside_cpu.py"
PLUGINS = (ROOT / "src" / "lerobot_robot_ros2", ROOT / "src" / "lerobot_teleoperator_ros2")
_OURS = ".made-by-setup-lerobot"

_log = logging.getLogger(__name__)


def ensure_lerobot(venv: Path, version: tuple[int, int], ros: Ros) -> None:
    """Create or refresh the environment.

    Args:
        venv: Folder of the environment.
        version: Version of this Python.
        ros: ROS 2 that `make setup` chose; a sourced one needs no installation.
    """
    python = require_python(
        version, PYTHONS, "LeRobot", "make setup-lerobot LEROBOT_PYTHON=python3.12"
    )
    lock = known_lock("lerobot", python)
    wheels = "" if ros.prefix else _ros_wheels(known_lock(ros.distro, python))
    manifests = [plugin / "pyproject.toml" for plugin in PLUGINS]
    # the key contains the paths of the plugins, which are used from this checkout
    key = stamp.digest(
        [lock, FOR_CPU, HOOK, *FOLDER.glob("*.py"), *manifests],
        extra=f"{Path(sys.executable).resolve()}{version}{wheels}{PLUGINS}",
    )
    if stamp.matches(venv, key):
        return
    _log.info("setup: making %s with LeRobot (2.4 GB, a few minutes on first use)", venv)
    make_apart(venv, _OURS, python, lock, wheels)
    for plugin in PLUGINS:
        run([*install_into(venv), "--no-deps", "--no-build-isolation", "-e", str(plugin)])
    _add_hook(venv)
    stamp.write(venv, key)


def _ros_wheels(lock: Path) -> str:
    """Return the part of the workspace's lock that lists the ROS 2 wheels."""
    entries = lock.read_text(encoding="utf-8").replace(" \\\n", " ").splitlines(keepends=True)
    return "".join(entry for entry in entries if entry.startswith("ros-"))


def _add_hook(venv: Path) -> None:
    """Make every Python process in the environment start with `HOOK`."""
    site = next((venv / "lib").glob("python3.*/site-packages"))
    shutil.copy(HOOK, site)
    (site / f"{HOOK.stem}.pth").write_text(f"import {HOOK.stem}\n", encoding="utf-8")


def main() -> int:
    """Set up the environment in this file's checkout; return the exit status."""
    refuse_arguments("tools.setup.lerobot", __doc__)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        origin = read_origin(ROOT / ".venv")
        ros = find_ros(os.environ, ROOT, origin.distro if origin else None)
        ensure_lerobot(ROOT / VENV, sys.version_info[:2], ros)
    except SetupError as error:
        _log.error("setup: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
