# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A folder to run commands in, with code of a user's own."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ..tiny_bundle import make_bundle


@pytest.fixture
def users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return what makes the folder current: with the bundle `tiny` and the module `our_env`."""

    def enter(code: str) -> None:
        make_bundle(tmp_path / "tiny")
        (tmp_path / "our_env.py").write_text(code, "utf-8")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.delitem(sys.modules, "our_env", raising=False)

    return enter
