# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""List installed bundles: versions, which is in use or on trial, to which `rollback` goes back.

    model_tools list --json

Reads no model; `model_tools verify` does.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from model_tools.commands.arguments import add_root, root_of

_HEADS = ("name", "version", "", "signed by", "size", "installed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true", help="as JSON, with everything")
    add_root(parser)


def run(given: argparse.Namespace) -> int:
    """List; return the exit status."""
    from model_tools.ship.store.inventory import listing
    from policy_inference.commands.output import show

    root = root_of(given)
    models = listing(root)
    if given.json:
        show(json.dumps({"root": str(root), "models": models}, indent=2))
        return 0
    rows = [_row(model, version) for model in models for version in model["versions"]]
    widths = [max(map(len, column)) for column in zip(_HEADS, *rows, strict=True)]
    for row in [_HEADS, *rows] if rows else []:
        show("  ".join(map(str.ljust, row, widths)).rstrip())
    for problem in _problems(models):
        show(problem)
    if not rows:
        show(f"{root}: nothing is installed")
    return 0


def _row(model: Mapping[str, Any], version: Mapping[str, Any]) -> tuple[str, ...]:
    name = version["version"]
    use = "in use" if name == model["current"] else ""
    if name in model["way_back"][:1]:
        use = "way back"
    use = ", ".join(filter(None, [use, model["trials"].get(name, "")]))
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
    places = [place for model in models for place in (model, *model["versions"])]
    return [place["problem"] for place in places if place["problem"]]
