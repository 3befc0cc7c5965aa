# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The whole setup: toolchain, environment, colcon build; completed steps are not repeated."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from tools.setup import stamp
from tools.setup.environment import ensure_environment, needed_origin, read_origin
from tools.setup.host import check_toolchain, run
from tools.setup.ros import Ros, find_ros, without_workspace

ROOT = Path(__file__).resolve().parents[2]

# inputs of install/: Python sources are linked there, not copied
_MANIFESTS = (
    "package.xml",
    "colcon.pkg",
    "CMakeLists.txt",
    "*.msg",
    "*.srv",
    "setup.*",
    "*.cpp",
    "*.h",
    "*.hpp",
)
_INSTALLED_BY_NAME = ("launch", "config")
_INTERFACES = "interfaces"
"""Stand-ins for vendors' message packages; a COLCON_IGNORE keeps them out of other workspaces."""
_COLCON = "import sys; from colcon_core.command import main; sys.exit(main())"
# For control stacks without ROS: not part of this environment; `make test-cpp` builds it.
_APART = ["--packages-skip", "policy_client"]
_ACTIVATE = ". .venv/bin/activate && . install/setup.bash"

_log = logging.getLogger(__name__)


def set_up() -> None:
    """Bring `.venv` and `install/` of this checkout up to date."""
    venv = ROOT / ".venv"
    origin = read_origin(venv)
    ros = find_ros(os.environ, ROOT, origin.distro if origin else None)
    check_toolchain()
    if origin != needed_origin(ros):
        # CMake's cache and the installed paths contain the Python of the old environment
        _forget_build()
    environment_key = ensure_environment(venv, ros)
    _build(venv, ros, environment_key)
    _log.info("setup: ready (%s); to use it: %s", ros.label, _ACTIVATE)


def _build(venv: Path, ros: Ros, environment_key: str) -> None:
    env = _build_environment(venv, ros)
    sources = ["src", *_missing_interfaces(env)]
    extra = environment_key + "\0".join([*_installed_names(), *sources])
    key = stamp.digest(_manifests(), extra=extra)
    install = ROOT / "install"
    if stamp.matches(install, key):
        return
    _log.info("setup: building %s into install/", ", ".join(sources))
    # not the `colcon` on the PATH: commands start with the python that builds them
    colcon = [str(venv / "bin/python"), "-c", _COLCON]
    folders = ["--build-base", "build", "--install-base", "install"]
    # in the root, the only place where colcon reads colcon.meta
    command = [*colcon, "build", "--symlink-install", *folders, *_APART, "--base-paths", *sources]
    run(command, env=env, folder=ROOT)
    stamp.write(install, key)


def _missing_interfaces(env: Mapping[str, str]) -> list[str]:
    """Return the stand-ins for packages that the sourced ROS 2 environment lacks."""
    prefixes = [Path(prefix) for prefix in env["AMENT_PREFIX_PATH"].split(os.pathsep) if prefix]
    index = "share/ament_index/resource_index/packages"
    return sorted(
        str(folder.parent.relative_to(ROOT))
        for folder in (ROOT / _INTERFACES).glob("*/package.xml")
        if not any((prefix / index / folder.parent.name).exists() for prefix in prefixes)
    )


def _forget_build() -> None:
    for folder in ("build", "install"):
        shutil.rmtree(ROOT / folder, ignore_errors=True)


def _manifests() -> list[Path]:
    sources = [ROOT / "src", ROOT / _INTERFACES]
    files = [file for pattern in _MANIFESTS for source in sources for file in source.rglob(pattern)]
    return [ROOT / "colcon.meta", *files]


def _installed_names() -> list[str]:
    files = (file for folder in _INSTALLED_BY_NAME for file in (ROOT / folder).rglob("*"))
    return sorted(str(file.relative_to(ROOT)) for file in files if file.is_file())


def _build_environment(venv: Path, ros: Ros) -> dict[str, str]:
    env = without_workspace(os.environ, ROOT)
    env["PATH"] = f"{venv / 'bin'}{os.pathsep}{env.get('PATH', os.defpath)}"
    env["VIRTUAL_ENV"] = str(venv)
    if ros.prefix is None:
        for name in ("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH"):
            env[name] = str(venv)
        env["LD_LIBRARY_PATH"] = f"{venv / 'lib'}{os.pathsep}{env.get('LD_LIBRARY_PATH', '')}"
    return env
