# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What every kind of policy offers a host, for each kind."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from onnx import helper

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.kinds import CONTRACT_KINDS
from policy_core.bundle.load import load_bundle
from policy_core.bundle.set_bundle import SetBundle
from policy_core.bundle.verified import sha256_file
from policy_core.errors import BackendError, BundleError
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_inference.backends.registry import artifacts_for, open_models
from policy_inference.kinds.joint import JointKind
from policy_inference.kinds.kinds import KINDS, find_kind
from policy_inference.kinds.opening import NATIVE, PYTHON, OpenRequest, open_bundle
from policy_inference.kinds.parity import check_opening, parity, require_parity
from policy_inference.kinds.policy_set import SetKind
from policy_inference.testing.models import Axes, add_branch, save, weights
from testkit.chunk_bundles import write_chunk_bundle
from testkit.edits import set_key
from testkit.wording import check_wording, refusal

from ..nodes.bundles import write_bundle, write_version

Write = Callable[[Path], Path]
BUNDLES: dict[type, Write] = {
    JointBundle: lambda folder: write_version(folder, "1.0.0"),
    ChunkBundle: write_chunk_bundle,
}
AFTER: dict[type, str] = {
    JointBundle: "golden rows after 7 runs",
    ChunkBundle: "golden rows after 7 chunks",
}


@pytest.fixture(params=BUNDLES)
def bundle_of_a_kind(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return load_bundle(BUNDLES[request.param](tmp_path / "policy"))


def test_each_kind_knows_its_bundles() -> None:
    assert [kind.bundle for kind in KINDS] == [*BUNDLES]
    assert [*BUNDLES] == [kind().bundle for kind in CONTRACT_KINDS.values()]


def save_dynamic(file: Path, inputs: int, outputs: int) -> Path:
    """Save a model whose axes are all dynamic."""
    nodes = [helper.make_node("MatMul", ["obs", "w"], ["actions"])]
    sizes: dict[str, Axes] = {"obs": ("batch", "width")}
    constants = {"w": weights(inputs, outputs)}
    return save(file, nodes, sizes, {"actions": ("batch", "count")}, constants)


def opened_core(folder: Path) -> str:
    """Return what computes the ticks of the opened bundle."""
    bundle = load_bundle(folder, kind=JointBundle)
    limits = limits_in_force(bundle.contract, StricterLimits())
    request = OpenRequest(
        bundle=str(folder),
        public_key="",
        backends=["onnx"],
        options={},
        stricter_limits=StricterLimits(),
        output="joint_command",
        loop=NATIVE,
    )
    opened = open_bundle(JointKind(), request, {}, bundle, limits, lambda: 0)
    opened.close()
    return opened.core


def test_a_model_with_a_dynamic_batch_runs_in_the_native_core(tmp_path: Path) -> None:
    assert opened_core(write_bundle(tmp_path / "policy", batch="batch")) == NATIVE


def test_a_model_with_other_dynamic_axes_runs_in_python(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert opened_core(write_bundle(tmp_path / "policy", save=save_dynamic)) == PYTHON
    check_wording(*caplog.messages)


def test_whatever_opening_raises_is_one_line_about_the_bundle(
    bundle_of_a_kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise IndexError("a defect")

    check_opening(bundle_of_a_kind, "onnx")
    monkeypatch.setattr(type(find_kind(bundle_of_a_kind)), "open", fail)
    with refusal(BackendError):
        check_opening(bundle_of_a_kind, "onnx")


@pytest.mark.parametrize("is_declared", [False, True])
def test_a_model_that_branches_is_verified_and_opened_only_if_the_contract_declares_it(
    bundle_of_a_kind: Any, is_declared: bool
) -> None:
    """`install`, `pull` and `sign` verify; nodes and `~/load` open."""
    bundle, model = bundle_of_a_kind, bundle_of_a_kind.models[-1]
    _, file = model.artifact("onnx")
    add_branch(file)
    contract = yaml.safe_load(bundle.content)
    path = f"{model.key}.artifacts.onnx"
    set_key(contract, f"{path}.sha256", sha256_file(file))
    if is_declared:
        set_key(contract, f"{path}.control_flow", "1 If")
    bundle.file.write_text(yaml.safe_dump(contract), "utf-8")
    bundle = load_bundle(bundle.path)
    if is_declared:
        bundle.verify()
        open_models(bundle.models, ["onnx"]).close()
        return
    with refusal(BundleError):
        bundle.verify()
    with refusal(BackendError):
        open_models(bundle.models, ["onnx"])


def test_golden_rows_that_hold_are_the_same_function(bundle_of_a_kind: Any) -> None:
    kind = find_kind(bundle_of_a_kind)
    rows = kind.golden_rows(bundle_of_a_kind)
    with open_models(bundle_of_a_kind.models, ["onnx"]) as models:
        require_parity(kind, bundle_of_a_kind, models, rows)
        found = parity(kind, bundle_of_a_kind, models, rows, after_runs=7)
        entries = {
            key: entry for key, (entry, _) in artifacts_for(bundle_of_a_kind, "onnx").items()
        }
    assert found.source == AFTER[type(bundle_of_a_kind)]
    assert found.differences[0].max_abs < 1e-5
    assert all(kind.checks(bundle_of_a_kind, "onnx", entries, found.differences, found.source))


def test_models_that_compute_something_else_are_named(bundle_of_a_kind: Any) -> None:
    kind = find_kind(bundle_of_a_kind)
    rows = kind.golden_rows(bundle_of_a_kind)
    wrong = {name: np.add(array, 0.5) for name, array in rows.outputs.items()}
    with open_models(bundle_of_a_kind.models, ["onnx"]) as models, refusal(BackendError):
        require_parity(kind, bundle_of_a_kind, models, dataclasses.replace(rows, outputs=wrong))


def test_rows_that_are_all_the_same_prove_nothing(bundle_of_a_kind: Any) -> None:
    kind = find_kind(bundle_of_a_kind)
    rows = kind.golden_rows(bundle_of_a_kind)
    same = {name: array[[0] * len(rows)] for name, array in rows.inputs.items()}
    with refusal(BundleError):
        kind.require_enough(bundle_of_a_kind, dataclasses.replace(rows, inputs=same))


def test_opened_models_are_closed_together_and_name_their_back_end(bundle_of_a_kind: Any) -> None:
    with open_models(bundle_of_a_kind.models, ["rknn", "onnx"]) as models:
        models.warm_up()
        assert [*models] == [model.key for model in bundle_of_a_kind.models]
        assert (models.name, models.problem, len(models.skipped)) == ("onnx", "", 1)
        assert models.skipped[0].startswith("rknn: ")
        assert "onnxruntime" in models.runs_on


def test_set_without_a_model_is_refused() -> None:
    contract: Any = SimpleNamespace(kind="set")
    members: Any = {"arm": SimpleNamespace(models=())}
    bundle = SetBundle(path=Path("hold"), contract=contract, content=b"", members=members)
    request: Any = None
    with refusal(BundleError) as caught:
        SetKind().open(request, {}, bundle, contract, lambda: 0)
    assert [problem.key for problem in caught.value.problems] == ["members"]
