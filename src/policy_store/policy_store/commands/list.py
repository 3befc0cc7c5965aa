# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""List installed bundles: versions, which one is in use or on trial, and `rollback`'s target.

    policy_store list --json

Models are not read; `policy_store verify` reads them.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from policy_store.command_line import CommandResult
from policy_store.commands.arguments import add_root, read_root

_HEADS = ("name", "version", "", "signed by", "size", "installed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_root(parser)


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """List the installed bundles.

    Returns:
        root, and models: each bundle's name, current (version in use), way_back, trials, problem,
        and its versions: version, folder, size_bytes, is_signed, signed_by, installed_time,
        installed_from, revoked (the reason; null if the version is not revoked), problem.
    """
    from policy_store.inventory import listing

    root = read_root(given)
    models = listing(root)
    rows = [_row(model, version) for model in models for version in model["versions"]]
    widths = [max(map(len, column)) for column in zip(_HEADS, *rows, strict=True)]
    text = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in [_HEADS, *rows]]
    return CommandResult(
        document={"root": root, "models": models},
        text=[
            *(text if rows else ()),
            *_problems(models),
            *(() if rows else [f"{root}: nothing is installed"]),
        ],
    )


def _row(model: Mapping[str, Any], version: Mapping[str, Any]) -> tuple[str, ...]:
    name = version["version"]
    use = "in use" if name == model["current"] else ""
    if name in model["way_back"][:1]:
        use = "rollback target"
    revoked = "" if version["revoked"] is None else "REVOKED"
    use = ", ".join(filter(None, [use, model["trials"].get(name, ""), revoked]))
    signed = (version["signed_by"] or "")[:12] or ("not checked" if version["is_signed"] else "-")
    return (
        model["name"],
        name,
        use,
        signed,
        f"{version['size_bytes'] / 1e6:.1f} MB",
        version["installed_time"] or "?",
    )


def _problems(models: list[dict[str, Any]]) -> list[str]:
    revoked = [
        f"{model['name']} {version['version']} is revoked: {version['revoked']}"
        for model in models
        for version in model["versions"]
        if version["revoked"] is not None
    ]
    places = [place for model in models for place in (model, *model["versions"])]
    return revoked + [place["problem"] for place in places if place["problem"]]
