# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What commands of pages may need beside `make setup`, and what pages take for granted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from testkit.pages.commands import ROOT

WALK, ARM = "config/bundles/lite3_walk", "config/bundles/so101_reach"


def _has_environment(name: str) -> Callable[[], bool]:
    return lambda: (ROOT / f".venv-{name}" / "bin" / "python").exists()


def _has_program(name: str) -> Callable[[], bool]:
    return lambda: shutil.which(name) is not None


NEEDS: dict[str, Callable[[], bool]] = {
    **{name: _has_environment(name) for name in ("torch", "rknn", "lerobot", "docs")},
    "ros2": _has_program("ros2"),
    "root": lambda: os.geteuid() == 0,
    "docker-registry": _has_program("docker-registry"),
    "prometheus": _has_program("prometheus"),
    "ansible": _has_program("ansible-playbook"),
    "openssl": _has_program("openssl"),
}
"""Whether each is there. `ros2` is an installation of ROS 2 with its launch system."""

EXAMPLE_FILES = {
    "my_bundle": f"cp -r {WALK} my_bundle",
    "my_older_bundle": f"cp -r {WALK} my_older_bundle",
    "my_arm": f"cp -r {ARM} my_arm",
}
"""How to make the files and folders that pages use as examples, by name. Each is made before the
first command of a page that uses it."""


def is_used(name: str, text: str) -> bool:
    """Return True if a command uses a file of this name in the working folder."""
    words = text.replace("=", " ").split()
    return any(Path(word).parts[:1] == (name,) for word in words)
