# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The programs that pages show: those that the suite installs, and those of others."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]

_OF_OTHERS = ("make", "openssl", "pip", "python", "python3", "ros2", "sudo", "tritonserver")
_ENTRY_POINT = re.compile(r"""["'](?P<name>[\w-]+) *= *[\w.]+:\w+["']""")
_CONSOLE_SCRIPTS = re.compile(r"""["']console_scripts["']: *\[(?P<scripts>.*?)\]""", re.S)
_FIRST_WORD = re.compile(r"(?P<folder>\.venv[\w-]*/bin/)?(?P<name>[\w-]+) (?!=)")


def begins_with_program(line: str) -> bool:
    """Return True if a line reads as a command: it begins with a program and an argument."""
    first = _FIRST_WORD.match(line.strip())
    return first is not None and (first["folder"] is not None or first["name"] in read_programs())


@cache
def read_programs() -> frozenset[str]:
    """Return the programs of the suite's packages, and those of others."""
    names = {*_OF_OTHERS}
    for setup in ROOT.glob("src/*/setup.py"):
        for scripts in _CONSOLE_SCRIPTS.finditer(setup.read_text("utf-8")):
            names |= {entry["name"] for entry in _ENTRY_POINT.finditer(scripts["scripts"])}
    return frozenset(names)
