# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Make ROS 2 wheels usable for builds: fix include paths and write the scripts colcon sources."""

from __future__ import annotations

import re
from pathlib import Path

from tools.setup.host import query

# folders of the machine that built the wheels, which do not exist here
_NUMPY_INCLUDE = re.compile(r'/opt/[^ ;")]*/site-packages/numpy/(?:_core|core)/include')
_PYTHON_INCLUDE = re.compile(r'/opt/[^ ;")]*/include/python3\.\d+')

_LOCAL_SETUP = """\
# Puts the ROS 2 of this environment on the search paths; install/setup.* sources it.
_prepend() {{
  eval "_value=\\"\\${{$1}}\\""
  case ":$_value:" in
    *":$2:"*) ;;
    *) export "$1=$2${{_value:+:$_value}}" ;;
  esac
  unset _value
}}
_prepend AMENT_PREFIX_PATH "{prefix}"
_prepend CMAKE_PREFIX_PATH "{prefix}"
_prepend LD_LIBRARY_PATH "{prefix}/lib"
unset -f _prepend
export ROS_DISTRO={distro}
export ROS_VERSION=2
export ROS_PYTHON_VERSION=3
"""


def repair_cmake_files(prefix: Path) -> int:
    """Change the include folders in `prefix`/share/**/*.cmake to those of this machine.

    Args:
        prefix: The virtual environment with the wheels.

    Returns:
        The number of changed files; 0 if they were already correct.
    """
    python = prefix / "bin/python"
    numpy_include = query(python, "numpy.get_include()")
    python_include = query(python, "sysconfig.get_path('include')")
    changed = 0
    for file in sorted((prefix / "share").rglob("*.cmake")):
        text = file.read_text(encoding="utf-8")
        # a function as replacement, so that the path is not interpreted as a template
        repaired = _NUMPY_INCLUDE.sub(lambda _: numpy_include, text)
        repaired = _PYTHON_INCLUDE.sub(lambda _: python_include, repaired)
        if repaired != text:
            file.unlink()  # other checkouts may have the same file
            file.write_text(repaired, encoding="utf-8")
            changed += 1
    return changed


def write_local_setup(prefix: Path, distro: str) -> None:
    """Write `prefix`/local_setup.{sh,bash,zsh}, so that colcon can chain the prefix."""
    text = _LOCAL_SETUP.format(prefix=prefix, distro=distro)
    for shell in ("sh", "bash", "zsh"):
        (prefix / f"local_setup.{shell}").write_text(text, encoding="utf-8")
