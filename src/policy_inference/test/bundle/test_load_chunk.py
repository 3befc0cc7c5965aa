# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Bundle folders of chunk policies: files of every graph, golden observations, the other kind."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from policy_inference.backends.registry import open_models
from policy_inference.bundle.bundle import ChunkBundle, JointBundle, stated_hashes
from policy_inference.bundle.load import load_bundle
from policy_inference.errors import BackendError, BundleError
from policy_inference.testing.chunk_bundles import write_chunk_bundle

from .editing import MISSING, joint_contract, sha256

Edit = Callable[[Mapping[str, object]], Path]

LARGE, SMALL = "BPU_ACTPolicy_VisionEncoder_16x24", "BPU_ACTPolicy_VisionEncoder_12x16"
POLICY = "BPU_ACTPolicy_TransformerLayers"


def test_bundle_of_the_other_kind_rejected(chunk_dir: Path, bundle_dir: Path) -> None:
    chunk, joint = chunk_dir / "policy.yaml", bundle_dir / "policy.yaml"

    for refused in (
        lambda path: load_bundle(path, kind=JointBundle),
        lambda path: load_bundle(str(path), kind=JointBundle),
        lambda path: joint_contract(path / "policy.yaml"),
    ):
        with pytest.raises(BundleError) as caught:
            refused(chunk_dir)
        assert str(caught.value) == (
            f"{chunk}: kind: expected joint, found chunk; act_policy_node runs this policy"
        )
    for given in (bundle_dir, str(bundle_dir)):
        with pytest.raises(BundleError) as caught:
            load_bundle(given, kind=ChunkBundle)
        assert str(caught.value) == (
            f"{joint}: kind: expected chunk, found joint; joint_policy_node runs this policy"
        )


def test_either_kind_is_what_its_contract_says(chunk_dir: Path, bundle_dir: Path) -> None:
    assert load_bundle(chunk_dir).contract.name == "small_arm"
    assert load_bundle(str(bundle_dir)).contract.name == "two_joints"


def test_models_are_the_graphs_in_the_order_of_the_contract(chunk_dir: Path) -> None:
    bundle = load_bundle(chunk_dir, kind=ChunkBundle)

    assert [model.key for model in bundle.models] == [
        f"graphs.{name}" for name in (LARGE, SMALL, POLICY)
    ]
    assert bundle.contract.policy_graph == POLICY


def test_every_file_of_every_graph_has_its_hash(chunk_dir: Path) -> None:
    bundle = load_bundle(chunk_dir, kind=ChunkBundle)

    files = [f"{name}/{name}.onnx" for name in (LARGE, SMALL, POLICY)] + ["golden.npz"]
    assert stated_hashes(bundle.contract) == {name: sha256(chunk_dir / name) for name in files}
    bundle.verify()


@pytest.mark.parametrize("name", [LARGE, POLICY])
def test_changed_graph_is_found_by_verify_and_before_it_is_opened(
    chunk_dir: Path, name: str
) -> None:
    bundle, file = load_bundle(chunk_dir, kind=ChunkBundle), chunk_dir / name / f"{name}.onnx"
    file.write_bytes(file.read_bytes() + b"\0")

    for judge in (bundle.verify, lambda: open_models(bundle.models, ["onnx"])):
        with pytest.raises(BundleError, match="expected sha256") as caught:
            judge()
        assert str(file) in str(caught.value)


def test_verify_reports_all_damaged_files_at_once(chunk_dir: Path) -> None:
    bundle = load_bundle(chunk_dir, kind=ChunkBundle)
    (chunk_dir / SMALL / f"{SMALL}.onnx").unlink()
    (chunk_dir / "golden.npz").write_bytes(b"")

    with pytest.raises(BundleError) as caught:
        bundle.verify()

    assert [Path(problem.file).name for problem in caught.value.problems] == [
        f"{SMALL}.onnx",
        "golden.npz",
    ]


def test_backend_without_artifact_rejected_with_the_graph(chunk_dir: Path) -> None:
    with pytest.raises(BackendError) as caught:
        open_models(load_bundle(chunk_dir, kind=ChunkBundle).models, ["rknn"])

    assert str(caught.value).endswith(
        f"no artifact for the backend 'rknn' in graphs.{LARGE}; this bundle has onnx; compile one "
        "(`model_tools compile`), or choose another back end"
    )


