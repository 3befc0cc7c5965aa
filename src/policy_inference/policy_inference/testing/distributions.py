# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Installed packages made for a test, as far as entry points tell of them."""

from collections.abc import Mapping
from pathlib import Path


def register(site: Path, distribution: str, group: str, entries: Mapping[str, str]) -> None:
    """Write what pip leaves of a package that registers entry points; nothing can be imported yet.

    Args:
        site: Folder for sys.path.
        distribution: Name of the package, version 1.0.
        group: Of the entry points.
        entries: What each name stands for: ``module:Class``.
    """
    info = site / f"{distribution}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Name: {distribution}\nVersion: 1.0\n", "utf-8")
    lines = [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join([*lines, ""]), "utf-8")
