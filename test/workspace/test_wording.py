# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The wording of messages is compared with one file per package, and that file has no leftovers."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

from testkit.wording import FILE, ROOT


@pytest.mark.parametrize("file", [*ROOT.glob(f"src/*/test/{FILE}"), ROOT / "test" / FILE], ids=str)
def test_wording_is_that_of_tests_which_exist(file: Path) -> None:
    content = yaml.safe_load(file.read_text("utf-8")) if file.is_file() else {}
    gone = []
    for path, tests in content.items():
        text = (file.parent / path).read_text("utf-8") if (file.parent / path).is_file() else ""
        nodes = ast.walk(ast.parse(text))
        known = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
        names = {test: test.partition("[")[0].rpartition("::")[2] for test in tests}
        gone += [f"{path}::{test}" for test, name in names.items() if name not in known]
    assert not gone
