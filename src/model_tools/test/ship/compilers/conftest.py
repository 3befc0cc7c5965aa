# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What tests of all compilers calibrate with."""

from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from model_tools.ship.compilers.compile_request import CompileRequest
from model_tools.ship.compilers.compiled_bundle import compile_bundle
from policy_core.bundle.bundle import Bundle
from policy_core.bundle.load import load_bundle

from ...files.lerobot.small_dataset import write_dataset
from ...tiny_bundle import observations

SIZES = {"laptop": (48, 64), "phone": (48, 64)}
"""Cameras of the chunk policies, as the dataset has them."""
BundleT = TypeVar("BundleT", bound=Bundle)


def compiled(kind: type[BundleT], compiler: str, **given: Any) -> BundleT:
    usual = {"compiler": compiler, "target": None, "rows": None, "samples": 512}
    return load_bundle(compile_bundle(CompileRequest(**(usual | given))), kind=kind)


@pytest.fixture
def tiny_rows(tmp_path: Path) -> Path:
    file = tmp_path / "rollout.npz"
    np.savez(file, obs=observations())
    return file


@pytest.fixture
def arm_dataset(tmp_path: Path) -> Path:
    """36 observations of a chunk policy's robot."""
    return write_dataset(tmp_path / "dataset")
