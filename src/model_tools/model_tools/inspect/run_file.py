# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A file that a training run left behind, as `import` reads it."""

from __future__ import annotations

from pathlib import Path

from model_tools.importers.registry import choose
from model_tools.importers.source import read_source
from model_tools.inspect.report import Report
from model_tools.inspect.signature import suffix_of
from model_tools.node import Node

KIND = "YAML of a training run"


def recognise(path: Path) -> bool:
    """Return whether it is named as YAML."""
    return suffix_of(path) in (".yaml", ".yml")


def inspect(path: Path) -> Report:
    """Return the format and the values that a policy needs.

    Raises:
        ToolError: It is not YAML, or of no format that can be imported.
    """
    source = read_source(path)
    report = Report(kind=choose(source).NAME, path=path)
    report.row("can be imported as", report.kind)
    for name, node in source.root.items():
        report.row(name, _brief(node))
    for node in source.root.section("actions"):
        _suspect_action(report, node)
    return report


def _brief(node: Node) -> str:
    """Describe a value in a line: itself, or what it is made of."""
    if isinstance(node.value, dict):
        return ", ".join(map(str, node.value)) or "nothing"
    if isinstance(node.value, list) and any(isinstance(v, (dict, list)) for v in node.value):
        names = [v.get("name", "?") if isinstance(v, dict) else "list" for v in node.value]
        return f"{len(names)}: {', '.join(map(str, names))}"
    if isinstance(node.value, list):
        return f"{len(node.value)}: {', '.join(map(str, node.value))}"
    return str(node.value)


def _suspect_action(report: Report, action: Node) -> None:
    """Note an action that is neither scaled nor shifted: its model may give whole targets."""
    scale, offset = action.get("scale"), action.get("offset")
    shifted = action.flag("use_default_offset") or not _is_all(offset, 0.0)
    if _is_all(scale, 1.0) and not shifted:
        report.suspect(f"{action.key}: scale 1 and offset 0, as where the model gives whole "
                       "targets; see that neither is applied twice or never")


def _is_all(value: Node | None, number: float) -> bool:
    if value is None:
        return True
    values = value.value if isinstance(value.value, list) else [value.value]
    return all(entry == number for entry in values)
