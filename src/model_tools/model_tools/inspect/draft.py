# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A contract that does not load: the questions that are open in it, and what else is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from model_tools.importers.draft import TODO, completing, text
from model_tools.inspect.report import Report
from policy_inference.bundle.schema import load_yaml
from policy_inference.errors import BundleError, Problem


def describe_draft(file: Path, problems: Sequence[Problem], report: Report) -> None:
    """Add a row for each open question; other problems are suspicious."""
    try:
        values = load_yaml(file)
    except BundleError:  # which is among the problems
        values = None
    questions = {text(path): question for path, question in _questions((), values, set())}
    for key, question in questions.items():
        report.row(f"TODO {key}", question)
    if questions:
        report.suspect(f"{len(questions)} questions are open; answer them in {file.name}, and then "
                       f"{completing(file.parent)}")
    for problem in problems:
        if not any(problem.key == key or problem.key.startswith((f"{key}.", f"{key}["))
                   for key in questions):
            report.suspect(f"the loader refuses it: {problem}")


def _questions(
    path: tuple[str | int, ...], value: object, seen: set[int]
) -> Iterator[tuple[tuple[str | int, ...], object]]:
    """Yield open questions; what an alias repeats is looked at once."""
    if not isinstance(value, (dict, list)) or id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Mapping) and TODO in value:
        yield path, value[TODO]
    for part, entry in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _questions((*path, part), entry, seen)
