# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The compiler by its name, and the vendor's, as doubles on the PATH."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model_tools.errors import UnfinishedError
from model_tools.ship.compilers.compiler import GROUP
from policy_core.bundle.bundle import JointBundle
from policy_inference.testing.bundles import register

from ....tiny_bundle import make_bundle, observations
from ..conftest import compiled


@pytest.fixture
def put_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a tool on the PATH: the double, or a script that does something else."""

    def apply(tool: str, script: str | None = None) -> None:
        folder = tmp_path / "tools"
        folder.mkdir(exist_ok=True)
        double = f'exec "{sys.executable}" "{Path(__file__).parent / "vendor_tool.py"}" {tool} "$@"'
        (folder / tool).write_text(f"#!/bin/bash\n{script or double}\n", "utf-8")
        (folder / tool).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    return apply


@pytest.fixture(autouse=True)
def _registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the compiler as setup.py does; the vendor's tools are not on the PATH."""
    register(
        tmp_path / "site", "boards", GROUP, {"bpu": "model_tools.ship.compilers.bpu:BpuCompiler"}
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")


@pytest.fixture
def few_rows(tmp_path: Path) -> Path:
    """File of fewer rows, since each becomes a file of the workspace."""
    file = tmp_path / "rollout.npz"
    np.savez(file, obs=observations(64))
    return file


@pytest.fixture
def compile_bpu(few_rows: Path, tmp_path: Path) -> Callable[..., JointBundle]:
    source = make_bundle(tmp_path / "tiny")

    def apply(
        target: str = "nash-e", precision: str = "int8", *, force: bool = False, **options: object
    ) -> JointBundle:
        return compiled(
            JointBundle,
            "bpu",
            bundle=source,
            precision=precision,
            target=target,
            rows=few_rows,
            output=tmp_path / "made",
            options={name: str(value) for name, value in options.items()},
            force=force,
        )

    return apply


@pytest.fixture
def begun_work(compile_bpu: Callable[..., JointBundle], tmp_path: Path) -> Path:
    """A workspace for nash-e, whose model is not compiled yet."""
    with pytest.raises(UnfinishedError):
        compile_bpu(workspace=tmp_path / "work")
    return tmp_path / "work"