def test_graph_that_is_another_than_the_contract_says_is_not_opened(edit_chunk: Edit) -> None:
    other, file = f"{LARGE}/{LARGE}.onnx", edit_chunk({})
    edit_chunk(
        {
            f"graphs.{SMALL}.artifacts.onnx": {
                "file": other,
                "sha256": sha256(file.parent / other),
                "precision": "fp32",
            }
        }
    )

    with pytest.raises(
        BackendError,
        match=r"expected images float32\[1, 3, 12, 16\] as in .*, "
        r"found images float32\[1, 3, 16, 24\]",
    ):
        open_models(load_bundle(file.parent, kind=ChunkBundle).models, ["onnx"])


def test_golden_rows_are_observations_and_chunks(chunk_dir: Path) -> None:
    golden = load_bundle(chunk_dir, kind=ChunkBundle).golden()

    assert {name: (array.shape, array.dtype.name) for name, array in golden.items()} == {
        "cameras.laptop": ((5, 16, 24, 3), "uint8"),
        "cameras.phone": ((5, 12, 16, 3), "uint8"),
        "state": ((5, 3), "float32"),
        "environment_state": ((5, 4), "float32"),
        "chunk": ((5, 8, 3), "float32"),
    }


def test_golden_rows_have_only_what_the_policy_takes(tmp_path: Path) -> None:
    bundle = load_bundle(
        write_chunk_bundle(tmp_path / "arm", sizes={}, environment=2), kind=ChunkBundle
    )

    assert list(bundle.golden()) == ["state", "environment_state", "chunk"]


def test_bundle_without_golden_rows_says_what_writes_them(edit_chunk: Edit) -> None:
    file = edit_chunk({"golden": MISSING})

    with pytest.raises(BundleError) as caught:
        load_bundle(file.parent, kind=ChunkBundle).golden()

    assert str(caught.value) == (
        f"{file}: golden: expected a file of golden vectors, found nothing; `model_tools export "
        "act` writes a bundle that has them"
    )


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("cameras.phone", lambda rows: None, "expected an array [5, 12, 16, 3], found nothing"),
        (
            "cameras.phone",
            lambda rows: rows.transpose(0, 3, 1, 2),
            "expected an array [5, 12, 16, 3], found uint8[5, 3, 12, 16]",
        ),
        (
            "cameras.phone",
            lambda rows: rows[:4],
            "expected an array [5, 12, 16, 3], found uint8[4, 12, 16, 3]",
        ),
        (
            "cameras.phone",
            lambda rows: (rows / 255).astype(np.float32),
            "expected an image in uint8, found float32[5, 12, 16, 3]",
        ),
        (
            "state",
            lambda rows: rows.astype(np.int64),
            "expected floating-point numbers, found int64[5, 3]",
        ),
        (
            "chunk",
            lambda rows: rows.astype("U8"),
            "expected floating-point numbers, found <U8[5, 8, 3]",
        ),
        (
            "chunk",
            lambda rows: np.where(rows == rows.max(), np.nan, rows),
            "expected finite values, found NaN or infinite ones",
        ),
        (
            "state",
            lambda rows: np.full_like(rows, np.inf),
            "expected finite values, found NaN or infinite ones",
        ),
    ],
)
def test_golden_rows_that_do_not_fit_rejected(
    edit_chunk: Edit, name: str, change: Callable[[np.ndarray], np.ndarray | None], message: str
) -> None:
    folder = edit_chunk({}).parent
    file = folder / "golden.npz"
    with np.load(file) as data:
        arrays = dict(data)
    changed = change(arrays.pop(name))
    arrays |= {} if changed is None else {name: changed}
    np.savez(file, **arrays)
    edit_chunk({"golden.sha256": sha256(file)})

    with pytest.raises(BundleError) as caught:
        load_bundle(folder, kind=ChunkBundle).golden()

    assert str(caught.value) == f"{file}: {name}: {message}"
