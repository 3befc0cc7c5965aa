# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What commands of pages need beside `make setup`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial

from testkit.pages.programs import ROOT


def _has_environment(name: str) -> bool:
    return (ROOT / f".venv-{name}" / "bin" / "python").exists()


def _has_program(name: str) -> bool:
    return shutil.which(name) is not None


def _is_root() -> bool:
    return os.geteuid() == 0


NEEDS: dict[str, Callable[[], bool]] = {
    **{
        name: partial(_has_environment, name)
        for name in ("docs", "lerobot", "ray", "rknn", "torch")
    },
    **{
        program: partial(_has_program, program)
        for program in (
            "ansible-playbook",
            "docker-registry",
            "openssl",
            "prometheus",
            "ros2",
            "systemd-sysusers",
        )
    },
    "root": _is_root,
}
"""Whether each is there: an environment of `make setup-NAME`, a program, or the rights of root.

`ros2` is an installation of ROS 2 with its launch system.
"""
