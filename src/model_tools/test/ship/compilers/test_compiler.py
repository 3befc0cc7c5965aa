# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Compilers by name: ours, those of other packages, packages in each other's way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from model_tools.errors import ToolError
from model_tools.ship.compilers.compiler import GROUP, available, find_compiler, remedy
from policy_inference.testing.bundles import register
from testkit.wording import refusal

Install = Callable[..., None]


@pytest.fixture
def register_compilers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Make a distribution importable that registers compilers, given as name=value."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def apply(distribution: str, **compilers: str) -> None:
        register(tmp_path, distribution, GROUP, compilers)

    return apply


def test_two_packages_with_one_name_are_refused(register_compilers: Install) -> None:
    register_compilers("vendor", fast="model_tools.ship.compilers.onnx:OnnxCompiler")
    register_compilers("rival", fast="rival:Compiler")

    with refusal(ToolError):
        available()


def test_a_package_that_does_not_load_is_named(register_compilers: Install) -> None:
    register_compilers("vendor", vendor="vendor_that_is_gone:Compiler")

    with refusal(ToolError):
        find_compiler("vendor")


def test_what_helps_a_precision_that_fails_is_known_for_every_back_end_that_runs_it(
    register_compilers: Install,
) -> None:
    register_compilers("rockchip", rknn="model_tools.ship.compilers.rknn:RknnCompiler")

    for backend in ("rknn", "rknn_sim"):
        assert "hybrid=yes" in remedy(backend, "w8a8")
    assert "compile fp16" in remedy("onnx", "int8")
    assert remedy("onnx", "fp32") == remedy("nobody", "int8") == ""
