# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_tools.errors import ToolError
from model_tools.prove.inspect.inspection import InspectionReport
from model_tools.prove.inspect.registry import inspect_path
from policy_core.interfaces import Tensor
from testkit.wording import check_wording, refusal

OBS = np.random.default_rng(0).normal(size=(20, 3))


def inspected_arrays(folder: Path, **arrays: Tensor) -> InspectionReport:
    np.savez(folder / "a.npz", allow_pickle=False, **arrays)
    return inspect_path(folder / "a.npz")


REPEATED = np.concatenate([OBS, OBS[:4]])
REPEATED[:, 1] = 7.0


@pytest.mark.parametrize(
    "arrays",
    [
        {"mean": np.zeros(4), "std": np.array([1.0, 0.0, 1e5])},
        {"obs": REPEATED, "actions": OBS},
        {"obs": np.ones((3, 20))},
    ],
    ids=["statistics", "rows", "many columns"],
)
def test_what_cannot_be_or_says_little_is_suspicious(
    tmp_path: Path, arrays: dict[str, Tensor]
) -> None:
    check_wording(*inspected_arrays(tmp_path, **arrays).suspicions)


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_objects_are_refused(tmp_path: Path, suffix: str) -> None:
    objects = np.array([{"a": 1}, None], dtype=object)
    with (tmp_path / f"a{suffix}").open("wb") as file:
        (np.save if suffix == ".npy" else np.savez)(file, objects)
    with refusal(ToolError):
        inspect_path(tmp_path / f"a{suffix}")
