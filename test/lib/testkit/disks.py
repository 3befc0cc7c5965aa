# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Disks that are soon full."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[Path]:
    """Mount a file system with room for so many KiB; skip the test where this user may not.

    Args:
        folder: Where; it is made. What it held otherwise is hidden meanwhile.
        kib: Its size.
    """
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", folder],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"this user may not mount a small disk: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill_up(file: Path, leave_bytes: int = 0) -> None:
    """Write a file until its disk is full, then leave so much room."""
    with suppress(OSError), file.open("wb", buffering=0) as growing:
        while growing.write(bytes(512)):
            pass
    with file.open("r+b") as shrinking:
        shrinking.truncate(max(0, file.stat().st_size - leave_bytes))
