# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The documentation: every page has its place, links lead somewhere, the safety case is whole."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from policy_inference.core.guard import Rule

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *ROOT.glob("*.md")])
GENERATED = "reference/"
"""Pages that `make docs` writes from the code."""


def without_code(text: str) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def slug(heading: str) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.lstrip("#").strip()).lower()
    return re.sub(r"[^\w\s-]", "", text).replace(" ", "-")


@cache
def anchors(page: Path) -> set[str]:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    found = Counter[str]()
    names = set[str]()
    for heading in re.findall(r"^#+ .*$", text, flags=re.MULTILINE):
        name = slug(heading)
        names.add(f"{name}-{found[name]}" if found[name] else name)
        found[name] += 1
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text("utf-8")))
    for target in targets:
        name, _, anchor = target.partition("#")
        if "://" in target or name.startswith(GENERATED):
            continue
        linked = page if not name else (page.parent / name).resolve()
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), target


def test_every_rule_of_the_guard_has_its_section_in_the_safety_case() -> None:
    sections = re.findall(r"^## `(\w+)`$", (DOCS / "safety_case.md").read_text("utf-8"), re.M)
    assert sections == [rule.value for rule in Rule]


def test_tests_named_in_the_safety_case_exist() -> None:
    text = (DOCS / "safety_case.md").read_text("utf-8")
    named = re.findall(r"^  - `(\S+\.py)`\\\n    `(test_\w+)`$", text, re.M)
    assert len(named) >= 2 * len(Rule) - 10
    for file, test in named:
        tree = ast.parse((ROOT / file).read_text("utf-8"))
        assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, file
