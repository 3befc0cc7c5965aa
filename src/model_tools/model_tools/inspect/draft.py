# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A contract that does not load: the questions that are open in it, and what else is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from model_tools.importers.draft import completing, open_questions, other_problems
from model_tools.inspect.report import Report
from policy_inference.bundle.schema import load_yaml
from policy_inference.errors import BundleError, Problem


def describe_draft(file: Path, problems: Sequence[Problem], report: Report) -> None:
    """Add a row for each open question; other problems are suspicious."""
    try:
        values = load_yaml(file)
    except BundleError:  # which is among the problems
        values = None
    questions = open_questions(values)
    for key, question in questions.items():
        report.row(f"TODO {key}", question)
    if questions:
        report.suspect(f"{len(questions)} questions are open; answer them in {file.name}, and then "
                       f"{completing(file.parent)}")
    for problem in other_problems(problems, questions):
        report.suspect(f"the loader refuses it: {problem}")
