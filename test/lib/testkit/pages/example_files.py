# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Files that pages use as examples: a bundle, a checkpoint, a recording, a key."""

from __future__ import annotations

import importlib
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from testkit.pages.commands import ROOT

_BUNDLES = ROOT / "config" / "bundles"


def _copy_bundle(name: str, path: Path) -> None:
    shutil.copytree(_BUNDLES / name, path)


def _write_checkpoint(path: Path) -> None:
    checkpoints: Any = importlib.import_module("src.model_tools.test.make.act.small_checkpoints")
    checkpoints.write_checkpoint(path, checkpoints.config_of())


EXAMPLE_FILES: dict[str, Callable[[Path], None]] = {
    "my_arm": partial(_copy_bundle, "so101_reach"),
    "my_bundle": partial(_copy_bundle, "lite3_walk"),
    "my_older_bundle": partial(_copy_bundle, "lite3_walk"),
    "pretrained_model": _write_checkpoint,
}
"""What writes each, by its path in the working folder."""


def write_example_files(command: str, folder: Path) -> None:
    """Write the example files that a command names, if they are not in the working folder.

    Args:
        command: The command.
        folder: The working folder.
    """
    for name, write in EXAMPLE_FILES.items():
        is_named = re.search(rf"(?<![\w./]){re.escape(name)}(?![\w.])", command)
        # A command that makes the file itself finds no other in its place.
        is_made = re.search(rf"--(?:output|export-path) {re.escape(name)}(?![\w.])", command)
        path = folder / name
        if is_named and not is_made and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path)
