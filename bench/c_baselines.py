# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Baselines in C: `baselines.c`, compiled here against the sourced ROS 2.

`python -m bench.c_baselines echo|gather|sleep ...` runs one baseline. A Python process loads the
compiled library, because the libraries in the ROS 2 wheels need an interpreter's symbols.
"""

import ctypes
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from bench.processes import ROOT, BenchError

_SOURCE = Path(__file__).with_name("baselines.c")
_LIBRARY = ROOT / "build" / "bench" / "baselines.so"
_NEEDED = (
    "rcl",
    "rcutils",
    "rosidl_runtime_c",
    "sensor_msgs__rosidl_generator_c",
    "sensor_msgs__rosidl_typesupport_c",
    "policy_msgs__rosidl_generator_c",
    "policy_msgs__rosidl_typesupport_c",
)


def c_baseline(name: str, *arguments: object) -> list[str]:
    """Return the command that runs one program of `baselines.c`."""
    _compile()
    return [sys.executable, "-m", __name__, name, *map(str, arguments)]


@cache
def _compile() -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        raise BenchError("cc: not found; apt-get install gcc")
    _LIBRARY.parent.mkdir(parents=True, exist_ok=True)
    prefixes = [Path(each) for each in os.environ["AMENT_PREFIX_PATH"].split(os.pathsep)]
    command = [compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    command += [str(_SOURCE), "-o", str(_LIBRARY)]
    for prefix in prefixes:
        command += [f"-isystem{folder}" for folder in prefix.glob("include/*/")]
        command += [f"-L{prefix / 'lib'}", f"-Wl,-rpath,{prefix / 'lib'}"]
    command += [f"-l{library}" for library in _NEEDED]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{' '.join(command)}:\n{done.stderr}")


def _run(words: list[str]) -> int:
    arguments = (ctypes.c_char_p * len(words))(*map(os.fsencode, words))
    return int(ctypes.CDLL(str(_LIBRARY)).run_baseline(len(words), arguments))


if __name__ == "__main__":
    sys.exit(_run(sys.argv[1:]))
